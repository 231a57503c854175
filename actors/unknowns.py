"""Orders nobody can speak for: asked about until the exchange says what is true, never ended by a guess.

A question has three outcomes: found, not there, cannot tell. "Not there" ends an order only when its
open's call is over and the question was put after the request could still have acted. "Cannot tell"
counts for nothing. Many unknown orders make no storm: questions are paced, and wait while the exchange
says RateLimit.
"""

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.executor_state import Record
from pipeline.client import Capability, ExecutionError, NotFound, Order
from pipeline.control import Done, Failed, Resolve
from pipeline.indexing import failure
from pipeline.messages import Message, Stuck
from pipeline.vocabulary import Error, Evidence, OrderState

if TYPE_CHECKING:
    from actors.executor import Executor

QUERIES_LIMIT = 8  # questions under way at once
PACE = 16  # questions in `query_every_ms`, at most, however many orders are unknown
PAUSE_LIMIT_MS = 30_000
_MILLI = 1_000_000
_OUTCOMES = {
    "cancelled": OrderState.Cancelled,
    "open-failed": OrderState.OpenFailed,
    "filled": OrderState.FullyFilled,
}


class Unknowns:
    """The Unknown orders of one executor and the questions about them."""

    def __init__(self, executor: "Executor", request_validity_ms: int | None) -> None:
        self._executor = executor
        self._validity_ms = request_validity_ms
        self._records: dict[str, Record] = {}
        self._looks: dict[str, Record] = {}  # ended, and the exchange did not say with how much filled
        self._queries: dict[int, tuple[Record, int]] = {}  # token -> order, asked at
        self._due: list[tuple[int, str]] = []  # a heap of (when, cid); what no longer holds is passed over
        self._unasked: set[str] = set()
        self._pace_ns = executor.exchange.timing.query_every_ms * _MILLI // PACE
        self._paced_ns = 0  # up to here the pace is used up, PACE questions ahead of the time
        self._stuck_due: deque[tuple[int, Record]] = deque()  # all are given the same time

    @property
    def count(self) -> int:
        return len(self._records)

    @property
    def unasked(self) -> int:
        """Orders of an earlier life that were not asked about yet."""
        return len(self._unasked)

    def asking(self, now_ns: int) -> bool:
        """Whether a question is under way, or about to be put."""
        return any(record.order.cid in self._records for record, _ in self._queries.values()) or any(
            at_ns <= now_ns and cid in self._records for at_ns, cid in self._due[:1]
        )

    @property
    def stuck(self) -> int:
        return sum(record.stuck_told for record in self._records.values())

    @property
    def _can_ask(self) -> bool:
        return bool({Capability.FETCH_ORDER, Capability.OPEN_ORDERS} & self._executor.capabilities)

    def begin(self, record: Record, now_ns: int) -> None:
        """An order became Unknown (or was so when this life began): ask about it, at once."""
        cid = record.order.cid
        if cid in self._records:
            return
        self._records[cid] = record
        record.unknown_since_ns = now_ns
        record.stuck_told = False
        record.query_pause_ns = self._executor.exchange.timing.query_every_ms * _MILLI
        if record.open_flight is None and self._can_ask:
            self._unasked.add(cid)
        while self._stuck_due and self._records.get(self._stuck_due[0][1].order.cid) is None:
            self._stuck_due.popleft()  # known again, as most are
        stuck_ns = self._executor.exchange.timing.stuck_after_ms * _MILLI
        self._stuck_due.append((now_ns + stuck_ns, record))
        if self._can_ask:
            self._schedule(record, now_ns)

    def end(self, record: Record) -> None:
        """It is known again."""
        if self._records.pop(record.order.cid, None) is not None:
            self._unasked.discard(record.order.cid)

    def look(self, record: Record, now_ns: int) -> None:
        """An order has ended, and who said so did not say how much of it was filled: ask that as well."""
        if Capability.FETCH_ORDER in self._executor.capabilities:
            self._looks[record.order.cid] = record
            record.look = True  # in the journal too: the next life asks if this one does not come to it
            self._executor.rows.save(record)
            record.query_pause_ns = self._executor.exchange.timing.query_every_ms * _MILLI
            self._schedule(record, now_ns)

    def take_up(self, now_ns: int) -> None:
        """Go on with the looks that an earlier life did not come to."""
        for record in self._executor.rows.looks():
            self.look(record, now_ns)

    def _schedule(self, record: Record, at_ns: int) -> None:
        record.query_at_ns = at_ns
        heappush(self._due, (at_ns, record.order.cid))

    # ------------------------------------------------------------------------------------ asking

    def next_deadline_ns(self) -> int | None:
        times = [asked + self._lifetime_ns for _, asked in self._queries.values()]
        if self._stuck_due:
            times.append(self._stuck_due[0][0])
        if self._due and len(self._queries) < QUERIES_LIMIT:
            times.append(max(self._due[0][0], self._may_ask_ns))
        return min(times, default=None)

    @property
    def _may_ask_ns(self) -> int:
        """When the next question may be put."""
        return max(self._paced_ns - (PACE - 1) * self._pace_ns, self._executor.brake.until_ns)

    @property
    def _lifetime_ns(self) -> int:
        return self._executor.exchange.timing.call_lifetime_ms * _MILLI

    def on_deadline(self, now_ns: int) -> None:
        for token, (record, asked_ns) in list(self._queries.items()):
            if now_ns >= asked_ns + self._lifetime_ns:
                self._executor.outbox.cancel(token)
                del self._queries[token]
                self._unasked.discard(record.order.cid)
                self._again(record, now_ns)
        self._tell_stuck(now_ns)
        while self._due and self._due[0][0] <= now_ns and len(self._queries) < QUERIES_LIMIT:
            if self._may_ask_ns > now_ns:
                break
            at_ns, cid = heappop(self._due)
            record_due = self._records.get(cid) or self._looks.get(cid)
            if record_due is not None and record_due.query_at_ns == at_ns:
                self._ask(record_due, now_ns)

    def _tell_stuck(self, now_ns: int) -> None:
        while self._stuck_due and self._stuck_due[0][0] <= now_ns:
            due_ns, record = self._stuck_due.popleft()
            order, since_ns = record.order, record.unknown_since_ns
            stuck_ns = self._executor.exchange.timing.stuck_after_ms * _MILLI
            if self._records.get(order.cid) is not record or due_ns != since_ns + stuck_ns:
                continue  # it was known again meanwhile
            record.stuck_told = True
            stuck = Stuck(
                instrument=order.instrument, cid=order.cid, since_ns=since_ns, received_at_ns=now_ns
            )
            self._executor.say(stuck, now_ns)

    def _ask(self, record: Record, now_ns: int) -> None:
        executor, order = self._executor, record.order
        token = executor.flights.token()
        self._queries[token] = (record, now_ns)
        self._paced_ns = max(self._paced_ns, now_ns) + self._pace_ns
        executor.count("queries")
        symbol = executor.indexer.symbols[order.instrument]
        if Capability.FETCH_ORDER in executor.capabilities:
            executor.outbox.call(token, "fetch_order", symbol, order.venue_cid or order.cid, order.id)
        else:
            executor.outbox.call(token, "fetch_open_orders", (symbol,))

    def _again(self, record: Record, now_ns: int) -> None:
        record.query_pause_ns = min(record.query_pause_ns * 2, PAUSE_LIMIT_MS * _MILLI)
        self._schedule(record, now_ns + record.query_pause_ns)

    def on_answer(self, token: int, value: object, error: Exception | None, now_ns: int) -> None:
        record, asked_ns = self._queries.pop(token, (None, 0))
        if record is None:
            return
        if isinstance(value, (list, tuple)):
            value = self._among(value, record)
        if error is not None:
            if not isinstance(error, ExecutionError):
                self._executor.count("client_bugs")
            self._executor.count("queries_without_answer")
            self._unasked.discard(record.order.cid)
            self._again(record, now_ns)
            return
        self._unasked.discard(record.order.cid)
        if self._looks.pop(record.order.cid, None) is not None:
            record.look = False
            self._executor.rows.save(record)
        if isinstance(value, NotFound):
            self._on_not_there(record, asked_ns, now_ns)
        elif value is None:
            self._again(record, now_ns)
        else:
            said = self._executor.feed.order_said(value, record.order)
            if said is None:
                self._again(record, now_ns)
                return
            assert isinstance(value, Order)
            why = None if value.failure is None else failure(*value.failure)
            self._executor.take_word(record, said, Evidence.QUERY, now_ns, why, value.exchange_at_ns)
            self._executor.after_word(record, now_ns)

    def _among(self, orders: list[object] | tuple[object, ...], record: Record) -> object:
        """The order among the open ones. Not being there says nothing about how it ended: cannot tell."""
        wanted = record.order.venue_cid or record.order.cid
        return next((order for order in orders if getattr(order, "cid", None) == wanted), None)

    def _on_not_there(self, record: Record, asked_ns: int, now_ns: int) -> None:
        if record.order.cid not in self._records:
            return  # it was heard of while the question was on its way
        over = record.open_flight is None or record.open_flight.over
        if self._validity_ms is None or not over:
            self._again(record, now_ns)
            return
        acts_until_ns = record.at_ns + self._validity_ms * _MILLI
        if asked_ns <= acts_until_ns:
            self._schedule(record, max(acts_until_ns + 1, now_ns + record.query_pause_ns))
            return
        state = OrderState.Cancelled if record.seen else OrderState.OpenFailed
        why = failure(Error.OrderNotFound, "asked after its validity had passed: not there")
        ended = replace(record.order, state=state)
        self._executor.take_word(record, ended, Evidence.ABSENCE, now_ns, why)
        self._executor.after_word(record, now_ns)

    # ------------------------------------------------------------------------------------ by a person's word

    def resolve(self, body: Resolve, now_ns: int) -> Message:
        """End an Unknown order on an operator's signed word."""
        record = self._records.get(body.cid)
        state = _OUTCOMES.get(body.outcome)
        if state is None:
            return Failed(detail=f"outcome: {body.outcome!r} must be one of {', '.join(_OUTCOMES)}")
        if not body.because.strip():
            return Failed(detail="because: say why (it stays in the feed)")
        if record is None:
            return Failed(detail=f"cid: {body.cid} is no unknown order of {self._executor.exchange.name}")
        words = failure(Error.OrderNotFound, f"{body.by}: {body.because}")
        self._executor.take_word(record, replace(record.order, state=state), Evidence.OPERATOR, now_ns, words)
        self._executor.after_word(record, now_ns)
        return Done(detail=f"{body.cid} is {state.label}, on the word of {body.by}")
