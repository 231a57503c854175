"""Each fault of the simulated exchange, from the deployment file and flipped: what the feed says then.

Every story ends with the three ledgers in agreement: one answer per request, no order twice or backwards,
every trade once, and the feed equal to the exchange's own book.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from orderwire import (
    AccountSnapshot,
    BalanceSnapshot,
    Error,
    Evidence,
    OrderState,
    Reconnecting,
    Synced,
    Trade,
)
from tests.faults.desk import Desk, deployment, play

Story = Callable[[Desk], Coroutine[Any, Any, None]]


@pytest.fixture(params=["file", "flipped"])
def switch(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Plays a story with faults that are on from the start, or that are flipped once it runs."""

    def run(story: Story, *faults: str, **timing: int) -> None:
        if request.param == "file":
            play(deployment(tmp_path, faults=faults, **timing), story)
            return

        async def flipped(desk: Desk) -> None:
            for fault in faults:
                await desk.fault(*fault.split())
            await story(desk)

        play(deployment(tmp_path, **timing), flipped)

    return run


# ------------------------------------------------------------------------------- answers that do not come


def test_an_open_that_nobody_answered_times_out_once_is_unknown_and_then_known(switch):
    async def story(desk):
        cid = desk.open()
        answer = await desk.answered(cid)
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
        assert answer.evidence is Evidence.DEADLINE
        await desk.until(lambda: desk.state(cid) is OrderState.Open)
        await desk.at_rest()
        assert desk.states(cid) == ["Unknown", "Open"]
        await desk.fill("90", "1")
        await desk.until(lambda: desk.state(cid) is OrderState.FullyFilled)
        await desk.at_rest()

    switch(story, "accept_then_no_reply 1 open", "drop_stream_frame order 1", request_timeout_ms=200)


def test_an_open_that_only_the_stream_tells_of_times_out_and_is_no_mystery(switch):
    async def story(desk):
        cid = desk.open()
        answer = await desk.answered(cid)
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Open)
        assert desk.states(cid) == ["Open"]
        await desk.at_rest()

    switch(story, "accept_then_no_reply 1 open", request_timeout_ms=200)


def test_a_market_order_that_nobody_answered_is_filled_and_its_trades_are_told_once(switch):
    async def story(desk):
        cid = desk.open(price=None, quantity="3")
        answer = await desk.answered(cid)
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
        await desk.until(lambda: desk.state(cid) is OrderState.FullyFilled)
        await desk.at_rest()
        assert desk.states(cid) == ["Unknown", "FullyFilled"]

    switch(story, "accept_then_no_reply 1 open", "drop_stream_frame order 1", request_timeout_ms=200)


@pytest.mark.parametrize("call", ["open", "cancel"])
def test_an_answer_after_the_deadline_is_no_second_answer(switch, call):
    async def story(desk):
        cid = desk.open()
        if call == "open":
            answer = await desk.answered(cid)
        else:
            await desk.answered(cid)
            answer = await desk.answered(desk.cancel(cid))
        assert answer.failure.error is Error.Timeout
        assert (await desk.health("executor.alpha")).gauges["in_flight"] == 1
        await desk.calls_over()  # the late answer came
        await desk.at_rest()
        assert desk.state(cid) is (OrderState.Open if call == "open" else OrderState.Cancelled)

    switch(story, f"late_reply 300 1 {call}", request_timeout_ms=200)


def test_delayed_answers_within_the_timeout_are_only_late(switch):
    async def story(desk):
        cids = [desk.open(price=price) for price in ("90", "91", "92")]
        for cid in cids:
            answer = await desk.answered(cid)
            assert (answer.failure, answer.order.state) == (None, OrderState.Open)
        cancelled = await desk.answered(desk.cancel(cids[0]))
        assert cancelled.failure is None
        await desk.at_rest()

    switch(story, "delay 80")


def test_delayed_answers_beyond_the_timeout_are_timeouts_that_the_stream_settles(switch):
    async def story(desk):
        await desk.fault("delay", 400, 3)
        cids = [desk.open(price=price) for price in ("90", "91", "92")]
        for cid in cids:
            assert (await desk.answered(cid)).failure.error is Error.Timeout
        await desk.at_rest()
        assert {desk.state(cid) for cid in cids} == {OrderState.Open}

    switch(story, "delay 10", request_timeout_ms=200)


def test_answers_that_come_twice_count_once(switch):
    async def story(desk):
        cid = desk.open()
        await desk.answered(cid)
        cancelled = await desk.answered(desk.cancel(cid))
        assert cancelled.failure is None
        taken = await desk.answered(desk.open(price=None))
        assert taken.order.state is OrderState.FullyFilled
        await desk.at_rest()

    switch(story, "duplicate_reply 50")


def test_an_error_after_the_exchange_had_acted_leaves_the_order_unknown_until_it_is_asked(switch):
    async def story(desk):
        cid = desk.open()
        answer = await desk.answered(cid)
        assert (answer.failure.error, answer.order.state) == (Error.ExchangeOffline, OrderState.Unknown)
        await desk.until(lambda: desk.state(cid) is OrderState.Open)
        await desk.at_rest()
        assert desk.states(cid) == ["Unknown", "Open"]

    switch(story, "error_after_accept 1 open", "drop_stream_frame order 1")


def test_an_error_after_a_cancel_was_done_is_not_taken_for_a_refusal(switch):
    async def story(desk):
        cid = desk.open()
        await desk.answered(cid)
        await desk.fault("drop_stream_frame", "order", 1)
        answer = await desk.answered(desk.cancel(cid))
        assert answer.failure.error is Error.ExchangeOffline
        assert answer.order.state is OrderState.Unknown
        await desk.until(lambda: desk.state(cid) is OrderState.Cancelled)
        await desk.at_rest()

    switch(story, "error_after_accept 1 cancel")


def test_an_open_lost_on_its_way_ends_by_absence_only_after_it_could_still_act(switch):
    async def story(desk):
        cid = desk.open()
        answer = await desk.answered(cid)
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
        await desk.until(lambda: desk.state(cid) is OrderState.OpenFailed)
        ended = desk.events[-1]
        assert (ended.evidence, ended.failure.error) == (Evidence.ABSENCE, Error.OrderNotFound)
        asked_ns = answer.received_at_ns - 200 * 1_000_000
        assert ended.received_at_ns - asked_ns > 2_000 * 1_000_000  # the client's request_validity_ms
        await desk.at_rest()

    switch(story, "drop_before_accept 1 open", request_timeout_ms=200)


def test_a_cancel_lost_on_its_way_is_sent_again_when_the_order_is_found_open(switch):
    async def story(desk):
        cid = desk.open()
        await desk.answered(cid)
        answer = await desk.answered(desk.cancel(cid))
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
        await desk.until(lambda: desk.state(cid) is OrderState.Cancelled)
        await desk.at_rest()
        assert desk.states(cid) == ["Open", "Unknown", "Open", "Cancelled"]

    switch(story, "drop_before_accept 1 cancel", request_timeout_ms=200, call_lifetime_ms=300)


# ------------------------------------------------------------------------------- the stream


def test_a_trade_that_the_stream_hid_is_found_within_a_period(switch):
    async def story(desk):
        cid = await desk.opened()
        await desk.fill("90", "0.4")
        await desk.until(lambda: desk.words(cid)[-1].filled > 0)
        if desk.deployment.exchanges[0].simulation["faults"]:
            await desk.until(lambda: len(desk.of(Trade)) == 1)
        hidden = desk.of(Trade)
        assert [trade.evidence for trade in hidden] in ([], [Evidence.BACKFILL])
        await desk.at_rest()
        (trade,) = desk.of(Trade)
        assert trade.evidence is Evidence.BACKFILL
        assert desk.of(Reconnecting) == []

    switch(story, "drop_stream_frame trade 1", reconcile_every_ms=250)


def test_an_older_trade_is_found_behind_those_that_the_stream_told_of(switch):
    async def story(desk):
        cid = await desk.opened()
        await desk.fill("90", "0.1")  # hidden
        for _ in range(3):
            seen = len(desk.of(Trade))
            await desk.fill("90", "0.1")
            await desk.until(lambda seen=seen: len(desk.of(Trade)) > seen)
        await desk.at_rest()
        assert [t.evidence for t in desk.of(Trade)].count(Evidence.BACKFILL) == 1
        assert str(desk.words(cid)[-1].filled) == "0.4"

    switch(story, "drop_stream_frame trade 1", reconcile_every_ms=400, trade_overlap_ms=0)


def test_a_fill_whose_order_update_the_stream_hid_makes_the_order_suspect_and_then_known(switch):
    async def story(desk):
        cid = await desk.opened(quantity="1")
        await desk.fault("drop_stream_frame", "order", 1)
        await desk.fill("90", "1")
        await desk.until(lambda: desk.state(cid) is OrderState.FullyFilled)
        assert desk.states(cid) == ["Open", "Unknown", "FullyFilled"]
        suspect = next(e for e in desk.events if getattr(e, "evidence", None) is Evidence.SUSPECT)
        assert suspect.order.cid == cid and suspect.answers is None
        await desk.at_rest()
        assert await desk.counted("executor.alpha", "suspect_orders") == 1

    switch(story, "drop_stream_frame order 1", reconcile_every_ms=250)


def test_a_partial_fill_that_the_stream_hid_is_the_exchanges_word_at_the_next_check(switch):
    async def story(desk):
        cid = await desk.opened(quantity="1")
        await desk.fault("drop_stream_frame", "order", 1)
        await desk.fill("90", "0.4")
        await desk.until(lambda: str(desk.words(cid)[-1].filled) == "0.4")
        assert desk.states(cid) == ["Open"]
        await desk.at_rest()

    switch(story, "drop_stream_frame order 1", reconcile_every_ms=250)


def test_a_balance_that_the_stream_hid_is_found_within_a_period(switch):
    async def story(desk):
        await desk.opened()
        await desk.until(lambda: desk.of(BalanceSnapshot) != [])
        assert desk.of(BalanceSnapshot)[0].evidence is Evidence.SNAPSHOT
        await desk.at_rest()

    switch(story, "drop_stream_frame balance 1", reconcile_every_ms=250)


def test_every_frame_hidden_at_once_is_found_by_the_checks(switch):
    async def story(desk):
        cids = [desk.open(price=price) for price in ("90", "91", "92", "93")]
        for cid in cids:
            await desk.answered(cid)
        await desk.fill("92", "1.5")
        await desk.cancel_at_exchange(cids[0])
        await desk.at_rest()
        states = [desk.state(cid).name for cid in cids]
        assert states == ["Cancelled", "Open", "Open", "FullyFilled"]
        assert desk.of(Reconnecting) == []

    switch(story, "drop_stream_frame any 100", reconcile_every_ms=250)


def test_stream_items_that_change_places_take_nothing_back(switch):
    async def story(desk):
        cid = await desk.opened(quantity="1")
        for _ in range(4):
            await desk.fill("90", "0.25")
        await desk.until(lambda: desk.state(cid) is OrderState.FullyFilled)
        await desk.at_rest()
        assert len(desk.of(Trade)) == 4

    switch(story, "reorder 6", reconcile_every_ms=500)


def test_trades_that_a_new_stream_tells_again_stay_told_once(switch):
    async def story(desk):
        cid = await desk.opened(quantity="1")
        for at in range(3):
            await desk.fill("90", "0.2")
            await desk.until(lambda at=at: len(desk.of(Trade)) == at + 1)
        seq = desk.seq
        await desk.fault("disconnect")
        await desk.until(lambda: desk.of(Synced, seq) != [])
        await desk.at_rest()
        assert len(desk.of(Trade)) == 3
        assert str(desk.words(cid)[-1].filled) == "0.6"
        assert await desk.counted("merger", "repeated_trades") >= 3

    switch(story, "replay_trades 100")


# ------------------------------------------------------------------------------- the exchange as a whole


def test_a_skewed_clock_is_a_typed_rejection_and_no_unknown_order(switch):
    async def story(desk):
        await desk.fault("clock_skew", 0)
        cid = await desk.opened()
        await desk.fault("clock_skew", 5_000)
        answer = await desk.answered(desk.open(price="91"))
        assert (answer.failure.error, answer.order.state) == (Error.OrderRejected, OrderState.OpenFailed)
        assert "receive window" in answer.failure.detail
        cancelled = await desk.answered(desk.cancel(cid))
        assert cancelled.failure is None
        await desk.at_rest()

    switch(story, "clock_skew 3000")


def test_a_clock_that_is_behind_is_a_typed_rejection_too(switch):
    async def story(desk):
        answer = await desk.answered(desk.open())
        assert (answer.failure.error, answer.order.state) == (Error.OrderRejected, OrderState.OpenFailed)
        await desk.fault("clear")
        await desk.opened()
        await desk.at_rest()

    switch(story, "clock_skew -3000")


def test_a_snapshot_that_was_cut_is_never_seen(switch):
    async def story(desk):
        seq = desk.seq
        if not desk.deployment.exchanges[0].simulation["faults"]:
            await desk.fault("disconnect")
            await desk.until(lambda: desk.of(Synced, seq) != [])
        synced = {event.generation for event in desk.of(Synced)}
        assert {event.generation for event in desk.of(AccountSnapshot)} == synced
        assert len(desk.of(Reconnecting)) == 1
        await desk.opened()
        await desk.at_rest()

    switch(story, "cut_snapshot 1")


def test_what_happened_while_the_stream_was_silent_is_found_when_it_is_renewed(switch):
    async def story(desk):
        cid = await desk.opened(quantity="1")
        await desk.fill("90", "0.4")
        await desk.until(lambda: desk.of(Trade) != [])
        await desk.at_rest()
        assert str(desk.words(cid)[-1].filled) == "0.4"
        assert len(desk.of(Reconnecting)) >= 1

    switch(story, "silence 700", stream_silence_ms=400)
