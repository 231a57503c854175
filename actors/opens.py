"""Opens, from acceptance to their answer: sent once, and never again whatever comes back.

The commit that marks an open `sending` is made before the client is called. What the call brings is a word on
the order; what it does not bring by the deadline leaves the order Unknown, and its request answered.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.executor_state import Flight, Record, new_order
from pipeline import client
from pipeline.headers import REQUEST_SIZE, RequestHeader
from pipeline.indexing import failure
from pipeline.messages import Answers, Failure, OpenOrder
from pipeline.vocabulary import Error, Evidence, OrderState

if TYPE_CHECKING:
    from actors.executor import Executor


class Opens:
    """The opens of one executor."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor

    def accept(self, header: RequestHeader, body: OpenOrder, frame: bytes, digest: int, now_ns: int) -> None:
        answers = Answers(header.engine, header.session, header.rid)
        order = new_order(body, header.engine)
        record = Record(order, answers, body.tag, digest, now_ns, frame[REQUEST_SIZE:])
        flight = Flight(answers, record, False, body.instrument, body.cid, body.tag)
        record.open_flight = flight
        self._executor.orders[body.cid] = record
        self._executor.rows.save(record)
        request = self._executor.indexer.open_order(body, body.cid, header.expires_at_ns)
        self._executor.flights.launch(flight, now_ns, "open_order", request)

    def on_done(self, flight: Flight, value: object, error: Exception | None, now_ns: int) -> None:
        """The call of an open has ended, in time or late."""
        record = flight.record
        assert record is not None
        evidence = Evidence.LATE_CALL if flight.answered else Evidence.CALL
        if error is not None:
            self._on_error(record, flight, self._executor.execution_error(error), evidence, now_ns)
        elif value is not None:
            self._on_order(record, flight, value, evidence, now_ns)
        self._executor.after_word(record, now_ns)

    def _on_order(
        self, record: Record, flight: Flight, value: object, evidence: Evidence, now_ns: int
    ) -> None:
        said = self._executor.feed.order_said(value, record.order)
        if said is None:
            # Whatever the client told us, it is not about our order: the request is answered all the same.
            words = failure(
                Error.Socket, f"the client's answer cannot be used: {self._executor.feed.last_unindexed}"
            )
            self._executor.become_unknown(record, Evidence.SUSPECT, now_ns, words)
            return
        assert isinstance(value, client.Order)
        why = None if value.failure is None else failure(*value.failure)
        self._executor.take_word(record, said, evidence, now_ns, why, value.exchange_at_ns)

    def _on_error(
        self, record: Record, flight: Flight, error: client.ExecutionError, evidence: Evidence, now_ns: int
    ) -> None:
        why = failure(error.error, error.detail)
        if error.error.rejected or error.sent == "no":
            failed = replace(record.order, state=OrderState.OpenFailed)
            self._executor.take_word(record, failed, evidence, now_ns, why)
        elif record.seen:
            # The stream has shown it meanwhile: the call broke, the order is not in doubt.
            self._executor.answer_open(record, evidence, now_ns, why)
            self._executor.rows.save(record)
        elif not flight.answered:
            self._executor.become_unknown(record, Evidence.SUSPECT, now_ns, why)

    def on_timeout(self, flight: Flight, evidence: Evidence, timeout: Failure, now_ns: int) -> None:
        """Its time is over, or the executor's."""
        record = flight.record
        assert record is not None
        if record.seen:
            # The stream has shown it meanwhile: the request timed out, the order is not in doubt.
            self._executor.answer_open(record, evidence, now_ns, timeout)
            self._executor.rows.save(record)
        else:
            self._executor.become_unknown(record, evidence, now_ns, timeout)
        self._executor.after_word(record, now_ns)
