"""A client that answers at once, in process: for speed measurements and for trying a deployment without a
venue.

Options: `answer` is "open" (orders rest until cancelled), "filled", or "none" (no answer: requests time
out). It has no market, no balances and no memory beyond its own resting orders.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

from pipeline.client import (
    AccountEvent,
    AccountSnapshot,
    AssetBalance,
    CancelOrder,
    Capability,
    ExecutionError,
    NotFound,
    OpenOrder,
    Order,
    OrderCancelled,
    Trade,
)
from pipeline.deployment import ConfigError
from pipeline.vocabulary import Error

ANSWERS = ("open", "filled", "none")
_ZERO = Decimal(0)


class InstantClient:
    """Answers every call without waiting."""

    venue: ClassVar[str | None] = None
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.ANSWERS_INLINE, Capability.FETCH_ORDER, Capability.OPEN_ORDERS, Capability.TRADES}
    )
    request_validity_ms: ClassVar[int | None] = 0

    def __init__(self, exchange: str, options: Mapping[str, object]) -> None:
        answer = options.get("answer", "open")
        unknown = sorted(set(options) - {"answer"})
        if unknown or answer not in ANSWERS:
            what = f"unknown key {unknown[0]!r}" if unknown else f"answer is {answer!r}"
            raise ConfigError(f"{what}; options of instant are: answer = one of {', '.join(ANSWERS)}")
        self._answer = answer
        self._orders: dict[str, Order] = {}
        self._count = 0

    async def account_snapshot(self, assets: Sequence[str], instruments: Sequence[str]) -> AccountSnapshot:
        return AccountSnapshot(balances=[], orders=list(self._orders.values()))

    async def account_stream(
        self, assets: Sequence[str], instruments: Sequence[str]
    ) -> AsyncIterator[AccountEvent]:
        return _silence()

    async def open_order(self, request: OpenOrder) -> Order | None:
        if self._answer == "none":
            return None
        self._count += 1
        order = Order(
            instrument=request.instrument,
            cid=request.cid,
            id=str(self._count),
            side=request.side,
            kind=request.kind,
            time_in_force=request.time_in_force,
            price=request.price,
            quantity=request.quantity,
            filled=request.quantity if self._answer == "filled" else _ZERO,
            flags=request.flags,
        )
        if self._answer == "open":
            self._orders[request.cid] = order
        return order

    async def cancel_order(self, request: CancelOrder) -> OrderCancelled | None:
        order = self._orders.pop(request.cid, None)
        if order is None:
            raise ExecutionError(Error.OrderNotFound, "no such resting order")
        return OrderCancelled(request.instrument, request.cid, order.id, filled=_ZERO)

    async def fetch_balances(self, assets: Sequence[str]) -> Sequence[AssetBalance]:
        return []

    async def fetch_open_orders(self, instruments: Sequence[str]) -> Sequence[Order]:
        return list(self._orders.values())

    async def fetch_trades(self, instruments: Sequence[str], since_ns: int) -> tuple[Sequence[Trade], bool]:
        return [], True

    async def fetch_order(self, instrument: str, cid: str, id: str | None) -> Order | NotFound:
        return self._orders.get(cid) or NotFound()

    async def close(self) -> None:
        self._orders.clear()


async def _silence() -> AsyncIterator[AccountEvent]:
    await asyncio.Event().wait()
    yield  # type: ignore[misc]  # never reached: it makes this a stream
