import asyncio
from contextlib import asynccontextmanager

import pytest
import uvloop

from orderwire import Host
from pipeline import engine as engine_file
from pipeline.clock import Clock
from pipeline.engine import Engine, EngineError, FeedLost, InvalidRequest
from pipeline.messages import NO_EXCHANGE, FeedReset, OrderCancelled, OrderSnapshot, Place
from pipeline.vocabulary import OrderState
from tests.instant_venues import instant_venues

WITHIN_S = 20.0
CHUNK = 1_000  # frames that one answer to a replay question brings
TERMS = {"side": "buy", "quantity": "0.010", "price": "50000"}


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("e")  # short: sockets live below it


@pytest.fixture(params=["beside the actors", "apart, over ipc"])
def trading(request, folder):
    """A running deployment with an engine, in either place."""

    @asynccontextmanager
    async def running(**options):
        deployment = instant_venues(folder)
        async with Host(deployment) as host:
            engine = (
                host.engine("mm", **options)
                if "beside" in request.param
                else Engine(deployment, "mm", **options)
            )
            async with engine:
                await engine.ready()
                yield engine

    return running


def run(body):
    async def bounded():
        async with asyncio.timeout(WITHIN_S):
            await body()

    uvloop.run(bounded())


async def until(engine, condition):
    """The events up to the first that meets the condition."""
    events = []
    async for event in engine:
        events.append(event)
        if condition(event):
            return events


def answers(rid):
    return lambda event: event.answers is not None and event.answers.rid == rid


def test_an_order_is_opened_and_cancelled(trading):
    async def body():
        async with trading() as engine:
            cid = engine.open("alpha", "btc_usd", **TERMS)
            opened = (await until(engine, answers(1)))[-1]
            assert isinstance(opened, OrderSnapshot) and opened.order.state is OrderState.Open
            assert engine.orders[cid].quantity == opened.order.quantity
            assert engine.cancel(cid) == 2
            cancelled = (await until(engine, answers(2)))[-1]
            assert isinstance(cancelled, OrderCancelled) and cancelled.failure is None
            assert engine.orders == {} and engine.outstanding == 0

    run(body)


def test_an_engine_may_poll_instead(trading):
    async def body():
        async with trading() as engine:
            cid = engine.open("alpha", "btc_usd", **TERMS)
            polled = []
            while not any(map(answers(1), polled)):
                polled += engine.poll()
                await asyncio.sleep(0)
            assert cid in engine.orders
            assert [event.seq for event in polled] == sorted({event.seq for event in polled})

    run(body)


def test_one_task_waits_for_events_while_another_waits_for_the_streams(folder):
    async def body():
        async with Host(instant_venues(folder)) as host:
            engine = host.engine("mm")
            reading = asyncio.create_task(until(engine, answers(1)))
            waiting = [asyncio.create_task(engine.ready(name)) for name in ("alpha", "beta")]
            with pytest.raises(FeedLost):
                await engine.ready(within_s=0.0)  # one that gives up takes nobody with it
            await asyncio.gather(*waiting)
            engine.open("alpha", "btc_usd", **TERMS)
            assert (await reading)[-1].order.state is OrderState.Open
            engine.close()

    run(body)


def test_closing_ends_the_iteration(trading):
    async def body():
        async with trading() as engine:

            async def read():
                return [event async for event in engine]

            reading = asyncio.create_task(read())
            await asyncio.sleep(0)
            engine.close()
            assert isinstance(await reading, list)
            with pytest.raises(EngineError, match="closed"):
                await engine.__anext__()

    run(body)


def test_a_strategy_that_does_not_read_costs_no_memory_and_misses_nothing(trading, monkeypatch):
    monkeypatch.setattr(engine_file, "EVENTS_LIMIT", 40)

    async def body():
        async with trading(everything=True) as engine:
            engine.poll()
            count, most, first = 400, 0, engine.cursor[1] + 1
            for sent in range(1, count + 1):
                engine.open("alpha", "btc_usd", **TERMS)
                if sent % 10 == 0:
                    await arrivals(engine)
                most = max(most, len(engine._core.events))
            assert engine._core.paused and most <= 40 + 2 * engine.deployment.edges.batch_limit
            events = await until(engine, answers(count))
            assert [event.seq for event in events] == list(range(first, events[-1].seq + 1))

    run(body)


def test_a_long_replay_waits_for_a_strategy_that_does_not_read(trading, monkeypatch):
    monkeypatch.setattr(engine_file, "EVENTS_LIMIT", 40)

    async def body():
        async with trading(everything=True) as engine:
            count = 1_500
            for _ in range(count):
                engine.open("alpha", "btc_usd", **TERMS)
            last = (await until(engine, answers(count)))[-1].seq
            attach = engine._attach
            engine.close()
            async with Engine(
                engine.deployment, "again", everything=True, resume_after=0, attach=attach
            ) as again:
                for _ in range(5_000):
                    await asyncio.sleep(0)  # time enough to ask for all of it
                assert again._core.paused and len(again._core.events) <= 40 + CHUNK < last
                events = await until(again, lambda event: event.seq == last)
                assert [event.seq for event in events] == list(range(1, last + 1))

    run(body)


async def arrivals(engine):
    """Let the loop turn until the engine has heard something, or no longer listens."""
    had = len(engine._core.events)
    while len(engine._core.events) == had and not engine._core.paused:
        await asyncio.sleep(0)


@pytest.mark.parametrize("by", [lambda cursor: cursor, lambda cursor: cursor[1]])
def test_an_engine_that_was_away_gets_what_it_has_not_handled(folder, by):
    async def body():
        deployment = instant_venues(folder, durability="process")
        async with Host(deployment) as host:
            async with host.engine("mm") as engine:
                await engine.ready()
                cid = engine.open("alpha", "btc_usd", **TERMS)
                handled = (await until(engine, answers(1)))[-1]
                engine.cancel(cid)
                await until(engine, answers(2))
            cursor = (handled.place.feed_id, handled.seq)
            async with host.engine("mm", resume_after=by(cursor)) as again:
                await again.ready()
                missed = await until(again, answers(2))
                assert min(event.seq for event in missed) > handled.seq
                assert not any(isinstance(event, FeedReset) for event in missed)

    run(body)


def test_the_cursor_is_before_what_was_not_handled_yet(folder):
    engine = Engine(instant_venues(folder), "mm", clock=Clock())
    assert engine.cursor == (0, 0)
    engine._core.events.append(FeedReset(previous_feed_id=1).at(Place(NO_EXCHANGE, 9, 0, 0, 0)))
    assert engine.cursor == (9, 0)
    engine._core.events.clear()
    engine._core.events.append(FeedReset(previous_feed_id=1).at(Place(NO_EXCHANGE, 9, 17, 0, 0)))
    assert engine.cursor == (9, 16)


WRONG = [
    ({"exchange": "gamma"}, "exchange: 'gamma' must be one of alpha, beta"),
    ({"instrument": "eth_usd"}, "instrument: 'eth_usd' must be one of btc_usd"),
    ({"side": "long"}, "side: 'long' must be one of buy, sell"),
    ({"kind": "stop"}, "kind: 'stop' must be one of market, limit"),
    ({"time_in_force": "GTC"}, "time_in_force: 'GTC' must be one of gtc, day, ioc, fok"),
    ({"quantity": 0.1}, "not float"),
    ({"price": "1e400"}, "no decimal"),
    ({"quantity": "NaN"}, "no decimal"),
    ({"expires_ms": -(10**15)}, "does not fit"),
    ({"expires_ms": 1.5}, "does not fit"),
]


def test_a_wrong_word_is_refused_with_what_would_be_right(trading):
    async def body():
        async with trading() as engine:
            for change, words in WRONG:
                terms = {"exchange": "alpha", "instrument": "btc_usd"} | TERMS | change
                with pytest.raises(InvalidRequest, match=words):
                    engine.open(**terms)
            with pytest.raises(InvalidRequest, match="name its exchange"):
                engine.cancel("nobody-knows-it")
            with pytest.raises(InvalidRequest, match="exchange: 'gamma'"):
                engine.cancel("x", "gamma")
            with pytest.raises(InvalidRequest, match="scope"):
                engine.cancel_all("alpha", scope="mine")
            with pytest.raises(InvalidRequest, match="exchange: 'gamma'"):
                await engine.ready("gamma")
            assert engine.outstanding == 0

    run(body)


def test_own_events_are_handed_over_and_those_of_others_are_not(folder):
    async def body():
        async with (
            Host(instant_venues(folder)) as host,
            host.engine("mm") as mine,
            host.engine("mm.2") as other,
        ):
            await mine.ready()
            await other.ready()
            other.open("beta", "btc_usd", **TERMS)
            await until(other, answers(1))
            mine.open("beta", "btc_usd", **TERMS)
            seen = await until(mine, answers(1))
            owners = {event.order.engine for event in seen if isinstance(event, OrderSnapshot)}
            assert owners == {"mm"}

    run(body)


def test_without_a_running_deployment_the_feed_is_lost_and_the_text_says_what_to_run(folder, monkeypatch):
    monkeypatch.setattr(engine_file, "JOIN_S", 0.1)

    async def body():
        deployment = instant_venues(folder)
        deployment.run_dir.mkdir(0o700)
        with pytest.raises(FeedLost, match="orderwire run"):
            async with Engine(deployment, "mm"):
                pass

    run(body)


def test_a_request_before_the_engine_is_connected_says_how_to_connect_it(folder):
    engine = Engine(instant_venues(folder), "mm")
    with pytest.raises(EngineError, match="async with"):
        engine.cancel("x", "alpha")
