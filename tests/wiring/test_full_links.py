"""Each link's rule for "full", on real sockets: a typed answer, nothing lost, nobody else slowed."""

import itertools

import pytest

from orderwire import Backpressure, Engine, FeedLost
from pipeline import headers
from pipeline.codec import KINDS, encode
from pipeline.control import Done, Halt, Resume, SetFault
from pipeline.messages import OrderSnapshot, Refused
from pipeline.vocabulary import OrderState, Refusal
from tests.wiring.siege import Bystander, Siege, moment
from tests.wiring.test_hostile_requests import answers_to, body

LONG = pytest.mark.long
SMALL = "requests_hwm = 64"


def opens(siege, count, exchange=0):
    """{rid: frame} of opens that rest, of the engine `mallory`."""
    rids = [siege.next_rid() for _ in range(count)]
    return {rid: siege.request(body(cid=f"full-{rid}"), rid, exchange=exchange) for rid in rids}


async def answered(siege, rids, within_s=30.0):
    await siege.until(lambda: all(answers_to(siege, rid) for rid in rids), "an answer to each", within_s)
    assert {len(answers_to(siege, rid)) for rid in rids} == {1}
    return {rid: answers_to(siege, rid)[0] for rid in rids}


def reasons(found):
    return {rid: event.reason for rid, event in found.items() if isinstance(event, Refused)}


def opened(found):
    return [rid for rid, event in found.items() if isinstance(event, OrderSnapshot)]


async def fault(siege, exchange, name, *arguments):
    answer = await siege.questions.ask(f"exchange.{exchange}", SetFault(name, list(arguments)), 10.0)
    assert isinstance(answer, Done), answer


# ---------------------------------------------------------------------------------- engine -> router


@pytest.mark.parametrize("placement", ["inproc", "ipc", "split"])
def test_a_full_way_to_the_router_is_backpressure_and_nothing_was_sent(placement):
    with Siege(placement, edges=SMALL) as siege:
        core = siege.engine._core

        async def fill():
            siege.stop_reading("front", "router", "requests")
            sent = []
            try:
                full_for = 0
                while full_for < 100:  # a stopped process and what lies between are full after a while
                    try:
                        siege.engine.open("alpha", "btc_usd", side="buy", quantity="0.001", price="1000")
                    except Backpressure:
                        full_for += 1
                        await moment()
                    else:
                        full_for = 0
                        sent.append(core._rid)
                refused = siege.engine.outstanding
                with pytest.raises(Backpressure):
                    siege.engine.cancel("nobody", "alpha")
            finally:
                siege.read_again("front", "router", "requests")
            await siege.until(lambda: all(siege.own_answer(rid) for rid in sent), "an answer to each")
            await siege.assert_all_alive()
            return sent, refused

        sent, outstanding = siege.run(fill())
        assert sent == list(range(sent[0], sent[0] + len(sent)))
        assert outstanding == len(sent)
        assert len(sent) >= 64
        siege.assert_feed_whole()
        print(f"\n{placement}: {len(sent)} requests were under way when the link was full")


# ---------------------------------------------------------------------------------- router -> executor


@pytest.mark.parametrize("placement", ["inproc", "ipc", "split"])
def test_a_full_way_to_an_executor_is_overloaded_in_order_and_for_its_exchange_alone(placement):
    with Siege(placement, edges=SMALL, timing="expires_ms = 30_000") as siege:

        async def fill():
            frames = opens(siege, 4_000)
            siege.stop_reading("alpha", "executor.alpha", "requests")
            wire = siege.attach("router", "requests")
            try:
                async with Bystander(siege, "4,000 requests to an executor that does not read"):
                    await siege.send(wire, frames.values())
                    last = max(frames)
                    await siege.until(lambda: answers_to(siege, last), "the last is refused")
                    resends = [headers.with_attempt(frame, 1) for frame in frames.values()][:50]
                    await siege.send(wire, resends)
                    for _ in range(1_000):
                        dropped = await siege.counter("router", "resends_dropped")
                        if dropped == 50:
                            break
                        await moment()
                    # The other exchange goes on while this one is full.
                    for _ in range(20):
                        await siege.trade_once("beta")
            finally:
                siege.read_again("alpha", "executor.alpha", "requests")
            found = await answered(siege, frames)
            await siege.assert_all_alive()
            return found, dropped

        found, dropped = siege.run(fill())
        refused = reasons(found)
        assert set(refused.values()) <= {Refusal.Overloaded, Refusal.TooLate}
        overloaded = [rid for rid, reason in refused.items() if reason is Refusal.Overloaded]
        told = [
            siege.answered_s["mallory", 1, rid] for rid in overloaded if "link to" in str(found[rid])
        ]  # by the router
        assert told == sorted(told)
        assert len(overloaded) > 500
        assert len(opened(found)) >= 64
        assert dropped == 50
        siege.assert_feed_whole()


@pytest.mark.parametrize("placement", ["inproc", "ipc", pytest.param("split", marks=LONG)])
def test_beyond_the_limit_in_flight_requests_are_overloaded_in_order(placement):
    with Siege(placement, limits="in_flight = 8") as siege:

        async def fill():
            await fault(siege, "alpha", "delay", "300")
            frames = opens(siege, 40)
            async with Bystander(siege, "an exchange with all its places taken"):
                await siege.send(siege.attach("router", "requests"), frames.values())
                found = await answered(siege, frames)
            await fault(siege, "alpha", "clear")
            again = opens(siege, 8)
            await siege.send(siege.attach("router", "requests"), again.values())
            return list(frames), found, await answered(siege, again)

        rids, found, again = siege.run(fill())
        assert opened(found) == rids[:8]
        assert reasons(found) == dict.fromkeys(rids[8:], Refusal.Overloaded)
        told = [siege.answered_s["mallory", 1, rid] for rid in rids[8:]]
        assert told == sorted(told)
        assert reasons(again) == {}
        siege.assert_feed_whole()


def test_a_stopped_exchange_does_not_slow_another():
    with Siege("split") as siege:

        async def trade(what):
            async with Bystander(siege, what):
                for _ in range(100):
                    await siege.trade_once("beta")

        async def measure():
            await trade("all exchanges run")
            siege.stop_reading("alpha_venue", "exchange.alpha", "calls")
            pending = opens(siege, 200)
            await siege.send(siege.attach("router", "requests"), pending.values())
            await trade("alpha's venue is stopped, 200 opens wait for it")
            siege.stop_reading("alpha", "executor.alpha", "requests")
            await trade("alpha's executor is stopped as well")
            siege.read_again("alpha", "executor.alpha", "requests")
            siege.read_again("alpha_venue", "exchange.alpha", "calls")
            found = await answered(siege, pending)
            await siege.engine.ready("alpha", within_s=30.0)
            await siege.assert_all_alive()
            return found

        found = siege.run(measure())
        assert {type(event) for event in found.values()} <= {OrderSnapshot, Refused}
        siege.assert_feed_whole()


# ---------------------------------------------------------------------------------- the merger


@pytest.mark.parametrize("placement", ["inproc", "ipc"])
def test_while_the_merger_takes_nothing_opens_are_overloaded_before_anything_is_lost(placement):
    edges = "outbox_limit = 2_000\nresend_after_ms = 50\nevents_hwm = 100\nrequests_hwm = 64"
    with Siege(placement, edges=edges, timing="expires_ms = 30_000") as siege:

        async def stall():
            siege.stop_reading("feed", "merger", "events")
            frames = opens(siege, 3_000)
            wire = siege.attach("router", "requests")
            try:
                kept = 0
                waves = iter(frames.values())
                while wave := list(itertools.islice(waves, 50)):
                    await siege.send(wire, wave)
                    kept = max(kept, (await siege.health("executor.alpha")).gauges["unacknowledged"])
            finally:
                siege.read_again("feed", "merger", "events")
            found = await answered(siege, frames)
            await siege.assert_all_alive()
            return found, kept

        found, kept = siege.run(stall())
        # With marks this small the account stream may lose its place meanwhile, and is made anew.
        assert Refusal.Overloaded in set(reasons(found).values()) <= {Refusal.Overloaded, Refusal.NotReady}
        assert len(opened(found)) > 1_000
        assert 1_000 < kept <= 2_000
        siege.assert_feed_whole()


@pytest.mark.parametrize("placement", ["inproc", "ipc", pytest.param("apart", marks=LONG)])
def test_refusals_that_are_not_taken_stop_the_router_and_then_the_engine_until_it_heals(placement):
    edges = "outbox_limit = 1_000\nresend_after_ms = 50\nevents_hwm = 100\nrequests_hwm = 64"
    with Siege(placement, edges=edges) as siege:

        async def stall():
            siege.stop_reading("feed", "merger", "events")
            sent = []
            try:
                full_for = 0
                while full_for < 300:  # about as many milliseconds: it is not only slow
                    rid = siege.next_rid()
                    frame = siege.request(body(quantity="0"), rid, exchange=1)
                    if siege.engine._wires.send("requests", frame):
                        sent.append(rid)
                        full_for = 0
                    else:
                        full_for += 1
                        await moment()
                with pytest.raises(Backpressure):
                    siege.engine.cancel("nobody", "beta")
                kept = None
                if siege.host is not None:
                    kept = (await siege.health("router")).gauges["unacknowledged"]
            finally:
                siege.read_again("feed", "merger", "events")
            found = await answered(siege, sent)
            await siege.assert_all_alive()
            return sent, found, kept

        sent, found, kept = siege.run(stall())
        assert set(reasons(found).values()) == {Refusal.InvalidRequest}
        assert len(reasons(found)) == len(sent) > 400
        assert kept is None or kept <= 1_000
        siege.assert_feed_whole()


def test_a_merger_that_is_stopped_for_a_while_loses_nothing():
    timing = "stream_silence_ms = 0\nrequest_timeout_ms = 5_000"
    with Siege("apart", edges="feed_stale_ms = 600", timing=timing.replace("\n", ", ")) as siege:

        async def stall():
            wire = siege.attach("router", "requests")
            frames = opens(siege, 1_500)
            waves = iter(frames.values())
            await siege.send(wire, itertools.islice(waves, 500))
            siege.stop_reading("feed", "merger", "events")
            await siege.send(wire, itertools.islice(waves, 500))
            await siege.until(siege._stale, "the feed is stale")
            with pytest.raises(FeedLost):
                siege.engine.open("beta", "btc_usd", side="buy", quantity="1", price="1000")
            await siege.send(wire, waves)
            kept = (await siege.health("executor.alpha")).gauges["unacknowledged"]
            siege.read_again("feed", "merger", "events")
            found = await answered(siege, frames)
            await siege.assert_all_alive()
            return found, kept

        found, kept = siege.run(stall())
        assert kept >= 500
        assert len(opened(found)) >= 500
        assert set(reasons(found).values()) <= {Refusal.NotReady}
        assert {event.order.state for event in found.values() if isinstance(event, OrderSnapshot)} == {
            OrderState.Open
        }
        siege.assert_feed_whole()


# ---------------------------------------------------------------------------------- merger -> readers


def halts(siege, count):
    """A burst of events that costs nothing else: an exchange halted and resumed."""
    for at in range(count):
        word = Halt(by="burst") if at % 2 == 0 else Resume(by="burst")
        head = headers.control(0, KINDS[type(word)], siege.deployment.fingerprint, at)
        yield head + encode(word)


@pytest.mark.parametrize("placement", ["inproc", pytest.param("ipc", marks=LONG), "split"])
def test_a_burst_beyond_the_high_water_mark_reaches_everybody(placement):
    with Siege(placement, edges="feed_hwm = 64") as siege:

        async def burst():
            second = Engine(siege.deployment, "second", everything=True)
            async with second:
                start = second.cursor[1]
                desk = siege.attach("executor.alpha", "control", "dealer", hwm=5_000)
                await siege.send(desk, halts(siege, 4_000))
                numbers = []
                for _ in range(20_000):
                    numbers += [event.seq for event in second.poll()]
                    if len(numbers) >= 4_000:
                        break
                    await moment()
                await siege.until(
                    lambda: siege.engine._core.reader.seq >= numbers[-1], "the first has it too"
                )
                gaps = second._core.reader.gaps + siege.engine._core.reader.gaps
                await siege.assert_all_alive()
                return start, numbers, gaps

        start, numbers, gaps = siege.run(burst())
        assert len(numbers) >= 4_000
        assert numbers == list(range(start + 1, start + 1 + len(numbers)))
        siege.assert_feed_whole()
        print(f"\n{placement}: {len(numbers)} events beyond a mark of 64, {gaps} gaps replayed")


@pytest.mark.parametrize("placement", ["split", pytest.param("ipc", marks=LONG)])
def test_a_reader_that_does_not_read_costs_no_memory_and_heals_by_replay(placement):
    with Siege(placement, edges="feed_hwm = 500") as siege:

        async def lag():
            slow = Engine(siege.deployment, "slow", everything=True)
            async with slow:
                slow._wires.pause("feed")
                start = slow.cursor[1]
                desk = siege.attach("executor.alpha", "control", "dealer", hwm=5_000)
                await siege.send(desk, halts(siege, 2_000))
                await siege.until(lambda: siege.engine._core.reader.seq > start + 1_900, "the events")
                before = memory(siege)
                await siege.send(desk, halts(siege, 18_000))
                await siege.until(lambda: siege.engine._core.reader.seq >= start + 20_000, "the events")
                grown = memory(siege) - before
                slow._wires.pause("feed", False)
                numbers = []
                for _ in range(20_000):
                    numbers += [event.seq for event in slow.poll()]
                    if len(numbers) >= 20_000:
                        break
                    await moment()
                await siege.assert_all_alive()
                return start, numbers, slow._core.reader.replayed, grown

        start, numbers, replayed, grown = siege.run(lag())
        assert numbers == list(range(start + 1, start + 1 + len(numbers)))
        assert len(numbers) >= 20_000
        assert replayed > 10_000
        if placement == "split":
            assert grown < 16 * 1024, f"{grown} KiB for a reader that does not read"
        print(f"\n{placement}: {replayed} of {len(numbers)} events replayed to the slow reader")


def memory(siege):
    front = siege.processes.get("front")
    return 0 if front is None else front.peak_kib
