import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lifecycle import ACTIVE, FINISHED, MOVES, REPORTED, Verdict, judge, merge
from pipeline.vocabulary import Evidence, OrderState, Pending
from tests.order_words import order, words

S = OrderState
SETTLING = [evidence for evidence in Evidence if evidence.settles]
NOT_SETTLING = [evidence for evidence in Evidence if not evidence.settles]


def test_every_state_is_active_or_finished_and_has_its_moves():
    assert set(OrderState) == ACTIVE | FINISHED and not ACTIVE & FINISHED
    assert set(MOVES) == set(OrderState)
    assert {state for state in OrderState if state.finished} == FINISHED


def test_nothing_follows_a_finished_state_and_nothing_leads_back_to_the_beginning():
    assert all(not MOVES[state] for state in FINISHED)
    assert all(S.OpenInFlight not in after for after in MOVES.values())


def test_every_active_state_may_end_in_every_way():
    assert all(MOVES[state] >= FINISHED for state in ACTIVE)


def test_evidence_that_settles_is_the_exchanges_or_an_operators():
    assert set(SETTLING) == {
        Evidence.OPERATOR,
        Evidence.CALL,
        Evidence.LATE_CALL,
        Evidence.STREAM,
        Evidence.SNAPSHOT,
        Evidence.QUERY,
        Evidence.BACKFILL,
        Evidence.ABSENCE,
    }
    assert set(SETTLING) >= REPORTED


@settings(max_examples=400)
@given(words, st.lists(words, max_size=12))
def test_an_order_never_goes_backwards_whatever_is_said_of_it(first, later):
    known = first[0]
    for said, evidence in later:
        verdict, after = judge(known, said, evidence)
        if known.state in FINISHED:
            assert after.state in FINISHED
            assert after.state is known.state or after.state is S.FullyFilled
        if after.state is not known.state and known.state in ACTIVE:
            assert after.state in MOVES[known.state]
        assert after.filled >= known.filled
        assert (after.id or known.id) == after.id
        assert (verdict is Verdict.NEWS) == (after != known)
        known = after


@settings(max_examples=300)
@given(words, st.lists(words, max_size=12))
def test_unknown_is_left_on_settling_evidence_only(first, later):
    known = first[0]
    for said, evidence in later:
        _, after = judge(known, said, evidence)
        if known.state is S.Unknown and after.state is not S.Unknown:
            assert evidence.settles
        known = after


@given(words, words)
def test_what_was_ordered_and_whose_it_is_stays(first, second):
    known, said = first[0], second[0]
    verdict, after = judge(known, said, second[1])
    if known.engine or not said.engine:
        assert (after.quantity, after.price, after.engine) == (known.quantity, known.price, known.engine)
    elif verdict is Verdict.NEWS and known.state in ACTIVE:
        assert (after.quantity, after.engine) == (said.quantity, said.engine)


@given(words, words)
def test_a_word_said_twice_is_news_once(first, second):
    _, after = judge(first[0], *second)
    verdict, again = judge(after, *second)
    assert again == after and verdict is not Verdict.NEWS


@pytest.mark.parametrize("state", sorted(FINISHED))
@pytest.mark.parametrize("late", sorted(ACTIVE))
def test_a_late_word_does_not_reopen_a_finished_order(state, late):
    known = order(state, 4)
    assert judge(known, order(late, 4), Evidence.CALL) == (Verdict.STALE, known)


def test_a_late_answer_with_less_filled_is_stale():
    known = order(S.Open, 4)
    assert judge(known, order(S.Open, 3), Evidence.CALL) == (Verdict.STALE, known)


def test_a_cancel_that_does_not_know_what_was_filled_ends_the_order_and_keeps_the_fills():
    verdict, after = judge(order(S.Open, 4), order(S.Cancelled, 0), Evidence.CALL)
    assert (verdict, after.state, after.filled) == (Verdict.NEWS, S.Cancelled, 4)


def test_a_fill_reported_after_the_cancel_counts_and_the_last_one_makes_it_full():
    known = order(S.Cancelled, 4)
    verdict, after = judge(known, order(S.Cancelled, 7), Evidence.STREAM)
    assert (verdict, after.state, after.filled) == (Verdict.NEWS, S.Cancelled, 7)
    verdict, after = judge(known, order(S.FullyFilled, 10), Evidence.STREAM)
    assert (verdict, after.state, after.filled) == (Verdict.NEWS, S.FullyFilled, 10)


@pytest.mark.parametrize("evidence", NOT_SETTLING)
def test_after_the_end_only_the_exchanges_word_counts_more_fills(evidence):
    known = order(S.Cancelled, 4)
    assert judge(known, order(S.Cancelled, 7), evidence) == (Verdict.STALE, known)


def test_a_full_fill_of_a_smaller_quantity_than_was_counted_takes_nothing_back():
    said = order(S.FullyFilled, 5, quantity=order(filled=5).filled)
    _, after = judge(order(S.Open, 6), said, Evidence.STREAM)
    assert after.filled == 6


def test_the_stream_neither_makes_nor_ends_a_wish_to_cancel():
    wished = order(S.Open, pending=Pending.CANCEL)
    assert merge(wished, order(S.Open, 1), Evidence.STREAM).pending is Pending.CANCEL
    assert merge(wished, order(S.Open, 1), Evidence.CALL).pending is Pending.NONE
    assert merge(order(), order(pending=Pending.CANCEL), Evidence.SNAPSHOT).pending is Pending.NONE
    assert merge(wished, order(S.Cancelled), Evidence.STREAM).pending is Pending.NONE


def test_the_venues_names_are_kept_by_a_word_that_does_not_know_them():
    known = order(id="v-1", venue_cid="ow1")
    after = merge(known, order(S.Open, 1), Evidence.CALL)
    assert (after.id, after.venue_cid) == ("v-1", "ow1")
