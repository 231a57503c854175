"""Orders nobody can speak for: asked about, ended on the exchange's word or a person's, never by a guess."""

import pytest

from pipeline.client import AccountSnapshot, Capability, ExecutionError, NotFound
from pipeline.control import Done, Failed, Resolve
from pipeline.messages import OrderSnapshot, Stuck
from pipeline.vocabulary import Error, Evidence, OrderState
from tests.actors.pipeline import ALL, MS
from tests.actors.venue_words import order


@pytest.fixture
def lost(desk, mm):
    """An order whose open timed out and whose call is over; its cid."""
    cid = mm.open()
    call = desk.call("open_order")
    desk.advance(2_001)
    call.fail(ExecutionError(Error.Socket))
    return cid


def last(desk):
    return desk.events(OrderSnapshot)[-1]


def test_an_unknown_order_is_asked_about_at_once(desk, lost):
    call = desk.call("fetch_order")
    assert call.args == ("BTCUSD", lost, None)
    call.answer(order(lost, filled="0.5"))
    assert (last(desk).order.state, last(desk).evidence) == (OrderState.Open, Evidence.QUERY)
    assert str(last(desk).order.filled) == "0.5"


def test_not_there_ends_an_order_that_the_exchange_never_showed_as_failed(desk, lost):
    desk.call("fetch_order").answer(NotFound())
    assert (last(desk).order.state, last(desk).evidence) == (OrderState.OpenFailed, Evidence.ABSENCE)


def test_not_there_ends_an_order_that_the_exchange_once_showed_as_cancelled(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.advance(10)
    mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.OrderNotFound))
    desk.advance(10)
    desk.call("fetch_order").answer(NotFound())
    assert (last(desk).order.state, last(desk).evidence) == (OrderState.Cancelled, Evidence.ABSENCE)


def test_not_there_counts_for_nothing_while_the_opens_call_goes_on(desk, mm):
    cid = mm.open()
    desk.advance(2_001)
    desk.call("fetch_order").answer(NotFound())
    assert desk.states(cid) == ["Unknown"]
    desk.call("open_order").fail(ExecutionError(Error.Socket))
    desk.advance(2_000)
    desk.call("fetch_order").answer(NotFound())
    assert desk.states(cid) == ["Unknown", "OpenFailed"]


def test_not_there_counts_only_when_asked_after_the_request_could_still_act(make):
    desk = make(validity_ms=5_000)
    desk.sync()
    mm = desk.engine()
    cid = mm.open()
    sent_ns = desk.now_ns
    desk.call("open_order").fail(ExecutionError(Error.Socket))
    while desk.states(cid) == ["Unknown"]:
        asked_ns = desk.now_ns
        if desk.waiting("fetch_order"):
            desk.call("fetch_order").answer(NotFound())
        desk.advance(50)
    assert desk.states(cid) == ["Unknown", "OpenFailed"]
    assert asked_ns > sent_ns + 5_000 * MS


def test_a_question_that_was_on_its_way_when_the_validity_ended_counts_by_when_it_was_asked(make):
    desk = make(validity_ms=5_000)
    desk.sync()
    mm = desk.engine()
    cid = mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket))
    desk.advance(100)
    early = desk.call("fetch_order")
    desk.advance(6_000)
    early.answer(NotFound())
    assert desk.states(cid) == ["Unknown"]


def test_a_client_that_cannot_bound_its_requests_never_ends_an_order_by_absence(make):
    desk = make(validity_ms=None)
    desk.sync()
    mm = desk.engine()
    cid = mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket))
    for _ in range(40):
        desk.advance(5_000)
        for call in desk.waiting("fetch_order"):
            call.answer(NotFound())
    assert desk.states(cid) == ["Unknown"]


def test_cannot_tell_counts_for_nothing_and_is_asked_again_with_backoff(desk, lost):
    pauses = []
    desk.call("fetch_order").fail(ExecutionError(Error.ExchangeOffline))
    for _ in range(4):
        since_ns = desk.now_ns
        while not desk.waiting("fetch_order"):
            desk.advance(50)
        pauses.append((desk.now_ns - since_ns) // MS)
        desk.call("fetch_order").fail(ExecutionError(Error.ExchangeOffline))
    assert pauses == [1_000, 2_000, 4_000, 8_000]
    assert desk.states(lost) == ["Unknown"]


def test_a_question_without_answer_is_given_up_and_put_again(desk, lost):
    first = desk.call("fetch_order")
    desk.advance(12_000)
    assert first.cancelled
    desk.call("fetch_order").answer(order(lost))
    assert desk.states(lost) == ["Unknown", "Open"]


@pytest.mark.parametrize("nonsense", ["text", order("another"), order("x", instrument="DOGE"), 5.0, [[]]])
def test_an_answer_that_cannot_be_used_counts_for_nothing(desk, lost, nonsense):
    desk.call("fetch_order").answer(nonsense)
    assert desk.states(lost) == ["Unknown"]
    desk.advance(5_000)
    assert desk.waiting("fetch_order")


def test_a_client_bug_in_a_question_counts_for_nothing(desk, lost):
    desk.call("fetch_order").fail(KeyError("oops"))
    assert desk.states(lost) == ["Unknown"]
    assert desk.counted("executor.alpha", "client_bugs") == 1


def test_without_a_query_for_one_the_open_orders_are_asked_for_and_absence_says_nothing(make):
    desk = make(capabilities=ALL - {Capability.FETCH_ORDER})
    desk.sync()
    mm = desk.engine()
    cid = mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket))
    desk.advance(10)
    desk.call("fetch_open_orders").answer([order("another")])
    assert desk.states(cid) == ["Unknown"]
    desk.advance(2_000)
    desk.call("fetch_open_orders").answer([order("another"), order(cid)])
    assert desk.states(cid) == ["Unknown", "Open"]


def test_the_stream_ends_the_doubt_and_the_question_on_its_way_cannot_renew_it(desk, lost):
    question = desk.call("fetch_order")
    desk.stream().item(order(lost))
    assert desk.states(lost) == ["Unknown", "Open"]
    question.answer(NotFound())
    assert desk.states(lost) == ["Unknown", "Open"]


def test_an_order_is_not_asked_about_any_more_when_it_is_known(desk, lost):
    desk.call("fetch_order").fail(ExecutionError(Error.ExchangeOffline))
    desk.stream().item(order(lost, filled="1"))
    desk.advance(60_000)
    assert desk.waiting("fetch_order") == []


def test_questions_have_a_limit_and_every_order_gets_its_turn(desk, mm):
    cids = [mm.open() for _ in range(20)]
    for call in desk.waiting("open_order"):
        call.fail(ExecutionError(Error.Socket))
    desk.advance(1)
    asked = []
    for _ in range(60):
        assert len(desk.waiting("fetch_order")) <= 8
        for call in desk.waiting("fetch_order"):
            asked.append(call.args[1])
            call.answer(order(call.args[1]))
        desk.advance(100)
    assert sorted(asked) == sorted(cids)


def test_an_order_that_stays_unknown_is_stuck_once(desk, lost):
    for _ in range(30):
        desk.advance(5_000)
        for call in desk.waiting("fetch_order"):
            call.fail(ExecutionError(Error.ExchangeOffline))
    (stuck,) = desk.events(Stuck)
    assert stuck.cid == lost
    assert desk.actors["executor.alpha"].gauges(desk.now_ns)["stuck"] == 1


def test_a_venue_that_can_be_asked_nothing_leaves_orders_stuck_not_ended(make):
    desk = make(capabilities=frozenset())
    desk.sync()
    mm = desk.engine()
    cid = mm.open()
    desk.call("open_order").fail(ExecutionError(Error.Socket))
    desk.advance(120_000)
    assert (desk.states(cid), len(desk.events(Stuck))) == (["Unknown"], 1)


@pytest.mark.parametrize(
    ("outcome", "state", "filled"),
    [("cancelled", "Cancelled", "0"), ("open-failed", "OpenFailed", "0"), ("filled", "FullyFilled", "1")],
)
def test_an_operator_ends_an_unknown_order_with_a_signed_word(desk, lost, outcome, state, filled):
    answer = desk.command("executor.alpha", Resolve(lost, outcome, "ann", "phoned the venue"))
    assert isinstance(answer, Done)
    told = last(desk)
    assert (told.order.state.name, str(told.order.filled)) == (state, filled)
    assert told.evidence is Evidence.OPERATOR
    assert told.failure.detail == "ann: phoned the venue"


@pytest.mark.parametrize(
    "words",
    [
        ("{}", "perhaps", "ann", "because"),
        ("{}", "cancelled", "ann", "  "),
        ("ow.mm.1.1", "cancelled", "ann", "because"),
    ],
)
def test_a_word_that_cannot_be_taken_is_refused_with_what_to_mend(desk, lost, words):
    answer = desk.command("executor.alpha", Resolve(*(word.format(lost) for word in words)))
    assert isinstance(answer, Failed) and answer.detail
    assert desk.states(lost) == ["Unknown"]


def test_an_order_that_is_not_unknown_cannot_be_resolved(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    assert isinstance(desk.command("executor.alpha", Resolve(cid, "filled", "ann", "hm")), Failed)
    assert desk.states(cid) == ["Open"]


# ---------------------------------------------------------------------------- suspects


def resting(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    desk.advance(100)
    return cid


def reconnect(desk, orders=(), before_snapshot=None):
    desk.stream().end()
    desk.advance(300)
    desk.stream().answer()
    if before_snapshot is not None:
        before_snapshot()
    desk.call("account_snapshot").answer(AccountSnapshot([], list(orders)))
    desk.advance(150)
    desk.call("fetch_trades").answer(([], True))


def test_an_order_that_a_snapshot_does_not_show_is_suspect_and_asked_about(desk, mm):
    cid = resting(desk, mm)
    reconnect(desk)
    assert desk.states(cid) == ["Open", "Unknown"]
    desk.call("fetch_order").answer(order(cid, filled="1"))
    assert desk.states(cid)[-1] == "FullyFilled"


def test_an_order_that_a_snapshot_shows_stays_open(desk, mm):
    cid = resting(desk, mm)
    reconnect(desk, [order(cid)])
    assert "Unknown" not in desk.states(cid)


def test_an_order_in_flight_is_never_judged_by_a_snapshot(desk, mm):
    cid = mm.open()
    desk.stream().item(order(cid))
    reconnect(desk)
    assert "Unknown" not in desk.states(cid)


def test_an_order_heard_of_after_the_fence_is_not_suspect(desk, mm):
    cid = resting(desk, mm)
    reconnect(desk, before_snapshot=lambda: desk.stream().item(order(cid, filled="0.1")))
    assert desk.states(cid) == ["Open", "Open"]


def test_an_order_opened_after_the_fence_is_not_suspect(desk, mm):
    opened = []

    def open_meanwhile():
        # Opens are refused then; one that was accepted just before the outage is answered just now.
        flying.answer(order(cid))
        opened.append(desk.states(cid))

    cid = mm.open()
    flying = desk.call("open_order")
    reconnect(desk, before_snapshot=open_meanwhile)
    assert opened == [["Open"]]
    assert "Unknown" not in desk.states(cid)


def test_the_doubt_is_void_when_the_feed_has_a_newer_word(desk, mm):
    """The executor calls an order unknown by what it had read; the merger knows better."""
    cid = mm.open()
    desk.call("open_order").answer(order(cid, id=None))
    desk.advance(100)
    mm.cancel(cid)
    desk.hold = lambda sender, to, link, frame: sender == "merger" and to == "executor.alpha"
    desk.stream().item(order(cid, id="v-7"))
    desk.call("cancel_order").fail(ExecutionError(Error.Socket))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.order.id) == (OrderState.Open, "v-7")
    desk.release()
    assert "Unknown" not in desk.states(cid)
