"""Rows about the account itself: its stream, its snapshot, its trades and what can be asked.

Played by calling the client directly, with one instance that trades and others that look.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from actors.clients.conformance_trader import Trader, finished_as
from actors.clients.conformance_watch import Watch
from actors.clients.conformance_words import (
    broken,
    check,
    check_balance,
    check_echo,
    check_order,
    state_of,
)
from pipeline.client import (
    AccountSnapshot,
    Capability,
    ExecutionError,
    NotFound,
    OpenOrder,
    Order,
    Trade,
)
from pipeline.vocabulary import OrderState

GRAIN_NS: Final = 1_000_000_000  # venues count time in seconds at the coarsest


async def stream_begins(trader: Trader) -> None:
    """The account stream is subscribed when account_stream returns: what comes then is on it."""
    trader.watch = Watch(await _stream(trader, trader.other), trader.assets)
    if trader.inline:
        trader.needs_stream()
    client = trader.make()
    stream = await _stream(trader, client)
    request = trader.far()
    await trader.open(request)  # before anybody reads the stream
    watch = Watch(stream, trader.assets)
    try:
        order = await watch.order(request.cid, trader.terms.patience_s)
        await trader.end(request)
        check(not watch.wrong, watch.wrong)
        check_echo(
            order or broken("an order opened after account_stream had returned is not on the stream"),
            request,
            "the stream's order",
        )
    finally:
        await watch.close()
        await trader.call("close", of=client)


async def _stream(trader: Trader, client: Any) -> AsyncIterator[Any]:
    stream = await trader.call("account_stream", trader.assets, trader.symbols, of=client)
    readable = hasattr(stream, "__aiter__") and hasattr(stream, "__anext__")
    check(readable, f"account_stream returned a {type(stream).__name__}: give an async iterator")
    return stream  # type: ignore[no-any-return]


async def stream_ends(trader: Trader) -> None:
    """On a disconnect the stream ends or raises an ExecutionError, and can be subscribed anew."""
    trader.needs_stream()
    client = trader.make()
    try:
        watch = Watch(await _stream(trader, client), trader.assets)
        await trader.provoke("disconnect")
        await watch.until(lambda: None, trader.terms.patience_s)
        check(watch.ended, "the exchange ended the stream, and the iterator goes on waiting: end it or raise")
        proper = watch.error is None or isinstance(watch.error, ExecutionError)
        check(
            proper, f"the stream ended with {type(watch.error).__name__}: end it, or raise an ExecutionError"
        )
        again = Watch(await _stream(trader, client), trader.assets)
        await again.close()
    finally:
        await trader.call("close", of=client)
    # The watcher's own stream was ended as well.
    if trader.watch is not None and trader.watch.ended:
        trader.watch = Watch(await _stream(trader, trader.other), trader.assets)


async def snapshot_shows(trader: Trader) -> None:
    """The snapshot of a second instance has the account's open orders and balances, and only those."""
    looks = trader.client if trader.inline else trader.other
    async with _resting(trader) as request:
        orders = await _snapshot(trader, looks)
        found = [order for order in orders if order.cid == request.cid]
        check(len(found) == 1, f"an open order is in the account snapshot {len(found)} times")
        check_echo(found[0], request, "the snapshot's order")
        finished_as(found[0], OrderState.Open)
    gone = [order for order in await _snapshot(trader, looks) if order.cid == request.cid]
    check(not gone, "a cancelled order is in the account snapshot: it has the open ones only")


async def _snapshot(trader: Trader, client: Any) -> list[Order]:
    said = await trader.call("account_snapshot", trader.assets, trader.symbols, of=client)
    check(
        isinstance(said, AccountSnapshot),
        f"account_snapshot: a {type(said).__name__}, not an AccountSnapshot",
    )
    for balance in said.balances:
        check_balance(balance, "a balance of account_snapshot", trader.assets)
    return [check_order(order, "an order of account_snapshot") for order in said.orders]


async def open_orders(trader: Trader) -> None:
    """fetch_open_orders has an order while it is open."""
    trader.offers(Capability.OPEN_ORDERS)
    async with _resting(trader) as request:
        orders = await trader.call("fetch_open_orders", trader.symbols)
        found = [check_order(order, "an order of fetch_open_orders") for order in orders]
        mine = [order for order in found if order.cid == request.cid]
        check(len(mine) == 1, f"an open order is among the open orders {len(mine)} times")
        check_echo(mine[0], request, "the open order")
    left = await trader.call("fetch_open_orders", trader.symbols)
    check(all(order.cid != request.cid for order in left), "a cancelled order is among the open orders")


async def balances(trader: Trader) -> None:
    """Balances are decimals of the assets asked for."""
    trader.offers(Capability.BALANCES)
    said = await trader.call("fetch_balances", trader.assets)
    found = [check_balance(balance, "a balance", trader.assets).asset for balance in said]
    check(len(set(found)) == len(found), "an asset has two balances")


async def one_order(trader: Trader) -> None:
    """fetch_order finds what is there, says NotFound of what is not, and tells the two apart."""
    trader.offers(Capability.FETCH_ORDER)
    nothing = await trader.call("fetch_order", trader.symbol, trader.far().cid, None)
    check(isinstance(nothing, NotFound), f"an order that never was: {_kind(nothing)} instead of NotFound")
    async with _resting(trader) as request:
        for id in dict.fromkeys((None, trader.live[request.cid])):
            said = await trader.call("fetch_order", trader.symbol, request.cid, id)
            check(not isinstance(said, NotFound), "NotFound of an order that is open")
            order = check_order(said, "fetch_order's answer")
            check_echo(order, request, "fetch_order's answer")
            finished_as(order, OrderState.Open)
    said = await trader.call("fetch_order", trader.symbol, request.cid, None)
    if not isinstance(said, NotFound):
        finished_as(check_order(said, "fetch_order's answer"), OrderState.Cancelled, OrderState.Expired)
    await trader.find_price()
    if trader.no_market:
        return
    request, done = await trader.fill()
    said = await trader.call("fetch_order", trader.symbol, request.cid, done.order.id)
    check(not isinstance(said, NotFound), "NotFound of a filled order: it would be taken for cancelled")
    order = check_order(said, "fetch_order's answer")
    finished_as(order, OrderState.FullyFilled)


async def trades_since(trader: Trader) -> None:
    """fetch_trades has every trade since a time, none from long before it, and says whether it is all."""
    trader.offers(Capability.TRADES)
    trades, complete = await trader.fetch_trades(0)
    _ = complete  # of the whole past it may well be false
    request, done = await trader.fill()
    at_ns = max(trade.exchange_at_ns for trade in done.trades) if done.trades else 0
    since_ns = max(0, at_ns - GRAIN_NS)
    trades, complete = await trader.fetch_trades(since_ns)
    fetched = {trade.id for trade in trades}
    missing = [trade.id for trade in done.trades if trade.id not in fetched]
    check(not missing, f"trade {missing[0] if missing else ''} is on the stream and not among those fetched")
    check(complete, "the trades of the last second are said to be incomplete")
    old = [trade for trade in trades if 0 < trade.exchange_at_ns < since_ns - GRAIN_NS]
    check(not old, f"trade {old[0].id if old else ''} is from long before the time that was asked for")
    check(done.trades, f"no trade of {request.cid} was told")


async def trade_identity(trader: Trader) -> None:
    """A trade has one id, unlike any other's, on every stream and in every answer."""
    trader.offers(Capability.TRADES)
    request, done = await trader.fill()
    on_stream = _by_id(done.trades)
    first = _by_id(await trader.fetched(request, done.order.id))
    again = _by_id(await trader.fetched(request, done.order.id))
    other = _by_id(await trader.fetched(request, done.order.id, of=trader.other))
    check(first, f"the trades of {request.cid} are not among those fetched")
    check(on_stream == first, f"fetched as {_ids(first)}, on the stream as {_ids(on_stream)}")
    check(first == again, f"fetched as {_ids(first)}, and a moment later as {_ids(again)}")
    check(first == other, f"fetched as {_ids(first)}, by another instance as {_ids(other)}")
    every, _ = await trader.fetch_trades(0)
    keys = [(trade.instrument, trade.side, trade.id) for trade in every]
    check(len(set(keys)) == len(keys), "two trades have one id")


def _by_id(trades: list[Trade]) -> dict[str, tuple[object, ...]]:
    return {trade.id: (trade.side, trade.price, trade.quantity) for trade in trades}


def _ids(trades: dict[str, tuple[object, ...]]) -> str:
    return ", ".join(sorted(trades)) or "none"


async def never_goes_back(trader: Trader) -> None:
    """What the stream said in all this time was well made, and no order shrank or came back to life."""
    watch = trader.needs_stream()
    await trader.find_price()
    if not trader.no_market:
        request, _ = await trader.fill()
        told = await watch.order(request.cid, trader.terms.patience_s, lambda order: state_of(order).finished)
        check(told is not None, f"the stream did not tell the end of {request.cid}")
    check(not watch.wrong, watch.wrong)
    check(not watch.went_back, watch.went_back)


@asynccontextmanager
async def _resting(trader: Trader) -> AsyncIterator[OpenOrder]:
    """An order far from the market, for as long as it is needed."""
    request = trader.far()
    await trader.open(request)
    try:
        yield request
    finally:
        await trader.end(request)


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
