"""What the executor does with opens: one answer each, by its deadline, whatever client and stream do."""

from decimal import Decimal

import pytest

from pipeline.client import ExecutionError
from pipeline.messages import OrderSnapshot, Refused
from pipeline.vocabulary import Error, Evidence, OrderState, Refusal
from tests.actors.pipeline import MS
from tests.actors.venue_words import open_body, order


def test_an_open_is_answered_by_its_call(desk, mm):
    cid = mm.open()
    call = desk.call("open_order")
    assert (call.request.instrument, call.request.cid) == ("BTCUSD", cid)
    call.answer(order(cid))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.order.id, answer.evidence) == (
        OrderState.Open,
        f"v-{cid}",
        Evidence.CALL,
    )
    assert answer.order.engine == "mm"
    assert mm.core.outstanding == {}


def test_an_answer_with_nothing_left_is_fully_filled(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled="1"))
    assert desk.answer_to(mm.rid).order.state is OrderState.FullyFilled


def test_an_orders_own_state_counts_more_than_what_is_left_of_it(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled="0.4", state=OrderState.Cancelled))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, str(answer.order.filled)) == (OrderState.Cancelled, "0.4")


def test_a_rejection_is_an_open_failed_with_the_exchanges_words(desk, mm):
    cid = mm.open()
    desk.call("open_order").fail(ExecutionError(Error.BalanceInsufficient, "poor\x07 you"))
    answer = desk.answer_to(mm.rid)
    assert answer.order.state is OrderState.OpenFailed
    assert (answer.failure.error, answer.failure.detail) == (Error.BalanceInsufficient, "poor? you")
    assert desk.actors["executor.alpha"].orders == {}, f"{cid} is over and leaves memory"


def test_an_open_that_surely_never_left_has_failed(desk, mm):
    mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket, "no route", "no"))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.OpenFailed, Error.Socket)


def test_a_broken_call_is_answered_at_once_and_leaves_the_order_unknown(desk, mm):
    mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket, "broke off"))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.Unknown, Error.Socket)


def test_a_broken_call_does_not_make_an_order_unknown_that_the_stream_has_shown(desk, mm):
    cid = mm.open()
    desk.stream().item(order(cid))
    desk.call("open_order").fail(ExecutionError(Error.Socket, "broke off"))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.Open, Error.Socket)


def test_a_client_that_raises_what_it_should_not_has_maybe_sent(desk, mm):
    mm.open()
    desk.call("open_order").fail(ZeroDivisionError("oops"))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.Unknown, Error.Socket)
    assert "ZeroDivisionError" in answer.failure.detail
    assert desk.counted("executor.alpha", "client_bugs") == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        "a string",
        17,
        order("another-cid"),
        order("", instrument="DOGEUSD"),
        order("", instrument="ETHUSD"),
        order("", price=Decimal("NaN")),
    ],
)
def test_an_answer_that_cannot_be_used_still_answers_the_request(desk, mm, nonsense):
    cid = mm.open()
    if getattr(nonsense, "cid", None) == "":
        nonsense.cid = cid
    desk.call("open_order").answer(nonsense)
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.Unknown, Error.Socket)
    assert desk.counted("executor.alpha", "unindexed_answers") == 1


def test_a_venue_that_knows_no_client_order_ids_answers_with_its_own_id(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order("", id="77"))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.cid, answer.order.id, answer.order.state) == (cid, "77", OrderState.Open)


def test_a_timeout_is_answered_at_the_deadline_and_the_order_is_unknown(desk, mm):
    mm.open()
    desk.advance(1_999)
    assert desk.answers_to(mm.rid) == []
    desk.advance(2)
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.Unknown, Error.Timeout)
    assert answer.evidence is Evidence.DEADLINE


def test_a_late_answer_is_evidence(desk, mm):
    cid = mm.open()
    call = desk.call("open_order")
    desk.advance(2_100)
    call.answer(order(cid))
    assert desk.states(cid) == ["Unknown", "Open"]
    assert desk.events(OrderSnapshot)[-1].evidence is Evidence.LATE_CALL
    assert len(desk.answers_to(mm.rid)) == 1


def test_a_late_rejection_ends_the_unknown_order(desk, mm):
    cid = mm.open()
    call = desk.call("open_order")
    desk.advance(2_100)
    call.fail(ExecutionError(Error.BalanceInsufficient))
    assert desk.states(cid) == ["Unknown", "OpenFailed"]


def test_a_client_that_leaves_the_answer_to_the_stream_is_answered_by_it(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(None)
    assert desk.answers_to(mm.rid) == []
    desk.stream().item(order(cid))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.evidence) == (OrderState.Open, Evidence.STREAM)


def test_the_stream_may_have_spoken_before_the_client_leaves_the_answer_to_it(desk, mm):
    cid = mm.open()
    desk.stream().item(order(cid, filled="0.5"))
    assert desk.answers_to(mm.rid) == []
    desk.call("open_order").answer(None)
    assert str(desk.answer_to(mm.rid).order.filled) == "0.5"


def test_an_answer_left_to_a_stream_that_says_nothing_times_out(desk, mm):
    mm.open()
    desk.call("open_order").answer(None)
    desk.advance(2_001)
    assert desk.answer_to(mm.rid).failure.error is Error.Timeout


def test_a_request_that_times_out_leaves_an_order_open_that_the_stream_has_shown(desk, mm):
    cid = mm.open()
    desk.stream().item(order(cid))
    desk.advance(2_001)
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.Open, Error.Timeout)


def test_a_call_outlives_its_deadline_by_its_lifetime_and_is_ended_then(make):
    desk = make(timing={"call_lifetime_ms": 3_000})
    desk.sync()
    mm = desk.engine()
    mm.open()
    call = desk.call("open_order")
    desk.advance(4_900)
    assert not call.cancelled
    assert desk.actors["executor.alpha"].flights.count == 1
    desk.advance(200)
    assert call.cancelled
    assert desk.actors["executor.alpha"].flights.count == 0


def test_what_is_finished_leaves_memory_and_a_late_answer_does_not_bring_it_back(desk, mm):
    cid = mm.open()
    call = desk.call("open_order")
    desk.advance(2_100)
    desk.stream().item(order(cid, filled="1"))
    assert desk.actors["executor.alpha"].orders == {}
    call.answer(order(cid))
    assert desk.states(cid) == ["Unknown", "FullyFilled"]
    assert desk.actors["executor.alpha"].orders == {}


def test_a_tag_is_echoed_by_every_event_of_its_request(desk):
    desk.engine()
    desk.request(open_body("c-1", tag="momentum 7"), rid=1, session=9)
    desk.advance(2_001)
    desk.waiting("fetch_order")[0].answer(order("c-1"))
    assert [event.tag for event in desk.events(OrderSnapshot)] == ["momentum 7", "momentum 7"]


def test_nothing_is_called_before_its_row_is_committed(desk, mm):
    """The call leaves a turn only after the commit: another connection sees the row then."""
    journal = desk.journals["executor.alpha"]
    commits = journal.commits
    seen = []
    act = desk._act

    def look(name, action):
        if getattr(action, "method", "") == "open_order":
            seen.append((journal.commits > commits, journal._dirty))
        act(name, action)

    desk._act = look
    mm.open()
    assert seen == [(True, False)]


def test_the_journal_has_the_request_as_it_is_answered(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled="0.25"))
    rows = desk.journals["executor.alpha"].find("requests", "cid = ?", cid)
    assert len(rows) == 1
    assert desk.actors["executor.alpha"].rows.by_cid(cid).order.filled == order(cid, filled="0.25").filled


def test_an_open_is_refused_by_its_time_not_by_when_the_clock_was_read(desk, mm):
    cid = mm.open(expires_ms=1)
    assert desk.call("open_order").request.expires_at_ns == desk.now_ns + MS
    desk.call("open_order").answer(order(cid))
    desk.hold = lambda sender, to, link, frame: to == "executor.alpha" and link == "requests"
    mm.open(expires_ms=50)
    desk.now_ns += 50 * MS
    desk.release()
    assert desk.answer_to(mm.rid).reason is Refusal.TooLate
    assert desk.waiting("open_order") == []
    assert len(desk.events(Refused)) == 1
