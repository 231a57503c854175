"""Orders that stand at the exchange and in no journal: taken over, cancelled, asked about, never lost."""

from pipeline.client import NotFound, OrderCancelled
from pipeline.messages import CancelAllDone, OrderSnapshot
from pipeline.messages import OrderCancelled as Cancelled
from pipeline.vocabulary import CancelScope, OrderState
from tests.actors.venue_words import order


def found(desk, cid="", id="v-77"):
    """An order appears on the stream that nobody here opened; its cid on the feed."""
    desk.stream().item(order(cid, id=id))
    return desk.events(OrderSnapshot)[-1].order.cid


def executor(desk):
    return desk.actors["executor.alpha"]


def test_an_order_without_a_cid_is_adopted_by_the_venues_id(desk):
    assert found(desk) == "ext-v-77"
    assert list(executor(desk).orders) == ["ext-v-77"]


def test_an_adopted_order_is_cancelled_by_the_venues_id(desk, mm):
    cid = found(desk)
    mm.cancel(cid)
    call = desk.call("cancel_order")
    assert call.args[0].id == "v-77"
    call.answer(OrderCancelled("BTCUSD", "", "v-77"))
    (answer,) = desk.events(Cancelled)
    assert (answer.order.state, answer.failure) == (OrderState.Cancelled, None)
    assert executor(desk).orders == {}


def test_a_cancel_all_reaches_adopted_orders_only_when_asked_to(desk, mm):
    found(desk)
    mm.cancel_all(CancelScope.ALL)
    (nothing,) = desk.events(CancelAllDone)
    assert (nothing.cancelled, nothing.failed, nothing.unknown) == (0, 0, 0)
    mm.cancel_all(CancelScope.ALL, external=True)
    desk.call("cancel_order").answer(OrderCancelled("BTCUSD", "", "v-77"))
    assert desk.events(CancelAllDone)[-1].cancelled == 1


def test_an_order_of_ours_that_ended_is_not_adopted_by_a_late_word(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled="1"))
    desk.stream().item(order(cid))
    assert executor(desk).orders == {}
    assert executor(desk).counters.get("adopted_orders") is None


def test_an_adopted_order_that_a_snapshot_does_not_show_is_asked_about(desk):
    cid = found(desk)
    desk.advance(10)
    desk.stream().end()
    desk.advance(1_000)
    desk.sync([], [])
    desk.call("fetch_order").answer(NotFound())
    assert desk.states(cid)[1:] == ["Unknown", "Cancelled"]
