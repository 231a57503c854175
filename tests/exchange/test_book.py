"""The two books by themselves: priority on ours, bounded levels on the market's."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchange import book as book_file
from actors.exchange.book import Levels
from pipeline.vocabulary import Side

prices = st.integers(1, 30).map(Decimal)
quantities = st.integers(0, 3).map(Decimal)


@given(st.sampled_from(Side), st.lists(st.tuples(prices, quantities)))
def test_levels_are_what_was_last_said_of_each_price_best_first(
    side: Side, said: list[tuple[Decimal, Decimal]]
) -> None:
    levels = Levels(side)
    for price, quantity in said:
        levels.set(price, quantity)
    expected = dict(said)
    kept = sorted(((p, q) for p, q in expected.items() if q), reverse=side is Side.BUY)
    assert list(levels) == kept
    assert levels.best_price() == (kept[0][0] if kept else None)


def test_the_farthest_level_is_forgotten_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_file, "LEVELS_LIMIT", 3)
    levels = Levels(Side.BUY)
    for price in (5, 9, 7, 8, 6, 10):
        levels.set(Decimal(price), Decimal(1))
    assert [int(price) for price, _ in levels] == [10, 9, 8]
    levels.replace((Decimal(price), Decimal(1)) for price in range(1, 9))
    assert [int(price) for price, _ in levels] == [8, 7, 6]
    levels.trim(Decimal(7))
    assert [int(price) for price, _ in levels] == [7, 6]
