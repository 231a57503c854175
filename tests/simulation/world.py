"""A whole deployment on virtual time, playing one plan; then faults stop, it comes to rest, and is audited.

Everything that is drawn comes from the plan's seed, a stream of its own for each process, so that the same
plan gives the same run to the byte.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from pipeline.amounts import amount
from pipeline.control import SetFault
from pipeline.directories import prepare
from pipeline.engine import Engine
from pipeline.messages import Event
from pipeline.vocabulary import Side
from tests.simulation.auditor import SimAuditor
from tests.simulation.journals import Disk
from tests.simulation.links import Network
from tests.simulation.loop import Livelock
from tests.simulation.process import SimProcess
from tests.simulation.scenario import ENGINES, Plan, Step
from tests.simulation.terms import deployment
from tests.simulation.timeline import MS, Timeline
from tests.simulation.trader import Trader

REST_MS: Final = 60_000  # in which everything must have come to rest once faults have stopped
LOOK_EVERY_MS: Final = 1_000
SUPERVISED_MS: Final = 2_000  # a process that ended unasked is started again
AFTERWARDS_MS: Final = 3_000  # what is true at rest stays true: checks come and go


class World:
    """One run of one plan."""

    def __init__(self, plan: Plan, folder: Path, log: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.deployment = deployment(plan, folder)
        prepare(self.deployment)
        self.timeline = Timeline()
        self.traders_named = ENGINES
        self.processes: dict[str, SimProcess] = {}
        self.traders: dict[str, Trader] = {}
        self.quiet = False
        self._over = False
        self.bugs: list[BaseException] = []
        self._log = log
        self._count = 0
        self._disks: dict[str, Disk] = {}
        self._journal_faults: dict[str, list[str]] = {}
        self._cursors: dict[str, tuple[int, int] | int] = dict.fromkeys(ENGINES, 0)
        self._cids: dict[int, tuple[str, str]] = {}  # step -> exchange, cid
        self.auditor = SimAuditor(self)
        self.network = Network(
            self.timeline, self.random_for("network"), self._heard, max(plan.latency_ms, 0.03)
        )

    # ------------------------------------------------------------------ what its parts ask of it

    def count(self) -> int:
        self._count += 1
        return self._count

    def random_for(self, what: str) -> Random:
        return Random(f"{self.plan.seed} {what}")

    def disk(self, actor: str) -> Disk:
        return self._disks.setdefault(actor, Disk())

    def journal_faults(self, actor: str) -> list[str]:
        return self._journal_faults.setdefault(actor, [])

    def note(self, what: str) -> None:
        if self._log is not None:
            self._log(f"{(self.timeline.now_ns - 1_000_000_000_000) / MS:10.3f} {what}")

    def violated(self, what: str, error: BaseException) -> None:
        self.note(what)
        self.bugs.append(error)
        self.auditor.complain(f"bug: {what}")

    def _heard(self, sender: str, address: str, frame: bytes) -> None:
        self.auditor.heard(sender, address, frame)

    def handled(self, engine: str, event: Event) -> None:
        self._cursors[engine] = (event.place.feed_id, event.seq)
        self.auditor.handled(engine, event)
        if self._log is not None and engine == ENGINES[0]:
            self.note(f"feed {event.seq}: {type(event).__name__} {event}")

    def process_ended(self, name: str) -> None:
        """A process is gone; if nobody else does, its supervisor starts it again."""
        if not self._over:
            self.timeline.after(SUPERVISED_MS, lambda: self._begin(name))

    def process_of(self, actor: str) -> SimProcess:
        return self.processes[self.deployment.process_of[actor]]

    def actor(self, name: str) -> Any:
        return self.process_of(name).actor(name)

    # ------------------------------------------------------------------ the run

    def run(self) -> list[str]:
        """Play the plan to its end; returns what was violated, [] for nothing."""
        try:
            for name in self.deployment.processes:
                self._begin(name)
            for name in ENGINES:
                self._begin_trader(name)
            for step in self.plan.steps:
                self.timeline.after(step.at_ms, lambda step=step: self._play(step))  # type: ignore[misc]
            self._advance(self.plan.active_ms + 500)
            self._calm()
            return self._rest()
        except Livelock as error:
            return [f"I8: {error}"]
        finally:
            self._end()

    def _advance(self, ms: float) -> None:
        self.timeline.run_until(self.timeline.now_ns + int(ms * MS))

    def _rest(self) -> list[str]:
        found = ["not looked at"]
        for _ in range(REST_MS // LOOK_EVERY_MS):
            self._advance(LOOK_EVERY_MS)
            if self.auditor.complaints:
                return self.auditor.complaints
            if not self.auditor.unanswered():
                found = self.auditor.faults()
                if not found:
                    self._advance(AFTERWARDS_MS)
                    return self.auditor.faults()
        return self.auditor.faults() or found

    def _calm(self) -> None:
        """Faults stop: everybody runs, nothing is withheld, the exchanges behave."""
        self.quiet = True
        for faults in self._journal_faults.values():
            faults.clear()
        for name, process in self.processes.items():
            process.fuse = None
            process.loop.proceed()
            if not process.alive:
                self._begin(name)
        for exchange in self.plan.exchanges:
            self._set_fault(exchange, ("clear",))

    def _end(self) -> None:
        self._over = True
        for process in self.processes.values():
            process.kill()
        for trader in self.traders.values():
            trader.kill()
        for disk in self._disks.values():
            disk.connection.close()

    def _begin(self, name: str) -> None:
        before = self.processes.get(name)
        if self._over or (before is not None and before.alive):
            return
        self.note(f"{name} begins")
        self.processes[name] = SimProcess(self, name)
        self.processes[name].begin()

    def _begin_trader(self, name: str) -> None:
        self.traders[name] = Trader(self, name, self._cursors[name])
        self.traders[name].begin()

    # ------------------------------------------------------------------ steps

    def _play(self, step: Step) -> None:
        if not self.quiet:
            self.note(f"step {step.number}: {step.what} {step.args}")
            getattr(self, f"_on_{step.what}")(step.number, *step.args)

    def _on_open(self, number: int, name: str, exchange: str, *terms: Any) -> None:
        instrument, side, quantity, price, tif, post_only, cid, expires_ms = terms
        named = self.deployment.exchange(exchange).instruments[instrument].name

        def request(engine: Engine) -> None:
            given = engine.open(
                exchange, named, side=side, quantity=quantity, price=price, time_in_force=tif,
                post_only=post_only, cid=cid or None, expires_ms=expires_ms,
            )  # fmt: skip
            self._cids[number] = (exchange, given)

        self.traders[name].ask(request)

    def _on_cancel(self, number: int, name: str, opened: int) -> None:
        if opened in self._cids:
            exchange, cid = self._cids[opened]
            self.traders[name].ask(lambda engine: engine.cancel(cid, exchange))

    def _on_cancel_all(self, number: int, name: str, exchange: str, scope: str) -> None:
        self.traders[name].ask(lambda engine: engine.cancel_all(exchange, scope=scope))

    def _on_trade(
        self, number: int, exchange: str, symbol: str, price: str, quantity: str, side: int
    ) -> None:
        def act(actor: Any, now_ns: int) -> None:
            clock_ns = actor.gateway.clock(now_ns)
            actor.matching.trade(symbol, amount(price), amount(quantity), Side(side), clock_ns)
            actor._told(now_ns)

        self._do(f"exchange.{exchange}", act)

    def _do(self, actor: str, act: Callable[[Any, int], None]) -> None:
        process = self.process_of(actor)
        if process.alive:
            process.do(actor, act)

    def _set_fault(self, exchange: str, words: tuple[str, ...]) -> None:
        name, *arguments = words
        self._do(
            f"exchange.{exchange}", lambda actor, now_ns: actor.set_fault(SetFault(name, arguments), now_ns)
        )

    def _on_venue(self, number: int, exchange: str, *words: str) -> None:
        self._set_fault(exchange, words)

    _on_disconnect = _on_venue

    def _on_kill(self, number: int, actor: str, pause_ms: int) -> None:
        self._kill(self.deployment.process_of[actor], pause_ms)

    def _kill(self, name: str, pause_ms: int) -> None:
        self.processes[name].kill()
        self.timeline.after(pause_ms, lambda: self._begin(name))

    def _on_fuse(self, number: int, actor: str, operations: int, pause_ms: int) -> None:
        process = self.process_of(actor)
        process.fuse = operations
        self.timeline.after(1_000 + pause_ms, lambda: self._begin(process.name))

    def _on_stop(self, number: int, actor: str, pause_ms: int) -> None:
        process = self.process_of(actor)
        process.loop.stopped = True
        self.timeline.after(pause_ms, process.loop.proceed)

    def _on_term(self, number: int, actor: str, pause_ms: int) -> None:
        process = self.process_of(actor)
        if process.alive:
            process.stop()
        self.timeline.after(600 + pause_ms, lambda: self._begin(process.name))

    def _on_all(self, number: int, pause_ms: int) -> None:
        for name in self.deployment.processes:
            self._kill(name, pause_ms)

    def _on_reset(self, number: int, wires: int) -> None:
        random = self.random_for(f"reset {number}")
        connecting = [
            wire
            for process in self.processes.values()
            for wire in process.sockets.wires
            if not wire.link.bound and not wire.inproc
        ]
        connecting += [wire for trader in self.traders.values() for wire in trader.sockets.wires]
        for wire in random.sample(connecting, min(wires, len(connecting))):
            self.network.reset(wire)

    def _on_journal(self, number: int, actor: str, kind: str) -> None:
        self.journal_faults(actor).append(kind)

    def _on_engine(self, number: int, name: str, pause_ms: int) -> None:
        self.traders[name].kill()
        self.timeline.after(pause_ms, lambda: self._begin_trader_again(name))

    def _begin_trader_again(self, name: str) -> None:
        if self.traders[name].loop.dead:
            self._begin_trader(name)

    def _on_step(self, number: int, ms: int) -> None:
        self.timeline.wall_ahead_ns += ms * MS
