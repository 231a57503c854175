"""What the suite may trade: one instrument, in sizes as small as its minimums allow.

Everything can be found out except how much stands at the best price: without `partial_quantity` there is no
partial fill to be had, but for a simulated exchange, whose levels the deployment file tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_UP, Decimal
from typing import Final

from pipeline.amounts import amount
from pipeline.deployment import SIMULATED, ConfigError, Exchange, Instrument

FAR: Final = Decimal("0.7")  # of the market's price: a buy that rests there stays while the suite runs
NEAR: Final = Decimal("1.02")  # a buy that takes whatever stands near the best price
_MARGIN: Final = Decimal("1.1")
_LEVEL_NOTIONAL: Final = Decimal(10_000)  # as actors/exchange/settings.py has it
PATIENCE_LIMIT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Terms:
    """`price` is about what the instrument trades at; None: the first small market order tells."""

    instrument: Instrument
    price: Decimal | None = None
    quantity: Decimal | None = None
    partial_quantity: Decimal | None = None
    patience_s: float = 5.0  # how long anything may take before it counts as not coming

    def price_at(self, price: Decimal, factor: Decimal) -> Decimal:
        """A price on the venue's grid, at or below `factor` of another."""
        step = self.instrument.price_step
        return amount(max(step, (price * factor / step).to_integral_value(ROUND_FLOOR) * step))

    def lot(self, price: Decimal) -> Decimal:
        """The smallest quantity that may stand at `FAR` of a price."""
        if self.quantity is not None:
            return self.quantity
        instrument = self.instrument
        wanted = max(instrument.quantity_min, instrument.notional_min * _MARGIN / (price * FAR))
        return self.on_step(wanted)

    def on_step(self, quantity: Decimal) -> Decimal:
        """A quantity on the venue's grid, at least as large."""
        step = self.instrument.quantity_step
        return amount(max(step, (quantity / step).to_integral_value(ROUND_UP) * step))

    def more_than_a_level(self, exchange: Exchange, price: Decimal) -> Decimal | None:
        """A quantity that the best price cannot fill, where that is known."""
        if self.partial_quantity is not None:
            return self.partial_quantity
        if exchange.client != SIMULATED:
            return None
        market = exchange.simulation.get("market", {})
        if not isinstance(market, Mapping) or market.get("model", "synthetic") != "synthetic":
            return None
        level = Decimal(str(market.get("level_notional", _LEVEL_NOTIONAL)))
        return self.on_step(3 * level / price)


def read_terms(
    exchange: Exchange,
    instrument: str = "",
    price: str | None = None,
    quantity: str | None = None,
    partial_quantity: str | None = None,
    patience_s: float = 5.0,
) -> Terms:
    """Terms as a person writes them. Raises ConfigError naming what is wrong and what would be right."""
    names = [each.name for each in exchange.instruments]
    if instrument and instrument not in names:
        raise ConfigError(f"instrument: {instrument!r} is not of {exchange.name}; one of {', '.join(names)}")
    of = exchange.instrument(instrument or names[0])
    return Terms(
        of,
        _on_grid("price", price, of.price_step),
        _on_grid("quantity", quantity, of.quantity_step),
        _on_grid("partial_quantity", partial_quantity, of.quantity_step),
        min(patience_s, PATIENCE_LIMIT_S),
    )


def _on_grid(name: str, written: str | None, step: Decimal) -> Decimal | None:
    if written is None:
        return None
    try:
        number = amount(written)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    if number <= 0 or number % step:
        raise ConfigError(f"{name}: {number} is no multiple above zero of {step}; give one")
    return number
