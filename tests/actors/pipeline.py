"""The whole pipeline in memory: real actors and engines, links that deliver at once, time that a test moves.

Nothing happens that the test did not cause: calls and streams of the client wait in `calls` and `streams`
until they are answered, frames wait while `hold` says so or vanish while `lose` does. Each frame is a turn
of its own (handle, batch end, commit, send), so every crash point between two turns can be reached.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import executor, merger
from actors.executor import Executor
from actors.merger import Merger
from actors.reconnector import Reconnector
from actors.router import Router
from pipeline import client, codec, headers
from pipeline.actor import Actor, Call, Cancel, Outcome, Pause, Send, Stream
from pipeline.client import Capability
from pipeline.headers import Kind
from pipeline.journal import SqliteJournal
from pipeline.journal_reader import JournalReader
from pipeline.topology import links, role
from pipeline.vocabulary import Role
from tests.actors.desk_file import deployment
from tests.actors.engine_desk import Desk
from tests.actors.feed_record import FeedRecord

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
ALL = frozenset(Capability)
LANE_LIMIT = 200_000  # turns in which a settling pipeline must come to rest


@dataclass(eq=False)
class Asked:
    """A call or a stream that waits for the test to say what becomes of it."""

    pipeline: "Pipeline"
    actor: str
    token: int
    method: str
    args: tuple[Any, ...]
    cancelled: bool = False
    paused: bool = False

    @property
    def request(self) -> Any:
        return self.args[0]

    def answer(self, value: Any = None) -> None:
        """Answer a call; for a stream: it is subscribed."""
        self._done(Outcome(value, None))

    def fail(self, error: Exception) -> None:
        self._done(Outcome(None, error))

    def _done(self, outcome: Outcome) -> None:
        if self.method != "account_stream" and self in self.pipeline.calls:
            self.pipeline.calls.remove(self)
        if not self.cancelled:
            at = self.pipeline.actors[self.actor]
            self.pipeline.turn(self.actor, lambda now_ns: at.on_call_done(self.token, outcome, now_ns))
            self.pipeline.settle()

    def item(self, *items: Any) -> None:
        """Items of a stream, in one batch."""
        at = self.pipeline.actors[self.actor]

        def deliver(now_ns: int) -> None:
            for item in items:
                at.on_item(self.token, item, now_ns)

        if not self.cancelled:
            self.pipeline.turn(self.actor, deliver)
            self.pipeline.settle()

    def end(self, error: Exception | None = None) -> None:
        """The stream ends."""
        at = self.pipeline.actors[self.actor]
        if not self.cancelled:
            self.pipeline.turn(self.actor, lambda now_ns: at.on_stream_end(self.token, error, now_ns))
            self.pipeline.settle()


class Pipeline(FeedRecord):
    """Router, merger, and each exchange's executor and reconnector, joined by links in memory."""

    def __init__(
        self,
        folder: Path,
        exchanges: tuple[str, ...] = ("alpha",),
        capabilities: frozenset[Capability] = ALL,
        validity_ms: int | None = 0,
        durability: str = "process",
        **tables: dict[str, Any],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.deployment = deployment(folder, exchanges, durability, **tables)
        self.deployment.state_dir.mkdir(exist_ok=True)
        self.capabilities, self.validity_ms = capabilities, validity_ms
        super().__init__()
        self.now_ns = START_NS
        self.actors: dict[str, Actor] = {}
        self.journals: dict[str, SqliteJournal] = {}
        self.readers: dict[str, JournalReader] = {}
        self.engines: dict[str, Desk] = {}
        self.calls: list[Asked] = []
        self.streams: list[Asked] = []
        self.replies: list[tuple[str, bytes]] = []  # of control questions that a test asked
        self.wire: deque[tuple[str, str, str, bytes]] = deque()  # from, to, link, frame
        self.held: list[tuple[str, str, str, bytes]] = []
        self.lose: Callable[[str, str, str, bytes], bool] = _never
        self.hold: Callable[[str, str, str, bytes], bool] = _never
        self.full: set[tuple[str, str]] = set()  # (actor, link) that takes nothing
        self.heartbeats = 0
        self.repeats_expected = False  # a test that has requests answered again on purpose says so
        self.stopped: set[str] = set()
        self.paused: set[tuple[str, str | int]] = set()

    # ------------------------------------------------------------------ life

    def start(self) -> "Pipeline":
        for name in self.deployment.actors:
            self.begin(name)
        self.settle()
        return self

    def begin(self, name: str, seed: int = 7) -> None:
        self.actors[name] = self._make(name)
        self.turn(name, lambda now_ns: self.actors[name].on_start(now_ns, seed))

    def _make(self, name: str) -> Actor:
        kind = role(name)[0]
        if kind is Role.ROUTER:
            return Router(name, self.deployment)
        if kind is Role.RECONNECTOR:
            return Reconnector(name, self.deployment, self.capabilities)
        tables = merger.TABLES if kind is Role.MERGER else executor.TABLES
        path = self.deployment.state_dir / f"{name}.db"
        durability = self.deployment.durability
        journal = SqliteJournal(path, tables, durability, self.deployment.table, self.now_ns)
        self.journals[name] = journal
        if kind is Role.MERGER:
            self.readers[name] = JournalReader(path)
            return Merger(name, self.deployment, journal)
        return Executor(name, self.deployment, journal, self.capabilities, self.validity_ms)

    def crash(self, name: str) -> None:
        """The actor is gone, with whatever it had not committed, and so are its calls."""
        self.stopped.add(name)
        if name in self.journals:
            self.journals.pop(name).abandon()
        self._drop_asked(name)

    def restart(self, name: str, clean: bool = False) -> None:
        if clean:
            self.turn(name, self.actors[name].on_stop)
            if name in self.journals:
                self.journals.pop(name).close()
            self._drop_asked(name)
        elif name not in self.stopped:
            self.crash(name)
        self.stopped.discard(name)
        self.now_ns += MS
        self.begin(name)
        self.settle()

    def _drop_asked(self, name: str) -> None:
        for asked in (*self.calls, *self.streams):
            asked.cancelled = asked.cancelled or asked.actor == name
        self.calls = [call for call in self.calls if call.actor != name]

    def close(self) -> None:
        for journal in self.journals.values():
            journal.abandon()
        for reader in self.readers.values():
            reader._thread.shutdown(wait=False)
            if reader._connection is not None:
                reader._connection.close()

    # ------------------------------------------------------------------ turns

    def turn(self, name: str, handle: Callable[[int], None]) -> None:
        """One turn of an actor, as a host gives it: nothing leaves before the commit."""
        if name in self.stopped:
            return
        handle(self.now_ns)
        actor = self.actors[name]
        for _ in range(3):
            actor.on_batch_end(self.now_ns)
            if name in self.journals:
                self.journals[name].commit(self.now_ns)
            frames, actor.outbox.frames = actor.outbox.frames, []
            unsent: dict[str, list[bytes]] = {}
            for sent in frames:
                if sent.peer is None and (name, sent.link) in self.full:
                    unsent.setdefault(sent.link, []).append(sent.frame)
                else:
                    self._send(name, sent)
            for link, kept in unsent.items():
                actor.on_unsent(link, kept, self.now_ns)
            if not unsent:
                break
        actions, actor.outbox.actions = actor.outbox.actions, []
        for action in actions:
            self._act(name, action)

    def _send(self, name: str, sent: Send) -> None:
        link, frame, peer = sent
        if peer is not None:
            if link == "control":
                self.replies.append((peer.decode(), frame))
            else:
                self.wire.append((name, peer.decode(), link, frame))
        elif name == "merger":
            self._publish(frame)
        else:
            to = link if link.startswith("executor.") else "merger"
            self.wire.append((name, to, "requests" if to != "merger" else link, frame))

    def _publish(self, frame: bytes) -> None:
        header = headers.read_feed(frame)
        if header.kind == Kind.Heartbeat:
            self.heartbeats += 1
        else:
            self.feed.append((header, codec.read_feed_body(header.kind, frame)))
        for name in self.actors:
            wanted = [each.exchanges for each in links(self.deployment, name) if each.name == "feed"]
            if name != "merger" and wanted and header.exchange in wanted[0]:
                self.wire.append(("merger", name, "feed", frame))
        for name in self.engines:
            self.wire.append(("merger", name, "feed", frame))

    def _act(self, name: str, action: Any) -> None:
        if isinstance(action, Call) and name == "merger":
            value = self.readers[name].read(*action.args)
            self.turn(
                name, lambda now_ns: self.actors[name].on_call_done(action.token, Outcome(value), now_ns)
            )
        elif isinstance(action, Call):
            self.calls.append(Asked(self, name, *action))
        elif isinstance(action, Stream):
            self.streams.append(Asked(self, name, *action))
        elif isinstance(action, Cancel):
            for asked in (*self.calls, *self.streams):
                if asked.actor == name and asked.token == action.token:
                    asked.cancelled = True
            self.calls = [call for call in self.calls if not call.cancelled]
        elif isinstance(action, Pause):
            change = self.paused.add if action.paused else self.paused.discard
            change((name, action.link))

    def settle(self) -> None:
        """Deliver until nothing is on its way that is not held."""
        for _ in range(LANE_LIMIT):
            if not self.wire:
                return
            self._deliver(*self.wire.popleft())
        raise AssertionError("the pipeline does not come to rest")

    def _deliver(self, sender: str, to: str, link: str, frame: bytes) -> None:
        if self.lose(sender, to, link, frame):
            return
        if self.hold(sender, to, link, frame):
            self.held.append((sender, to, link, frame))
        elif to in self.engines:
            self.engines[to].core.on_frame(link, frame, self.now_ns)
        elif to not in self.stopped:
            actor = self.actors[to]
            if to == "merger" and link == "replay":
                peer = sender.encode()
                self.turn(to, lambda now_ns: actor.on_question(link, peer, frame, now_ns))
            else:
                self.turn(to, lambda now_ns: actor.on_message(link, frame, now_ns))

    def release(self, order: Callable[[list[Any]], list[Any]] = list) -> None:
        """Let go of what was held, in its order or another one."""
        self.hold = _never
        held, self.held = order(self.held), []
        self.wire.extendleft(reversed(held))
        self.settle()

    # ------------------------------------------------------------------ time

    def advance(self, ms: float) -> None:
        """Let time pass; whoever asked to be woken is woken when it asked."""
        end_ns = self.now_ns + int(ms * MS)
        for _ in range(LANE_LIMIT):
            due = [
                (at_ns, name)
                for name, actor in self.actors.items()
                if name not in self.stopped and (at_ns := actor.next_deadline_ns()) is not None
            ]
            due += [
                (at_ns, name)
                for name, desk in self.engines.items()
                if (at_ns := desk.core.next_deadline_ns())
            ]
            at_ns, name = min(due)
            if at_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, at_ns)
            if name in self.engines:
                self.engines[name].core.on_deadline(self.now_ns)
            else:
                self.turn(name, self.actors[name].on_deadline)
            self.settle()
        else:
            raise AssertionError("somebody asks to be woken without end")
        self.now_ns = end_ns

    # ------------------------------------------------------------------ the client's side

    def waiting(self, method: str, exchange: str = "alpha") -> list[Asked]:
        """Calls of a method that have no answer yet."""
        return [call for call in self.calls if call.method == method and role(call.actor)[1] == exchange]

    def call(self, method: str, exchange: str = "alpha") -> Asked:
        """The one call of a method that has no answer yet."""
        (found,) = self.waiting(method, exchange)
        return found

    def stream(self, exchange: str = "alpha") -> Asked:
        """The newest stream of an exchange."""
        return [each for each in self.streams if role(each.actor)[1] == exchange][-1]

    def sync(
        self,
        orders: list[client.Order] | None = None,
        balances: list[client.AssetBalance] | None = None,
        trades: list[client.Trade] | None = None,
        exchange: str = "alpha",
        complete: bool = True,
    ) -> Asked:
        """Bring the account stream into step: subscribed, snapshot, missed trades."""
        stream = self.stream(exchange)
        stream.answer()
        self.call("account_snapshot", exchange).answer(client.AccountSnapshot(balances or [], orders or []))
        self.advance(150)  # until a heartbeat has said how far trades are committed
        if self.waiting("fetch_trades", exchange):
            self.call("fetch_trades", exchange).answer((trades or [], complete))
        return stream

    # ------------------------------------------------------------------ asking and looking

    def engine(self, name: str = "mm", **more: Any) -> "Desk":
        desk = self.engines[name] = Desk(self, name, **more)
        self.advance(250)  # a heartbeat to join at, and its answers
        return desk

    def request(
        self,
        body: Any,
        rid: int,
        engine: str = "mm",
        session: int = 1,
        attempt: int = 0,
        expires_ms: int = 5_000,
        exchange: int = 0,
        fingerprint: int | None = None,
    ) -> bytes:
        """Send a request by hand, as an engine in any language could; returns its frame."""
        kind = codec.KINDS[type(body)]
        fingerprint = self.deployment.fingerprint if fingerprint is None else fingerprint
        expires_at_ns = self.now_ns + expires_ms * MS
        head = headers.request(
            exchange, kind, attempt, fingerprint, engine.encode(), session, rid, expires_at_ns
        )
        self.send_raw(head + codec.encode(body))
        return head + codec.encode(body)

    def send_raw(self, frame: bytes, to: str = "router") -> None:
        self.wire.append(("test", to, "requests", frame))
        self.settle()

    def command(self, actor: str, body: Any) -> Any:
        """A question on an actor's control socket, and its answer."""
        frame = headers.control(0xFFFF, codec.KINDS[type(body)], self.deployment.fingerprint, 5)
        frame += codec.encode(body)
        at = self.actors[actor]
        self.turn(actor, lambda now_ns: at.on_question("control", b"test", frame, now_ns))
        self.settle()
        _, answer = self.replies.pop()
        return codec.read_control_body(headers.read_control(answer).kind, answer)

    def check_promises(self) -> None:
        """What must be true of any feed, whatever a test did."""
        assert self.repeats_expected or not self.counted("merger", "repeated_answers"), "answered again"
        super().check_promises()

    def counted(self, actor: str, what: str) -> int:
        counters: dict[str, int] = self.actors[actor].counters  # type: ignore[attr-defined]
        return counters.get(what, 0)


def _never(sender: str, to: str, link: str, frame: bytes) -> bool:
    return False
