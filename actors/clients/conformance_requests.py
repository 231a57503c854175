"""Rows about requests through the pipeline: what is answered when the client does so, late or never."""

from typing import Final

from actors.clients.conformance_stage import Stage, state, what
from actors.clients.conformance_words import NotSupported, broken, check
from pipeline.client import Capability
from pipeline.messages import OrderCancelled, OrderSnapshot
from pipeline.vocabulary import Evidence, OrderState, Side

SEVERAL: Final = 4


async def answers_orders(stage: Stage) -> None:
    """Open, cancel and fill come to the engine as what they are."""
    cid, rid = stage.open(stage.trader.far())
    answer = await stage.opened(rid)
    check(answer.order.state is OrderState.Open, f"a resting order was answered with {what(answer)}")
    await stage.cancel(cid)
    await stage.trader.find_price()
    if stage.trader.no_market or stage.trader.price is None:
        return
    lot = stage.trader.terms.lot(stage.trader.price)
    cid, rid = stage.open(stage.trader.request(Side.BUY, lot, None))
    await stage.opened(rid)
    if await stage.becomes(cid, OrderState.FullyFilled) is None:
        broken("a market order did not come to be filled on the feed")
    stage.trader.position += lot
    if not stage.trader.inline:
        stage.filled[cid] = lot
        traded = await stage.line.until(lambda: stage.traded(cid) >= lot or None, stage.patience_s)
        check(traded, f"the trades on the feed add up to {stage.traded(cid)}, not {lot}")


async def several_in_flight(stage: Stage) -> None:
    """Requests under way together are each answered once."""
    sent = [stage.open(stage.trader.far(nth)) for nth in range(SEVERAL)]
    for cid, rid in sent:
        answer = await stage.opened(rid)
        check(answer.order.cid == cid, f"the open of {cid} was answered with {answer.order.cid}")
        check(answer.order.state is OrderState.Open, f"one of several opens was answered with {what(answer)}")
    for cid, _ in sent:
        await stage.cancel(cid)


async def left_to_the_stream(stage: Stage) -> None:
    """Calls that answer None are answered by what the stream tells."""
    stage.trader.needs_stream()
    stage.ours.left_out = True
    try:
        cid, rid = stage.open(stage.trader.far())
        answer = await stage.opened(rid)
        by_stream = answer.failure is None and answer.evidence is Evidence.STREAM
        check(by_stream, f"an open that answered None was answered with {what(answer)}")
        await stage.cancel(cid)
    finally:
        stage.ours.left_out = False


async def times_out(stage: Stage) -> None:
    """At the deadline the request is answered Timeout, the order is Unknown, and a question finds it."""
    async with stage.keeping(answers=True, stream=True):
        cid, rid = stage.open(stage.trader.far())
        answer = await stage.timed_out(rid)
        check(
            answer.order.state is OrderState.Unknown,
            f"after the deadline the order is {state(answer.order)}",
        )
        if not {Capability.FETCH_ORDER, Capability.OPEN_ORDERS} & stage.trader.client.capabilities:
            raise NotSupported(
                "orders cannot be asked about: neither FETCH_ORDER nor OPEN_ORDERS is declared"
            )
        found = await _found(stage, cid)
        asked = found.evidence is Evidence.QUERY
        check(asked, f"nothing but a question could be answered, and the evidence is {found.evidence.label}")
    await stage.cancel(cid)


async def answers_late(stage: Stage) -> None:
    """An answer that comes after the deadline says what became of the order."""
    if stage.trader.leaves_it_to_the_stream:
        raise NotSupported("open_order answers None: coming late it says no more")
    async with stage.keeping(answers=True, stream=True, questions=True):
        cid, rid = stage.open(stage.trader.far())
        await stage.timed_out(rid)
        stage.ours.hold(False)
        found = await _found(stage, cid)
        late = found.evidence is Evidence.LATE_CALL
        check(late, f"only the late answer could tell, and the evidence is {found.evidence.label}")
    await stage.cancel(cid)


async def _found(stage: Stage, cid: str) -> OrderSnapshot | OrderCancelled:
    """The word that takes an Unknown order, which rests at the venue, back to Open."""
    ends = [state for state in OrderState if state.finished]
    found = await stage.becomes(cid, OrderState.Open, *ends)
    if found is None:
        broken("the order rests at the venue, and stays Unknown")
    order = found.order
    check(
        order is not None and order.state is OrderState.Open,
        f"the order rests at the venue, and became {state(found.order)}",
    )
    return found


async def no_reply(stage: Stage) -> None:
    """The exchange has the order and never answers: Timeout once, then it is found."""
    await _provoked(stage, "accept_then_no_reply", "1", "open")


async def late_reply(stage: Stage) -> None:
    """The exchange's answer comes after the deadline: Timeout once, and the order is open."""
    await _provoked(stage, "late_reply", str(2 * stage.line.exchange.timing.request_timeout_ms), "1", "open")


async def _provoked(stage: Stage, fault: str, *arguments: str) -> None:
    await stage.trader.provoke(fault, *arguments)
    cid, rid = stage.open(stage.trader.far())
    await stage.timed_out(rid)
    if await stage.becomes(cid, OrderState.Open) is None:
        broken("the order is at the exchange, and the feed does not show it open")
    await stage.cancel(cid)


async def lost_on_the_way(stage: Stage) -> None:
    """The exchange never got the order: Timeout once, Unknown, then absent after its validity."""
    validity_ms = stage.trader.client.request_validity_ms
    stage.trader.offers(Capability.FETCH_ORDER)
    if validity_ms is None:
        raise NotSupported("request_validity_ms is None: an absent order is never taken for ended")
    await stage.trader.provoke("drop_before_accept", "1", "open")
    cid, rid = stage.open(stage.trader.far())
    answer = await stage.timed_out(rid)
    check(answer.order.state is OrderState.Unknown, f"after the deadline the order is {state(answer.order)}")
    # Absence counts only when the call is over and the request could no longer act.
    over_ms = max(validity_ms, stage.line.exchange.timing.call_lifetime_ms)
    within_s = over_ms / 1000 + 2 * stage.patience_s
    found = await stage.becomes(cid, OrderState.OpenFailed, OrderState.Open, within_s=within_s)
    if found is None:
        broken("an order that never reached the exchange stays Unknown beyond its validity")
    check(found.evidence is Evidence.ABSENCE, f"it ended as {what(found)}, by {found.evidence.label}")


async def answers_once(stage: Stage) -> None:
    """Every request of all these rows has exactly one answer."""
    check(stage.line.rids, "no request was sent through the pipeline")
    for rid in stage.line.rids:
        count = len(stage.line.answers(rid))
        check(count == 1, f"request {rid} has {count} answers")
