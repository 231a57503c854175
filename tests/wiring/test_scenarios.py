"""The same stories in every placement, over real sockets: the same answers, the same life of each order."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest
import uvloop

from pipeline.messages import (
    CancelAllDone,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Synced,
    Trade,
)
from pipeline.vocabulary import Error, Evidence, OrderState, Refusal
from tests.wiring.placements import PLACEMENTS, Running, Trader, running

Story = Callable[[Running], Coroutine[Any, Any, None]]


@pytest.fixture(params=PLACEMENTS)
def play(request):
    """Plays a story in each placement."""

    def run(story: Story, **terms: Any) -> None:
        async def on_stage() -> None:
            async with running(request.param, **terms) as stage:
                await story(stage)

        uvloop.run(on_stage())

    return run


def answers(trader: Trader) -> list[Any]:
    """The answers to its requests, in the order of the requests."""
    own = [event for event in trader.events if event.answers is not None]
    rids = [event.answers.rid for event in own]
    assert len(rids) == len(set(rids)), "a request was answered twice"
    return sorted(own, key=lambda event: event.answers.rid)


def told(event: Any) -> tuple[Any, ...]:
    """What an answer says, without ids and times."""
    order = getattr(event, "order", None)
    failure = getattr(event, "failure", None)
    return (
        type(event).__name__,
        order and order.state.name,
        order and str(order.filled),
        failure and failure.error.name,
        getattr(event, "reason", None) and event.reason.name,
    )


def test_orders_are_opened_filled_and_cancelled_with_the_same_answers(play):
    async def story(stage):
        mm = await stage.trader("mm")
        resting = mm.open()
        taking = mm.open(price="1010", quantity="2")
        market = mm.open("beta", price=None, side="sell", quantity="0.5")
        ioc = mm.open(price="1", quantity="1", time_in_force="ioc")
        crossing = mm.open(price="1010", post_only=True)
        poor = mm.open(price="900", quantity="5000000")
        await mm.settled()
        mm.cancel(resting)
        mm.cancel(taking)
        await mm.settled()
        mm.cancel(resting)
        mm.open(cid="again")
        mm.open(cid="again")
        await mm.settled()
        assert [told(event) for event in answers(mm)] == [
            ("OrderSnapshot", "Open", "0", None, None),
            ("OrderSnapshot", "FullyFilled", "2", None, None),
            ("OrderSnapshot", "FullyFilled", "0.5", None, None),
            ("OrderSnapshot", "Cancelled", "0", None, None),
            ("OrderSnapshot", "OpenFailed", "0", "OrderRejected", None),
            ("OrderSnapshot", "OpenFailed", "0", "BalanceInsufficient", None),
            ("OrderCancelled", "Cancelled", "0", None, None),
            ("OrderCancelled", "FullyFilled", "2", "OrderAlreadyFullyFilled", None),
            ("OrderCancelled", "Cancelled", "0", "OrderAlreadyCancelled", None),
            ("OrderSnapshot", "Open", "0", None, None),
            ("Refused", None, None, None, "DuplicateCid"),
        ]
        lives = {cid: mm.states(cid) for cid in (resting, taking, market, ioc, crossing, poor)}
        assert list(lives.values()) == [
            ["Open", "Cancelled"],
            ["FullyFilled"],
            ["FullyFilled"],
            ["Cancelled"],
            ["OpenFailed"],
            ["OpenFailed"],
        ]
        for cid, quantity in ((taking, "2"), (market, "0.5")):
            await mm.until(lambda cid=cid, q=quantity: traded(mm, cid) == Decimal(q), f"the trades of {cid}")
        assert set(mm.engine.orders) == {"again"}

    play(story)


def said(trader: Trader, cls: type, since: int) -> list[Any]:
    """Events of a class after so many."""
    return [event for event in trader.events[since:] if isinstance(event, cls)]


def traded(trader: Trader, cid: str) -> Decimal:
    trades = trader.of(Trade, cid=cid)
    assert len({trade.id for trade in trades}) == len(trades)
    return sum((trade.quantity for trade in trades), Decimal(0))


def test_a_cancel_all_ends_the_orders_of_one_exchange_and_is_answered_once(play):
    async def story(stage):
        mm = await stage.trader("mm")
        there = [mm.open("alpha", price=str(900 + n)) for n in range(5)]
        elsewhere = mm.open("beta")
        rid = mm.engine.cancel_all("alpha")
        await mm.settled()
        (done,) = mm.of(CancelAllDone)
        assert (done.answers.rid, done.cancelled, done.failed, done.unknown) == (rid, 5, 0, 0)
        assert [mm.states(cid)[-1] for cid in there] == ["Cancelled"] * 5
        assert set(mm.engine.orders) == {elsewhere}

    play(story)


def test_a_disconnect_refuses_opens_and_what_was_traded_meanwhile_is_published_once(play):
    async def story(stage):
        mm = await stage.trader("mm")
        await stage.fault("alpha", "silence", "60000")
        hidden = mm.open(price=None, quantity="0.3")
        seen = mm.open("beta", price=None, quantity="0.4")
        await mm.settled()
        await mm.until(lambda: traded(mm, seen) == Decimal("0.4"), "the trades that nothing hides")
        assert mm.of(Trade, cid=hidden) == []
        await stage.fault("alpha", "clear")
        before = len(mm.events)
        await stage.fault("alpha", "disconnect")
        await mm.until(lambda: mm.of(Reconnecting), "the disconnect")
        await mm.until(lambda: said(mm, Synced, before), "the stream in step again")
        assert traded(mm, hidden) == Decimal("0.3"), "before it is in step, what was missed is there"
        assert {trade.evidence for trade in mm.of(Trade, cid=hidden)} == {Evidence.BACKFILL}
        mm.open()
        await mm.settled()
        assert told(answers(mm)[-1])[1] == "Open"
        assert len(mm.of(Reconnecting)) == 1

    play(story)


def test_an_open_that_is_never_answered_times_out_once_and_is_known_in_the_end(play):
    async def story(stage):
        mm = await stage.trader("mm")
        await stage.fault("alpha", "silence", "60000")
        await stage.fault("alpha", "accept_then_no_reply", "1", "open")
        lost = mm.open()
        other = mm.open("beta")
        await mm.settled()
        timeout, opened = answers(mm)
        assert told(timeout) == ("OrderSnapshot", "Unknown", "0", "Timeout", None)
        assert told(opened) == ("OrderSnapshot", "Open", "0", None, None), "the other exchange is not slowed"
        await mm.state(lost, "Open")
        assert mm.states(lost) == ["Unknown", "Open"]
        assert mm.of(OrderSnapshot)[-1].evidence is Evidence.QUERY
        mm.cancel(lost)
        mm.cancel(other)
        await mm.settled()
        assert mm.states(lost) == ["Unknown", "Open", "Cancelled"]

    play(story, timeout_ms=300)


def test_a_cancel_that_is_never_answered_times_out_once_and_is_known_in_the_end(play):
    async def story(stage):
        mm = await stage.trader("mm")
        cid = mm.open()
        await mm.settled()
        await stage.fault("alpha", "silence", "60000")
        await stage.fault("alpha", "accept_then_no_reply", "1", "cancel")
        mm.cancel(cid)
        await mm.settled()
        assert told(answers(mm)[-1]) == ("OrderCancelled", "Unknown", "0", "Timeout", None)
        await mm.state(cid, "Cancelled")
        assert mm.states(cid) == ["Open", "Unknown", "Cancelled"]

    play(story, timeout_ms=300)


def test_a_late_joiner_begins_with_the_orders_and_balances_of_those_before(play):
    async def story(stage):
        mm = await stage.trader("mm")
        cid = mm.open()
        filled = mm.open(price=None, quantity="0.2")
        await mm.settled()
        await mm.until(lambda: traded(mm, filled), "the trades")
        late = await stage.trader("late", everything=True)
        order = late.engine.orders[cid]
        assert (order.state, order.engine, str(order.price)) == (OrderState.Open, "mm", "900")
        assert filled not in late.engine.orders
        balances = {key: str(balance.total) for key, balance in late.engine.balances.items()}
        assert balances["alpha", "btc"] == "1000000.2"
        mm.cancel(cid)
        await late.state(cid, "Cancelled")
        assert late.engine.orders == {}

    play(story)


def test_an_engine_that_was_away_goes_on_after_the_last_event_it_handled(play):
    async def story(stage):
        other = await stage.trader("other", everything=True)
        mm = await stage.trader("mm", everything=True)
        first = other.open()
        await mm.state(first, "Open")
        cursor = mm.engine.cursor
        mm.engine.close()
        missed = [other.open(price=str(900 + n)) for n in range(10)]
        await other.settled()
        back = await stage.trader("mm", everything=True, resume_after=cursor)
        for cid in missed:
            await back.state(cid, "Open")
        numbers = [event.seq for event in back.events]
        assert numbers == list(range(cursor[1] + 1, cursor[1] + 1 + len(numbers)))

    play(story)


def test_a_reader_that_was_slow_is_healed_by_replay(play):
    async def story(stage):
        slow = await stage.trader("slow", everything=True)
        busy = await stage.trader("busy")
        slow.engine._wires.pause("feed")
        cids = []
        for _ in range(30):
            for _ in range(25):
                cids.append(busy.open(price="800"))
            await busy.settled()
            for cid in cids[-25:]:
                busy.cancel(cid)
            await busy.settled()
        slow.engine._wires.pause("feed", False)
        await slow.state(cids[-1], "Cancelled")
        numbers = [event.seq for event in slow.events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert slow.engine._core.reader.gaps > 0 and slow.engine._core.reader.replayed > 0
        assert {tuple(slow.states(cid)) for cid in cids[-50:]} == {("Open", "Cancelled")}

    play(story, edges="feed_hwm = 64")


def test_a_stream_that_is_down_refuses_opens_of_its_exchange_only(play):
    async def story(stage):
        mm = await stage.trader("mm")
        await stage.fault("alpha", "flap", "1")
        await mm.until(lambda: mm.of(Reconnecting), "the outage")
        refused = None
        for _ in range(200):
            mm.open("alpha")
            await mm.settled()
            if isinstance(mm.events[-1], Refused):
                refused = mm.events[-1]
                break
            await asyncio.sleep(0)
        assert refused is not None and refused.reason is Refusal.NotReady
        fine = mm.open("beta")
        await mm.settled()
        assert mm.states(fine) == ["Open"]
        await stage.fault("alpha", "clear")
        await mm.until(lambda: "alpha" not in down(mm), "the stream in step")

    play(story)


def down(trader: Trader) -> set[str]:
    """Exchanges whose stream is not in step, as its engine knows it."""
    exchanges = trader.engine.deployment.exchanges
    return {e.name for e in exchanges if e.index not in trader.engine._core.synced}


def test_several_engines_have_each_its_own_answers(play):
    async def story(stage):
        traders = [await stage.trader(f"e-{n}") for n in range(3)]
        for n, trader in enumerate(traders):
            for _ in range(20):
                trader.open(price=str(900 + n))
        for trader in traders:
            await trader.settled()
            assert {event.answers.engine for event in answers(trader)} == {trader.engine.name}
            assert len(answers(trader)) == 20
            assert {event.order.state for event in answers(trader)} == {OrderState.Open}
            assert not trader.of(OrderCancelled)
        assert Error.Timeout not in {e.failure.error for t in traders for e in answers(t) if e.failure}

    play(story)
