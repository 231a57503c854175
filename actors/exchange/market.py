"""The market around our orders, from a seeded walk of each price.

Every step moves the mid, shows fresh levels around it (so what our orders took is there again), fills what
of ours the new quotes crossed, and now and then trades at the best bid or ask. One seed and one series of
times give one market. Prices stay between half and double of where they started.
"""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Final, Protocol

from actors.exchange.listing import Listing
from actors.exchange.matching import Matching
from actors.exchange.settings import Settings, Synthetic
from pipeline.vocabulary import Side

MS: Final = 1_000_000
Clock = Callable[[int], int]  # the exchange's time of what happens now
_BEHIND_LIMIT: Final = 10  # steps made up for after a pause; more are left out


class Market(Protocol):
    """What moves a simulated exchange."""

    def start(self, now_ns: int) -> None: ...
    def next_ns(self) -> int | None: ...
    def advance(self, now_ns: int) -> None: ...


class _Walk:
    """One instrument's price, in whole price steps."""

    def __init__(self, listing: Listing, start: Decimal) -> None:
        self.listing = listing
        self.mid = max(2, int(start / listing.price_step))
        self.low, self.high = max(2, self.mid // 2), self.mid * 2
        self.carry = 0.0  # what of a move was less than one price step

    def move(self, by: float) -> None:
        moved = self.mid * by + self.carry
        whole = round(moved)
        self.carry = moved - whole
        self.mid = min(self.high, max(self.low, self.mid + whole))


class SyntheticMarket:
    """Walks every instrument's price and feeds the matching engine with it."""

    def __init__(
        self, settings: Settings, model: Synthetic, matching: Matching, clock: Clock, seed: int
    ) -> None:
        self.model = model
        self.matching = matching
        self.clock = clock
        self.random = random.Random(seed)
        self.level_notional = float(settings.level_notional)
        self.walks = [
            _Walk(listing, settings.prices[symbol]) for symbol, listing in matching.listings.items()
        ]
        self._next_ns = 0

    def start(self, now_ns: int) -> None:
        for walk in self.walks:
            self._show(walk)
            self.matching.cross(walk.listing.symbol, self.clock(now_ns))
        self._next_ns = now_ns + self.model.step_ms * MS

    def next_ns(self) -> int | None:
        return self._next_ns

    def advance(self, now_ns: int) -> None:
        step_ns = self.model.step_ms * MS
        if now_ns - self._next_ns > _BEHIND_LIMIT * step_ns:
            self._next_ns = now_ns
        while self._next_ns <= now_ns:
            for walk in self.walks:
                self._step(walk, self.clock(self._next_ns))
            self._next_ns += step_ns

    def _step(self, walk: _Walk, now_ns: int) -> None:
        walk.move(self.random.gauss(0.0, self.model.volatility))
        self._show(walk)
        self.matching.cross(walk.listing.symbol, now_ns)
        if not self.model.trade_every_ms:
            return
        expected = self.model.step_ms / self.model.trade_every_ms
        trades = int(expected) + (self.random.random() < expected % 1)
        for _ in range(trades):
            self._trade(walk, now_ns)

    def _show(self, walk: _Walk) -> None:
        book, step = self.matching.books[walk.listing.symbol], walk.listing.price_step
        bid = max(1, walk.mid - self.model.spread_steps // 2)
        ask = bid + self.model.spread_steps
        depth = self.model.depth
        bids = [(step * (bid - i), self._quantity(walk, 1.0)) for i in range(min(depth, bid))]
        asks = [(step * (ask + i), self._quantity(walk, 1.0)) for i in range(depth)]
        book.shown[Side.BUY].replace(bids)
        book.shown[Side.SELL].replace(asks)

    def _trade(self, walk: _Walk, now_ns: int) -> None:
        aggressor = Side.BUY if self.random.random() < 0.5 else Side.SELL
        shown = self.matching.books[walk.listing.symbol].shown[aggressor.opposite]
        price = shown.best_price()
        if price is not None:
            self.matching.trade(walk.listing.symbol, price, self._quantity(walk, 0.5), aggressor, now_ns)

    def _quantity(self, walk: _Walk, scale: float) -> Decimal:
        """Between half and one and a half of a level's usual quantity, in whole quantity steps, at least
        one.
        """
        listing = walk.listing
        notional = self.level_notional * scale * (0.5 + self.random.random())
        steps = int(notional / (walk.mid * float(listing.price_step) * float(listing.quantity_step)))
        return listing.quantity_step * max(1, steps)
