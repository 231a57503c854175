"""The account stream across disconnects: an outage told once, nothing half seen, nothing missed."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from orderwire import (
    AccountSnapshot,
    Engine,
    Error,
    Evidence,
    Host,
    OrderState,
    Reconnecting,
    Refusal,
    Refused,
    Subscribed,
    Synced,
    Trade,
)
from pipeline.amounts import amount
from pipeline.client import ExecutionError
from pipeline.vocabulary import Side
from tests.actors import pipeline as memory
from tests.faults.desk import Desk, deployment, play
from tests.wiring import skeleton

OUTAGE = (Reconnecting, Subscribed, AccountSnapshot, Synced)


def cut_off(actor, now_ns):
    actor.streams.end_all("cut off")


async def again(desk, seq):
    """The stream is in step again."""
    await desk.until(lambda: desk.of(Synced, seq) != [])


# ------------------------------------------------------------------------------- what happened in the gap


def test_fills_in_the_gap_are_told_once_and_change_the_order(tmp_path):
    async def story(desk):
        partly, wholly = await desk.opened(price="90"), await desk.opened(price="91", quantity="0.5")
        seq = desk.seq

        def gap(actor, now_ns):
            cut_off(actor, now_ns)
            for _ in range(3):
                actor.matching.trade("BTCUSD", amount("90"), amount("0.3"), Side.SELL, now_ns)

        await desk.at_exchange(gap)
        await again(desk, seq)
        await desk.at_rest()
        assert (desk.state(partly), desk.state(wholly)) == (OrderState.Open, OrderState.FullyFilled)
        assert {trade.evidence for trade in desk.of(Trade)} == {Evidence.BACKFILL}
        assert [type(event).__name__ for event in desk.of((*OUTAGE, Trade), seq)] == [
            "Reconnecting", "Subscribed", "AccountSnapshot", "Trade", "Trade", "Trade", "Trade", "Synced",
        ]  # fmt: skip

    play(deployment(tmp_path), story)


def test_an_order_cancelled_at_the_venue_in_the_gap_is_unknown_and_then_cancelled(tmp_path):
    async def story(desk):
        gone, stays = await desk.opened(price="90"), await desk.opened(price="91")
        seq = desk.seq

        def gap(actor, now_ns):
            cut_off(actor, now_ns)
            actor.matching.cancel("BTCUSD", gone, None, now_ns)

        await desk.at_exchange(gap)
        await desk.until(lambda: desk.state(gone) is OrderState.Cancelled)
        await desk.at_rest()
        assert desk.states(gone) == ["Open", "Unknown", "Cancelled"]
        assert desk.states(stays) == ["Open"]
        assert len(desk.of(Reconnecting, seq)) == 1

    play(deployment(tmp_path), story)


def test_opens_are_refused_and_cancels_pass_while_the_stream_is_down(tmp_path):
    async def story(desk):
        resting = await desk.opened()
        seq = desk.seq
        await desk.fault("disconnect")
        await desk.until(lambda: desk.of(Reconnecting, seq) != [])
        refused = await desk.answered(desk.open(price="91"))
        assert isinstance(refused, Refused) and refused.reason is Refusal.NotReady
        cancelled = await desk.answered(desk.cancel(resting))
        assert (cancelled.failure, desk.of(Synced, seq)) == (None, [])
        await again(desk, seq)
        await desk.opened()
        await desk.at_rest()

    play(deployment(tmp_path, backoff={"initial_ms": 2_000, "max_ms": 2_000}), story)


# ------------------------------------------------------------------------------- snapshots


@pytest.mark.parametrize("after", range(6))
def test_a_snapshot_cut_at_any_element_is_never_seen(tmp_path, after):
    async def story(desk):
        cids = [await desk.opened(price=price) for price in ("90", "91", "92")]  # and two balances
        seq = desk.seq
        await desk.fault("cut_snapshot", after)
        await desk.fault("disconnect")
        await again(desk, seq)
        outage = [type(event).__name__ for event in desk.of(OUTAGE, seq)]
        assert outage == ["Reconnecting", "Subscribed", "Subscribed", "AccountSnapshot", "Synced"]
        (snapshot,) = desk.of(AccountSnapshot, seq)
        assert (len(snapshot.orders), len(snapshot.balances)) == (3, 2)
        await desk.at_rest()
        assert [desk.states(cid) for cid in cids] == [["Open"]] * 3

    play(deployment(tmp_path), story)


def test_a_stale_snapshot_undoes_nothing_newer(tmp_path):
    async def story(desk):
        partly = await desk.opened(price="90")
        wholly = await desk.opened(price="92", quantity="0.5")
        await desk.fault("stale_snapshot", 60_000)  # from here on snapshots show this moment
        await desk.fill("92", "0.5")
        await desk.until(lambda: desk.state(wholly) is OrderState.FullyFilled)
        await desk.fill("90", "0.4")
        await desk.until(lambda: desk.words(partly)[-1].filled > 0)
        younger = await desk.opened(price="89")
        seq = desk.seq
        await desk.fault("disconnect")
        await again(desk, seq)
        await desk.until(lambda: desk.states(younger) == ["Open", "Unknown", "Open"])  # asked about
        await desk.at_rest()
        assert desk.states(wholly) == ["Open", "FullyFilled"]
        assert desk.states(partly) == ["Open"]
        assert str(desk.words(partly)[-1].filled) == "0.4"

    play(deployment(tmp_path), story)


def test_an_order_that_only_a_stale_snapshot_shows_open_is_found_out_by_the_check(tmp_path):
    async def story(desk):
        gone = await desk.opened()
        await desk.fault("stale_snapshot", 60_000)

        def gap(actor, now_ns):
            cut_off(actor, now_ns)
            actor.matching.cancel("BTCUSD", gone, None, now_ns)

        await desk.at_exchange(gap)
        await desk.until(lambda: desk.state(gone) is OrderState.Cancelled)
        assert desk.states(gone) == ["Open", "Unknown", "Cancelled"]
        await desk.fault("clear")
        await desk.at_rest()

    play(deployment(tmp_path, reconcile_every_ms=300), story)


# ------------------------------------------------------------------------------- silent, flapping, late


def test_a_silent_stream_is_renewed_again_and_again_until_it_speaks(tmp_path):
    async def story(desk):
        cid = await desk.opened()
        seq = desk.seq
        await desk.fault("silence", 900)
        await desk.fill("90", "0.4")
        await desk.until(lambda: desk.of(Reconnecting, seq) != [])
        assert desk.of(Reconnecting, seq)[0].failure.error is Error.Timeout
        await desk.at_rest()
        assert str(desk.words(cid)[-1].filled) == "0.4"
        assert await desk.counted("reconnector.alpha", "silent_streams") >= 1
        outages, synced = desk.of(Reconnecting, seq), desk.of(Synced, seq)
        assert len(outages) - len(synced) in (0, 1)  # each outage is told once

    play(deployment(tmp_path, stream_silence_ms=350), story)


def test_a_flapping_exchange_is_not_hammered_and_opens_are_refused_fast(tmp_path):
    async def story(desk):
        await desk.fault("flap", 20)
        await desk.until(lambda: len(desk.of(Reconnecting)) >= 6)
        refused = None
        while not isinstance(refused, Refused):
            refused = await desk.answered(desk.open(), within_s=2)
        assert refused.reason is Refusal.NotReady
        assert refused.received_at_ns - desk.of(Reconnecting)[-1].received_at_ns < 1_000 * memory.MS
        gaps = [
            later.received_at_ns - earlier.received_at_ns
            for earlier, later in zip(desk.of(Reconnecting), desk.of(Subscribed)[1:], strict=False)
        ]
        assert all(gap >= 0 for gap in gaps)
        health = await desk.health("reconnector.alpha")
        assert health.gauges["attempt"] >= 6  # being connected for 20 ms is not being well
        begun = {event.generation for event in desk.of(Subscribed)}
        assert {event.generation for event in desk.of(Reconnecting)} <= begun
        await desk.fault("clear")
        await desk.fault("disconnect")
        seq = desk.seq
        await again(desk, seq)
        await desk.at_rest()

    play(deployment(tmp_path, backoff={"initial_ms": 2, "max_ms": 60}), story)


def flapping(folder, healthy_ms, up_ms, seed_outages=12):
    """The waits before each attempt of an exchange whose streams live for `up_ms`."""
    backoff = {"initial_ms": 100, "multiplier": 2.0, "max_ms": 10_000, "healthy_ms": healthy_ms}
    desk = memory.Pipeline(folder, backoff=backoff).start()
    waits = []
    for _ in range(seed_outages):
        stream = desk.sync()
        desk.advance(up_ms)
        stream.end(ExecutionError(Error.ExchangeOffline, "flap"))
        lost_ns, streams = desk.now_ns, len(desk.streams)
        while len(desk.streams) == streams:
            desk.advance(1)
        waits.append((desk.now_ns - lost_ns) // memory.MS)
    desk.check_promises()
    assert len(desk.events(Reconnecting)) == seed_outages
    desk.close()
    return waits


def test_the_backoff_grows_while_streams_die_young_and_begins_anew_after_a_healthy_one(tmp_path):
    young = flapping(tmp_path / "young", healthy_ms=5_000, up_ms=100)
    healthy = flapping(tmp_path / "healthy", healthy_ms=5_000, up_ms=6_000)
    assert max(healthy) <= 101  # always the first wait, whatever the jitter drew
    assert max(young) > 1_000
    assert all(wait <= 100 * 2**attempt + 1 for attempt, wait in enumerate(young))
    assert len(set(young)) > len(young) // 2  # jitter


def test_all_exchanges_dropping_together_come_back_apart_with_one_reconnecting_each(tmp_path):
    names = tuple(f"e{at}" for at in range(6))
    desk = memory.Pipeline(tmp_path, names, backoff={"initial_ms": 10_000, "max_ms": 10_000})
    for seed, name in enumerate(desk.deployment.actors):
        desk.begin(name, seed)
    desk.settle()
    for name in names:
        desk.sync(exchange=name)
    for name in names:
        desk.stream(name).end()
    began_ns, came, streams = desk.now_ns, {}, len(desk.streams)
    while len(came) < len(names):
        desk.advance(10)
        for asked in desk.streams[streams:]:
            came.setdefault(asked.actor, desk.now_ns - began_ns)
    assert len(desk.events(Reconnecting)) == len(names)
    times = sorted(came.values())
    assert times[-1] - times[0] > 1_000 * memory.MS
    desk.close()


def test_an_exchange_that_comes_later_than_its_executor_is_waited_for(tmp_path):
    here = deployment(
        tmp_path,
        processes='front = ["router", "merger"]\ndesk = ["executor.*", "reconnector.*"]\n'
        'venue = ["exchange.*"]',
    )

    async def body():
        async with AsyncExitStack() as stack:
            front = await stack.enter_async_context(Host(here, "front"))
            await stack.enter_async_context(Host(here, "desk"))
            engine = await stack.enter_async_context(Engine(here, "mm", everything=True, resume_after=0))
            desk = Desk(front, engine, None)
            reading = asyncio.create_task(desk.read())
            await desk.until(lambda: desk.of(Reconnecting) != [])
            refused = await desk.answered(desk.open(), within_s=2)
            while refused.reason is Refusal.Overloaded:  # the router is not connected yet
                refused = await desk.answered(desk.open(), within_s=2)
            assert refused.reason is Refusal.NotReady
            cancelled = await desk.answered(desk.cancel("somebody-elses"))  # cancels are tried
            assert cancelled.failure is not None
            await stack.enter_async_context(Host(here, "venue"))
            await engine.ready()
            await desk.opened()
            assert len(desk.of(Reconnecting)) == 1  # the outage lasted from the start
            await desk.at_rest()
            reading.cancel()

    skeleton.run(body, within_s=30)
