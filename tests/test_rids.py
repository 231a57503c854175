from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import rids
from pipeline.rids import AnsweredRids

NEAR = st.integers(1, 60)
ANY = st.one_of(NEAR, st.integers(1, 2**63 - 1))


@given(st.lists(ANY, max_size=200))
def test_it_is_a_plain_set_whatever_the_order(added):
    answered, plain = AnsweredRids(), set()
    for rid in added:
        assert answered.add(rid) == (rid not in plain)
        plain.add(rid)
    assert answered.high == max(plain, default=0)


@given(st.lists(NEAR, max_size=80), st.lists(NEAR, max_size=80))
def test_it_comes_back_from_its_text_as_it_was(before, after):
    answered = AnsweredRids()
    for rid in before:
        answered.add(rid)
    read_back = AnsweredRids(str(answered))
    assert str(read_back) == str(answered)
    assert [read_back.add(rid) for rid in after] == [answered.add(rid) for rid in after]


@given(st.permutations(range(1, 40)))
def test_nothing_is_missing_when_all_were_answered(added):
    answered = AnsweredRids()
    for rid in added:
        answered.add(rid)
    assert (answered.missing_ranges, str(answered)) == (0, "39")


def test_what_counts_from_nothing_is_not_an_answer():
    assert AnsweredRids().add(0) is False


@settings(max_examples=30)
@given(st.data())
def test_what_is_missing_is_bounded_whatever_is_answered(data):
    answered = AnsweredRids()
    limit, rids._RANGE_LIMIT = rids._RANGE_LIMIT, 4
    try:
        for rid in data.draw(st.lists(NEAR, max_size=60)):
            answered.add(rid)
            assert answered.missing_ranges <= 4
    finally:
        rids._RANGE_LIMIT = limit


@settings(max_examples=50)
@given(st.lists(NEAR, max_size=60))
def test_beyond_the_limit_the_oldest_missing_are_given_up_and_no_answer_is_taken_twice(added):
    answered, taken = AnsweredRids(), set()
    limit, rids._RANGE_LIMIT = rids._RANGE_LIMIT, 3
    try:
        for rid in added:
            if answered.add(rid):
                assert rid not in taken
                taken.add(rid)
    finally:
        rids._RANGE_LIMIT = limit
    assert answered.high == max(added, default=0)
