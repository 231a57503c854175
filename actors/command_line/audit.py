"""Holds what the feed said of an account against the exchange's own ledger.

A feed is folded into a record as it is read; what is wrong with the feed by itself (a gap, a second answer,
an order that went backwards, a trade told twice) is noted on the way. Both sides are in the venue's names.
What remains different once traffic has stopped is a discrepancy, one line each.
"""

import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from pipeline.amounts import ZERO, parse, text
from pipeline.deployment import Deployment, Exchange
from pipeline.messages import (
    AccountSnapshot,
    BalanceSnapshot,
    Event,
    FeedReset,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Trade,
    TradeVoided,
)
from pipeline.rids import AnsweredRids
from pipeline.vocabulary import OrderState, Side

PROBLEMS_LIMIT: Final = 1_000  # kept in words; all are counted


class OrderWord(NamedTuple):
    """What is known of one order."""

    instrument: str
    state: OrderState
    filled: Decimal
    quantity: Decimal

    def __str__(self) -> str:
        return f"{self.instrument} {self.state.label} {text(self.filled)}/{text(self.quantity)}"


class TradeKey(NamedTuple):
    instrument: str
    side: Side
    id: str

    def __str__(self) -> str:
        return f"{self.instrument} {self.side.label} {self.id}"


class Fill(NamedTuple):
    cid: str
    price: Decimal
    quantity: Decimal
    fees: tuple[tuple[str, Decimal], ...]

    def __str__(self) -> str:
        fees = " ".join(f"fee {text(fee)} {asset}" for asset, fee in self.fees)
        return f"{self.cid} {text(self.quantity)} @ {text(self.price)} {fees}".rstrip()


class Funds(NamedTuple):
    total: Decimal
    free: Decimal

    def __str__(self) -> str:
        return f"total {text(self.total)} free {text(self.free)}"


class Discrepancy(NamedTuple):
    """Where the two sides differ; "" stands for nothing at all."""

    exchange: str
    subject: str
    feed: str
    ledger: str

    def __str__(self) -> str:
        feed, ledger = self.feed or "nothing", self.ledger or "nothing"
        return f"{self.exchange}: {self.subject}: the feed has {feed}, the exchange {ledger}"


@dataclass
class Account:
    """One exchange entry's orders (by the id it knows them by), trades and balances."""

    orders: dict[str, OrderWord] = field(default_factory=dict)
    trades: dict[TradeKey, Fill] = field(default_factory=dict)
    balances: dict[str, Funds] = field(default_factory=dict)


class FeedRecord:
    """One reader's account of the feed, from its first event on."""

    def __init__(self, deployment: Deployment) -> None:
        self.accounts = {exchange.index: Account() for exchange in deployment.exchanges}
        self.seq = 0
        self.events = 0
        self.problems: list[str] = []
        self.problem_count = 0
        self._exchanges = deployment.exchanges
        self._answered: dict[tuple[str, int], AnsweredRids] = {}

    def take(self, event: Event) -> None:
        """The next event of the feed."""
        self.events += 1
        if isinstance(event, FeedReset):
            self.seq = event.seq
            return
        if self.seq and event.seq != self.seq + 1:
            self._note(f"event {event.seq} came after {self.seq}")
        self.seq = event.seq
        if event.answers is not None:
            engine, session, rid = event.answers
            if not self._answered.setdefault((engine, session), AnsweredRids()).add(rid):
                self._note(f"event {event.seq} answers request {engine}/{session}/{rid} a second time")
        account = self.accounts.get(event.exchange)
        if account is None:
            return
        exchange = self._exchanges[event.exchange]
        if isinstance(event, (OrderSnapshot, OrderCancelled)):
            if event.order is not None:
                self._take_order(account, exchange, event.order, event.seq, bool(event.corrects))
        elif isinstance(event, Trade):
            self._take_trade(account, exchange, event)
        elif isinstance(event, TradeVoided):
            symbol = exchange.instruments[event.instrument].symbol
            account.trades.pop(TradeKey(symbol, event.side, event.id), None)
        elif isinstance(event, BalanceSnapshot):
            _take_balance(account, exchange, event.balance.asset, event.balance.total, event.balance.free)
        elif isinstance(event, AccountSnapshot):
            for order in event.orders:
                self._take_order(account, exchange, order, event.seq, False)
            for each in event.balances:
                _take_balance(account, exchange, each.asset, each.total, each.free)

    def _take_order(
        self, account: Account, exchange: Exchange, order: Order, seq: int, corrects: bool
    ) -> None:
        key = order.venue_cid or order.cid
        symbol = exchange.instruments[order.instrument].symbol
        word = OrderWord(symbol, order.state, order.filled, order.quantity)
        before = account.orders.get(key)
        if before is not None and not corrects:
            if before.state.finished and not word.state.finished:
                self._note(
                    f"event {seq} takes order {key} back from {before.state.label} to {word.state.label}"
                )
            if word.filled < before.filled:
                self._note(f"event {seq} takes order {key} back from {before} to {word}")
        account.orders[key] = word

    def _take_trade(self, account: Account, exchange: Exchange, trade: Trade) -> None:
        key = TradeKey(exchange.instruments[trade.instrument].symbol, trade.side, trade.id)
        if key in account.trades:
            self._note(f"event {trade.seq} tells trade {key} of {exchange.name} again")
        symbols = {asset.name: asset.symbol for asset in exchange.assets}
        fees = tuple((symbols.get(fee.asset, fee.asset), fee.amount) for fee in trade.fees)
        account.trades[key] = Fill(trade.cid, trade.price, trade.quantity, fees)

    def _note(self, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_LIMIT:
            self.problems.append(problem)


def _take_balance(account: Account, exchange: Exchange, asset: int, total: Decimal, free: Decimal) -> None:
    account.balances[exchange.assets[asset].symbol] = Funds(total, free)


def ledger_path(deployment: Deployment, exchange: Exchange) -> Path:
    return deployment.state_dir / f"exchange.{exchange.name}.db"


def read_ledger(path: Path) -> Account:
    """What a simulated exchange has in its ledger (actors/exchange/ledger.py). Raises sqlite3.Error."""
    account = Account()
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")  # one moment for all three
        for number, cid, symbol, state, filled, quantity in connection.execute(
            "SELECT number, cid, instrument, state, filled, quantity FROM orders ORDER BY number"
        ):
            # Two rows of one cid are two orders: the second keeps its number, and stands on one side only.
            key = cid if cid not in account.orders else f"{cid} (order {number})"
            account.orders[key] = OrderWord(symbol, OrderState(state), parse(filled), parse(quantity))
        for id, symbol, side, cid, price, quantity, asset, fee in connection.execute(
            "SELECT id, instrument, side, cid, price, quantity, fee_asset, fee FROM trades"
        ):
            fill = Fill(cid, parse(price), parse(quantity), ((asset, parse(fee)),))
            account.trades[TradeKey(symbol, Side(side), id)] = fill
        for asset, total, free in connection.execute("SELECT asset, total, free FROM balances"):
            account.balances[asset] = Funds(parse(total), parse(free))
    finally:
        connection.close()
    return account


def compare(exchange: str, feed: Account, ledger: Account) -> list[Discrepancy]:
    """Every difference between the two sides of one account."""
    found = [
        Discrepancy(exchange, f"order {cid}", _said(feed.orders.get(cid)), _said(ledger.orders.get(cid)))
        for cid in {**ledger.orders, **feed.orders}
        if not _same_order(feed.orders.get(cid), ledger.orders.get(cid))
    ]
    found += [
        Discrepancy(exchange, f"trade {key}", _said(feed.trades.get(key)), _said(ledger.trades.get(key)))
        for key in {**ledger.trades, **feed.trades}
        if feed.trades.get(key) != ledger.trades.get(key)
    ]
    found += [
        Discrepancy(
            exchange, f"balance {asset}", _said(feed.balances.get(asset)), _said(ledger.balances.get(asset))
        )
        for asset in {**ledger.balances, **feed.balances}
        if feed.balances.get(asset) != ledger.balances.get(asset)
    ]
    return found + _fills(exchange, feed)


def _said(what: object) -> str:
    return "" if what is None else str(what)


def _same_order(feed: OrderWord | None, ledger: OrderWord | None) -> bool:
    if ledger is None:
        # An exchange keeps no order that it did not accept.
        return feed is not None and feed.state is OrderState.OpenFailed and not feed.filled
    if feed is None:
        return False
    state = OrderState.Open if feed.state is OrderState.CancelInFlight else feed.state
    return feed._replace(state=state) == ledger


def _fills(exchange: str, feed: Account) -> list[Discrepancy]:
    """Orders whose trades do not add up to what they say is filled."""
    sums: dict[str, Decimal] = {}
    for fill in feed.trades.values():
        sums[fill.cid] = sums.get(fill.cid, ZERO) + fill.quantity
    return [
        Discrepancy(exchange, f"fills of {cid}", f"trades of {text(sums.get(cid, ZERO))}", text(word.filled))
        for cid, word in feed.orders.items()
        if sums.get(cid, ZERO) != word.filled
    ]
