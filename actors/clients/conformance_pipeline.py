"""A whole pipeline in memory around one client: the real router, executor, reconnector, merger and engine.

Frames go from outbox to inbox without sockets; calls and streams run in the real lane on the running loop.
Each actor's turn ends in one commit before anything of it leaves, as its host would have it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from actors import executor, merger
from actors.clients.conformance_tap import Tap
from actors.executor import Executor
from actors.merger import Merger
from actors.reconnector import Reconnector
from actors.router import Router
from pipeline.actor import Actor, Outbox, Pause, Stop
from pipeline.calls import Calls
from pipeline.clock import Clock
from pipeline.deployment import Backoff, Deployment, Edges, Exchange
from pipeline.engine_core import EngineCore
from pipeline.identity import request_of
from pipeline.journal import SqliteJournal
from pipeline.journal_reader import JournalReader
from pipeline.messages import CancelOrder, Event, OpenOrder, Order
from pipeline.vocabulary import OrderKind, Side, TimeInForce

ENGINE: Final = "certify"
BATCH_LIMIT: Final = 256
_MILLI: Final = 1_000_000
_STEP_S: Final = 0.001  # the least time between two looks at the deadlines

T = TypeVar("T")


def deployment_of(exchange: Exchange, folder: Path, request_timeout_ms: int) -> Deployment:
    """A deployment of that one exchange, with the waits of its pipeline short."""
    timing = replace(
        exchange.timing,
        request_timeout_ms=request_timeout_ms,
        query_every_ms=min(exchange.timing.query_every_ms, 50),
        call_lifetime_ms=max(1_000, 4 * request_timeout_ms),
    )
    backoff = Backoff(initial_ms=10, multiplier=2.0, max_ms=200, healthy_ms=0)
    alone = replace(exchange, index=0, timing=timing, backoff=backoff)
    names = ("merger", "router", f"executor.{exchange.name}", f"reconnector.{exchange.name}")
    edges = Edges(heartbeat_ms=20)
    path = folder / "certify.toml"
    return Deployment(path, "certify", folder, folder, (alone,), {"all": names}, "process", edges)


class _Seat:
    """One actor, its inbox, its journal and its client's calls."""

    def __init__(
        self, line: "Pipeline", actor: Any, journal: SqliteJournal | None = None, client: Any = None
    ) -> None:
        self.actor: Actor = actor
        self.outbox: Outbox = actor.outbox
        self.journal = journal
        self.inbox: deque[tuple[str, bytes, bytes | None]] = deque()
        self.calls = Calls(line.loop, client, line, BATCH_LIMIT)
        self.due_ns: int | None = None

    def turn(self, now_ns: int) -> bool:
        """One batch: whether there was anything to do."""
        due = self.due_ns is not None and self.due_ns <= now_ns
        if not (self.inbox or self.calls or due):
            return False
        for _ in range(min(len(self.inbox), BATCH_LIMIT)):
            link, frame, peer = self.inbox.popleft()
            if peer is None:
                self.actor.on_message(link, frame, now_ns)
            else:
                self.actor.on_question(link, peer, frame, now_ns)
        self.calls.deliver(self.actor, now_ns)
        self.actor.on_deadline(now_ns)
        self.end_turn(now_ns)
        return True

    def end_turn(self, now_ns: int) -> None:
        self.actor.on_batch_end(now_ns)
        if self.journal is not None:
            self.journal.commit(now_ns)
        self.due_ns = self.actor.next_deadline_ns()


class Pipeline:
    """The deployment in memory; `feed` is every event of it, in order."""

    def __init__(
        self, exchange: Exchange, folder: Path, ours: Tap, theirs: Tap, request_timeout_ms: int
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.deployment = deployment_of(exchange, folder, request_timeout_ms)
        self.exchange = self.deployment.exchanges[0]
        self.feed: list[Event] = []
        self.rids: list[int] = []  # of every request that was sent
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._closed = False
        self._seats = self._make(ours, theirs)
        send = self._from_engine
        self._core = EngineCore(self.deployment, ENGINE, self.clock.now_ns(), send, everything=True)

    def _make(self, ours: Tap, theirs: Tap) -> dict[str, _Seat]:
        of, name = self.deployment, self.exchange.name
        events, requests = self._journal("merger", merger.TABLES), self._journal("executor", executor.TABLES)
        validity_ms = ours.client.request_validity_ms
        made = Executor(f"executor.{name}", of, requests, ours.client.capabilities, validity_ms)
        self._executor = made
        watcher = Reconnector(f"reconnector.{name}", of, theirs.client.capabilities)
        return {
            "merger": _Seat(self, Merger("merger", of, events), events, JournalReader(events.path)),
            "router": _Seat(self, Router("router", of)),
            "executor": _Seat(self, made, requests, ours),
            "reconnector": _Seat(self, watcher, None, theirs),
        }

    def _journal(self, name: str, tables: Any) -> SqliteJournal:
        path = self.deployment.state_dir / f"{name}.db"
        return SqliteJournal(path, tables, "process", self.deployment.table, self.clock.now_ns())

    def start(self) -> None:
        for seed, seat in enumerate(self._seats.values(), 1):
            seat.actor.on_start(self.clock.now_ns(), seed)
            seat.end_turn(self.clock.now_ns())
            self._settle(seat)
        self.arrived()

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for name, seat in self._seats.items():
            if name in ("executor", "reconnector"):
                seat.calls.client = None  # the taps' clients are the suite's to close
            await seat.calls.close(1.0)
            if seat.journal is not None:
                seat.journal.close()

    # ------------------------------------------------------------------------------------ the engine's side

    def open(self, request: Any, instrument: int) -> str:
        """Send an open as the engine does; returns its cid. Raises EngineError."""
        kind = OrderKind.MARKET if request.price is None else OrderKind.LIMIT
        body = OpenOrder(
            instrument, "", Side(request.side), kind, TimeInForce(request.time_in_force), request.flags,
            request.price, request.quantity,
        )  # fmt: skip
        now_ns = self.clock.now_ns()
        cid = self._core.open(0, body, now_ns, now_ns + self.exchange.timing.expires_ms * _MILLI)
        identity = request_of(cid)
        assert identity is not None, "a cid that the engine made"
        self.rids.append(identity[2])
        return cid

    def cancel(self, cid: str, instrument: int) -> int:
        now_ns = self.clock.now_ns()
        rid = self._core.cancel(0, CancelOrder(instrument, cid), now_ns, now_ns + 5_000 * _MILLI)
        self.rids.append(rid)
        return rid

    @property
    def orders(self) -> dict[str, Order]:
        """Active orders as the feed has them."""
        return {cid: order for (_, cid), order in self._core.orders.items()}

    @property
    def balances(self) -> dict[int, Any]:
        return {asset: balance for (_, asset), balance in self._core.balances.items()}

    @property
    def ready(self) -> bool:
        """Whether an open would be taken now."""
        return 0 in self._core.synced and self._executor.ready(self.clock.now_ns())

    def answers(self, rid: int) -> list[Event]:
        return [e for e in self.feed if e.answers is not None and e.answers.rid == rid]

    async def until(self, found: Callable[[], T | None], within_s: float) -> T | None:
        """What `found` finds on the feed, as soon as it does; None when the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self._news.clear()
                    value = found()
                    if value is not None:
                        return value
                    await self._news.wait()
        except TimeoutError:
            return None

    # ------------------------------------------------------------------------------------ turns

    def arrived(self) -> None:
        """Something waits for an actor: take turns, once, as soon as the loop comes to it."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self.loop.call_soon(self._turns)

    def _turns(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        busy = False
        for seat in self._seats.values():
            if seat.turn(self.clock.now_ns()):
                self._settle(seat)
                busy = True
        self._core.on_deadline(self.clock.now_ns())
        if self._core.events:
            self.feed.extend(self._core.events)
            self._core.events.clear()
        self._news.set()
        if busy:
            self.arrived()
        else:
            self._wait()

    def _wait(self) -> None:
        """Until the next deadline."""
        due = [seat.due_ns for seat in self._seats.values() if seat.due_ns is not None]
        if self._timer is not None:
            self._timer.cancel()
        wait_s = (min(due) - self.clock.now_ns()) / 1e9
        self._timer = self.loop.call_later(max(_STEP_S, wait_s), self.arrived)

    def _settle(self, seat: _Seat) -> None:
        """Let out what an actor's turn left in its outbox."""
        frames, seat.outbox.frames = seat.outbox.frames, []
        actions, seat.outbox.actions = seat.outbox.actions, []
        name = next(each for each, held in self._seats.items() if held is seat)
        for link, frame, peer in frames:
            self._carry(name, link, frame, peer)
        for action in actions:
            if isinstance(action, Pause):
                if isinstance(action.link, int):
                    seat.calls.pause(action.link, action.paused)
            elif not isinstance(action, Stop):
                seat.calls.do(action)
        seat.calls.run()

    def _carry(self, name: str, link: str, frame: bytes, peer: bytes | None) -> None:
        seats = self._seats
        if link == "events":
            seats["merger"].inbox.append(("events", frame, None))
        elif link == "feed":
            for reader in ("router", "executor", "reconnector"):
                seats[reader].inbox.append(("feed", frame, None))
            self._core.on_frame("feed", frame, self.clock.now_ns())
        elif link == "replay" and name == "executor":
            seats["merger"].inbox.append(("replay", frame, b"executor"))
        elif link == "replay" and peer == b"executor":
            seats["executor"].inbox.append(("replay", frame, None))
        elif link == "replay":
            self._core.on_frame("replay", frame, self.clock.now_ns())
        else:
            seats["executor"].inbox.append(("requests", frame, None))

    def _from_engine(self, link: str, frame: bytes) -> bool:
        if link == "requests":
            self._seats["router"].inbox.append(("requests", frame, None))
        else:
            self._seats["merger"].inbox.append(("replay", frame, b"engine"))
        self.arrived()
        return True
