"""Money and quantities: decimals in one written grammar, nothing else.

Python's own `Decimal` reads NaN, Infinity, exponents, underscores and full-width digits, and a
money field that accepts those is a money field that can be attacked or misread. An `Amount` is a
`Decimal` that came through the grammar of PROTOCOL.md, so it is finite and prints as it travels.
"""

import re
from decimal import Context, Decimal
from functools import lru_cache

# Up to 20 digits before the point and 18 after it; no sign but a leading minus, no exponent.
GRAMMAR = re.compile(r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,18})?")
DIGITS_LIMIT = 40
_CACHE_LIMIT = 8192

# Exact for the product of a price and a quantity of full length.
EXACT = Context(prec=80)


class Amount(Decimal):
    """A decimal that obeys the grammar. Arithmetic gives plain `Decimal`s: pass them to `amount` again."""

    __slots__ = ()

    def __str__(self) -> str:
        return text(self)


@lru_cache(_CACHE_LIMIT)
def parse(written: str) -> Amount:
    """Read an amount as it stands on the wire. Raises ValueError naming what is wrong."""
    if len(written) > DIGITS_LIMIT or not GRAMMAR.fullmatch(written):
        raise ValueError(
            f"{written[:DIGITS_LIMIT]!r} is no decimal: digits with at most one point, up to 20 before and "
            "18 after it, no exponent"
        )
    return Amount(_plain(written))


def amount(value: "str | int | Decimal") -> Amount:
    """Make an amount from text, a whole number or a decimal. Raises ValueError; floats are a TypeError."""
    if type(value) is Amount:
        return value
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise TypeError(f"an amount is text, a whole number or a Decimal, not {type(value).__name__}")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{number} is not a finite number")
    return parse(text(number))


@lru_cache(_CACHE_LIMIT)
def text(number: Decimal) -> str:
    """The one written form of a value: plain digits, no exponent, no trailing zeros after the point.

    One form per value, so that what two equal amounts print as does not depend on their history.
    """
    if number and not -DIGITS_LIMIT < number.adjusted() < DIGITS_LIMIT:
        raise ValueError(
            f"{number!r} is beyond the decimal grammar: up to 20 digits before the point and 18 after it"
        )
    return _plain(format(number, "f"))


def _plain(written: str) -> str:
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


ZERO = parse("0")
