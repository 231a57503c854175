"""What each call does: from a question's body to its answer, on the matching engine and the ledger.

An open is taken only within the receive window: at most `RECEIVE_WINDOW_MS` after the client's stamp by
the exchange's clock, and never from more than `AHEAD_MS` in the future. So their sum bounds how late an
open can still act, as long as the two clocks are right, and a skewed clock is a typed rejection.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from actors.exchange import wire
from actors.exchange.faults import Faults
from actors.exchange.ledger import Ledger
from actors.exchange.listing import Rejection
from actors.exchange.matching import Matching
from pipeline import client
from pipeline.client import AssetBalance, Order
from pipeline.messages import Message
from pipeline.vocabulary import Error

MS: Final = 1_000_000
RECEIVE_WINDOW_MS: Final = 1_000
AHEAD_MS: Final = 1_000
_HISTORY_LIMIT: Final = 64

View = tuple[int, list[AssetBalance], list[Order]]


class Calls:
    """Answers the calls of the account."""

    def __init__(self, matching: Matching, ledger: Ledger, faults: Faults, write: Callable[[], None]) -> None:
        self.matching = matching
        self.ledger = ledger
        self.faults = faults
        self._write = write  # brings the ledger up to date, before it is read
        self._history: deque[View] = deque(maxlen=_HISTORY_LIMIT)
        self._handlers: dict[type[Message], Callable[[Any, int], Message | list[Message]]] = {
            wire.Cancel: self._cancel,
            wire.CancelAll: self._cancel_all,
            wire.AskSnapshot: self._snapshot,
            wire.AskBalances: self._balances,
            wire.AskOpenOrders: self._open_orders,
            wire.AskTrades: self._trades,
            wire.AskOrder: self._order,
        }

    def answer(self, body: Message, now_ns: int, clock_ns: int) -> Message | list[Message]:
        """The answer to a question, in parts if a list. `now_ns` never goes back; `clock_ns` is what the
        exchange's clock shows. Raises Rejection.
        """
        if type(body) is wire.Open:
            return self._open(body, now_ns, clock_ns)
        return self._handlers[type(body)](body, now_ns)

    def _open(self, body: wire.Open, now_ns: int, clock_ns: int) -> Message:
        late_ms = (clock_ns - body.sent_at_ns) // MS
        if late_ms > RECEIVE_WINDOW_MS or late_ms < -AHEAD_MS:
            raise Rejection(
                Error.OrderRejected,
                f"outside the receive window: {late_ms} ms after its stamp by the exchange's clock",
            )
        if 0 < body.expires_at_ns < clock_ns:
            raise Rejection(Error.OrderRejected, "expired on its way")
        request = client.OpenOrder(
            body.instrument, body.cid, body.side, body.kind, body.time_in_force, body.flags, body.price,
            body.quantity, body.expires_at_ns,
        )  # fmt: skip
        return wire.order_line(self.matching.open(request, now_ns))

    def _cancel(self, body: wire.Cancel, now_ns: int) -> Message:
        return wire.cancelled_line(self.matching.cancel(body.instrument, body.cid, body.id, now_ns))

    def _cancel_all(self, body: wire.CancelAll, now_ns: int) -> Message:
        return wire.CancelledCount(self.matching.cancel_all(body.instruments, now_ns))

    def _balances(self, body: wire.AskBalances, now_ns: int) -> Message:
        return wire.Balances([wire.balance_line(b) for b in self._balances_of(body.assets, now_ns)])

    def _balances_of(self, assets: Iterable[str], now_ns: int) -> list[AssetBalance]:
        account = self.matching.account
        for asset in assets:
            if asset not in account.totals:
                raise Rejection(Error.AssetInvalid, f"no asset {asset!r} here")
        return [account.balance(asset, now_ns) for asset in assets]

    def _open_orders(self, body: wire.AskOpenOrders, now_ns: int) -> Message:
        return wire.Orders([wire.order_line(o) for o in self._orders_of(body.instruments)])

    def _orders_of(self, instruments: Iterable[str]) -> list[Order]:
        wanted = set(instruments)
        for symbol in wanted:
            if symbol not in self.matching.listings:
                raise Rejection(Error.InstrumentInvalid, f"no instrument {symbol!r} here")
        return [order.told() for order in self.matching.orders.open_orders() if order.instrument in wanted]

    def _trades(self, body: wire.AskTrades, now_ns: int) -> Message:
        self._write()
        trades, last, more = self.ledger.trades(body.since_ns, body.after, wire.TRADES_SIZE)
        wanted = set(body.instruments)
        return wire.Trades([wire.trade_line(t) for t in trades if t.instrument in wanted], last, more)

    def _order(self, body: wire.AskOrder, now_ns: int) -> Message:
        if body.instrument not in self.matching.listings:
            raise Rejection(Error.InstrumentInvalid, f"no instrument {body.instrument!r} here")
        order = self.matching.orders.find(body.instrument, body.cid, body.id)
        return wire.NoSuchOrder() if order is None else wire.order_line(order)

    # ------------------------------------------------------------------------------------- snapshots

    def _snapshot(self, body: wire.AskSnapshot, now_ns: int) -> list[Message]:
        at_ns, balances, orders = self._view(body.assets, body.instruments, now_ns)
        lines: list[wire.BalanceLine | wire.OrderLine] = [wire.balance_line(b) for b in balances]
        lines.extend(wire.order_line(o) for o in orders)
        cut = self.faults.number("cut_snapshot", "after")
        chunks = [lines[i : i + wire.PART_SIZE] for i in range(0, len(lines), wire.PART_SIZE)] or [[]]
        if cut is not None:
            chunks = [lines[:cut]] if cut else []
        parts: list[Message] = [
            wire.SnapshotPart(
                at + 1,
                len(chunks) + (cut is not None),
                at_ns,
                [line for line in chunk if isinstance(line, wire.BalanceLine)],
                [line for line in chunk if isinstance(line, wire.OrderLine)],
            )
            for at, chunk in enumerate(chunks)
        ]
        if cut is not None:
            del self.faults.on["cut_snapshot"]
            parts.append(wire.Disconnected("the snapshot was cut"))
        return parts

    def _view(self, assets: list[str], instruments: list[str], now_ns: int) -> View:
        """The account now, or (a fault) as it was."""
        now = (now_ns, self._balances_of(assets, now_ns), self._orders_of(instruments))
        age_ms = self.faults.number("stale_snapshot", "age_ms")
        if age_ms is None or not self._history:
            return now
        old_enough = [view for view in self._history if view[0] <= now_ns - age_ms * MS]
        at_ns, balances, orders = old_enough[-1] if old_enough else self._history[0]
        return (
            at_ns,
            [b for b in balances if b.asset in assets],
            [o for o in orders if o.instrument in instruments],
        )

    def remember(self, now_ns: int) -> None:
        """Keep the account as it is now while snapshots are to be stale; spaced so that the whole age is
        covered.
        """
        age_ms = self.faults.number("stale_snapshot", "age_ms")
        if age_ms is None:
            self._history.clear()
            return
        account, orders = self.matching.account, self.matching.orders
        balances = [account.balance(asset, now_ns) for asset in account.totals]
        view = (now_ns, balances, [order.told() for order in orders.open_orders()])
        last_ns = self._history[-1][0] if len(self._history) > 1 else None
        if last_ns is not None and now_ns - last_ns < age_ms * MS * 2 // _HISTORY_LIMIT:
            self._history[-1] = (last_ns, *view[1:])
        else:
            self._history.append(view)
