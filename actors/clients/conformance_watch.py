"""One account stream under observation: what it said, in order, and whether it ever went back on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import copy
from typing import Any, TypeVar

from msgspec.structs import replace

from actors.clients.conformance_words import (
    Broken,
    check,
    check_balance,
    check_cancelled,
    check_order,
    check_trade,
    state_of,
)
from pipeline.client import Alive, AssetBalance, Order, OrderCancelled, Trade, TradeVoided
from pipeline.lane import attempt
from pipeline.vocabulary import OrderState

T = TypeVar("T")


class Watch:
    """Reads a stream from its first item on; close it when it is not needed any more."""

    def __init__(self, stream: AsyncIterator[Any], assets: tuple[str, ...]) -> None:
        self.orders: list[Order] = []
        self.trades: list[Trade] = []
        self.went_back = ""  # the first order that shrank or came back to life
        self.wrong = ""  # the first item that is made of the wrong stuff
        self.ended = False
        self.error: Exception | None = None
        self._assets = assets
        self._stream = stream
        self._last: dict[str, Order] = {}
        self._news = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        self.error = (await attempt(self._take_all)).error
        self.ended = True
        self._news.set()

    async def _take_all(self) -> None:
        async for item in self._stream:
            try:
                self._take(item)
            except Broken as error:
                self.wrong = self.wrong or str(error)
            self._news.set()

    def _take(self, item: object) -> None:
        if isinstance(item, Order):
            self._note(check_order(item, "an order of the account stream"))
        elif isinstance(item, Trade):
            self.trades.append(check_trade(item, "a trade of the account stream"))
        elif isinstance(item, AssetBalance):
            check_balance(item, "a balance of the account stream", self._assets)
        elif isinstance(item, OrderCancelled):
            self._note_cancelled(check_cancelled(item, "a cancel of the account stream"))
        else:
            check(
                isinstance(item, TradeVoided | Alive),
                f"a {type(item).__name__} on the account stream: it is none of AccountEvent",
            )

    def _note(self, order: Order) -> None:
        order = copy(order)  # what it says now, whatever the client does with it later
        self.orders.append(order)
        last, self._last[order.cid] = self._last.get(order.cid), order
        if last is None or self.went_back:
            return
        if order.filled < last.filled:
            self.went_back = f"filled of {order.cid} shrank from {last.filled} to {order.filled}"
        elif state_of(last).finished and not state_of(order).finished:
            self.went_back = f"{order.cid} was {state_of(last).label} and became {state_of(order).label}"

    def _note_cancelled(self, said: OrderCancelled) -> None:
        last = self._last.get(said.cid)
        if last is not None:
            filled = last.filled if said.filled is None else said.filled
            self._note(replace(last, state=OrderState.Cancelled, filled=filled))

    async def until(self, found: Callable[[], T | None], within_s: float) -> T | None:
        """What `found` finds, as soon as it does; None when the stream ends or the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self._news.clear()
                    value = found()
                    if value is not None or self.ended:
                        return value
                    await self._news.wait()
        except TimeoutError:
            return None

    async def order(
        self, cid: str, within_s: float, fits: Callable[[Order], bool] = lambda _: True
    ) -> Order | None:
        """The newest word about an order, once one fits."""
        return await self.until(
            lambda: next((o for o in reversed(self.orders) if o.cid == cid and fits(o)), None), within_s
        )

    def trades_of(self, cid: str, id: str | None) -> list[Trade]:
        return [t for t in self.trades if t.cid == cid or (id is not None and t.order_id == id)]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await attempt(close)
