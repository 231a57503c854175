"""The exchange's truth, in its journal: an auditor opens the SQLite file and reads it while it runs.

orders    one row per accepted open, by number: two rows of one cid would be two orders. Sides, kinds, states
          and errors are the numbers of pipeline/vocabulary.py; amounts are text
trades    one row per fill, by number, in time's order
balances  one row per asset, by the venue's symbol
cids      client order id -> the number of its order; resting: the numbers of the open orders
counters  the last number of "orders" and of "trades"
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from actors.exchange.account import Account
from actors.exchange.book import BookOrder
from actors.exchange.matching import Change
from actors.exchange.orders import Orders
from pipeline.actor import Journal
from pipeline.amounts import parse, text
from pipeline.client import AssetBalance, Order, Trade
from pipeline.vocabulary import Error, Liquidity, OrderKind, OrderState, Side, TimeInForce

TABLES: Final[dict[str, str]] = {
    "orders": "number INTEGER PRIMARY KEY, cid TEXT NOT NULL, instrument TEXT NOT NULL, "
    "side INTEGER NOT NULL, kind INTEGER NOT NULL, time_in_force INTEGER NOT NULL, "
    "flags INTEGER NOT NULL, price TEXT, "
    "quantity TEXT NOT NULL, filled TEXT NOT NULL, state INTEGER NOT NULL, exchange_at_ns INTEGER NOT NULL, "
    "error INTEGER, detail TEXT",
    "trades": "number INTEGER PRIMARY KEY, id TEXT NOT NULL, instrument TEXT NOT NULL, "
    "side INTEGER NOT NULL, cid TEXT NOT NULL, order_id TEXT NOT NULL, price TEXT NOT NULL, "
    "quantity TEXT NOT NULL, fee_asset TEXT NOT NULL, fee TEXT NOT NULL, "
    "liquidity INTEGER NOT NULL, exchange_at_ns INTEGER NOT NULL",
    "balances": "asset TEXT PRIMARY KEY, total TEXT NOT NULL, free TEXT NOT NULL, "
    "exchange_at_ns INTEGER NOT NULL",
    "cids": "cid TEXT PRIMARY KEY, number INTEGER NOT NULL",
    "resting": "number INTEGER PRIMARY KEY",
    "counters": "name TEXT PRIMARY KEY, value INTEGER NOT NULL",
}
_CHUNK: Final = 1_000


class Ledger:
    """Writes what the matching engine did, and reads it back."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._resting: set[int] = set()
        self._counters = {"orders": 0, "trades": 0}

    # ------------------------------------------------------------------------------------- reading

    def counter(self, name: str) -> int:
        row = self.journal.get("counters", name)
        self._counters[name] = 0 if row is None else int(row[1])
        return self._counters[name]

    def last_at_ns(self, assets: Iterable[str]) -> int:
        """The time of the newest thing in it: what happens from here on is not before that."""
        row = self.journal.get("trades", self._counters["trades"])
        rows = [row, *(self.journal.get("balances", asset) for asset in assets)]
        return max((int(row[-1]) for row in rows if row is not None), default=0)

    def balance(self, asset: str) -> Decimal | None:
        row = self.journal.get("balances", asset)
        return None if row is None else parse(row[1])

    def by_cid(self, cid: str) -> BookOrder | None:
        row = self.journal.get("cids", cid)
        return None if row is None else self.by_number(row[1])

    def by_number(self, number: int) -> BookOrder | None:
        row = self.journal.get("orders", number)
        return None if row is None else _order(row, self._prefix)

    @property
    def _prefix(self) -> str:
        return Orders(self.journal.birth_id).prefix

    def open_orders(self) -> Iterable[BookOrder]:
        """The orders that were open, oldest first."""
        low = 0
        while rows := self.journal.range("resting", low, self._counters["orders"], _CHUNK):
            for (number,) in rows:
                self._resting.add(number)
                order = self.by_number(number)
                assert order is not None, f"order {number} rests and is not in the ledger"
                yield order
            low = rows[-1][0] + 1

    def trades(self, since_ns: int, after: int, limit: int) -> tuple[list[Trade], int, bool]:
        """Trades from a time on, numbered above `after`; the last one's number; whether there are more."""
        last = self._counters["trades"]
        low = max(after + 1, self._first_trade_at(since_ns))
        if low > last:
            return [], last, False
        rows = self.journal.range("trades", low, last, limit)
        reached = rows[-1][0] if rows else last
        return [_trade(row) for row in rows], reached, reached < last

    def _first_trade_at(self, since_ns: int) -> int:
        """The number of the first trade at or after a time: trades are numbered without gap, in time's
        order.
        """
        low, high = 1, self._counters["trades"] + 1
        while low < high:
            middle = (low + high) // 2
            row = self.journal.get("trades", middle)
            if row is not None and row[-1] < since_ns:
                low = middle + 1
            else:
                high = middle
        return low

    # ------------------------------------------------------------------------------------- writing

    def open_account(self, account: Account, now_ns: int) -> None:
        """Write every balance as it is: the first time, and when an asset was added."""
        for asset in account.totals:
            self._put_balance(account.balance(asset, now_ns))

    def write(self, changes: Sequence[Change], orders: Orders) -> None:
        """Put what a batch did; only the last word on each order and balance is written."""
        latest: dict[str, Order] = {}
        balances: dict[str, AssetBalance] = {}
        for change in changes:
            if isinstance(change, Trade):
                self.journal.put("trades", _trade_row(change, orders))
            elif isinstance(change, Order):
                assert change.id is not None, "the exchange names every order"
                latest[change.id] = change
            else:
                balances[change.asset] = change
        for id, order in latest.items():
            self._put_order(orders.number_of(id), order)
        for balance in balances.values():
            self._put_balance(balance)
        for name, value in (("orders", orders.last_number), ("trades", orders.last_trade)):
            if value != self._counters[name]:
                self._counters[name] = value
                self.journal.put("counters", (name, value))

    def _put_order(self, number: int, order: Order) -> None:
        error, detail = order.failure or (None, None)
        assert order.state is not None, "the exchange knows every order's state"
        self.journal.put(
            "orders",
            (
                number, order.cid, order.instrument, int(order.side), int(order.kind),
                int(order.time_in_force), order.flags,
                None if order.price is None else text(order.price), text(order.quantity),
                text(order.filled), int(order.state), order.exchange_at_ns,
                None if error is None else int(error), detail,
            ),
        )  # fmt: skip
        if number > self._counters["orders"]:  # not yet written: the counter follows at the end of the batch
            self.journal.put("cids", (order.cid, number))
        if order.state is OrderState.Open:
            if number not in self._resting:
                self._resting.add(number)
                self.journal.put("resting", (number,))
        elif number in self._resting:
            self._resting.remove(number)
            self.journal.forget("resting", number, number)

    def _put_balance(self, balance: AssetBalance) -> None:
        self.journal.put(
            "balances", (balance.asset, text(balance.total), text(balance.free), balance.exchange_at_ns)
        )


def _order(row: tuple[Any, ...], prefix: str) -> BookOrder:
    number, cid, instrument, side, kind, tif, flags, price, quantity, filled, state, at_ns, error, detail = (
        row
    )
    return BookOrder(
        instrument, cid, f"{prefix}{number}", Side(side), OrderKind(kind), TimeInForce(tif),
        None if price is None else parse(price), parse(quantity), parse(filled), OrderState(state), flags,
        at_ns, None if error is None else (Error(error), detail), number=number,
    )  # fmt: skip


def _trade_row(trade: Trade, orders: Orders) -> tuple[Any, ...]:
    (asset, fee), *_ = trade.fees
    return (
        orders.number_of(trade.id), trade.id, trade.instrument, int(trade.side), trade.cid, trade.order_id,
        text(trade.price), text(trade.quantity), asset, text(fee), int(trade.liquidity), trade.exchange_at_ns,
    )  # fmt: skip


def _trade(row: tuple[Any, ...]) -> Trade:
    _, id, instrument, side, cid, order_id, price, quantity, asset, fee, liquidity, at_ns = row
    return Trade(
        instrument, Side(side), id, cid, order_id, parse(price), parse(quantity), ((asset, parse(fee)),),
        Liquidity(liquidity), at_ns,
    )  # fmt: skip
