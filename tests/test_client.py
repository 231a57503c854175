import inspect
from decimal import Decimal

import pytest

from pipeline import client
from pipeline.client import Capability, ExecutionClient, ExecutionError
from pipeline.vocabulary import Error, Flags, OrderKind, OrderState, Side, TimeInForce

METHODS = {
    "account_snapshot",
    "account_stream",
    "open_order",
    "cancel_order",
    "fetch_balances",
    "fetch_open_orders",
    "fetch_trades",
    "fetch_order",
    "close",
}


def test_a_client_has_the_references_seven_methods_one_to_ask_and_one_to_end():
    found = {name for name, value in vars(ExecutionClient).items() if inspect.iscoroutinefunction(value)}
    assert found == METHODS


@pytest.mark.parametrize("error", list(Error))
def test_an_error_says_what_happened_and_that_something_may_have_left(error):
    raised = ExecutionError(error, "the venue's words")
    assert str(raised) == f"{error.label}: the venue's words"
    assert (raised.error, raised.detail, raised.sent) == (error, "the venue's words", "maybe")


def test_only_a_client_that_says_so_is_sure_that_nothing_left():
    assert ExecutionError(Error.Socket, sent="no").sent == "no"
    assert ExecutionError(Error.OrderRejected).sent == "maybe"


def test_a_capability_is_called_what_a_client_calls_it():
    assert {capability.value for capability in Capability} == {
        name.lower() for name in Capability.__members__
    }


def test_a_request_cannot_be_changed_by_a_client():
    request = client.CancelOrder("BTCUSDT", "c-1", None)
    with pytest.raises(AttributeError):
        request.cid = "c-2"


@pytest.mark.parametrize(
    ("flags", "post_only"),
    [(Flags.NONE, False), (Flags.POST_ONLY, True), (Flags.REDUCE_ONLY, False), (3, True)],
)
def test_post_only_is_one_bit_of_the_flags(flags, post_only):
    terms = (Side.BUY, OrderKind.LIMIT, TimeInForce.GTC, int(flags), Decimal(1), Decimal(1), 0)
    assert client.OpenOrder("BTCUSDT", "c-1", *terms).post_only is post_only


def test_an_order_says_its_state_only_where_the_venue_does():
    terms = (Side.BUY, OrderKind.LIMIT, TimeInForce.GTC, Decimal(1), Decimal(2), Decimal(1))
    assert client.Order("BTCUSDT", "c-1", None, *terms).state is None
    assert client.Order("BTCUSDT", "c-1", None, *terms, state=OrderState.Expired).state is OrderState.Expired


def test_no_two_snapshots_share_their_lists():
    client.AccountSnapshot().orders.append("x")
    assert client.AccountSnapshot().orders == []
