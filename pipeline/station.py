"""One actor at its place in a process: its turns, and everything that its outbox asks for.

A turn is a batch of messages (or call outcomes, or a deadline), `on_batch_end`, one commit of the journal,
only then the frames in their order, and the calls. What a call answers at once makes a further round of that
turn. If the commit fails, nothing of the batch leaves. Nothing that an actor raises gets past here.
"""

import sqlite3
from collections.abc import Callable
from typing import Final, Protocol

from pipeline.actor import Actor, HandOver, Outbox, Pause, Stop
from pipeline.calls import Calls
from pipeline.clock import Clock
from pipeline.outflow import Outflow
from pipeline.reader import Loop, Reader
from pipeline.sockets import Wire

UNSENT_ROUNDS: Final = 2  # how often a turn lets its actor answer that links were full
CALL_ROUNDS: Final = 4  # how often it goes on with what calls answered at once
RETRY_NS: Final = 10_000_000  # the pause before what an actor sends again after those rounds goes out
JOURNAL_ERRORS: Final = (sqlite3.Error, OSError)  # an actor touches neither by itself


class HostJournal(Protocol):
    """What the host does with a journal; what an actor does with it is in actor.py."""

    def commit(self, now_ns: int) -> None: ...
    def commit_due_ns(self) -> int | None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class Overseer(Protocol):
    """Who a station reports to."""

    def turned(self, station: "Station") -> None: ...
    def failed(self, station: "Station", error: Exception) -> None: ...
    def journal_failed(self, station: "Station", error: Exception) -> None: ...
    def stop_wanted(self, station: "Station", wanted: Stop) -> None: ...


class Station:
    """One actor, its wires, its journal, and its client's calls."""

    def __init__(self, name: str, loop: Loop, clock: Clock, overseer: Overseer, batch_limit: int) -> None:
        self.name = name
        self.due_ns: int | None = None
        self.running = False
        self.actor: Actor
        self.calls: Calls
        self.journal: HostJournal | None = None
        self.outflow = Outflow(batch_limit, self._nudge)
        self._outbox: Outbox
        self._loop = loop
        self._clock = clock
        self._overseer = overseer
        self._batch_limit = batch_limit
        self._readers: dict[str, Reader] = {}
        self._paused: set[str] = set()  # links that the actor does not want to read
        self._publishing = False  # published frames wait for their turn: no inbox is read
        self._in_turn = False
        self._collecting = False

    def place(self, actor: Actor, journal: HostJournal | None, calls: Calls) -> None:
        """Put an actor here, the first or the one that replaces another."""
        self.actor, self.journal, self.calls = actor, journal, calls
        self._outbox = actor.outbox
        self._paused.clear()

    def wire(self, wire: Wire) -> None:
        """Give it one of its links."""
        self.outflow.add(wire)
        name = wire.link.name
        if wire.link.pattern not in ("push", "pub"):
            on_batch = self._asker(name) if wire.replies else self._hearer(name)
            self._readers[name] = Reader(self._loop, wire, self._batch_limit, on_batch)

    def start(self, seed: int) -> None:
        """The actor's first turn; inboxes are read from `read` on."""
        self.running = True
        self._turn(lambda now_ns: self.actor.on_start(now_ns, seed))

    def read(self) -> None:
        if self.running and not self._publishing:
            for name, reader in self._readers.items():
                if name not in self._paused:
                    reader.resume()

    def begin_drain(self) -> None:
        """Tell the actor that its process will stop."""
        self._turn(self.actor.on_drain)

    def drained(self) -> bool:
        """Whether the actor has nothing under way that is worth waiting for."""
        return not self.running or self.actor.drained(self._clock.now_ns())

    def drain(self) -> bool:
        """One batch of every inbox now, without the loop; whether one of them has more."""
        more = [reader.drain() for reader in self._readers.values()]
        return any(more)

    def stop(self) -> HandOver | None:
        """The actor's last turn. What it still wants to call is not called."""
        self._close_inboxes()
        if self.running:
            self._turn(self.actor.on_stop, calling=False)
        if not self.running:  # it had failed, or did now
            return None
        self.running = False
        self.outflow.finish()
        return self.actor.hand_over()

    def drop(self) -> None:
        """No more turns: the actor failed, or is to be built again."""
        self._close_inboxes()
        self.running = False
        self.due_ns = None

    def on_due(self, now_ns: int) -> None:
        """The time that `due_ns` named has come: the actor's deadline, its journal's, or a retry."""
        self.due_ns = None

        def handle(turn_ns: int) -> None:
            deadline_ns = self.actor.next_deadline_ns()
            if deadline_ns is not None and deadline_ns <= now_ns:
                self.actor.on_deadline(turn_ns)

        self._turn(handle)

    def arrived(self) -> None:
        """A call or a stream has brought something."""
        if not self._in_turn:
            self._collect_soon()

    # ------------------------------------------------------------------ turns

    def _hearer(self, link: str) -> Callable[[list[bytes]], None]:
        def on_batch(frames: list[bytes]) -> None:
            def handle(now_ns: int) -> None:
                on_message = self.actor.on_message
                for frame in frames:
                    on_message(link, frame, now_ns)

            self._turn(handle)

        return on_batch

    def _asker(self, link: str) -> Callable[[list[tuple[bytes, bytes]]], None]:
        def on_batch(questions: list[tuple[bytes, bytes]]) -> None:
            def handle(now_ns: int) -> None:
                self._tell_dropped()  # so that a health question sees it
                on_question = self.actor.on_question
                for peer, frame in questions:
                    on_question(link, peer, frame, now_ns)

            self._turn(handle)

        return on_batch

    def _tell_dropped(self) -> None:
        for name, reader in self._readers.items():
            dropped, reader.wire.dropped = reader.wire.dropped, 0
            if dropped:
                self.actor.on_dropped(name, dropped)

    def _collect_soon(self) -> None:
        if not self._collecting:
            self._collecting = True
            self._loop.call_soon(self._collect)

    def _collect(self) -> None:
        self._collecting = False
        if self.calls:
            self._turn(lambda now_ns: self.calls.deliver(self.actor, now_ns))

    def _turn(self, handle: Callable[[int], None], calling: bool = True) -> None:
        if not self.running:
            return
        self._in_turn = True
        try:
            now_ns = self._clock.now_ns()
            handle(now_ns)
            self._settle(now_ns)
            if calling:
                now_ns = self._call(now_ns)
            self._ask_deadline(now_ns)
        except JOURNAL_ERRORS as error:
            self._overseer.journal_failed(self, error)
        except Exception as error:
            self._overseer.failed(self, error)
        finally:
            self._in_turn = False

    def _settle(self, now_ns: int) -> None:
        """End the batch, make it safe, let its frames out."""
        actor, journal, outbox = self.actor, self.journal, self._outbox
        if self.outflow.publishes:
            self.outflow.begin_turn()
        for turn in range(1 + UNSENT_ROUNDS):
            actor.on_batch_end(now_ns)
            if journal is not None:
                journal.commit(now_ns)
            if turn == UNSENT_ROUNDS or not outbox.frames:
                break
            frames, outbox.frames = outbox.frames, []
            unsent = self.outflow.send(frames)
            if not unsent:
                break
            for link, kept in unsent.items():
                actor.on_unsent(link, kept, now_ns)
        if self.outflow.publishes and not self._publishing and self.outflow.left:
            self._publishing = True
            self._close_inboxes()
            self._loop.call_soon(self._publish_on)

    def _call(self, now_ns: int) -> int:
        """Do what else the outbox asks for, go on with what was answered at once; returns the time then."""
        self._act()
        for _ in range(CALL_ROUNDS):
            if not self.calls:
                return now_ns
            now_ns = self._clock.now_ns()
            self.calls.deliver(self.actor, now_ns)
            self._settle(now_ns)
            self._act()
        if self.calls:
            self._collect_soon()
        return now_ns

    def _act(self) -> None:
        actions = self._outbox.actions
        if not actions:
            return
        self._outbox.actions = []
        for action in actions:
            if isinstance(action, Pause):
                self._pause(action.link, action.paused)
            elif isinstance(action, Stop):
                self._overseer.stop_wanted(self, action)
            else:
                self.calls.do(action)
        self.calls.run()

    def _pause(self, link: str | int, paused: bool) -> None:
        if isinstance(link, int):
            self.calls.pause(link, paused)
        elif paused:
            self._paused.add(link)
            self._readers[link].pause()
        else:
            self._paused.discard(link)
            self.read()

    def _publish_on(self) -> None:
        if not self.running:
            return
        self.outflow.go_on()
        if self.outflow.left:
            self._loop.call_soon(self._publish_on)
        else:
            self._publishing = False
            self.read()

    def _close_inboxes(self) -> None:
        for reader in self._readers.values():
            reader.pause()

    def _nudge(self, link: str) -> None:
        self._readers[link].nudge()

    def _ask_deadline(self, now_ns: int) -> None:
        due_ns = self.actor.next_deadline_ns()
        if self.journal is not None:
            commit_ns = self.journal.commit_due_ns()
            if commit_ns is not None and (due_ns is None or commit_ns < due_ns):
                due_ns = commit_ns
        if self._outbox.frames and (due_ns is None or now_ns + RETRY_NS < due_ns):
            due_ns = now_ns + RETRY_NS
        self.due_ns = due_ns
        if due_ns is not None:
            self._overseer.turned(self)
