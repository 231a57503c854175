"""A strategy that keeps a number of opens outstanding, through the public face alone.

Timed is open -> the event that answers it, handled. Orders that rest are cancelled between timed rounds, so
that a table of a hundred thousand open orders is not what is measured.
"""

import asyncio
from collections import deque
from itertools import cycle
from time import perf_counter_ns

from orderwire import Engine, OrderSnapshot, OrderState, Refused
from scripts.benchmarks.figures import Result, Span, Timings

ROUND_LIMIT = 5_000  # orders of one round: what rests at most
CANCELS_OUTSTANDING = 128
READY_WITHIN_S = 15
PRICE, QUANTITY = "50000", "0.010"


class Unanswered(Exception):
    """The pipeline did something else than open what it was asked to open."""


class Load:
    """Opens orders at the places (exchange, instrument) in turn."""

    def __init__(self, engine: Engine, places: list[tuple[str, str]], wanted: OrderState) -> None:
        self._engine = engine
        self._places = cycle(places)
        self._count = len(places)
        self._wanted = wanted
        self._sent: dict[str, int] = {}
        self._resting: deque[str] = deque()

    async def run(self, outstanding: int, seconds: float) -> Result:
        """Rounds for `seconds` of timed load, after one that is not counted."""
        await self.begin()
        await self.round(outstanding, seconds / 4, Timings())
        await self.clear()
        timings = Timings()
        while timings.elapsed_ns < seconds * 1e9:
            await self.round(outstanding, seconds - timings.elapsed_ns / 1e9, timings)
            await self.clear()
        return timings.result()

    async def begin(self) -> None:
        """Open one order at each place: processes find each other in their own time, refusing meanwhile."""
        for _ in range(self._count):
            place = next(self._places)
            async with asyncio.timeout(READY_WITHIN_S):
                while not await self._opens(place):
                    await asyncio.sleep(0.01)
        await self.clear()

    async def _opens(self, place: tuple[str, str]) -> bool:
        cid = self._engine.open(*place, side="buy", quantity=QUANTITY, price=PRICE)
        async for event in self._engine:
            if event.answers is not None:
                break
        if isinstance(event, Refused):
            return False
        if self._wanted is OrderState.Open:
            self._resting.append(cid)
        return True

    async def round(
        self, outstanding: int, seconds: float, timings: Timings, limit: int = ROUND_LIMIT
    ) -> None:
        """Open until the time is over or `limit` orders are sent, and wait for the answers."""
        span = Span(seconds, timings)
        left = limit
        for _ in range(min(outstanding, limit)):
            self._open()
            left -= 1
        async for event in self._engine:
            if event.answers is None:
                continue
            if not isinstance(event, OrderSnapshot) or event.order.state is not self._wanted:
                raise Unanswered(f"an open was answered with {event}")
            cid = event.order.cid
            now_ns = perf_counter_ns()
            span.answer(now_ns - self._sent.pop(cid), now_ns)
            if not event.order.state.finished:
                self._resting.append(cid)
            if not span.over:
                self._open()
                left -= 1
                if left <= 0:
                    span.stop(now_ns)
            if not self._sent:
                return

    async def clear(self) -> None:
        """Cancel what rests."""
        under_way = 0
        while self._resting or under_way:
            while self._resting and under_way < CANCELS_OUTSTANDING:
                self._engine.cancel(self._resting.popleft())
                under_way += 1
            event = await anext(self._engine)
            if event.answers is not None:
                under_way -= 1

    def _open(self) -> None:
        exchange, instrument = next(self._places)
        sent_ns = perf_counter_ns()
        cid = self._engine.open(exchange, instrument, side="buy", quantity=QUANTITY, price=PRICE)
        self._sent[cid] = sent_ns


async def until_answered(engine: Engine, rid: int, within_s: float) -> None:
    """Read on until a request of this engine has its answer."""
    async with asyncio.timeout(within_s):
        async for event in engine:
            if event.answers is not None and event.answers.rid == rid:
                return
