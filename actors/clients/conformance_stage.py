"""The stage for the rows that are played through the pipeline, and what an engine sees from there.

One pipeline serves all of them. What the suite keeps back (answers, the stream, questions) it keeps back at
the taps; orders that somebody else places are placed with the trader's own instance.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from actors.clients.conformance_pipeline import Pipeline
from actors.clients.conformance_tap import Tap
from actors.clients.conformance_trader import Trader
from actors.clients.conformance_words import broken, check
from pipeline.client import OpenOrder
from pipeline.messages import (
    Event,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Synced,
    Trade,
)
from pipeline.vocabulary import Error, OrderState

E = TypeVar("E", bound=Event)


@dataclass
class Stage:
    """The pipeline, the taps at its two clients, and the trader beside it."""

    trader: Trader
    line: Pipeline
    ours: Tap  # the executor's
    theirs: Tap  # the reconnector's
    stands: bool = False  # it came into step once
    filled: dict[str, Decimal] = field(default_factory=dict)  # cid -> what its trades must add up to

    @property
    def patience_s(self) -> float:
        return self.trader.terms.patience_s

    @property
    def instrument(self) -> int:
        return self.trader.terms.instrument.index

    def open(self, request: OpenOrder) -> tuple[str, int]:
        """Send an open to the pipeline: (cid, rid)."""
        check(self.stands, "the pipeline never came into step with this client")
        cid = self.line.open(request, self.instrument)
        return cid, self.line.rids[-1]

    async def cancel(self, cid: str) -> OrderCancelled:
        """Cancel an order through the pipeline and check that it is done."""
        answer = await self.answer(self.line.cancel(cid, self.instrument))
        if not isinstance(answer, OrderCancelled):
            broken(f"the cancel was answered with {what(answer)}")
        check(answer.failure is None, f"the cancel was answered with {what(answer)}")
        finished = answer.order is not None and answer.order.state is OrderState.Cancelled
        check(finished, f"the cancel was answered, and the order is {state(answer.order)}")
        return answer

    async def answer(self, rid: int) -> Event:
        """The event that answers a request."""
        within_s = self.line.exchange.timing.request_timeout_ms / 1000 + self.patience_s
        answers = await self.line.until(lambda: self.line.answers(rid) or None, within_s)
        return answers[0] if answers else broken("the request was not answered")

    async def opened(self, rid: int) -> OrderSnapshot:
        answer = await self.answer(rid)
        if not isinstance(answer, OrderSnapshot):
            broken(f"the open was answered with {what(answer)}")
        return answer

    async def becomes(
        self, cid: str, *states: OrderState, within_s: float = 0
    ) -> OrderSnapshot | OrderCancelled | None:
        """The first word on the feed that an order is in one of the states."""
        return await self.line.until(
            lambda: next(
                (
                    event
                    for event in self.line.feed
                    if isinstance(event, OrderSnapshot | OrderCancelled)
                    and event.order is not None
                    and event.order.cid == cid
                    and event.order.state in states
                ),
                None,
            ),
            within_s or self.patience_s,
        )

    async def comes(self, kind: type[E], after: int) -> E:
        """The first event of a kind beyond a place in the feed."""
        found = await self.line.until(
            lambda: next((event for event in self.line.feed[after:] if isinstance(event, kind)), None),
            2 * self.patience_s,
        )
        return found or broken(f"no {kind.__name__} came on the feed")

    async def timed_out(self, rid: int) -> OrderSnapshot:
        """The answer to an open that must be Timeout."""
        answer = await self.opened(rid)
        late = answer.failure is not None and answer.failure.error is Error.Timeout
        check(late, f"an open without an answer in time was answered with {what(answer)}")
        return answer

    @asynccontextmanager
    async def gap(self) -> AsyncIterator[int]:
        """Cut the stream until the block ends; gives the place in the feed where the gap began."""
        check(self.stands, "the pipeline never came into step with this client")
        begun = len(self.line.feed)
        self.theirs.part()
        try:
            await self.comes(Reconnecting, begun)
            yield begun
        finally:
            self.theirs.join()
        await self.comes(Synced, begun)

    def traded(self, cid: str) -> Decimal:
        trades = [event for event in self.line.feed if isinstance(event, Trade) and event.cid == cid]
        return sum((trade.quantity for trade in trades), Decimal(0))

    @asynccontextmanager
    async def keeping(
        self, *, answers: bool = False, stream: bool = False, questions: bool = False
    ) -> AsyncIterator[None]:
        """Keep these back for a while."""
        self.ours.hold(answers)
        self.theirs.muted, self.ours.blind = stream, questions
        try:
            yield
        finally:
            self.ours.hold(False)
            self.theirs.muted = self.ours.blind = False


def state(order: Order | None) -> str:
    return "nowhere" if order is None else order.state.label


def what(event: Event) -> str:
    """An answer in a few words."""
    if isinstance(event, Refused):
        return f"Refused({event.reason.label}): {event.detail}"
    failure = getattr(event, "failure", None)
    words = "" if failure is None else f" ({failure.error.label}: {failure.detail})"
    order = getattr(event, "order", None)
    return f"{type(event).__name__} {state(order)}{words}"
