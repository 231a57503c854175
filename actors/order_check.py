"""The periodic check of open orders: finds what a stream hid that looked whole.

Every `reconcile_every_ms` the exchange is asked for its open orders. What it shows is its word. An order
that it does not show is suspect only if it stood open before the question was put, nothing was heard of it
since, and nothing of it is in flight: then it is Unknown, and asked about. Cancels never wait for any of
this. Trades and balances are the reconnector's part (account_check.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from actors.executor_state import SHOWN_OPEN, Record
from actors.unknowns import QUERIES_LIMIT
from pipeline.client import AccountSnapshot, Capability, ExecutionError, Order
from pipeline.indexing import failure
from pipeline.vocabulary import Error, Evidence, OrderState

if TYPE_CHECKING:
    from actors.executor import Executor

_MILLI = 1_000_000


class OrderCheck:
    """One executor's look at the exchange's open orders, one question at a time."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor
        self._every_ns = executor.exchange.timing.reconcile_every_ms * _MILLI
        self._lifetime_ns = executor.exchange.timing.call_lifetime_ms * _MILLI
        self._due_ns = 0
        self._token = 0
        self._asked_ns = 0
        self._fence = 0  # the count of words heard when the question was put

    def begin(self, now_ns: int) -> None:
        """Many orders that an earlier life left Unknown are asked about in one question, at once."""
        many = self._executor.unknowns.count > QUERIES_LIMIT
        self._due_ns = now_ns + (1 if many else self._every_ns)

    def next_deadline_ns(self) -> int | None:
        if self._token:
            return self._asked_ns + self._lifetime_ns
        return max(self._due_ns, self._executor.brake.until_ns)

    def on_deadline(self, now_ns: int) -> None:
        if self._token:
            if now_ns >= self._asked_ns + self._lifetime_ns:
                self._executor.outbox.cancel(self._token)
                self._executor.count("checks_without_answer")
                self._end(now_ns)
        elif now_ns >= max(self._due_ns, self._executor.brake.until_ns):
            self._ask(now_ns)

    def _ask(self, now_ns: int) -> None:
        executor = self._executor
        states = {record.order.state for record in executor.orders.values()}
        if not states.intersection((*SHOWN_OPEN, OrderState.Unknown)):
            self._end(now_ns)  # nothing that could be wrong
            return
        self._token, self._asked_ns = executor.flights.token(), now_ns
        self._fence = executor.feed.words
        symbols = executor.indexer.symbols
        if Capability.OPEN_ORDERS in executor.capabilities:
            executor.outbox.call(self._token, "fetch_open_orders", symbols)
        else:
            executor.outbox.call(self._token, "account_snapshot", (), symbols)

    def _end(self, now_ns: int) -> None:
        self._token = 0
        self._due_ns = now_ns + self._every_ns

    def on_answer(self, token: int, value: object, error: Exception | None, now_ns: int) -> bool:
        """Whether the outcome was of this check's question."""
        if not self._token or token != self._token:
            return False
        self._end(now_ns)
        orders = value.orders if isinstance(value, AccountSnapshot) else value
        if error is None and _are_orders(orders):
            self._executor.count("checks")
            self._compare(orders, now_ns)
        else:
            self._executor.count("checks_without_answer")
            if error is None or not isinstance(error, ExecutionError):
                self._executor.count("client_bugs")
        return True

    def _compare(self, listed: Sequence[Order], now_ns: int) -> None:
        executor = self._executor
        by_cid = {order.cid: order for order in listed if order.cid}
        by_id = {order.id: order for order in listed if order.id}
        why = failure(Error.OrderNotFound, "not among the open orders of the periodic check")
        for record in list(executor.orders.values()):
            order = record.order
            if record.in_flight:
                continue
            value = by_cid.get(order.venue_cid or order.cid) or by_id.get(order.id or "")
            if value is not None:
                self._take(record, value, now_ns)
            elif order.state in SHOWN_OPEN and record.heard <= self._fence:
                executor.count("suspect_orders")
                executor.become_unknown(record, Evidence.SUSPECT, now_ns, why)

    def _take(self, record: Record, value: Order, now_ns: int) -> None:
        executor, order = self._executor, record.order
        if order.state is OrderState.Unknown and record.unknown_since_ns >= self._asked_ns:
            return  # what was so before nobody knew
        said = executor.feed.order_said(value, order)
        if said is None or (said.state, said.filled, said.id) == (order.state, order.filled, order.id):
            return
        if executor.take_word(record, said, Evidence.QUERY, now_ns, None, value.exchange_at_ns):
            executor.count("found_by_checks")
        executor.after_word(record, now_ns)


def _are_orders(value: object) -> TypeGuard[Sequence[Order]]:
    """A list with anything else in it is a client's bug, and judges nobody."""
    return isinstance(value, (list, tuple)) and all(isinstance(each, Order) for each in value)
