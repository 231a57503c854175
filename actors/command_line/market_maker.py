"""The small market maker of the demo: two quotes on every instrument, around the last price it knows.

It has no market data: what it knows are its own fills (and where the market began). So it quotes close, now
and then takes a little to see where the market is, and follows. The same seed and the same events make the
same requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from random import Random
from typing import Final, Protocol

from pipeline.deployment import Deployment, Instrument
from pipeline.engine_core import Backpressure, FeedLost
from pipeline.messages import Event, OrderCancelled, OrderSnapshot, Refused, Trade
from pipeline.vocabulary import Side

TAKES_ONE_IN: Final = 12  # of its opens, this part takes
STEPS_AWAY_MAX: Final = 6  # price steps between a quote and the last price
TAKE_PAST: Final = Decimal("0.001")  # how far beyond the last price it would pay
NOTIONAL: Final = Decimal(60)  # about what an order is worth, in the quote asset

Market = tuple[str, str]  # exchange, instrument


class Desk(Protocol):
    """What it needs of an engine."""

    def open(
        self,
        exchange: str,
        instrument: str,
        *,
        side: str,
        quantity: Decimal,
        price: Decimal | None,
        time_in_force: str,
    ) -> str: ...
    def cancel(self, cid: str, exchange: str | None = None) -> int: ...


@dataclass(slots=True)
class Quotes:
    """One instrument: the last price known, and the order on each side (None: nothing there)."""

    exchange: str
    instrument: Instrument
    price: Decimal
    of: dict[Side, str | None] = field(default_factory=lambda: {Side.BUY: None, Side.SELL: None})
    cancelling: set[str] = field(default_factory=set)


class MarketMaker:
    """Cancels and replaces, one request at a time. `prices` says where each market began."""

    def __init__(
        self, deployment: Deployment, desk: Desk, prices: Mapping[Market, Decimal], seed: int
    ) -> None:
        self.held_back = 0  # requests that could not be made: the way out was full, the feed not heard
        self._desk = desk
        self._random = Random(seed)
        self._names = {
            (exchange.index, instrument.index): (exchange.name, instrument.name)
            for exchange in deployment.exchanges
            for instrument in exchange.instruments
        }
        self._quotes = {
            (exchange.name, instrument.name): Quotes(
                exchange.name, instrument, prices[exchange.name, instrument.name]
            )
            for exchange in deployment.exchanges
            for instrument in exchange.instruments
            if (exchange.name, instrument.name) in prices
        }
        self._turns = [(market, side) for market in self._quotes for side in Side]
        self._turn = 0

    def act(self) -> None:
        """Make one request: cancel the quote whose turn it is, or place it anew."""
        market, side = self._turns[self._turn]
        quotes = self._quotes[market]
        cid = quotes.of[side]
        try:
            if cid is not None and cid not in quotes.cancelling:
                self._desk.cancel(cid, quotes.exchange)
                quotes.cancelling.add(cid)
                return  # its replacement is the next request
            self._turn = (self._turn + 1) % len(self._turns)
            if cid is None or cid in quotes.cancelling:
                self._place(quotes, side)
        except (Backpressure, FeedLost):
            self.held_back += 1

    def _place(self, quotes: Quotes, side: Side) -> None:
        takes = self._random.randrange(TAKES_ONE_IN) == 0
        price = self._price(quotes, side, takes)
        cid = self._desk.open(
            quotes.exchange,
            quotes.instrument.name,
            side=side.label,
            quantity=_quantity(quotes.instrument, price, self._random.randint(1, 4)),
            price=price,
            time_in_force="ioc" if takes else "gtc",
        )
        if not takes:
            quotes.of[side] = cid

    def _price(self, quotes: Quotes, side: Side, takes: bool) -> Decimal:
        step = quotes.instrument.price_step
        away = step * self._random.randint(1, STEPS_AWAY_MAX)
        if takes:
            away = -quotes.price * TAKE_PAST
        wanted = quotes.price - away if side is Side.BUY else quotes.price + away
        return max(step, (wanted / step).to_integral_value() * step)

    def on_event(self, event: Event) -> None:
        """What the feed says."""
        if isinstance(event, Trade):
            market = self._names.get((event.exchange, event.instrument))
            if market in self._quotes:
                self._quotes[market].price = event.price
        elif isinstance(event, (OrderSnapshot, OrderCancelled)):
            order = event.order
            if order is not None and order.state.finished:
                self._gone(self._names.get((event.exchange, order.instrument)), order.cid)
        elif isinstance(event, Refused):
            for market in self._quotes:
                self._gone(market, event.cid)

    def _gone(self, market: Market | None, cid: str) -> None:
        if market is None or market not in self._quotes:
            return
        quotes = self._quotes[market]
        quotes.cancelling.discard(cid)
        for side, held in quotes.of.items():
            if held == cid:
                quotes.of[side] = None


def _quantity(instrument: Instrument, price: Decimal, times: int) -> Decimal:
    """About `times` the usual notional, in whole steps, never below the instrument's minimums."""
    worth = max(NOTIONAL * times, instrument.notional_min * 2)
    step = instrument.quantity_step
    steps = (max(worth / price, instrument.quantity_min) / step).to_integral_value(ROUND_CEILING)
    return Decimal(steps * step)
