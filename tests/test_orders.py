from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lifecycle import Verdict
from pipeline.orders import Known, OrderTable
from pipeline.vocabulary import Evidence, OrderState
from tests.order_words import EVIDENCE, order, orders

S = OrderState
KEY = (0, "c-1")


class Kept:
    """What the merger's journal would have of each order."""

    def __init__(self):
        self.rows = {}

    def table(self, limit):
        return OrderTable(limit, self.rows.get)

    def after(self, table, key):
        """The merger stores what was news."""
        self.rows[key] = table.known(key)


def nothing(key):
    return None


cids = st.sampled_from(["a", "b", "c", "d", "e"])
steps = st.lists(st.tuples(cids, orders, EVIDENCE, st.integers(0, 40)), max_size=40)


@settings(max_examples=300)
@given(steps, st.integers(1, 3))
def test_a_table_that_forgets_and_recalls_is_one_that_never_forgets(said, limit):
    kept = Kept()
    small, whole = kept.table(limit), OrderTable(10_000, nothing)
    for word, (cid, word_said, evidence, as_of) in enumerate(said, 1):
        key = (0, cid)
        verdict, after = small.admit(key, word_said, evidence, word, as_of)
        assert (verdict, after) == whole.admit(key, word_said, evidence, word, as_of)
        if verdict is Verdict.NEWS:
            kept.after(small, key)
        assert small.known(key) == whole.known(key)
    assert small.active == whole.active
    assert len(small._ended) <= limit


@settings(max_examples=200)
@given(steps)
def test_what_is_active_is_in_the_table_and_what_ended_is_not(said):
    kept = Kept()
    table = kept.table(2)
    for word, (cid, word_said, evidence, as_of) in enumerate(said, 1):
        if table.admit((0, cid), word_said, evidence, word, as_of)[0] is Verdict.NEWS:
            kept.after(table, (0, cid))
    assert all(not known.order.state.finished for known in table.active.values())


def test_an_order_nobody_knew_is_taken_as_it_is_said():
    table = OrderTable(10, nothing)
    said = order(S.Open, 3)
    assert table.admit(KEY, said, Evidence.SNAPSHOT, 5) == (Verdict.NEWS, said)
    assert table.known(KEY) == Known(said, 5)


def test_a_forgotten_order_is_not_reopened_by_a_late_word():
    kept = Kept()
    table = kept.table(1)
    for word, cid in enumerate(("c-1", "c-2", "c-3"), 1):
        table.admit((0, cid), order(S.Cancelled, 4, cid), Evidence.STREAM, word)
        kept.after(table, (0, cid))
    verdict, after = table.admit(KEY, order(S.Open, 4), Evidence.LATE_CALL, 9)
    assert (verdict, after.state) == (Verdict.STALE, S.Cancelled)
    assert table.active == {}


def test_an_unknown_is_stale_when_the_exchange_spoke_after_what_its_executor_had_read():
    table = OrderTable(10, nothing)
    table.admit(KEY, order(S.Open), Evidence.STREAM, 7)
    assert table.admit(KEY, order(S.Unknown), Evidence.DEADLINE, 9, as_of=6) == (Verdict.STALE, order(S.Open))
    assert table.admit(KEY, order(S.Unknown), Evidence.DEADLINE, 9, as_of=7)[0] is Verdict.NEWS


def test_only_the_exchanges_own_word_makes_an_unknown_stale():
    table = OrderTable(10, nothing)
    table.admit(KEY, order(S.Open), Evidence.STREAM, 3)
    table.admit(KEY, order(S.CancelInFlight), Evidence.NONE, 8)
    assert table.admit(KEY, order(S.Unknown), Evidence.DEADLINE, 9, as_of=3)[0] is Verdict.NEWS


def test_a_correction_brings_an_ended_order_back_with_all_that_was_known_of_it():
    table = OrderTable(10, nothing)
    table.admit(KEY, order(S.Cancelled, 4, id="v-1"), Evidence.ABSENCE, 3)
    after = table.correct(KEY, order(S.Open, 2, engine="", price=None), 8)
    assert (after.state, after.filled, after.engine, after.price) == (S.Open, 2, "mm", 100)
    assert after.id == "v-1"
    assert table.active == {KEY: Known(after, 8)}
    assert table.admit(KEY, order(S.FullyFilled, 10), Evidence.STREAM, 9)[0] is Verdict.NEWS


def test_a_correction_of_an_order_nobody_knows_is_taken_as_it_is_said():
    table = OrderTable(10, nothing)
    assert table.correct(KEY, order(S.Open, 2), 8) == order(S.Open, 2)


def test_accounts_do_not_share_a_cid():
    table = OrderTable(10, nothing)
    table.admit((0, "x"), order(S.Cancelled, cid="x"), Evidence.STREAM, 1)
    assert table.admit((1, "x"), order(S.Open, cid="x"), Evidence.STREAM, 1)[0] is Verdict.NEWS


def test_an_order_from_the_journal_is_weighed_like_any_other():
    table = OrderTable(10, nothing)
    table.restore(KEY, Known(order(S.Open, 4), 7))
    assert table.admit(KEY, order(S.Open, 3), Evidence.CALL, 9)[0] is Verdict.STALE
    assert table.admit(KEY, order(S.Unknown, 4), Evidence.RESTART, 9, as_of=6)[0] is Verdict.STALE
