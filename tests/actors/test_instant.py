"""The client that answers at once, by itself and in the pipeline."""

import asyncio

import pytest

from actors.clients.instant import InstantClient
from pipeline import client
from pipeline.amounts import amount
from pipeline.client import Capability, ExecutionError, NotFound
from pipeline.deployment import ConfigError
from pipeline.vocabulary import Error, OrderKind, Side, TimeInForce


def run(coroutine):
    """The result of a call that must not wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("it waits")


def opening(cid="c-1"):
    return client.OpenOrder(
        "BTCUSD", cid, Side.BUY, OrderKind.LIMIT, TimeInForce.GTC, 0, amount("100"), amount("2"), 0
    )


def test_every_call_answers_without_waiting():
    instant = InstantClient("alpha", {})
    assert Capability.ANSWERS_INLINE in instant.capabilities
    opened = run(instant.open_order(opening()))
    assert (opened.cid, opened.filled, opened.state) == ("c-1", 0, None)
    assert run(instant.fetch_order("BTCUSD", "c-1", None)) == opened
    assert run(instant.fetch_open_orders(("BTCUSD",))) == [opened]
    assert run(instant.account_snapshot((), ())).orders == [opened]
    assert run(instant.fetch_trades(("BTCUSD",), 0)) == ([], True)
    assert run(instant.fetch_balances(("USD",))) == []
    assert run(instant.cancel_order(client.CancelOrder("BTCUSD", "c-1", None))).id == opened.id
    assert run(instant.fetch_order("BTCUSD", "c-1", None)) == NotFound()


def test_ids_are_its_own_and_differ():
    instant = InstantClient("alpha", {})
    assert len({run(instant.open_order(opening(f"c-{n}"))).id for n in range(5)}) == 5


def test_it_may_fill_at_once_or_never_answer():
    filled = run(InstantClient("alpha", {"answer": "filled"}).open_order(opening()))
    assert filled.filled == filled.quantity
    assert run(InstantClient("alpha", {"answer": "none"}).open_order(opening())) is None


def test_a_cancel_of_what_does_not_rest_is_not_found():
    with pytest.raises(ExecutionError) as raised:
        run(InstantClient("alpha", {}).cancel_order(client.CancelOrder("BTCUSD", "c-9", None)))
    assert raised.value.error is Error.OrderNotFound


def test_its_stream_is_there_and_silent():
    async def first_item():
        stream = await InstantClient("alpha", {}).account_stream((), ())
        item = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        still = not item.done()
        item.cancel()
        return still

    assert asyncio.run(first_item())


@pytest.mark.parametrize("options", [{"answer": "maybe"}, {"answers": "open"}, {"answer": 5}])
def test_options_that_it_does_not_know_are_refused_by_name(options):
    with pytest.raises(ConfigError) as raised:
        InstantClient("alpha", options)
    assert str(next(iter(options))) in str(raised.value)


def test_a_closed_client_has_forgotten_its_orders():
    instant = InstantClient("alpha", {})
    run(instant.open_order(opening()))
    run(instant.close())
    assert run(instant.fetch_open_orders(())) == []
