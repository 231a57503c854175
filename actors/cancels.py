"""Cancels are wishes: kept on the order until it is finished, never behind other orders' opens, never
before its own.

A cancel waits while its open is on its way, goes out when that is answered or unknown, and is sent again
with backoff while the exchange shows the order open. Its request is answered once, whatever the wish
still does.
"""

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from actors.executor_state import Flight, Group, Record, Status
from pipeline import client
from pipeline.amounts import amount
from pipeline.headers import Kind, RequestHeader
from pipeline.identity import ADOPTED_PREFIX
from pipeline.indexing import failure
from pipeline.messages import (
    Answers,
    CancelAll,
    CancelAllDone,
    CancelOrder,
    Failure,
    Order,
    OrderCancelled,
    OrderSnapshot,
)
from pipeline.vocabulary import CancelScope, Error, Evidence, OrderState, Pending, Refusal

if TYPE_CHECKING:
    from actors.executor import Executor

PAUSE_MS = 250
PAUSE_LIMIT_MS = 10_000
_MILLI = 1_000_000
_ENDED = {
    OrderState.FullyFilled: Error.OrderAlreadyFullyFilled,
    OrderState.Cancelled: Error.OrderAlreadyCancelled,
    OrderState.Expired: Error.OrderAlreadyCancelled,
    OrderState.OpenFailed: Error.OrderNotFound,
}
_STATE_OF = {
    Error.OrderAlreadyCancelled: OrderState.Cancelled,
    Error.OrderAlreadyFullyFilled: OrderState.FullyFilled,
}


class Cancels:
    """The cancels of one executor: single ones, wishes that go on, and CancelAlls."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor
        self._again: list[tuple[int, str]] = []  # a heap of (when, cid) for wishes to be sent again

    # ------------------------------------------------------------------------------------ requests

    def on_cancel(self, header: RequestHeader, body: CancelOrder, digest: int, now_ns: int) -> None:
        executor = self._executor
        if executor.flights.count >= 2 * executor.exchange.limits.in_flight:
            words = f"{executor.flights.count} requests are in flight on {executor.exchange.name}: wait"
            executor.refuse(header, Refusal.Overloaded, words, body.cid, digest, now_ns)
            return
        record = executor.orders.get(body.cid) or executor.rows.by_cid(body.cid)
        answers = Answers(header.engine, header.session, header.rid)
        flight = Flight(
            answers, record, True, body.instrument, body.cid, body.tag, digest=digest, at_ns=now_ns
        )
        executor.rows.save_other(answers, header.kind, Status.SENDING, digest, body.cid, now_ns)
        executor.flights.register(flight, now_ns)
        self._pursue(flight, now_ns)

    def _pursue(self, flight: Flight, now_ns: int) -> None:
        """Send a cancel, let it wait for its open, or answer it when the order has ended."""
        executor, record = self._executor, flight.record
        if record is None:
            # An adopted order goes by the venue's own id.
            adopted = flight.cid.startswith(ADOPTED_PREFIX)
            id = flight.cid.removeprefix(ADOPTED_PREFIX) if adopted else None
            symbol = executor.indexer.symbols[flight.instrument]
            executor.flights.call(flight, "cancel_order", client.CancelOrder(symbol, flight.cid, id))
            return
        if record.order.state.finished:
            executor.flights.never_called(flight)
            self._answer(
                flight, Evidence.NONE, now_ns, failure(_ENDED[record.order.state], "before this cancel")
            )
            return
        record.flights.append(flight)
        if not record.wish:
            record.wish = True
            record.order = replace(record.order, pending=Pending.CANCEL)
            executor.rows.save(record)
        if record.answered:
            self._send(flight, record)
        else:
            record.waiting.append(flight)

    def _send(self, flight: Flight, record: Record) -> None:
        order = record.order
        symbol = self._executor.indexer.symbols[order.instrument]
        request = client.CancelOrder(symbol, order.venue_cid or order.cid, order.id)
        self._executor.flights.call(flight, "cancel_order", request)

    # ------------------------------------------------------------------------------------ outcomes

    def on_done(self, flight: Flight, value: object, error: Exception | None, now_ns: int) -> None:
        record = flight.record
        evidence = Evidence.LATE_CALL if flight.answered and flight.answers is not None else Evidence.CALL
        if error is not None:
            self._on_error(flight, self._executor.execution_error(error), evidence, now_ns)
        elif isinstance(value, client.OrderCancelled):
            self._on_cancelled(flight, value, evidence, now_ns)
        elif value is not None:
            self._executor.count("client_bugs")
            words = f"the client answered a cancel with a {type(value).__name__}"
            self._on_error(flight, client.ExecutionError(Error.Socket, words), evidence, now_ns)
        if record is not None:
            left_to_the_stream = error is None and value is None and flight.group is not None
            if flight.answered and flight in record.flights and not left_to_the_stream:
                record.flights.remove(flight)
            self._executor.after_word(record, now_ns)

    def _on_cancelled(
        self, flight: Flight, value: client.OrderCancelled, evidence: Evidence, now_ns: int
    ) -> None:
        record = flight.record
        if record is None:
            self._answer(flight, evidence, now_ns, None, value.exchange_at_ns)
            return
        filled = record.order.filled
        if value.filled is not None:
            try:
                filled = amount(value.filled)
            except (ValueError, TypeError):
                self._executor.count("unindexed_answers")  # that it is cancelled is no less true
        said = replace(
            record.order, state=OrderState.Cancelled, filled=filled, id=record.order.id or _text(value.id)
        )
        self._take(flight, record, said, evidence, now_ns, None, value.exchange_at_ns)
        if value.filled is None:
            self._executor.unknowns.look(record, now_ns)

    def _on_error(
        self, flight: Flight, error: client.ExecutionError, evidence: Evidence, now_ns: int
    ) -> None:
        record, why = flight.record, failure(error.error, error.detail)
        if record is None:
            self._answer(flight, evidence, now_ns, why)
        elif error.error in _STATE_OF:
            ended_before = record.order.state.finished
            said = replace(record.order, state=_STATE_OF[error.error])
            self._take(flight, record, said, evidence, now_ns, why)
            if said.state is OrderState.Cancelled and not ended_before:
                self._executor.unknowns.look(record, now_ns)
        elif error.error is Error.OrderNotFound or (not error.error.rejected and error.sent != "no"):
            # "Not found" means ask, not gone; and of a call that broke nobody knows what it did.
            self._executor.become_unknown(
                record, Evidence.SUSPECT, now_ns, why, announce=flight.answers is None
            )
            self._answer(flight, Evidence.SUSPECT, now_ns, why)
        else:
            if error.error.rejected and error.error is not Error.RateLimit:
                self._drop_wish(record)
            self._answer(flight, evidence, now_ns, why)

    def _take(
        self,
        flight: Flight,
        record: Record,
        said: Order,
        evidence: Evidence,
        now_ns: int,
        why: Failure | None,
        exchange_at_ns: int = 0,
    ) -> None:
        """The exchange's word that an order has ended: it answers this cancel, or is told by itself."""
        changed = self._executor.feed.weigh(record, said, evidence)
        record.told_at_ns = now_ns
        if flight.answered and changed:
            self._executor.say(
                OrderSnapshot(
                    exchange_at_ns=exchange_at_ns,
                    received_at_ns=now_ns,
                    evidence=evidence,
                    tag=record.tag,
                    order=record.order,
                    failure=why,
                ),
                now_ns,
            )
        if why is None and record.order.state is OrderState.FullyFilled:
            why = failure(Error.OrderAlreadyFullyFilled, "filled before the cancel")
        self._answer(flight, evidence, now_ns, why, exchange_at_ns)
        self._executor.rows.save(record)

    def on_timeout(self, flight: Flight, evidence: Evidence, timeout: Failure, now_ns: int) -> None:
        """Its time is over, or the executor's."""
        executor, record = self._executor, flight.record
        if flight.group is not None:
            self._finish_group(flight.group, now_ns)
            return
        if record is not None and flight.token and not record.order.state.finished:
            # It may have been cancelled and it may not: the exchange is asked. One that still waits for its
            # open was not sent, and leaves the order as it is.
            executor.become_unknown(record, evidence, now_ns, timeout, announce=False)
        self._answer(flight, evidence, now_ns, timeout)
        if record is not None:
            if flight in record.waiting:
                record.waiting.remove(flight)
                executor.flights.never_called(flight)
            if flight.over and flight in record.flights:
                record.flights.remove(flight)
            executor.after_word(record, now_ns)

    def _answer(
        self,
        flight: Flight,
        evidence: Evidence,
        now_ns: int,
        why: Failure | None,
        exchange_at_ns: int = 0,
    ) -> None:
        """Give a cancel its one answer, or tell its group."""
        if flight.answered:
            if flight.group is not None:
                self._settle(flight.group, flight, why, now_ns)
            return
        executor, record = self._executor, flight.record
        executor.flights.answered(flight)
        assert flight.answers is not None
        order = None if record is None else record.order
        executor.say(
            OrderCancelled(
                exchange_at_ns=exchange_at_ns,
                received_at_ns=now_ns,
                evidence=evidence,
                answers=flight.answers,
                tag=flight.tag,
                instrument=flight.instrument,
                cid=flight.cid,
                order=order,
                failure=why,
                as_of=executor.feed.read,
            ),
            now_ns,
        )
        executor.rows.save_other(
            flight.answers, Kind.CancelOrder, Status.ANSWERED, flight.digest, flight.cid, flight.at_ns
        )

    def answer_restart(self, answers: Answers, row: tuple[Any, ...], now_ns: int) -> None:
        """A cancel or cancel-all of an earlier life that was not answered: its time has run out."""
        executor = self._executor
        timeout = failure(Error.Timeout, "the executor was restarted while the request was on its way")
        kind, digest, cid = row[3], row[5], row[6]
        if kind == Kind.CancelAll:
            executor.say(
                CancelAllDone(
                    answers=answers,
                    evidence=Evidence.RESTART,
                    cancelled=0,
                    failed=0,
                    unknown=len(executor.orders),
                ),
                now_ns,
            )
        else:
            record = executor.orders.get(cid) or executor.rows.by_cid(cid)
            executor.say(
                OrderCancelled(
                    received_at_ns=now_ns,
                    evidence=Evidence.RESTART,
                    answers=answers,
                    instrument=record.order.instrument if record else 0,
                    cid=cid,
                    order=record.order if record else None,
                    failure=timeout,
                    as_of=executor.feed.read,
                ),
                now_ns,
            )
        executor.rows.save_other(answers, kind, Status.ANSWERED, digest, cid, row[7])

    # ------------------------------------------------------------------------------------ wishes

    def after_word(self, record: Record, now_ns: int) -> None:
        """An order was heard of: release what waited for its open, answer what its end answers, wish
        again.
        """
        finished = record.order.state.finished
        if record.answered and record.waiting:
            waiting, record.waiting = record.waiting, []
            for flight in waiting:
                if finished:
                    self._executor.flights.never_called(flight)
                else:
                    self._send(flight, record)
        if finished:
            for flight in [each for each in record.flights if each.over]:
                record.flights.remove(flight)
                ended_by_it = record.order.state is OrderState.Cancelled
                why = None if ended_by_it else failure(_ENDED[record.order.state], "the order had ended")
                self._answer(flight, Evidence.STREAM, now_ns, why)
        elif record.wish and record.order.state is OrderState.Open and not record.cancel_at_ns:
            self._wish_again(record, now_ns)

    def _wish_again(self, record: Record, now_ns: int) -> None:
        if not all(flight.over for flight in record.flights):
            return
        record.cancel_pause_ns = min(
            max(record.cancel_pause_ns * 2, PAUSE_MS * _MILLI), PAUSE_LIMIT_MS * _MILLI
        )
        record.cancel_at_ns = now_ns + record.cancel_pause_ns
        heappush(self._again, (record.cancel_at_ns, record.order.cid))

    def next_deadline_ns(self) -> int | None:
        return self._again[0][0] if self._again else None

    def on_deadline(self, now_ns: int) -> None:
        while self._again and self._again[0][0] <= now_ns:
            _, cid = heappop(self._again)
            record = self._executor.orders.get(cid)
            if record is None:
                continue
            record.cancel_at_ns = 0
            if record.wish and record.order.state is OrderState.Open:
                self._send(self._own_flight(record, None, now_ns), record)

    def _own_flight(self, record: Record, group: Group | None, now_ns: int) -> Flight:
        """A cancel that no request of its own asked for: nobody is owed an answer."""
        order = record.order
        flight = Flight(
            None, record, True, order.instrument, order.cid, record.tag, answered=True, group=group
        )
        self._executor.flights.register(flight, now_ns)
        record.flights.append(flight)
        return flight

    def _drop_wish(self, record: Record) -> None:
        record.wish = False
        record.order = replace(record.order, pending=Pending.NONE)
        self._executor.rows.save(record)

    # ------------------------------------------------------------------------------------ all at once

    def on_cancel_all(self, header: RequestHeader, body: CancelAll, digest: int, now_ns: int) -> None:
        executor = self._executor
        if header.expires_at_ns <= now_ns:
            executor.refuse(
                header, Refusal.TooLate, "the cancel-all came after its expiry", "", digest, now_ns
            )
            return
        answers = Answers(header.engine, header.session, header.rid)
        executor.rows.save_other(answers, header.kind, Status.SENDING, digest, "", now_ns)
        records = [record for record in executor.orders.values() if _covers(body, header, record)]
        flight = Flight(answers, None, True, 0, "", body.tag, over=True, digest=digest, at_ns=now_ns)
        group = Group(flight, {record.order.cid for record in records})
        flight.group = group
        executor.flights.register(flight, now_ns)
        for record in records:
            record.wish = True
            record.order = replace(record.order, pending=Pending.CANCEL)
            executor.rows.save(record)
            own = self._own_flight(record, group, now_ns)
            if record.answered:
                self._send(own, record)
            else:
                record.waiting.append(own)
        if not group.waiting:
            self._finish_group(group, now_ns)

    def _settle(self, group: Group, flight: Flight, why: Failure | None, now_ns: int) -> None:
        if flight.cid not in group.waiting:
            return
        group.waiting.discard(flight.cid)
        record = flight.record
        if record is not None and record.order.state is OrderState.Unknown:
            group.unknown += 1
        elif why is None or (record is not None and record.order.state is OrderState.Cancelled):
            group.cancelled += 1
        else:
            group.failed += 1
        if not group.waiting:
            self._finish_group(group, now_ns)

    def _finish_group(self, group: Group, now_ns: int) -> None:
        flight = group.flight
        if flight.answered:
            return
        self._executor.flights.answered(flight)
        assert flight.answers is not None
        self._executor.say(
            CancelAllDone(
                received_at_ns=now_ns,
                answers=flight.answers,
                tag=flight.tag,
                cancelled=group.cancelled,
                failed=group.failed,
                unknown=group.unknown + len(group.waiting),
            ),
            now_ns,
        )
        group.waiting.clear()
        self._executor.rows.save_other(
            flight.answers, Kind.CancelAll, Status.ANSWERED, flight.digest, "", flight.at_ns
        )


def _covers(body: CancelAll, header: RequestHeader, record: Record) -> bool:
    if record.order.state.finished:
        return False
    if body.scope is CancelScope.ALL:
        return bool(record.order.engine) or body.external
    if record.request.engine != header.engine:
        return False
    return body.scope is CancelScope.ENGINE or record.request.session == header.session


def _text(id: object) -> str | None:
    """What a client gives as an id, if it is one."""
    return id if isinstance(id, str) and id else None
