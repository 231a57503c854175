"""Two books per instrument: our account's resting orders, and what the market shows. Best price first.

Nothing here knows of money or fees. A price's rank is the price itself for sells and its negative for
buys, so the smallest rank is the best price on either side.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from pipeline.client import Order
from pipeline.vocabulary import Side

LEVELS_LIMIT: Final = 5_000  # of one side; the farthest is forgotten beyond it
_NOTHING: Final = Decimal(0)


def rank(side: Side, price: Decimal) -> Decimal:
    return price if side is Side.SELL else price.copy_negate()


class BookOrder(Order):
    """An order as the exchange keeps it: `number` is its place in time, `reserved` what it holds of its
    asset.
    """

    number: int = 0
    reserved: Decimal = _NOTHING

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    def told(self) -> Order:
        """A copy for the outside, which later fills do not touch."""
        return Order(
            self.instrument, self.cid, self.id, self.side, self.kind, self.time_in_force, self.price,
            self.quantity, self.filled, self.state, self.flags, self.exchange_at_ns, self.failure,
        )  # fmt: skip


class Resting:
    """One side of the account's resting orders of one instrument, in price-time priority."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._queue: list[tuple[Decimal, int]] = []
        self._orders: dict[int, BookOrder] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[BookOrder]:
        return (self._orders[number] for _, number in self._queue)

    def best(self) -> BookOrder | None:
        return self._orders[self._queue[0][1]] if self._queue else None

    def best_price(self) -> Decimal | None:
        order = self.best()
        return None if order is None else order.price

    def add(self, order: BookOrder) -> None:
        assert order.price is not None, "only an order with a price rests"
        insort(self._queue, (rank(self.side, order.price), order.number))
        self._orders[order.number] = order

    def remove(self, order: BookOrder) -> None:
        assert order.price is not None, "only an order with a price rests"
        at = bisect_left(self._queue, (rank(self.side, order.price), order.number))
        del self._queue[at]
        del self._orders[order.number]


class Levels:
    """One side of what the market shows of one instrument: price -> quantity."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._ranks: list[Decimal] = []
        self._quantities: dict[Decimal, Decimal] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[tuple[Decimal, Decimal]]:
        """(price, quantity), best first. Do not change the levels meanwhile."""
        sign = self.side is Side.SELL
        for found in self._ranks:
            yield (found if sign else found.copy_negate()), self._quantities[found]

    def best_price(self) -> Decimal | None:
        if not self._ranks:
            return None
        return self._ranks[0] if self.side is Side.SELL else self._ranks[0].copy_negate()

    def set(self, price: Decimal, quantity: Decimal) -> None:
        """What stands at a price from now on; zero removes the level."""
        at = rank(self.side, price)
        if quantity <= 0:
            if self._quantities.pop(at, None) is not None:
                del self._ranks[bisect_left(self._ranks, at)]
            return
        known = at in self._quantities
        self._quantities[at] = quantity
        if not known:
            insort(self._ranks, at)
            if len(self._ranks) > LEVELS_LIMIT:
                del self._quantities[self._ranks.pop()]

    def take(self, price: Decimal, quantity: Decimal) -> None:
        """Consume what stands at a price, until the market next speaks of it."""
        self.set(price, self._quantities[rank(self.side, price)] - quantity)

    def trim(self, price: Decimal) -> None:
        """Forget everything better than a price."""
        keep = bisect_left(self._ranks, rank(self.side, price))
        for found in self._ranks[:keep]:
            del self._quantities[found]
        del self._ranks[:keep]

    def replace(self, levels: Iterable[tuple[Decimal, Decimal]]) -> None:
        self._quantities = {rank(self.side, price): quantity for price, quantity in levels if quantity > 0}
        self._ranks = sorted(self._quantities)[:LEVELS_LIMIT]
        if len(self._quantities) > LEVELS_LIMIT:
            self._quantities = {found: self._quantities[found] for found in self._ranks}


class Book:
    """Both sides of one instrument, ours and the market's; `of[side]` and `shown[side]`."""

    def __init__(self) -> None:
        self.of = {side: Resting(side) for side in Side}
        self.shown = {side: Levels(side) for side in Side}
