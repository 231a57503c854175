"""How an executor stops: opens refused, the rest let through, what is left written down and handed over."""

from pipeline.actor import HandOver
from pipeline.client import ExecutionError
from pipeline.messages import OrderCancelled, OrderSnapshot, Refused
from pipeline.vocabulary import Error, OrderState, Refusal
from tests.actors.venue_words import cancelled, order


def leave(desk):
    executor = desk.actors["executor.alpha"]
    desk.turn("executor.alpha", executor.on_drain)
    desk.settle()
    return executor


def stop(desk):
    desk.advance(250)  # the merger acknowledges
    executor = desk.actors["executor.alpha"]
    desk.turn("executor.alpha", executor.on_stop)
    desk.settle()
    return executor.hand_over()


def test_opens_are_refused_while_cancels_and_answers_pass(desk, mm):
    resting, on_its_way = mm.open(), mm.open()
    for call in desk.waiting("open_order")[:1]:
        call.answer(order(resting))
    executor = leave(desk)
    mm.open()
    refused = desk.answer_to(mm.rid)
    assert isinstance(refused, Refused) and refused.reason is Refusal.NotReady
    assert "stopping" in refused.detail
    assert not executor.drained(desk.now_ns)
    mm.cancel(resting)
    desk.call("cancel_order").answer(cancelled(resting))
    assert isinstance(desk.answer_to(mm.rid), OrderCancelled)
    desk.call("open_order").answer(order(on_its_way))
    desk.advance(250)
    assert executor.drained(desk.now_ns)
    assert stop(desk) == HandOver(settled=2, left_open=1, unknown=0)


def test_what_is_left_is_answered_and_unknown_and_the_next_life_says_nothing_twice(desk, mm):
    resting = mm.open()
    desk.call("open_order").answer(order(resting))
    mm.cancel(resting)
    cancel_rid, lost = mm.rid, mm.open()
    executor = leave(desk)
    assert not executor.drained(desk.now_ns)
    assert stop(desk) == HandOver(settled=0, left_open=0, unknown=2)
    answer = desk.answer_to(mm.rid)
    assert isinstance(answer, OrderSnapshot)
    assert (answer.order.state, answer.failure.error) == (OrderState.Unknown, Error.Timeout)
    assert desk.answer_to(cancel_rid).failure.error is Error.Timeout
    assert mm.core.outstanding == {}
    desk.restart("executor.alpha", clean=True)
    desk.check_promises()
    again = desk.actors["executor.alpha"]
    assert {cid: record.order.state for cid, record in again.orders.items()} == {
        resting: OrderState.Unknown,
        lost: OrderState.Unknown,
    }


def test_a_question_about_an_unknown_order_is_waited_for(desk, mm):
    cid = mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket, "broke off"))
    executor = leave(desk)
    desk.advance(250)
    assert not executor.drained(desk.now_ns)
    desk.call("fetch_order").answer(order(cid))
    desk.advance(250)
    assert executor.drained(desk.now_ns)
    assert stop(desk) == HandOver(settled=0, left_open=1, unknown=0)


def test_events_that_the_merger_has_not_taken_are_waited_for_while_it_is_heard(desk, mm):
    cid = mm.open()
    desk.lose = lambda sender, to, link, frame: (sender, to) == ("executor.alpha", "merger")
    desk.call("open_order").answer(order(cid))
    executor = leave(desk)
    desk.advance(250)
    assert executor.source.unacknowledged and not executor.drained(desk.now_ns)
    desk.stopped.add("merger")
    desk.advance(desk.deployment.edges.feed_stale_ms + 1)
    assert executor.source.unacknowledged and executor.drained(desk.now_ns)
