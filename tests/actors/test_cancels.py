"""Cancels: one answer each, never before their open, and a wish that goes on until the order is finished."""

import pytest

from pipeline.client import ExecutionError
from pipeline.messages import CancelAllDone, CancelOrder, OrderCancelled
from pipeline.vocabulary import CancelScope, Error, Evidence, OrderState, Pending
from tests.actors.venue_words import cancelled, open_body, order


def resting(desk, mm, **more):
    """An order that the exchange has accepted."""
    cid = mm.open(**more)
    desk.waiting("open_order")[-1].answer(order(cid, quantity=more.get("quantity", "1")))
    return cid


def test_a_cancel_is_answered_by_its_call(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    call = desk.call("cancel_order")
    assert (call.request.instrument, call.request.cid, call.request.id) == ("BTCUSD", cid, f"v-{cid}")
    call.answer(cancelled(cid, filled="0.3"))
    answer = desk.answer_to(rid)
    assert isinstance(answer, OrderCancelled)
    assert (answer.order.state, str(answer.order.filled)) == (OrderState.Cancelled, "0.3")
    assert (answer.failure, answer.evidence) == (None, Evidence.CALL)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Error.OrderAlreadyCancelled, OrderState.Cancelled),
        (Error.OrderAlreadyFullyFilled, OrderState.FullyFilled),
        (Error.OrderNotFound, OrderState.Unknown),
        (Error.OrderRejected, OrderState.Open),
        (Error.RateLimit, OrderState.Open),
        (Error.Socket, OrderState.Unknown),
    ],
)
def test_a_cancel_that_failed_says_why_and_what_is_then_known(desk, mm, error, state):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(error, "so it is"))
    answer = desk.answer_to(rid)
    assert (answer.failure.error, answer.order.state) == (error, state)


@pytest.mark.parametrize("crashed", [False, True])
def test_an_order_that_was_cancelled_already_is_asked_how_much_was_filled(desk, mm, crashed):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.OrderAlreadyCancelled))
    if crashed:
        desk.restart("executor.alpha")
    desk.advance(50)
    desk.call("fetch_order").answer(order(cid, filled="0.4", state=OrderState.Cancelled))
    assert [(o.state.name, str(o.filled)) for o in desk.words(cid)[-2:]] == [
        ("Cancelled", "0"),
        ("Cancelled", "0.4"),
    ]
    desk.restart("executor.alpha")
    desk.advance(50)
    assert desk.waiting("fetch_order") == []


def test_a_cancel_that_surely_never_left_leaves_the_order_open(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.Socket, "no route", "no"))
    answer = desk.answer_to(rid)
    assert (answer.failure.error, answer.order.state) == (Error.Socket, OrderState.Open)


def test_a_cancel_waits_for_its_open_and_goes_then(desk, mm):
    cid = mm.open()
    rid = mm.cancel(cid)
    assert desk.waiting("cancel_order") == []
    desk.call("open_order").answer(order(cid))
    assert desk.call("cancel_order").request.id == f"v-{cid}"
    desk.call("cancel_order").answer(cancelled(cid))
    assert desk.answer_to(rid).failure is None
    assert desk.states(cid) == ["Open", "Cancelled"]


def test_a_cancel_waits_for_its_own_open_only(desk, mm):
    waiting = mm.open()
    cid = resting(desk, mm) if not desk.waiting("open_order") else _second(desk, mm)
    mm.cancel(cid)
    assert desk.call("cancel_order").request.cid == cid
    assert desk.waiting("open_order")[0].request.cid == waiting


def _second(desk, mm):
    cid = mm.open()
    desk.waiting("open_order")[1].answer(order(cid))
    return cid


def test_a_cancel_goes_out_when_its_open_became_unknown(desk, mm):
    cid = mm.open()
    mm.cancel(cid)
    desk.advance(2_001)
    assert desk.call("cancel_order").request.cid == cid


def test_a_cancel_of_an_open_that_failed_is_answered(desk, mm):
    cid = mm.open()
    rid = mm.cancel(cid)
    desk.call("open_order").fail(ExecutionError(Error.BalanceInsufficient))
    answer = desk.answer_to(rid)
    assert (answer.failure.error, answer.order.state) == (Error.OrderNotFound, OrderState.OpenFailed)
    assert desk.waiting("cancel_order") == []


def test_a_cancel_of_an_open_that_filled_at_once_is_answered(desk, mm):
    cid = mm.open()
    rid = mm.cancel(cid)
    desk.call("open_order").answer(order(cid, filled="1"))
    assert desk.answer_to(rid).failure.error is Error.OrderAlreadyFullyFilled
    assert desk.waiting("cancel_order") == []


def test_a_cancel_of_an_order_nobody_here_knows_is_asked_of_the_exchange(desk):
    desk.request(CancelOrder(1, "elsewhere"), rid=1)
    call = desk.call("cancel_order")
    assert (call.request.instrument, call.request.cid) == ("ETHUSD", "elsewhere")
    call.fail(ExecutionError(Error.OrderNotFound))
    answer = desk.answer_to(1)
    assert (answer.order, answer.failure.error) == (None, Error.OrderNotFound)


def test_an_adopted_order_is_cancelled_by_the_venues_id(desk):
    desk.request(CancelOrder(0, "ext-815"), rid=1)
    assert desk.call("cancel_order").request.id == "815"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_cancel_of_a_finished_order_is_answered_without_asking(desk, mm, restarted):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled="1"))
    if restarted:
        desk.restart("executor.alpha")
        desk.advance(250)
    rid = mm.cancel(cid)
    answer = desk.answer_to(rid)
    assert (answer.failure.error, answer.order.state) == (
        Error.OrderAlreadyFullyFilled,
        OrderState.FullyFilled,
    )
    assert desk.waiting("cancel_order") == []


def test_a_cancel_that_times_out_leaves_the_order_unknown_and_asks(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.advance(2_001)
    answer = desk.answer_to(rid)
    assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
    desk.call("fetch_order").answer(order(cid, state=OrderState.Cancelled))
    assert desk.states(cid)[-2:] == ["Unknown", "Cancelled"]


def test_a_cancel_of_an_unknown_cid_that_times_out_is_answered(desk):
    desk.request(CancelOrder(0, "elsewhere"), rid=1)
    desk.advance(2_001)
    assert desk.answer_to(1).failure.error is Error.Timeout


def test_a_late_cancel_is_told_by_itself(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    call = desk.call("cancel_order")
    desk.advance(2_001)
    call.answer(cancelled(cid))
    assert desk.states(cid)[-2:] == ["Unknown", "Cancelled"]


def test_a_wish_is_sent_again_with_backoff_while_the_exchange_shows_the_order_open(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.RateLimit))
    pauses = []
    for _ in range(5):
        since = desk.now_ns
        while not desk.waiting("cancel_order"):
            desk.advance(50)
        pauses.append((desk.now_ns - since) // 1_000_000)
        desk.call("cancel_order").fail(ExecutionError(Error.RateLimit))
    assert pauses == [250, 500, 1_000, 2_000, 4_000]


def test_a_wish_outlives_the_timeout_of_its_request(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.advance(2_001)
    desk.call("fetch_order").answer(order(cid))
    assert desk.states(cid)[-2:] == ["Unknown", "Open"]
    desk.advance(15_000)
    again = desk.waiting("cancel_order")
    assert again and again[-1].request.cid == cid
    again[-1].answer(cancelled(cid))
    assert desk.states(cid)[-1] == "Cancelled"


def test_a_wish_survives_a_crash(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.RateLimit))
    desk.restart("executor.alpha")
    desk.advance(2_000)
    assert [call.request.cid for call in desk.waiting("cancel_order")] == [cid]


def test_a_wish_ends_with_its_order(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.RateLimit))
    desk.stream().item(order(cid, filled="1"))
    desk.advance(12_000)
    assert desk.waiting("cancel_order") == []
    assert desk.actors["executor.alpha"].orders == {}


def test_a_cancel_that_the_exchange_rejects_is_no_wish_any_more(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.OrderRejected))
    desk.advance(12_000)
    assert desk.waiting("cancel_order") == []
    assert mm.core.orders[0, cid].pending is Pending.NONE


def test_a_client_that_leaves_the_cancels_answer_to_the_stream_is_answered_by_it(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.call("cancel_order").answer(None)
    assert desk.answers_to(rid) == []
    desk.stream().item(order(cid, state=OrderState.Cancelled))
    answer = desk.answer_to(rid)
    assert (answer.failure, answer.order.state) == (None, OrderState.Cancelled)


def test_a_stream_may_tell_of_a_cancel_in_the_clients_own_word_for_it(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.call("cancel_order").answer(None)
    desk.stream().item(cancelled(cid))
    assert desk.answer_to(rid).order.state is OrderState.Cancelled
    assert desk.states(cid)[-1] == "Cancelled"


def test_a_fill_that_wins_against_a_cancel_answers_it(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.stream().item(order(cid, filled="1"))
    desk.call("cancel_order").fail(ExecutionError(Error.OrderNotFound))
    answer = desk.answer_to(rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.FullyFilled, Error.OrderNotFound)
    assert "Unknown" not in desk.states(cid)


def test_two_cancels_of_one_order_are_both_answered(desk, mm):
    cid = resting(desk, mm)
    first, second = mm.cancel(cid), mm.cancel(cid)
    calls = desk.waiting("cancel_order")
    calls[0].answer(cancelled(cid))
    for call in desk.waiting("cancel_order"):
        call.fail(ExecutionError(Error.OrderAlreadyCancelled))
    assert desk.answer_to(first).order.state is OrderState.Cancelled
    assert desk.answer_to(second).order.state is OrderState.Cancelled


def test_an_answer_that_is_no_cancel_answers_all_the_same(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.call("cancel_order").answer("gone, I think")
    assert desk.answer_to(rid).failure.error is Error.Socket
    assert desk.counted("executor.alpha", "client_bugs") == 1


def test_a_cancel_whose_call_never_ends_leaves_nothing_behind(make):
    """The exchange did it and never answered; the stream told; the order must leave memory all the same."""
    desk = make(timing={"call_lifetime_ms": 1_000})
    desk.sync()
    mm = desk.engine()
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.stream().item(order(cid, state=OrderState.Cancelled))
    desk.advance(4_000)
    assert desk.actors["executor.alpha"].orders == {}
    assert desk.actors["executor.alpha"].flights.count == 0


# ---------------------------------------------------------------------------- all at once


def done(desk, rid):
    answer = desk.answer_to(rid)
    assert isinstance(answer, CancelAllDone)
    return answer.cancelled, answer.failed, answer.unknown


def test_a_cancel_all_of_nothing_is_done_at_once(desk, mm):
    assert done(desk, mm.cancel_all()) == (0, 0, 0)


def test_a_cancel_all_is_answered_once_with_what_became_of_each_order(desk, mm):
    cids = [resting(desk, mm) for _ in range(4)]
    rid = mm.cancel_all()
    calls = {call.request.cid: call for call in desk.waiting("cancel_order")}
    assert set(calls) == set(cids)
    calls[cids[0]].answer(cancelled(cids[0]))
    calls[cids[1]].fail(ExecutionError(Error.OrderAlreadyFullyFilled))
    calls[cids[2]].fail(ExecutionError(Error.Socket))
    assert desk.answers_to(rid) == []
    calls[cids[3]].fail(ExecutionError(Error.OrderAlreadyCancelled))
    assert done(desk, rid) == (2, 1, 1)
    assert [desk.states(cid)[-1] for cid in cids] == ["Cancelled", "FullyFilled", "Unknown", "Cancelled"]


def test_a_cancel_all_that_is_not_heard_of_is_answered_at_its_deadline(desk, mm):
    cids = [resting(desk, mm) for _ in range(2)]
    rid = mm.cancel_all()
    desk.waiting("cancel_order")[0].answer(cancelled(cids[0]))
    desk.advance(2_001)
    assert done(desk, rid) == (1, 0, 1)
    desk.waiting("cancel_order")[0].answer(cancelled(cids[1]))
    assert done(desk, rid) == (1, 0, 1)
    assert desk.states(cids[1])[-1] == "Cancelled"


def test_a_cancel_all_covers_what_is_in_flight_and_what_is_unknown(desk, mm):
    unknown = mm.open()
    desk.advance(2_001)
    flying = mm.open()
    rid = mm.cancel_all()
    assert [call.request.cid for call in desk.waiting("cancel_order")] == [unknown]
    desk.waiting("cancel_order")[0].answer(cancelled(unknown))
    desk.waiting("open_order")[-1].answer(order(flying))
    desk.call("cancel_order").answer(cancelled(flying))
    assert done(desk, rid) == (2, 0, 0)


def test_a_cancel_all_covers_only_what_was_received_before_it(desk, mm):
    rid = mm.cancel_all()
    resting(desk, mm)
    assert done(desk, rid) == (0, 0, 0)
    assert desk.waiting("cancel_order") == []


def test_the_stream_settles_a_cancel_all_of_a_client_that_leaves_it_to_it(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel_all()
    desk.call("cancel_order").answer(None)
    assert desk.answers_to(rid) == []
    desk.stream().item(order(cid, state=OrderState.Cancelled))
    assert done(desk, rid) == (1, 0, 0)


def test_an_order_that_the_stream_showed_cancelled_counts_as_cancelled(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel_all()
    desk.stream().item(order(cid, state=OrderState.Cancelled))
    desk.call("cancel_order").fail(ExecutionError(Error.OrderNotFound))
    assert done(desk, rid) == (1, 0, 0)


def test_a_cancel_all_of_opens_that_failed_meanwhile_is_answered(desk, mm):
    mm.open()
    rid = mm.cancel_all()
    desk.call("open_order").fail(ExecutionError(Error.BalanceInsufficient))
    assert sum(done(desk, rid)) == 1


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (CancelScope.SESSION, {"mine"}),
        (CancelScope.ENGINE, {"mine", "older"}),
        (CancelScope.ALL, {"mine", "older", "others"}),
    ],
)
def test_a_cancel_all_covers_its_scope(desk, scope, covered):
    from pipeline.messages import CancelAll

    for cid, engine, session in (("older", "mm", 10), ("others", "xx", 10), ("mine", "mm", 20)):
        desk.request(open_body(cid), rid=1, engine=engine, session=session)
        desk.call("open_order").answer(order(cid))
    desk.request(CancelAll(scope), rid=2, session=20)
    assert {call.request.cid for call in desk.waiting("cancel_order")} == covered


def test_a_cancel_all_without_answer_is_answered_after_a_crash(desk, mm):
    resting(desk, mm)
    rid = mm.cancel_all()
    desk.restart("executor.alpha")
    desk.advance(250)
    assert done(desk, rid)[2] == 1


def test_cancels_have_a_limit_of_their_own(make):
    desk = make(limits={"in_flight": 2})
    desk.sync()
    for rid in range(1, 7):
        desk.request(CancelOrder(0, f"c-{rid}"), rid=rid)
    assert len(desk.waiting("cancel_order")) == 4
    assert [len(desk.answers_to(rid)) for rid in range(1, 7)] == [0, 0, 0, 0, 1, 1]
