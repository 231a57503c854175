"""What an instrument accepts, what trading costs, and how the exchange says no.

A rejection is final and leaves nothing changed.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from actors.exchange.account import NOTHING
from pipeline.client import OpenOrder
from pipeline.vocabulary import Error, Flags, OrderKind, TimeInForce

POST_ONLY: Final = int(Flags.POST_ONLY)  # arithmetic of enumerations costs microseconds
IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)


class Rejection(Exception):
    """The exchange says no: final, and nothing has changed."""

    def __init__(self, error: Error, detail: str) -> None:
        super().__init__(f"{error.label}: {detail}")
        self.error = error
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument as the exchange knows it, everything by the venue's symbols."""

    symbol: str
    base: str
    quote: str
    price_step: Decimal
    quantity_step: Decimal
    quantity_min: Decimal = NOTHING
    notional_min: Decimal = NOTHING

    def check(self, request: OpenOrder) -> None:
        """What an order must be by itself. Raises Rejection."""
        wrong = self._wrong(request)
        if wrong is not None:
            raise Rejection(Error.OrderRejected, wrong)

    def _wrong(self, request: OpenOrder) -> str | None:
        price, quantity = request.price, request.quantity
        if request.flags & ~POST_ONLY:
            return "flags that a spot instrument does not know"
        if quantity <= 0 or quantity % self.quantity_step or quantity < self.quantity_min:
            return f"quantity {quantity:f}: steps of {self.quantity_step}, at least {self.quantity_min}"
        if request.kind is OrderKind.MARKET:
            if price is not None:
                return "a market order with a price"
            return "a market order that is post-only" if request.flags & POST_ONLY else None
        if price is None or price <= 0 or price % self.price_step:
            return f"price {price}: above zero, in steps of {self.price_step}"
        if request.flags & POST_ONLY and request.time_in_force in IMMEDIATE:
            return "an immediate order that is post-only"
        if price * quantity < self.notional_min:
            return f"a notional of {price * quantity:f}: at least {self.notional_min}"
        return None


@dataclass(frozen=True, slots=True)
class Terms:
    """Fees are fractions of the notional, in the quote asset; a negative maker fee is a rebate."""

    maker_fee: Decimal = NOTHING
    taker_fee: Decimal = NOTHING
    open_orders_limit: int = 20_000

    @property
    def dearest_fee(self) -> Decimal:
        return max(self.maker_fee, self.taker_fee, NOTHING)
