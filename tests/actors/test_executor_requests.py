"""Requests by their identity: a repeat is never redone, a resend is a question, a new session fences."""

import pytest

from pipeline import headers
from pipeline.messages import CancelOrder, OrderCancelled, OrderSnapshot, Refused
from pipeline.vocabulary import OrderState, Refusal
from tests.actors.venue_words import cancelled, open_body, order


def calls(desk):
    return [call.method for call in desk.calls]


@pytest.mark.parametrize("attempt", [0, 1, 7])
def test_a_repeat_of_an_open_is_never_sent_again_and_never_refused(desk, attempt):
    frame = desk.request(open_body("mine"), rid=1)
    desk.send_raw(headers.with_attempt(frame, attempt))
    assert calls(desk) == ["open_order"]
    desk.call("open_order").answer(order("mine"))
    desk.send_raw(headers.with_attempt(frame, attempt))
    assert calls(desk) == []
    assert desk.events(Refused) == []
    assert desk.answer_to(1).order.state is OrderState.Open


def test_a_repeat_is_known_after_a_restart(desk):
    frame = desk.request(open_body("mine"), rid=1)
    desk.call("open_order").answer(order("mine"))
    desk.restart("executor.alpha")
    desk.advance(250)
    for attempt in (0, 1):
        desk.send_raw(headers.with_attempt(frame, attempt))
    assert calls(desk) == []
    assert desk.events(Refused) == []


@pytest.mark.parametrize("attempt", [0, 2])
def test_the_same_number_with_other_bytes_is_invalid_and_does_not_take_the_answer(desk, attempt):
    desk.request(open_body("mine"), rid=1)
    desk.request(open_body("mine", quantity="2"), rid=1, attempt=attempt)
    (refused,) = desk.events(Refused)
    assert (refused.reason, refused.answers) == (Refusal.InvalidRequest, None)
    assert len(desk.waiting("open_order")) == 1
    desk.call("open_order").answer(order("mine"))
    assert desk.answer_to(1).order.state is OrderState.Open


def test_a_resend_whose_first_copy_never_came_is_not_sent_and_a_late_first_copy_is_a_repeat(desk):
    desk.hold = lambda sender, to, link, frame: sender == "test"
    frame = desk.request(open_body("mine"), rid=1)
    desk.hold = lambda *_: False
    desk.send_raw(headers.with_attempt(frame, 1))
    assert desk.answer_to(1).reason is Refusal.NotSent
    desk.release()
    assert calls(desk) == []
    assert len(desk.answers_to(1)) == 1


def test_a_resent_cancel_that_never_came_is_done(desk):
    desk.request(open_body("mine"), rid=1)
    desk.call("open_order").answer(order("mine"))
    desk.request(CancelOrder(0, "mine"), rid=2, attempt=3)
    desk.call("cancel_order").answer(cancelled("mine"))
    assert desk.answer_to(2).order.state is OrderState.Cancelled


def test_requests_that_overtook_each_other_are_each_taken_once(desk):
    late = desk.request(open_body("c-1"), rid=5)
    for rid, cid in ((3, "c-3"), (4, "c-4")):
        desk.request(open_body(cid), rid=rid)
    desk.send_raw(late)
    assert [call.request.cid for call in desk.waiting("open_order")] == ["c-1", "c-3", "c-4"]


def test_a_newer_session_fences_the_older(desk):
    desk.request(open_body("c-1"), rid=1, session=10)
    desk.request(open_body("c-2"), rid=1, session=20)
    desk.request(open_body("c-3"), rid=2, session=10)
    assert desk.answer_to(2, session=10).reason is Refusal.InvalidRequest
    assert [call.request.cid for call in desk.waiting("open_order")] == ["c-1", "c-2"]


def test_a_fenced_session_stays_fenced_however_high_it_counts(desk):
    desk.request(open_body("c-2"), rid=1, session=20)
    for rid in (5, 6, 7):
        desk.request(open_body(f"old-{rid}"), rid=rid, session=10)
        assert desk.answer_to(rid, session=10).reason is Refusal.InvalidRequest
    desk.request(open_body("c-3"), rid=2, session=20)
    assert [call.request.cid for call in desk.waiting("open_order")] == ["c-2", "c-3"]


def test_a_fence_survives_a_restart(desk):
    desk.request(open_body("c-2"), rid=1, session=20)
    desk.restart("executor.alpha")
    desk.advance(250)
    desk.request(open_body("old"), rid=9, session=10)
    assert desk.answer_to(9, session=10).reason is Refusal.InvalidRequest


def test_sessions_of_different_engines_do_not_fence_each_other(desk):
    desk.request(open_body("c-1"), rid=1, session=20, engine="one")
    desk.request(open_body("c-2"), rid=1, session=10, engine="two")
    assert len(desk.waiting("open_order")) == 2


def test_an_engine_that_restarts_is_not_answered_with_last_weeks_answer(desk):
    desk.request(open_body("c-1"), rid=1, session=10)
    desk.call("open_order").answer(order("c-1", filled="1"))
    desk.request(open_body("c-2"), rid=1, session=20)
    assert desk.answers_to(1, session=20) == []
    desk.call("open_order").answer(order("c-2"))
    assert desk.answer_to(1, session=20).order.cid == "c-2"


def test_an_engine_asks_again_when_its_answer_is_late_and_is_told_once(desk, mm):
    """A request that never reached the executor: the engine asks, and learns that nothing was sent."""
    desk.lose = lambda sender, to, link, frame: to == "executor.alpha" and link == "requests"
    cid = mm.open()
    desk.lose = lambda *_: False
    desk.advance(5_000 + 2_000 + 100)
    assert desk.answer_to(mm.rid).reason is Refusal.NotSent
    assert mm.core.outstanding == {}
    assert (calls(desk), desk.states(cid)) == ([], [])


def test_an_engine_asks_at_once_when_the_executor_began_anew(desk, mm):
    desk.lose = lambda sender, to, link, frame: to == "executor.alpha" and link == "requests"
    mm.open()
    desk.lose = lambda *_: False
    desk.restart("executor.alpha")
    desk.advance(50)
    assert desk.answer_to(mm.rid).reason is Refusal.NotSent


def test_an_accepted_request_whose_answer_was_lost_is_asked_about_and_not_redone(desk, mm):
    desk.hold = lambda sender, to, link, frame: to == "mm"
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.held.clear()
    desk.hold = lambda *_: False
    desk.advance(200)
    assert mm.core.outstanding == {}, "the engine notices the gap and has it replayed"
    assert (calls(desk), len(desk.events(OrderSnapshot))) == ([], 1)


@pytest.mark.parametrize("answered", [False, True])
def test_a_crash_leaves_no_request_without_its_one_answer(desk, mm, answered):
    cid = mm.open()
    if answered:
        desk.call("open_order").answer(order(cid))
    desk.restart("executor.alpha")
    desk.advance(250)
    state = OrderState.Open if answered else OrderState.Unknown
    assert desk.answer_to(mm.rid).order.state is state


def test_an_order_that_ended_before_its_call_did_is_answered_after_a_crash_too(desk, mm):
    """The stream said filled while the call was on its way: the row is finished, and still owes an answer."""
    cid = mm.open()
    desk.stream().item(order(cid, filled="1"))
    desk.restart("executor.alpha")
    desk.advance(250)
    assert desk.answer_to(mm.rid).order.state is OrderState.FullyFilled
    assert desk.states(cid) == ["FullyFilled", "FullyFilled"]


def test_a_cancel_without_answer_is_answered_after_a_crash(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    rid = mm.cancel(cid)
    desk.restart("executor.alpha")
    desk.advance(250)
    assert isinstance(desk.answer_to(rid), OrderCancelled)


def test_after_a_crash_opens_wait_until_each_unknown_order_was_asked_about(desk, mm):
    cid = mm.open()
    desk.restart("executor.alpha")
    desk.advance(250)
    mm.open()
    assert desk.answer_to(mm.rid).reason is Refusal.NotReady
    desk.call("fetch_order").answer(order(cid))
    mm.open()
    assert len(desk.waiting("open_order")) == 1
    assert desk.states(cid) == ["Unknown", "Open"]


def test_frames_that_were_not_acknowledged_before_a_crash_are_sent_by_the_next_life(desk, mm):
    desk.lose = lambda sender, to, link, frame: sender == "executor.alpha" and link == "events"
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.lose = lambda *_: False
    desk.restart("executor.alpha")
    desk.advance(600)
    assert desk.answer_to(mm.rid).order.state is OrderState.Open


def test_an_executor_that_starts_with_nothing_to_resend_counts_on_from_its_last_number(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.advance(500)
    number = desk.actors["executor.alpha"].source.number
    for _ in range(3):
        desk.restart("executor.alpha", clean=True)
        desk.advance(300)
    assert desk.actors["executor.alpha"].source.number == number + 3
    mm.cancel(cid)
    desk.call("cancel_order").answer(cancelled(cid))
    assert desk.states(cid)[-1] == "Cancelled"


def test_an_executor_with_more_to_resend_than_it_should_keep_uses_no_number_twice(make):
    """Answers are kept beyond the limit rather than lost; the next life counts on from the last of them."""
    desk = make(edges={"outbox_limit": 40})
    desk.sync()
    desk.lose = lambda sender, to, link, frame: sender == "executor.alpha" and link == "events"
    for rid in range(1, 61):
        desk.request(CancelOrder(0, f"c-{rid}"), rid=rid)
    for call in desk.waiting("cancel_order"):
        call.answer(cancelled(call.request.cid))
    number = desk.actors["executor.alpha"].source.number
    assert number > 40
    desk.restart("executor.alpha")
    assert desk.actors["executor.alpha"].source.number == number + 1
    desk.lose = lambda *_: False
    desk.advance(2_000)
    assert [len(desk.answers_to(rid)) for rid in range(1, 61)] == [1] * 60


def test_requests_that_nobody_could_be_answered_for_are_counted_and_dropped(desk):
    frame = desk.request(open_body("c-1"), rid=1, engine="mm", expires_ms=0)
    seq = desk.seq
    desk.send_raw(b"")
    desk.send_raw(b"\x00" * 100)
    desk.send_raw(frame[:20], to="executor.alpha")
    desk.request(open_body("c-1"), rid=2**64 - 1, session=2**64 - 1)
    desk.request(open_body("c-1"), rid=0)
    desk.request(open_body("c-1"), rid=1, engine="")
    desk.request(open_body("c-1"), rid=1, engine="a b")
    assert desk.seq == seq
    assert desk.counted("router", "bad_request_frames") == 2
    assert desk.counted("router", "nameless_requests") == 4
    assert desk.counted("executor.alpha", "bad_request_frames") == 1
