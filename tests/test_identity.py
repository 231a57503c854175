import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.identity import (
    CID_GRAMMAR,
    CID_LIMIT,
    COUNT_LIMIT,
    base36,
    engine_of,
    generated_cid,
    is_engine_name,
)

ENGINES = st.from_regex(r"\A[A-Za-z0-9._-]{1,24}\Z").map(str)
COUNTS = st.integers(1, COUNT_LIMIT)


@given(st.integers(0, 2**64))
def test_base36_is_what_int_reads_and_has_no_leading_zero(number):
    written = base36(number)
    assert int(written, 36) == number
    assert written == written.lower()
    assert written == "0" or not written.startswith("0")


def test_base36_of_the_first_numbers():
    assert [base36(n) for n in (0, 9, 10, 35, 36, 1295, 1296, 46656)] == [
        "0",
        "9",
        "a",
        "z",
        "10",
        "zz",
        "100",
        "1000",
    ]


def test_a_negative_number_has_no_base36():
    with pytest.raises(ValueError, match="negative"):
        base36(-1)


@given(ENGINES, COUNTS, COUNTS)
def test_a_generated_cid_is_a_cid(engine, session, rid):
    cid = generated_cid(engine, session, rid)
    assert CID_GRAMMAR.fullmatch(cid)
    assert len(cid) <= CID_LIMIT


def test_the_longest_generated_cid_fits():
    assert len(generated_cid("e" * 24, COUNT_LIMIT, COUNT_LIMIT)) == 55


@given(ENGINES, COUNTS, COUNTS)
def test_a_generated_cid_leads_back_to_its_request(engine, session, rid):
    cid = generated_cid(engine, session, rid)
    assert engine_of(cid) == engine
    assert cid.rsplit(".", 2)[1:] == [base36(session), base36(rid)]


@pytest.mark.parametrize("cid", ["", "mine-1", "ow", "ow.", "ow.a", "ow.a.b", "ext-ow.a.1.1", "OW.a.1.1"])
def test_other_cids_name_no_engine(cid):
    assert engine_of(cid) == ""


@pytest.mark.parametrize("name", ["a", "mm-1", "A.b_c-9", "e" * 24])
def test_an_engine_name_is_short_and_plain(name):
    assert is_engine_name(name)


@pytest.mark.parametrize("name", ["", "e" * 25, "a b", "a\n", "a\0b", "é", "a/b", "１"])
def test_other_names_are_none(name):
    assert not is_engine_name(name)
