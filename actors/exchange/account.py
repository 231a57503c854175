"""The balances of the one account at a simulated exchange: what it has, and what its orders hold.

Always true: 0 <= reserved <= total for every asset, and every change is exact (see `exact`): nothing is
rounded. Fees are charged in the quote asset on both sides, so a buy holds its notional and the dearest fee
it may pay.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from pipeline.amounts import EXACT
from pipeline.client import AssetBalance

P = ParamSpec("P")
R = TypeVar("R")
NOTHING: Final = Decimal(0)


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in a context that holds every product of two amounts in full."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(EXACT):
            return function(*args, **kwargs)

    return inside


class Account:
    """What the account has of each asset, by the venue's symbol."""

    def __init__(self, totals: Mapping[str, Decimal]) -> None:
        self.totals = dict(totals)
        self.reserved = dict.fromkeys(totals, NOTHING)
        self.changed: dict[str, None] = {}  # in the order of change

    def free(self, asset: str) -> Decimal:
        return self.totals[asset] - self.reserved[asset]

    def reserve(self, asset: str, by: Decimal) -> None:
        """Hold more of an asset, or less: `by` below zero releases."""
        if by:
            self.reserved[asset] += by
            self.changed[asset] = None

    def move(self, asset: str, by: Decimal) -> None:
        if by:
            self.totals[asset] += by
            self.changed[asset] = None

    def balance(self, asset: str, at_ns: int) -> AssetBalance:
        return AssetBalance(asset, self.totals[asset], self.free(asset), at_ns)

    def take_changes(self, at_ns: int) -> list[AssetBalance]:
        """The balances that changed since last asked. Asserts what is always true of each."""
        found = [self.balance(asset, at_ns) for asset in self.changed]
        for balance in found:
            assert 0 <= balance.free <= balance.total, f"{balance} is no balance"
        self.changed.clear()
        return found
