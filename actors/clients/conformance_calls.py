"""Rows played by calling the client directly: orders, cancels, rejections, and what it says of itself.

Each is a coroutine that ends when the client keeps this part of its contract, and raises Broken or
NotSupported when it does not or cannot.
"""

import asyncio
from decimal import Decimal
from typing import Final

from actors.clients.conformance_terms import NEAR
from actors.clients.conformance_trader import Trader, finished_as
from actors.clients.conformance_words import (
    NotSupported,
    broken,
    check,
    check_echo,
    check_order,
    state_of,
)
from pipeline.client import CancelOrder, Capability, ExecutionError, OpenOrder, Order
from pipeline.vocabulary import Error, Flags, OrderState, Side, TimeInForce

SEVERAL: Final = 4
PARTIAL_TRIES: Final = 6  # the price may move between finding it and using it
ENDED: Final = (OrderState.Cancelled, OrderState.Expired)


async def declares(trader: Trader) -> None:
    """Venue, capabilities and validity are what the contract says, and fit the deployment."""
    client = trader.client
    fits = client.venue is None or client.venue == trader.exchange.venue
    check(fits, f"venue is {client.venue!r}, and the deployment's is {trader.exchange.venue!r}")
    capabilities = client.capabilities
    good = isinstance(capabilities, frozenset) and all(isinstance(c, Capability) for c in capabilities)
    check(good, "capabilities: give a frozenset of Capability members")
    validity = client.request_validity_ms
    whole = isinstance(validity, int) and not isinstance(validity, bool)
    check(validity is None or (whole and validity >= 0), "request_validity_ms: whole milliseconds, or None")
    check(
        client is not trader.other, "make() gave one instance twice: executor and reconnector each need one"
    )


async def told(trader: Trader, request: OpenOrder, answer: Order | None) -> Order:
    """The order by its open's answer, or by the stream where that leaves it to the stream."""
    if answer is not None:
        return answer
    watch = trader.needs_stream()
    order = await watch.order(request.cid, trader.terms.patience_s)
    return order or broken("open_order answered None, and the stream told nothing of the order")


async def opens(trader: Trader) -> None:
    """A resting order is answered as itself: its cid, terms, nothing filled, open."""
    request = trader.far()
    order = await told(trader, request, await trader.open(request))
    check_echo(order, request, "the open's answer")
    finished_as(order, OrderState.Open)
    check(order.filled == 0, f"an order far from the market has {order.filled} filled")
    await trader.end(request)


async def several_at_once(trader: Trader) -> None:
    """Opens and cancels under way together are each answered with their own order."""
    requests = [trader.far(nth) for nth in range(SEVERAL)]
    answers = await asyncio.gather(*(trader.open(request) for request in requests))
    for request, answer in zip(requests, answers, strict=True):
        if answer is not None:
            check_echo(answer, request, "one of several opens at once")
    cancelled = await asyncio.gather(*(trader.cancel(request) for request in requests))
    for request, answered in zip(requests, cancelled, strict=True):
        said = request.cid if answered is None else answered.cid
        check(said == request.cid, f"one of several cancels at once answered {said}, not {request.cid}")


async def fills(trader: Trader) -> None:
    """A market order is filled whole, and its trades add up to it."""
    request, (order, trades) = await trader.fill()
    check_echo(order, request, "a filled market order")
    finished_as(order, OrderState.FullyFilled)
    check(order.filled == request.quantity, f"{order.filled} of {request.quantity} is filled")
    if trader.inline and not trades:
        return
    traded = sum(trade.quantity for trade in trades)
    check(traded == request.quantity, f"its trades add up to {traded}, not {request.quantity}")
    for trade in trades:
        check(trade.side is request.side, f"trade {trade.id} is a {trade.side.label}")
        check(trade.cid in ("", request.cid), f"trade {trade.id} is of {trade.cid}, not {request.cid}")


async def fills_in_part(trader: Trader) -> None:
    """An immediate order for more than there is keeps what it got, and its rest is not open."""
    await trader.find_price()
    if trader.no_market or trader.price is None:
        raise NotSupported(trader.no_market)
    quantity = trader.terms.more_than_a_level(trader.exchange, trader.price)
    if quantity is None:
        raise NotSupported(
            "nobody said how much is more than stands at the best price: give a partial quantity"
        )
    for _ in range(PARTIAL_TRIES):
        limit = trader.terms.price_at(trader.price, Decimal(1))
        request = trader.request(Side.BUY, quantity, limit, TimeInForce.IOC)
        order, trades = await trader.take(request)
        traded = sum((trade.quantity for trade in trades), Decimal(0))
        check(traded == order.filled, f"{order.filled} is filled, and its trades add up to {traded}")
        if 0 < order.filled < quantity:
            finished_as(order, *ENDED)
            return
        if order.filled == 0:
            await trader.fill()  # the price has moved: learn it anew
    raise NotSupported(f"no order for {quantity} was filled in part: give a larger partial quantity")


async def cancels(trader: Trader) -> None:
    """A cancel is answered as done, the stream tells it, and a second one finds nothing to cancel."""
    request = trader.far()
    await trader.open(request)
    id = trader.live[request.cid]
    cancelled = await trader.cancel(request)
    if cancelled is not None:
        check(cancelled.cid == request.cid, f"the cancel's answer is of {cancelled.cid}, not {request.cid}")
        check(not cancelled.filled, f"nothing was filled, and the cancel's answer says {cancelled.filled}")
    if not trader.inline:
        order = await trader.needs_stream().order(
            request.cid, trader.terms.patience_s, lambda order: state_of(order).finished
        )
        finished_as(order or broken("the stream did not tell that the order was cancelled"), *ENDED)
    again = await trader.rejection("cancel_order", CancelOrder(request.instrument, request.cid, id))
    wanted = (Error.OrderAlreadyCancelled, Error.OrderNotFound)
    check(again in wanted, f"a second cancel gave {_label(again)}: one of {_labels(wanted)}")


async def cancel_of_a_filled_order(trader: Trader) -> None:
    request, (order, _) = await trader.fill()
    error = await trader.rejection("cancel_order", CancelOrder(request.instrument, request.cid, order.id))
    wanted = (Error.OrderAlreadyFullyFilled, Error.OrderNotFound)
    check(error in wanted, f"it gave {_label(error)}: one of {_labels(wanted)}")


async def cancel_of_an_unknown_order(trader: Trader) -> None:
    request = trader.far()
    error = await trader.rejection("cancel_order", CancelOrder(request.instrument, request.cid, None))
    check(error is Error.OrderNotFound, f"it gave {_label(error)}: {Error.OrderNotFound.label}")


async def rejects(trader: Trader) -> None:
    """What the venue refuses is a typed rejection, and no order stands afterwards."""
    instrument, far = trader.terms.instrument, trader.far()
    assert far.price is not None
    step = instrument.quantity_step
    least = max(instrument.quantity_min, instrument.notional_min / far.price)
    quantity = step if step < least else trader.terms.on_step(Decimal(10) ** 9 / far.price)
    request = trader.request(Side.BUY, quantity, far.price)
    try:
        answer = await trader.open(request)
    except ExecutionError as error:
        words = f"an impossible order gave {error}: the venue's no is a Rejected"
        check(error.error.rejected, words)
    else:
        standing = answer is None or state_of(answer).finished or await _stands(trader, request)
        await trader.end(request)
        check(standing, "open_order answered with an order that is not at the venue: raise its rejection")
        raise NotSupported(f"the venue took an order for {quantity}: nothing there to be rejected for")
    check(not await _stands(trader, request), "a rejected order is open all the same")


async def post_only(trader: Trader) -> None:
    """A post-only order rests, and never takes."""
    request = trader.far(flags=int(Flags.POST_ONLY))
    try:
        await trader.open(request)
    except ExecutionError as error:
        raise NotSupported(f"the venue does not take post-only orders ({error})") from None
    await trader.end(request)
    if trader.price is None:
        return
    near = trader.terms.price_at(trader.price, NEAR)
    taking = trader.request(Side.BUY, request.quantity, near, flags=int(Flags.POST_ONLY))
    try:
        answer = await trader.open(taking)
    except ExecutionError as error:
        check(error.error.rejected, f"a post-only order that would take gave {error}: no Rejected")
        return
    order = await trader.ended(taking, answer)
    if order is None:
        await trader.end(taking)
        broken("a post-only order that would take stays open")
    trader.live.pop(taking.cid, None)
    check(order.filled == 0, "a post-only order took")


async def immediate_or_cancel(trader: Trader) -> None:
    await _never_rests(trader, TimeInForce.IOC)


async def fill_or_kill(trader: Trader) -> None:
    await _never_rests(trader, TimeInForce.FOK)


async def _never_rests(trader: Trader, time_in_force: TimeInForce) -> None:
    await trader.find_price()
    if trader.no_market:
        raise NotSupported(trader.no_market)
    request = trader.far(time_in_force=time_in_force)
    try:
        order, _ = await trader.take(request)
    except ExecutionError as error:
        check(error.error.rejected, f"an order that cannot be filled gave {error}: no Rejected")
        if time_in_force is TimeInForce.FOK and error.error is Error.OrderRejected:
            return  # some venues refuse what they cannot fill
        raise NotSupported(f"the venue does not take {time_in_force.label} orders ({error})") from None
    finished_as(order, *ENDED)
    check(order.filled == 0, f"{order.filled} was filled far from the market")


async def closes(trader: Trader) -> None:
    """close may be called twice, and takes no other instance with it."""
    client = trader.make()
    await trader.call("account_snapshot", trader.assets, trader.symbols, of=client)
    await trader.call("close", of=client)
    await trader.call("close", of=client)
    await trader.call("account_snapshot", trader.assets, trader.symbols)


async def error_after_it_acted(trader: Trader) -> None:
    """An error that came after the exchange may have acted says so: sent = "maybe"."""
    request = trader.far()
    await trader.provoke("error_after_accept", "1", "open")
    try:
        await trader.open(request)
    except ExecutionError as error:
        surely = error.error.rejected or error.sent == "no"
        check(
            not surely, f"{error}, sent = {error.sent!r}: the exchange has the order, so nobody can be sure"
        )
    else:
        broken("the exchange answered with an error, and open_order with an order")
    check(await _stands(trader, request), "the order is at the exchange, and the client does not show it")
    await trader.end(request)


async def _stands(trader: Trader, request: OpenOrder) -> bool:
    """Whether the account's snapshot shows the order."""
    said = await trader.call("account_snapshot", trader.assets, trader.symbols)
    orders = [check_order(order, "an order of account_snapshot") for order in said.orders]
    return any(order.cid == request.cid for order in orders)


def _label(error: Error | None) -> str:
    return "no error" if error is None else error.label


def _labels(errors: tuple[Error, ...]) -> str:
    return " or ".join(error.label for error in errors)
