"""Rows about the account stream through the pipeline: gaps, fences, what must not be lost or repeated."""

from decimal import Decimal
from typing import Final

from actors.clients.conformance_stage import Stage, state
from actors.clients.conformance_words import NotSupported, broken, check, check_balance, check_order
from pipeline.client import CancelOrder, Capability
from pipeline.client import Order as ClientOrder
from pipeline.messages import AccountSnapshot, OrderSnapshot, Reconnecting, Subscribed, Synced
from pipeline.vocabulary import OrderKind, OrderState, Side, TimeInForce

REFUSALS: Final = 2
_STRANGER: Final = "NOT-IN-THE-FILE"


async def comes_into_step(stage: Stage) -> None:
    """A first connect that fails is tried again; then subscribed, snapshot, in step, one outage told."""
    stage.theirs.refused = REFUSALS
    stage.line.start()
    await stage.comes(Synced, 0)
    ready = await stage.line.until(lambda: stage.line.ready or None, stage.patience_s)
    check(ready, "the account stream is in step, and the executor is not ready for opens")
    stage.stands = True
    told = [type(event) for event in stage.line.feed]
    check(told.count(Reconnecting) == 1, f"one outage was told {told.count(Reconnecting)} times")
    places = [told.index(kind) for kind in (Reconnecting, Subscribed, AccountSnapshot, Synced)]
    check(places == sorted(places), "not in order: Reconnecting, Subscribed, AccountSnapshot, Synced")


async def reconnects(stage: Stage) -> None:
    """After a gap: fills in it are on the feed once, an order that ended in it has ended."""
    stage.trader.needs_stream()
    cid, rid = stage.open(stage.trader.far())
    rests = (await stage.opened(rid)).order
    await stage.trader.find_price()
    request = None
    async with stage.gap() as begun:
        gone = CancelOrder(stage.trader.symbol, rests.venue_cid or cid, rests.id)
        await stage.trader.call("cancel_order", gone)
        if not stage.trader.no_market and Capability.TRADES in stage.trader.client.capabilities:
            request, done = await stage.trader.fill()
            stage.filled[request.cid] = done.order.filled
    synced = await stage.comes(Synced, begun)
    if await stage.becomes(cid, OrderState.Cancelled) is None:
        broken(f"an order cancelled in the gap is {state(stage.line.orders.get(cid))} on the feed")
    if request is not None:
        check(synced.complete, "the trades of the gap are said to be incomplete")
        traded, wanted = stage.traded(request.cid), stage.filled[request.cid]
        check(
            traded == wanted, f"{wanted} was filled in the gap, and the trades on the feed add up to {traded}"
        )


async def snapshot_fences(stage: Stage) -> None:
    """An order opened before the snapshot is in it; one opened while it is fetched is not lost."""
    stage.trader.needs_stream()
    first, second = stage.trader.far(), stage.trader.far(1)

    async def open_first() -> None:
        await stage.trader.open(first)

    async def open_second() -> None:
        await stage.trader.open(second)

    async with stage.gap() as begun:
        stage.theirs.before_snapshot, stage.theirs.after_snapshot = open_first, open_second
    snapshot = await stage.comes(AccountSnapshot, begun)
    shown = [order.cid for order in snapshot.orders]
    check(first.cid in shown, "an order opened after the subscription is not in the snapshot asked for later")
    both = {first.cid, second.cid}
    there = await stage.line.until(lambda: both <= set(stage.line.orders) or None, stage.patience_s)
    check(there, "an order opened while the snapshot was fetched is nowhere on the feed")
    at = stage.line.feed.index(snapshot)
    early = [
        e for e in stage.line.feed[begun:at] if isinstance(e, OrderSnapshot) and e.order.cid == second.cid
    ]
    check(not early, "an update that came while the snapshot was fetched stands before it on the feed")
    for request in (first, second):
        await stage.trader.end(request)
        if await stage.becomes(request.cid, OrderState.Cancelled) is None:
            broken("the stream did not tell the end of an order that the snapshot had shown")


async def trades_appear_once(stage: Stage) -> None:
    """However often trades are fetched again, each is on the feed once, and they add up to the orders."""
    stage.trader.needs_stream()
    await stage.trader.find_price()
    if stage.trader.no_market:
        raise NotSupported(stage.trader.no_market)
    request, done = await stage.trader.fill()
    stage.filled[request.cid] = done.order.filled
    for _ in range(2):
        async with stage.gap():
            pass
    wanted = stage.filled[request.cid]
    await stage.line.until(lambda: stage.traded(request.cid) >= wanted or None, stage.patience_s)
    for cid, quantity in stage.filled.items():
        traded = stage.traded(cid)
        check(
            traded == quantity,
            f"{quantity} of {cid} was filled, and its trades on the feed add up to {traded}",
        )


async def disconnects(stage: Stage) -> None:
    """The exchange ends the stream: told once, and in step again."""
    stage.trader.needs_stream()
    begun = len(stage.line.feed)
    await stage.trader.provoke("disconnect")
    await stage.comes(Reconnecting, begun)
    await stage.comes(Synced, begun)
    told = sum(isinstance(event, Reconnecting) for event in stage.line.feed[begun:])
    check(told == 1, f"one disconnect was told {told} times")


async def agrees(stage: Stage) -> None:
    """When traffic has stopped, orders and balances on the feed are the exchange's own."""
    trader = stage.trader
    trader.needs_stream()
    check(stage.stands, "the pipeline never came into step with this client")
    said = await trader.call("account_snapshot", trader.assets, trader.symbols)
    theirs = {order.cid: (order.filled, order.quantity) for order in map(_order, said.orders)}
    symbols = {asset.symbol: asset.index for asset in trader.exchange.assets}
    wanted = {}
    for balance in said.balances:
        check_balance(balance, "a balance of account_snapshot", trader.assets)
        wanted[symbols[balance.asset]] = (balance.total, balance.free)

    def differs() -> str:
        ours = {o.venue_cid or o.cid: (o.filled, o.quantity) for o in stage.line.orders.values()}
        if ours != theirs:
            return f"the feed has {len(ours)} active orders, the exchange {len(theirs)}: not the same ones"
        held = {asset: (balance.total, balance.free) for asset, balance in stage.line.balances.items()}
        unlike = [asset for asset in wanted if held.get(asset) != wanted[asset]]
        return f"the balance of {trader.exchange.assets[unlike[0]].name} differs" if unlike else ""

    await stage.line.until(lambda: None if differs() else True, stage.patience_s)
    check(not differs(), differs())


def _order(value: object) -> ClientOrder:
    return check_order(value, "an order of account_snapshot")


async def strangers_are_left_out(stage: Stage) -> None:
    """An item about an instrument outside the file is left out, and takes nothing with it."""
    check(stage.stands, "the pipeline never came into step with this client")
    stranger = ClientOrder(
        _STRANGER,
        "stranger",
        "1",
        Side.BUY,
        OrderKind.LIMIT,
        TimeInForce.GTC,
        Decimal(1),
        Decimal(1),
        Decimal(0),
    )
    stage.theirs.tell(stranger)
    cid, rid = stage.open(stage.trader.far())
    await stage.opened(rid)
    await stage.cancel(cid)
    known = [e for e in stage.line.feed if isinstance(e, OrderSnapshot) and e.order.cid == "stranger"]
    check(not known and stage.line.ready, "an item about an unknown instrument disturbed the stream")
