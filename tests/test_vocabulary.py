from enum import IntEnum, IntFlag

import pytest

from pipeline import vocabulary
from pipeline.vocabulary import (
    CancelScope,
    Error,
    Evidence,
    Flags,
    Named,
    OrderState,
    Refusal,
    Side,
    TimeInForce,
    Word,
)

ENUMERATIONS = [
    e
    for e in vars(vocabulary).values()
    if isinstance(e, type)
    and issubclass(e, IntEnum | IntFlag)
    and e.__module__ == vocabulary.__name__
    and len(e)
]


@pytest.mark.parametrize("enumeration", ENUMERATIONS, ids=lambda e: e.__name__)
def test_every_number_is_small_and_has_one_name(enumeration):
    members = enumeration.__members__
    assert len({int(member) for member in members.values()}) == len(members)
    assert all(0 <= member < 128 for member in members.values())


@pytest.mark.parametrize("enumeration", [e for e in ENUMERATIONS if issubclass(e, Word | Named)])
def test_every_label_is_its_own(enumeration):
    labels = [member.label for member in enumeration]
    assert len(set(labels)) == len(labels)
    assert all(label.isprintable() and " " not in label for label in labels)


def test_words_read_as_people_write_them():
    assert [Side.BUY.label, TimeInForce.GTC.label, CancelScope.SESSION.label] == ["buy", "gtc", "session"]
    assert Evidence.LATE_CALL.label == "late-call"
    assert [OrderState.FullyFilled.label, Refusal.TooLate.label] == ["FullyFilled", "TooLate"]


def test_the_sides_are_each_others_opposite():
    assert [side.opposite for side in (Side.BUY, Side.SELL)] == [Side.SELL, Side.BUY]


def test_an_error_says_whether_the_exchange_spoke():
    rejected = {error for error in Error if error.label.startswith("Rejected.")}
    assert rejected == {error for error in Error if error.rejected}
    assert {error for error in Error if error.label.startswith("Connectivity.")} == {
        Error.ExchangeOffline,
        Error.Timeout,
        Error.Socket,
    }


def test_the_four_last_states_are_finished():
    finished = {state.name for state in OrderState if state.finished}
    assert finished == {"Cancelled", "FullyFilled", "OpenFailed", "Expired"}


def test_nobody_knows_is_no_evidence_that_settles():
    unsettling = {evidence.name for evidence in Evidence if not evidence.settles}
    assert unsettling == {"NONE", "DEADLINE", "RESTART", "SUSPECT"}


def test_each_flag_is_one_bit():
    assert all(flag.bit_count() == 1 for flag in Flags)
