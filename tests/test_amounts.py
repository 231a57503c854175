from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.amounts import DIGITS_LIMIT, EXACT, ZERO, Amount, amount, parse, text
from tests.strategies import amounts, written_amounts

REFUSED = [
    "", " ", "-", ".", "1.", ".5", "+1", "01", "-01", "00", "1e5", "1E5", "1e400", "0x10", "NaN", "nan",
    "sNaN", "Infinity", "-inf", "1_000", "1,000", "1 ", " 1", "1\n", "\n1", "1\0", "1.2.3", "--1", "１", "١",
    "1.０", "½", "1" * 21, "0." + "1" * 19, "1." + "0" * 19, "-" * 40, "1" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("written", REFUSED, ids=lambda w: ascii(w[:12]))
def test_what_the_grammar_does_not_allow_is_refused(written):
    with pytest.raises(ValueError, match="is no decimal"):
        parse(written)


@given(st.text(max_size=45))
def test_any_text_is_an_amount_or_a_value_error(written):
    try:
        found = parse(written)
    except ValueError as error:
        assert len(str(error)) < 400
    else:
        assert found.is_finite()
        assert found == Decimal(written)


@given(written_amounts)
def test_what_is_read_keeps_its_value_exactly(written):
    assert len(written) <= DIGITS_LIMIT
    assert parse(written) == Decimal(written)


@given(amounts)
def test_an_amount_prints_as_it_travels_and_comes_back_the_same(number):
    assert str(number) == text(number) == f"{text(number)}"
    again = parse(text(number))
    assert again == number
    assert again.as_tuple() == number.as_tuple()


@given(amounts, st.integers(0, 5))
def test_equal_values_have_one_written_form(number, zeros):
    written = text(number)
    padded = (written if "." in written else written + ".") + "0" * (zeros + 1)
    if len(padded.partition(".")[2]) <= 18:
        assert text(parse(padded)) == written
    assert text(Decimal(padded)) == written


def test_zero_has_no_sign():
    assert [text(parse(written)) for written in ("0", "-0", "0.00", "-0.0")] == ["0"] * 4
    assert text(ZERO) == text(Decimal("-0E+3")) == "0"


def test_a_long_number_is_written_out_without_an_exponent():
    largest = "99999999999999999999.999999999999999999"
    assert text(parse(largest)) == largest
    assert text(Decimal("1E+5")) == "100000"
    assert text(Decimal("1E-18")) == "0.000000000000000001"


@pytest.mark.parametrize("value", [1.5, float("nan"), True, None, b"1", [1]])
def test_what_is_not_a_decimal_is_a_type_error(value):
    with pytest.raises(TypeError, match="an amount is text"):
        amount(value)


@pytest.mark.parametrize(
    "value", ["NaN", "sNaN", "-Infinity", "1E+21", "1E-19", "1E+400", "1E-400", "1E+999999"]
)
def test_a_decimal_beyond_the_grammar_is_refused(value):
    with pytest.raises(ValueError, match=r"finite|beyond|no decimal"):
        amount(Decimal(value))


@pytest.mark.parametrize("value", ["0E+999999", "0E-999999", "-0E+999999"])
def test_a_zero_with_a_huge_exponent_is_zero_and_costs_nothing(value):
    assert text(amount(Decimal(value))) == "0"


def test_whole_numbers_decimals_and_amounts_are_taken():
    assert amount(10**20 - 1) == Decimal(10**20 - 1)
    assert amount(Decimal("1.50")) == parse("1.5")
    assert amount(ZERO) is ZERO
    with pytest.raises(ValueError, match="is no decimal"):
        amount(10**20)


def test_arithmetic_gives_a_decimal_that_must_be_asked_again():
    product = parse("0.1") * parse("3")
    assert type(product) is Decimal
    assert type(amount(product)) is Amount
    assert text(amount(product)) == "0.3"


@given(amounts, amounts)
def test_the_exact_context_loses_no_digit_of_a_product(one, other):
    product = EXACT.multiply(one, other)
    assert Fraction(product) == Fraction(one) * Fraction(other)
