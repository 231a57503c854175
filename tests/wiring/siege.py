"""A deployment that is attacked or choked while an honest engine trades on it, in each placement.

`alpha` is where attacks go, `beta` is where the honest engine trades meanwhile. Everything runs on one loop
that a test enters through `Siege.run`. Every wait has a bound, and none blocks the loop.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import uvloop
import zmq

from actors.command_line.questions import Questions
from orderwire import Engine, Host, load
from pipeline import headers
from pipeline.attachment import Attachment
from pipeline.codec import KINDS, encode, read_control_body
from pipeline.control import Health, HealthQuery
from pipeline.deployment import Deployment
from pipeline.messages import Event, Message, Refused, Request
from pipeline.sockets import Sockets
from pipeline.topology import Link
from tests.wiring.grounds import PLACEMENTS, Process, deployment_text

__all__ = ["PLACEMENTS", "Bystander", "Siege", "moment"]

WITHIN_S = 20.0
T = TypeVar("T")


class Siege:
    """The deployment, an honest engine that reads everything, and what an attacker needs."""

    def __init__(self, placement: str, **terms: str) -> None:
        self.placement = placement
        self._terms = terms
        self.directory = Path(tempfile.mkdtemp(prefix="ow-"))  # a socket's path has to be short
        self.processes: dict[str, Process] = {}
        self.host: Host | None = None
        self.events: list[Event] = []
        self.answers: dict[tuple[str, int, int], list[Event]] = {}
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._pump: asyncio.Task[None]
        self._attached: list[Attachment] = []
        self._context = zmq.Context()
        self.answered_s: dict[tuple[str, int, int], float] = {}
        self._rid = 1_000  # below: for frames whose answers nobody looks at

    # ------------------------------------------------------------------------------------ life

    def __enter__(self) -> "Siege":
        path = self.directory / "siege.toml"
        path.write_text(deployment_text(self.directory, self.placement, **self._terms))
        self.deployment: Deployment = load(path)
        if self.placement in ("split", "apart"):
            self.processes = {name: Process(path, name) for name in self.deployment.processes}
            for process in self.processes.values():
                process.wait_ready()
        try:
            self.run(self._start())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self.run(self._stop())
        finally:
            self._context.destroy(linger=0)
            self._runner.close()
            for process in self.processes.values():
                process.end()
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _start(self) -> None:
        if self.placement not in ("split", "apart"):
            self.host = Host(self.deployment)
            await self.host.inner.start()
        self.sockets = Sockets(self.deployment.run_dir)
        if self.placement == "inproc" and self.host is not None:
            self.engine = self.host.engine("honest", everything=True)
            self.questions = Questions(self.deployment, self.host.inner.attach)
        else:
            self.engine = Engine(self.deployment, "honest", everything=True)
            self.engine.connect()
            self.questions = Questions(self.deployment)
        await self.engine.ready()
        self._pump = asyncio.get_running_loop().create_task(self._read_feed())
        for exchange in ("alpha", "beta"):
            # A process that began before another connects to it only after a while.
            while await self.trade_once(exchange) is None:
                await moment()

    async def _stop(self) -> None:
        if hasattr(self, "_pump"):
            self._pump.cancel()
            self.questions.close()
            self.engine.close()
        for attachment in self._attached:
            attachment.close()
        if hasattr(self, "sockets"):
            self.sockets.close()
        if self.host is not None:
            await self.host.inner.stop()

    def run(self, work: Awaitable[T]) -> T:
        async def within() -> T:
            return await work

        return self._runner.run(within())

    async def _read_feed(self) -> None:
        async for event in self.engine:
            self.events.append(event)
            if event.answers is not None:
                key = (event.answers.engine, event.answers.session, event.answers.rid)
                self.answers.setdefault(key, []).append(event)
                self.answered_s[key] = perf_counter()

    # ------------------------------------------------------------------------------------ waiting

    async def until(self, condition: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
        deadline = perf_counter() + within_s
        while not condition():
            assert perf_counter() < deadline, f"not within {within_s:g} s: {what}"
            await moment()

    async def health(self, actor: str) -> Health:
        answer = await self.questions.ask(actor, HealthQuery(), WITHIN_S)
        assert isinstance(answer, Health)
        return answer

    async def counter(self, actor: str, name: str) -> int:
        return (await self.health(actor)).counters.get(name, 0)

    async def assert_all_alive(self) -> None:
        """Every actor answers, and an order passes through all of them and back."""
        if self.host is not None:
            assert self.host.inner._failed is None, self.host.inner._failed
        for process in self.processes.values():
            assert process.child.poll() is None, process.errors.read_text()[-2000:]
        for actor in self.deployment.actors:
            assert (await self.health(actor)).actor == actor
        for exchange in ("alpha", "beta"):
            await self.trade_once(exchange)

    async def trade_once(self, exchange: str, within_s: float = WITHIN_S) -> float | None:
        """An open and its cancel, both answered; the seconds to the open's answer, None: it was refused."""
        await self.until(self.writable, "the way to the router is free")
        begun = perf_counter()
        cid = self.engine.open(exchange, "btc_usd", side="buy", quantity="0.001", price="1000.0")
        rid = self.engine._core._rid
        await self.until(lambda: self.own_answer(rid) is not None, f"answer to open {cid}", within_s)
        took = self.answered_s["honest", self.engine._core.session, rid] - begun
        if isinstance(self.own_answer(rid), Refused):
            return None
        rid = self.engine.cancel(cid, exchange)
        await self.until(lambda: self.own_answer(rid) is not None, f"answer to cancel {cid}", within_s)
        return took

    def writable(self) -> bool:
        wires = self.engine._wires
        return wires is not None and wires.writable("requests") and not self._stale()

    def _stale(self) -> bool:
        core = self.engine._core
        return core.reader.stale(self.engine._clock.now_ns(), self.deployment.edges.feed_stale_ms)

    def own_answer(self, rid: int) -> Event | None:
        found = self.answers.get(("honest", self.engine._core.session, rid), [])
        assert len(found) < 2, f"request {rid} was answered twice: {found}"
        return found[0] if found else None

    def assert_feed_whole(self) -> None:
        """Every number of the feed came once, in order (a gap would have been replayed first)."""
        numbers = [event.seq for event in self.events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    # ------------------------------------------------------------------------------------ full links

    def stop_reading(self, process: str, actor: str, link: str) -> None:
        """An actor takes nothing from a link: its process is stopped, or its inbox is left unread."""
        if self.host is None:
            self.processes[process].signal(signal.SIGSTOP)
        else:
            self.host.inner.station(actor)._pause(link, True)

    def read_again(self, process: str, actor: str, link: str) -> None:
        if self.host is None:
            self.processes[process].signal(signal.SIGCONT)
        else:
            self.host.inner.station(actor)._pause(link, False)

    # ------------------------------------------------------------------------------------ the attacker

    def attach(
        self, actor: str, edge: str, pattern: str = "push", heard: list[bytes] | None = None, hwm: int = 1_000
    ) -> Attachment:
        """The attacker's own wire, placed as an engine's is: inproc in a process with actors, else ipc."""
        taken = [] if heard is None else heard
        link = Link("attack", pattern, actor, edge, False, hwm, 64 * 1024 * 1024)  # type: ignore[arg-type]

        def on_frame(_: str, frame: bytes) -> None:
            taken.append(frame)

        if self.placement == "inproc" and self.host is not None:
            attachment = self.host.inner.attach("intruder", [link], on_frame)
        else:
            loop = asyncio.get_running_loop()
            attachment = Attachment(self.deployment, self.sockets, loop, None, on_frame, name="intruder")
            attachment.connect([link])
        self._attached.append(attachment)
        return attachment

    async def send(self, wire: Attachment, frames: Iterable[bytes], within_s: float = 60.0) -> None:
        """Every frame, each as soon as the link takes it."""
        deadline = perf_counter() + within_s
        for count, frame in enumerate(frames):
            while not wire.send("attack", frame):
                assert perf_counter() < deadline, "the link takes nothing"
                await moment()
            if count % 64 == 63:
                await asyncio.sleep(0)

    async def ask(
        self, wire: Attachment, heard: list[bytes], frame: bytes
    ) -> tuple[headers.ControlHeader, Message]:
        """A frame on a DEALER, and the first reply to it."""
        heard.clear()
        await self.send(wire, [frame])
        await self.until(lambda: bool(heard), "a reply")
        header = headers.read_control(heard[0])
        return header, read_control_body(header.kind, heard[0])

    def raw(self, actor: str, edge: str, kind: int) -> "zmq.Socket[bytes]":
        """A bare libzmq socket to an edge's ipc path, for what our own wires would never send."""
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDTIMEO, 100)
        socket.connect(f"ipc://{self.path(actor, edge)}")
        return socket

    def path(self, actor: str, edge: str) -> str:
        return str(self.deployment.run_dir / f"{actor}.{edge}")

    def edges(self) -> list[tuple[str, str, str]]:
        """(actor, edge, the pattern that attacks it) of everything that listens."""
        found = [("router", "requests", "push"), ("merger", "events", "push"), ("merger", "replay", "dealer")]
        for exchange in self.deployment.exchanges:
            found.append((f"executor.{exchange.name}", "requests", "push"))
            if f"exchange.{exchange.name}" in self.deployment.actors:
                found.append((f"exchange.{exchange.name}", "calls", "dealer"))
        return found + [(actor, "control", "dealer") for actor in self.deployment.actors]

    def next_rid(self) -> int:
        self._rid += 1
        return self._rid

    def request(self, body: Request | bytes, rid: int, **other: int | bytes) -> bytes:
        """A request of the engine `mallory`; `other` replaces fields of its header."""
        fields: dict[str, int | bytes] = {
            "exchange": 0,
            "kind": headers.Kind.OpenOrder if isinstance(body, bytes) else KINDS[type(body)],
            "attempt": 0,
            "fingerprint": self.deployment.fingerprint,
            "engine": b"mallory",
            "session": 1,
            "rid": rid,
            "expires_at_ns": self.engine._clock.now_ns() + 5_000_000_000,
        }
        fields |= other
        payload = body if isinstance(body, bytes) else encode(body)
        return headers.request(**fields) + payload  # type: ignore[arg-type]


class Bystander:
    """The honest engine at work on `beta` while something else happens: nothing of its may be lost."""

    def __init__(self, siege: Siege, what: str) -> None:
        self.siege = siege
        self.what = what
        self.took_s: list[float] = []

    async def __aenter__(self) -> "Bystander":
        self._stop = False
        self._task = asyncio.get_running_loop().create_task(self._trade())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await self._task
        took = sorted(self.took_s)
        assert took, "the bystander was never served"
        p99 = took[min(len(took) - 1, len(took) * 99 // 100)]
        print(
            f"\n{self.siege.placement}, {self.what}: {len(took)} orders of another engine, "
            f"p50 {took[len(took) // 2] * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
        )

    async def _trade(self) -> None:
        while not self._stop or not self.took_s:
            took_s = await self.siege.trade_once("beta")
            assert took_s is not None, "an order of the bystander was refused"
            self.took_s.append(took_s)


async def moment() -> None:
    """Let the loop run for a millisecond at most."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.001)
