"""When opens do not pass, and in which words they are refused; cancels pass all the same."""

import pytest

from pipeline import headers
from pipeline.client import AccountSnapshot, ExecutionError
from pipeline.control import Halt, Resume
from pipeline.messages import CancelAll, CancelOrder, Halted, Refused, Resumed
from pipeline.vocabulary import CancelScope, Error, Refusal
from tests.actors.venue_words import cancelled, open_body, order


def refusal(pipeline, rid, **of):
    answer = pipeline.answer_to(rid, **of)
    assert isinstance(answer, Refused), answer
    return answer.reason


def test_an_open_before_the_account_is_in_step_is_not_ready(make):
    desk = make()
    mm = desk.engine()
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.NotReady
    desk.sync()
    mm.open()
    assert desk.waiting("open_order")


def test_a_lost_stream_refuses_opens_until_the_next_is_in_step(desk, mm):
    desk.stream().end()
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.NotReady
    desk.advance(200)
    desk.stream().answer()
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.NotReady, "subscribed is not in step"
    desk.call("account_snapshot").answer(AccountSnapshot())
    desk.call("fetch_trades").answer(([], True))
    mm.open()
    assert desk.waiting("open_order")


def test_a_reconnector_that_starts_anew_is_not_in_step(desk, mm):
    desk.restart("reconnector.alpha")
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.NotReady


def test_a_feed_that_is_not_heard_refuses_opens(desk, mm):
    desk.lose = lambda sender, to, link, frame: sender == "merger" and to == "executor.alpha"
    desk.advance(2_050)
    mm.open()
    desk.lose = lambda *_: False
    assert refusal(desk, mm.rid) is Refusal.NotReady


def test_an_unwritable_feed_refuses_opens(desk, mm):
    desk.actors["executor.alpha"].feed.reader.unwritable = True
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.NotReady


def test_halt_refuses_opens_lets_cancels_pass_and_is_on_the_feed(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.command("executor.alpha", Halt(by="ann", because="drill"))
    assert [(event.by, event.because) for event in desk.events(Halted)] == [("ann", "drill")]
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.Halted
    mm.cancel(cid)
    desk.call("cancel_order").answer(cancelled(cid))
    assert desk.states(cid)[-1] == "Cancelled"
    desk.command("executor.alpha", Resume(by="ann"))
    assert len(desk.events(Resumed)) == 1
    mm.open()
    assert desk.waiting("open_order")


def test_a_halt_survives_a_crash(desk, mm):
    desk.command("executor.alpha", Halt(by="ann"))
    desk.restart("executor.alpha")
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.Halted


def test_an_open_that_came_too_late_is_refused(desk):
    desk.request(open_body(), rid=1, expires_ms=0)
    assert refusal(desk, 1) is Refusal.TooLate
    assert desk.waiting("open_order") == []


def test_an_expiry_beyond_the_limit_is_invalid(desk):
    desk.request(open_body(), rid=1, expires_ms=60_001)
    assert refusal(desk, 1) is Refusal.InvalidRequest
    desk.request(open_body("c-2"), rid=2, expires_ms=60_000)
    assert desk.waiting("open_order")


def test_the_in_flight_limit_refuses_in_order_and_frees_as_calls_end(make):
    desk = make(limits={"in_flight": 2})
    desk.sync()
    mm = desk.engine()
    cids = [mm.open() for _ in range(3)]
    assert [call.request.cid for call in desk.waiting("open_order")] == cids[:2]
    assert refusal(desk, mm.rid) is Refusal.Overloaded
    desk.waiting("open_order")[0].answer(order(cids[0]))
    again = mm.open()
    assert desk.waiting("open_order")[-1].request.cid == again


def test_a_call_that_outlives_its_deadline_still_counts_as_in_flight(make):
    desk = make(limits={"in_flight": 1})
    desk.sync()
    mm = desk.engine()
    mm.open()
    desk.advance(2_100)
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.Overloaded


def test_open_orders_have_a_limit(make):
    desk = make(limits={"open_orders": 1})
    desk.sync()
    mm = desk.engine()
    desk_call = mm.open()
    desk.call("open_order").answer(order(desk_call))
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.Overloaded


def test_an_explicit_cid_is_used_once_even_when_its_order_is_over(desk):
    desk.request(open_body("mine"), rid=1)
    desk.call("open_order").answer(order("mine", filled="1"))
    desk.request(open_body("mine"), rid=2)
    assert refusal(desk, 2) is Refusal.DuplicateCid
    desk.request(open_body("mine"), rid=1, engine="other")
    assert refusal(desk, 1, engine="other") is Refusal.DuplicateCid


def test_an_explicit_cid_stays_used_after_a_restart(desk):
    desk.request(open_body("mine"), rid=1)
    desk.call("open_order").answer(order("mine", filled="1"))
    desk.restart("executor.alpha")
    desk.advance(250)
    desk.request(open_body("mine"), rid=2)
    assert refusal(desk, 2) is Refusal.DuplicateCid


def test_a_refused_open_does_not_use_up_its_cid(desk):
    desk.request(open_body("mine"), rid=1, expires_ms=0)
    desk.request(open_body("mine"), rid=2)
    assert desk.call("open_order").request.cid == "mine"


def test_a_cid_of_another_request_is_refused_by_the_router(desk):
    desk.request(open_body("ow.mm.1.7"), rid=1)
    assert refusal(desk, 1) is Refusal.InvalidRequest


def test_a_full_outbox_refuses_opens_before_it_could_not_keep_their_answers(make):
    desk = make(edges={"outbox_limit": 64})
    desk.sync()
    desk.lose = lambda sender, to, link, frame: sender == "executor.alpha" and link == "events"
    for rid in range(1, 40):
        desk.request(open_body(f"c-{rid}"), rid=rid)
    held = len(desk.waiting("open_order"))
    assert 0 < held < 20
    for call in desk.waiting("open_order"):
        call.fail(ExecutionError(Error.OrderRejected))
    assert desk.actors["executor.alpha"].source.room >= 0
    desk.lose = lambda *_: False
    desk.advance(2_000)
    assert [len(desk.answers_to(rid)) for rid in range(1, 40)] == [1] * 39


def test_refusals_that_nobody_takes_stop_the_reading_of_requests(make):
    """P8: while the merger is away, what the executor keeps for it is bounded."""
    desk = make(edges={"outbox_limit": 2_000})
    desk.sync()
    desk.command("executor.alpha", Halt(by="ann"))
    desk.lose = lambda sender, to, link, frame: sender == "executor.alpha" and link == "events"
    for rid in range(1, 2_500):
        if ("executor.alpha", "requests") in desk.paused:
            break
        desk.request(open_body(f"c-{rid}"), rid=rid)
    assert ("executor.alpha", "requests") in desk.paused
    assert desk.actors["executor.alpha"].source.room >= 0
    desk.lose = lambda *_: False
    desk.advance(2_000)
    assert ("executor.alpha", "requests") not in desk.paused


@pytest.mark.parametrize("limit", [1, 100, 600])
def test_small_limits_for_what_is_kept_do_not_stop_the_reading_for_good(make, limit):
    desk = make(edges={"outbox_limit": limit})
    desk.advance(300)
    assert desk.paused == set()


def test_one_exchange_that_is_down_does_not_refuse_for_another(make):
    desk = make(exchanges=("alpha", "beta"))
    desk.sync(exchange="beta")
    mm = desk.engine()
    mm.open(exchange=1)
    assert desk.waiting("open_order", "beta")
    mm.open(exchange=0)
    assert refusal(desk, mm.rid) is Refusal.NotReady


def test_a_cancel_is_tried_whatever_refuses_opens(make):
    desk = make()
    desk.request(CancelOrder(0, "who-knows"), rid=1)
    assert desk.call("cancel_order").request.cid == "who-knows"


def test_a_cancel_all_that_came_too_late_is_refused(desk, mm):
    desk.request(CancelAll(CancelScope.ALL), rid=1, engine="cli", expires_ms=0)
    assert refusal(desk, 1, engine="cli") is Refusal.TooLate


def test_a_header_of_another_attempt_is_the_same_request(desk):
    frame = desk.request(open_body("mine"), rid=1)
    desk.send_raw(headers.with_attempt(frame, 3))
    assert len(desk.waiting("open_order")) == 1
    assert desk.events(Refused) == []


def test_while_the_wall_clock_is_not_to_be_trusted_opens_wait_and_cancels_pass(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.actors["executor.alpha"].clock_settled = False
    mm.open()
    assert refusal(desk, mm.rid) is Refusal.NotReady
    mm.cancel(cid)
    desk.call("cancel_order").answer(cancelled(cid))
    desk.actors["executor.alpha"].clock_settled = True
    mm.open()
    assert desk.waiting("open_order")
