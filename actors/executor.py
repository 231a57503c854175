"""The requests of one account: accepted once, sent once, answered once, and never guessed about.

What leaves was journaled first. Every accepted request is answered by its deadline; a timeout answers the
request and leaves the order Unknown until the exchange (or an operator) says what is true. A repeated request
is looked up before anything else: it is never refused and never redone.
"""

import zlib

from msgspec.structs import replace

from actors.brake import Brake
from actors.cancels import Cancels
from actors.desk import DeskActor
from actors.executor_feed import ExecutorFeed
from actors.executor_state import TABLES, ExecutorRows, Flight, Record, Status, record_of
from actors.flights import Flights, Timed
from actors.gate import EVENTS_A_REQUEST, Gate
from actors.leaving import Leaving
from actors.opens import Opens
from actors.order_check import OrderCheck
from actors.unknowns import Unknowns
from pipeline import client, headers
from pipeline.actor import HandOver, Journal, Outbox, Outcome
from pipeline.checks import check_identity, read_checked
from pipeline.client import Capability
from pipeline.control import Done, Failed, Halt, Resolve, Resume
from pipeline.deployment import Deployment
from pipeline.headers import REQUEST_SIZE, ControlHeader, HeaderError, Kind, RequestHeader
from pipeline.indexing import Indexer, failure
from pipeline.messages import (
    ActorStarted,
    Answers,
    CancelAll,
    CancelOrder,
    Event,
    Failure,
    Halted,
    Message,
    OpenOrder,
    Order,
    OrderSnapshot,
    Refused,
    Resumed,
)
from pipeline.naming import printable
from pipeline.source import Source
from pipeline.topology import role, source_id
from pipeline.vocabulary import Error, Evidence, OrderState, Refusal

__all__ = ["TABLES", "Executor"]

ENGINES_LIMIT = 1_024  # engines whose sessions are in memory
ROOM_KEPT = 512  # stop reading requests while fewer events than this could still be kept


class Executor(DeskActor):
    """Gate, journal, send, answer."""

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        journal: Journal,
        capabilities: frozenset[Capability],
        request_validity_ms: int | None,
    ) -> None:
        super().__init__(name, deployment)
        self.outbox = Outbox()
        self.journal = journal
        self.exchange = deployment.exchange(role(name)[1])
        self.indexer = Indexer(self.exchange)
        self.rows = ExecutorRows(journal)
        self.orders: dict[str, Record] = {}
        self.sessions: dict[str, tuple[int, int]] = {}  # engine -> newest session, highest rid
        self.halted = True
        self.capabilities = capabilities
        self.source = Source(self.outbox, 0, 0, 1, 1)
        self.flights = Flights(self.exchange.timing, self.outbox)
        self.brake = Brake()
        self.unknowns = Unknowns(self, request_validity_ms)
        self.opens = Opens(self)
        self.cancels = Cancels(self)
        self.feed = ExecutorFeed(self)
        self.check = OrderCheck(self)
        self.gate = Gate(self)
        self.leaving = Leaving(self)
        self._sessions_changed: set[str] = set()
        self._paused = False
        self._timed: tuple[Timed, ...] = ()

    # ------------------------------------------------------------------------------------ starting

    def on_start(self, now_ns: int, seed: int) -> None:
        self.epoch = now_ns
        edges = self.deployment.edges
        number = source_id(self.deployment, self.name)
        self.source = Source(
            self.outbox, number, self.journal.birth_id, edges.outbox_limit, edges.resend_after_ms
        )
        self._timed = (self.source, self.flights, self.unknowns, self.cancels, self.check)
        kept = self.journal.range("outbox", 0, 2**62, 2**31)  # all: the last one is where numbers go on
        acknowledged = int(self.rows.state("acknowledged") or 0)
        self.source.restore(
            [row for row in kept if row[0] > acknowledged], kept[-1][0] if kept else 0, now_ns
        )
        self.halted = self.rows.state("halted") == "yes"
        self.feed.begin(now_ns)
        self.say(ActorStarted(actor=self.name, epoch=now_ns, received_at_ns=now_ns), now_ns)
        self._recover(now_ns)
        self.check.begin(now_ns)

    def _recover(self, now_ns: int) -> None:
        """Take up active orders; what may have left and has no answer is Unknown, and its request timed
        out.
        """
        for record in self.rows.active():
            # It left before now, whatever a clock that was stepped meanwhile makes of its stamp.
            record.at_ns = now_ns
            self.orders[record.order.cid] = record
            if not record.answered:
                self._answer_restart(record, now_ns)
            elif record.order.state is OrderState.Unknown:
                self.unknowns.begin(record, now_ns)
            self.cancels.after_word(record, now_ns)  # a wish goes on
        self.unknowns.take_up(now_ns)
        for row in self.rows.unanswered():
            answers = Answers(*row[:3])
            if row[3] != Kind.OpenOrder:
                self.cancels.answer_restart(answers, row, now_ns)
            else:  # the stream had ended the order before its call came back
                self._answer_restart(record_of(row), now_ns)

    def _answer_restart(self, record: Record, now_ns: int) -> None:
        timeout = failure(Error.Timeout, "the executor was restarted while the request was on its way")
        self.become_unknown(record, Evidence.RESTART, now_ns, timeout, announce=False)
        record.answered = True
        self.say(
            OrderSnapshot(
                received_at_ns=now_ns,
                evidence=Evidence.RESTART,
                answers=record.request,
                tag=record.tag,
                order=record.order,
                failure=timeout,
                as_of=self.feed.read,
            ),
            now_ns,
        )
        self.rows.save(record)

    # ------------------------------------------------------------------------------------ requests

    def on_message(self, link: str, frame: bytes, now_ns: int) -> None:
        if link == "requests":
            self._on_request(frame, now_ns)
        elif link == "feed":
            self.feed.reader.on_frame(frame, now_ns)
        elif link == "replay":
            self.feed.reader.on_answer(frame, now_ns)

    def _on_request(self, frame: bytes, now_ns: int) -> None:
        try:
            header = headers.read_request(frame)
        except HeaderError:
            self.count("bad_request_frames")
            return
        if check_identity(header) is not None:
            self.count("nameless_requests")
            return
        digest = zlib.crc32(frame[REQUEST_SIZE:])
        if self._is_known(header, digest, now_ns):
            return
        body = read_checked(self.deployment, self.exchange, header, frame)
        if isinstance(body, tuple):
            self._refuse(header, *body, "", digest, now_ns)
            return
        session, _ = self._session_of(header.engine)
        cid = getattr(body, "cid", "")
        if header.session < session:
            words = f"session: {header.session} of {header.engine} was followed by {session}: stop the older"
            self._refuse(header, Refusal.InvalidRequest, words, cid, digest, now_ns)
            return
        self._mark_session(header)
        if isinstance(body, OpenOrder):
            refusal = self.gate.refusal(header, body, now_ns)
            if refusal is not None:
                self._refuse(header, *refusal, cid, digest, now_ns)
            else:
                self.opens.accept(header, body, frame, digest, now_ns)
        elif isinstance(body, CancelOrder):
            self.cancels.on_cancel(header, body, digest, now_ns)
        elif isinstance(body, CancelAll):
            self.cancels.on_cancel_all(header, body, digest, now_ns)

    def _is_known(self, header: RequestHeader, digest: int, now_ns: int) -> bool:
        """Whether this request was here before: then its answer is on the feed, or will be."""
        session, rid = self._session_of(header.engine)
        if header.session > session or (header.session == session and header.rid > rid):
            return False  # rids of a session rise on the one way that leads here
        known = self.rows.digest_of(header)
        if known is None:
            return False
        self.count("repeated_requests")
        if known != digest:
            # Without `answers`: the one answer belongs to the request that was here first.
            words = f"rid: {header.rid} of session {header.session} was used for another request: count on"
            self.say(Refused(received_at_ns=now_ns, reason=Refusal.InvalidRequest, detail=words), now_ns)
        return True

    def _session_of(self, engine: str) -> tuple[int, int]:
        known = self.sessions.get(engine)
        if known is None:
            row = self.journal.get("sessions", engine)
            known = self.sessions[engine] = (row[1], row[2]) if row else (0, 0)
        return known

    def _mark_session(self, header: RequestHeader) -> None:
        if (header.session, header.rid) > self._session_of(header.engine):
            self.sessions[header.engine] = (header.session, header.rid)
            self._sessions_changed.add(header.engine)

    def _refuse(
        self, header: RequestHeader, reason: Refusal, detail: str, cid: str, digest: int, now_ns: int
    ) -> None:
        self._mark_session(header)
        self.count(f"refused_{reason.name}")
        answers = Answers(header.engine, header.session, header.rid)
        self.rows.save_other(answers, header.kind, Status.REFUSED, digest, cid, now_ns)
        self.say(
            Refused(received_at_ns=now_ns, answers=answers, reason=reason, detail=detail[:200], cid=cid),
            now_ns,
        )

    refuse = _refuse

    # ------------------------------------------------------------------------------------ words on orders

    def answer_open(
        self,
        record: Record,
        evidence: Evidence,
        now_ns: int,
        why: Failure | None = None,
        exchange_at_ns: int = 0,
    ) -> None:
        """Give an open its one answer: the order as it is known now."""
        flight = record.open_flight
        if record.answered or flight is None:
            return
        record.answered = True
        self.flights.answered(flight)
        self._tell(record, evidence, now_ns, why, exchange_at_ns, record.request)

    def take_word(
        self,
        record: Record,
        said: Order,
        evidence: Evidence,
        now_ns: int,
        why: Failure | None = None,
        exchange_at_ns: int = 0,
    ) -> bool:
        """What the exchange said to this executor about an order: weigh it, tell it, answer with it."""
        changed = self.feed.weigh(record, said, evidence)
        record.told_at_ns = now_ns
        if not record.answered:
            self.answer_open(record, evidence, now_ns, why, exchange_at_ns)
        elif changed:
            self._tell(record, evidence, now_ns, why, exchange_at_ns, None)
        self.rows.save(record)
        return changed

    def become_unknown(
        self, record: Record, evidence: Evidence, now_ns: int, why: Failure, announce: bool = True
    ) -> None:
        """Nobody knows what became of it: the exchange will be asked."""
        if record.order.state.finished:
            if announce:
                self.answer_open(record, evidence, now_ns, why)
            return
        changed = record.order.state is not OrderState.Unknown
        record.order = replace(record.order, state=OrderState.Unknown)
        self.unknowns.begin(record, now_ns)
        if announce:
            if not record.answered:
                self.answer_open(record, evidence, now_ns, why)
            elif changed:
                self._tell(record, evidence, now_ns, why, 0, None)
        self.rows.save(record)

    def _tell(
        self,
        record: Record,
        evidence: Evidence,
        now_ns: int,
        why: Failure | None,
        exchange_at_ns: int,
        answers: Answers | None,
    ) -> None:
        unknown = record.order.state is OrderState.Unknown
        self.say(
            OrderSnapshot(
                exchange_at_ns=exchange_at_ns,
                received_at_ns=now_ns,
                evidence=evidence,
                answers=answers,
                tag=record.tag,
                order=record.order,
                failure=why,
                as_of=self.feed.read if unknown else 0,
            ),
            now_ns,
        )

    def after_word(self, record: Record, now_ns: int) -> None:
        """Something was learnt about an order: what waited for it goes on."""
        if record.order.state is not OrderState.Unknown:
            self.unknowns.end(record)
        if record.seen and not record.answered and record.open_flight is not None and record.open_flight.over:
            # The client left the answer to the stream, and the stream has spoken.
            self.answer_open(record, Evidence.STREAM, now_ns)
            self.rows.save(record)
        self.cancels.after_word(record, now_ns)
        if record.order.state.finished and record.answered and not record.flights:
            self.orders.pop(record.order.cid, None)

    def execution_error(self, error: Exception) -> client.ExecutionError:
        """A client's error in the taxonomy: anything it should not raise is its bug, and may have sent."""
        if isinstance(error, client.ExecutionError):
            return error
        self.count("client_bugs")
        return client.ExecutionError(Error.Socket, f"the client raised {type(error).__name__}: {error}")

    def say(self, event: Event, now_ns: int) -> None:
        """To the merger, through the outbox that the journal keeps."""
        number, frame = self.source.emit(self.exchange.index, event, now_ns)
        self.journal.put("outbox", (number, frame))

    # ------------------------------------------------------------------------------------ calls and time

    def on_call_done(self, token: int, outcome: Outcome, now_ns: int) -> None:
        value, error = outcome
        if error is not None or self.brake.pause_ns:
            self.brake.hear(error, now_ns)
        flight = self.flights.landed(token)
        if flight is None:
            if not self.check.on_answer(token, value, error, now_ns):
                self.unknowns.on_answer(token, value, error, now_ns)
        elif flight.cancel:
            self.cancels.on_done(flight, value, error, now_ns)
        else:
            self.opens.on_done(flight, value, error, now_ns)

    def next_deadline_ns(self) -> int | None:
        # Asked after every turn, so without a generator.
        earliest = self.feed.reader.next_deadline_ns()
        for part in self._timed:
            time_ns = part.next_deadline_ns()
            if time_ns is not None and (earliest is None or time_ns < earliest):
                earliest = time_ns
        return earliest

    def on_deadline(self, now_ns: int) -> None:
        self.source.on_deadline(now_ns)
        for flight in self.flights.due(now_ns):
            self.count("timeouts")
            waited_ms = self.exchange.timing.request_timeout_ms
            why = failure(Error.Timeout, f"no answer within {waited_ms} ms")
            self.on_timeout(flight, Evidence.DEADLINE, why, now_ns)
        for flight in self.flights.take_given_up():
            self._on_given_up(flight, now_ns)
        self.unknowns.on_deadline(now_ns)
        self.cancels.on_deadline(now_ns)
        self.check.on_deadline(now_ns)
        self.feed.reader.on_deadline(now_ns)

    def on_timeout(self, flight: Flight, evidence: Evidence, why: Failure, now_ns: int) -> None:
        settle = self.cancels.on_timeout if flight.cancel else self.opens.on_timeout
        settle(flight, evidence, why, now_ns)

    def _on_given_up(self, flight: Flight, now_ns: int) -> None:
        """A call was ended that never answered: what waited for it goes on."""
        record = flight.record
        if record is not None:
            if flight in record.flights:
                record.flights.remove(flight)
            self.after_word(record, now_ns)

    def on_batch_end(self, now_ns: int) -> None:
        for engine in self._sessions_changed:
            self.journal.put("sessions", (engine, *self.sessions[engine]))
        self._sessions_changed.clear()
        while len(self.sessions) > ENGINES_LIMIT:  # the journal has them
            del self.sessions[next(iter(self.sessions))]
        self.feed.save()
        self.flights.tidy()
        # Refusals are kept for the merger too: when it takes none, no more requests are read.
        wanted = ROOM_KEPT + EVENTS_A_REQUEST * self.flights.count
        full = self.source.room < min(wanted, self.deployment.edges.outbox_limit // 2)
        if full != self._paused:
            self._paused = full
            self.outbox.pause("requests", full)

    def on_unsent(self, link: str, frames: list[bytes], now_ns: int) -> None:
        if link == "events":
            self.source.on_unsent(frames, now_ns)
        else:
            self.count(f"unsent_{link}", len(frames))

    def on_drain(self, now_ns: int) -> None:
        self.leaving.begin()

    def drained(self, now_ns: int) -> bool:
        return self.leaving.is_over(now_ns)

    def on_stop(self, now_ns: int) -> None:
        self.leaving.end(now_ns)

    def hand_over(self) -> HandOver:
        return self.leaving.hand_over()

    # ------------------------------------------------------------------------------------ the desk

    def on_command(self, header: ControlHeader, body: Message, now_ns: int) -> Message:
        if isinstance(body, Halt):
            self.halted = True
            self.rows.set_state("halted", "yes")
            by, because = printable(body.by), printable(body.because)
            self.say(Halted(by=by, because=because, received_at_ns=now_ns), now_ns)
            return Done(detail=f"{self.exchange.name} is halted: opens are refused, cancels pass")
        if isinstance(body, Resume):
            self.halted = False
            self.rows.set_state("halted", "no")
            by, because = printable(body.by), printable(body.because)
            self.say(Resumed(by=by, because=because, received_at_ns=now_ns), now_ns)
            return Done(detail=f"{self.exchange.name} takes opens again")
        if isinstance(body, Resolve):
            return self.unknowns.resolve(body, now_ns)
        return Failed(detail=f"{self.name} does not do {type(body).__name__}")

    def ready(self, now_ns: int) -> bool:
        return not self.halted and not self.gate.not_ready(now_ns)

    def gauges(self, now_ns: int) -> dict[str, int]:
        return {
            "in_flight": self.flights.count,
            "orders": len(self.orders),
            "unknown": self.unknowns.count,
            "stuck": self.unknowns.stuck,
            "unacknowledged": self.source.unacknowledged,
        }

    def notes(self) -> list[str]:
        said = [self.gate.not_ready(self.feed.reader.heard_at_ns)] + (["halted"] if self.halted else [])
        return [note for note in said if note]
