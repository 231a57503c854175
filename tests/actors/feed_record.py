"""What a merger published, as a test looks at it, and what must be true of any feed (P1, P3, P4, P5)."""

from typing import Any

from pipeline.amounts import amount
from pipeline.headers import FeedHeader
from pipeline.messages import (
    AccountSnapshot,
    Event,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Trade,
)


class FeedRecord:
    """Every event of the feed with its header, in order."""

    def __init__(self) -> None:
        self.feed: list[tuple[FeedHeader, Any]] = []

    def events(self, cls: type[Event] | tuple[type[Event], ...] = Event, since: int = 0) -> list[Any]:
        """What is on the feed, after a number."""
        return [event for header, event in self.feed if header.seq > since and isinstance(event, cls)]

    @property
    def seq(self) -> int:
        return self.feed[-1][0].seq if self.feed else 0

    def answers_to(self, rid: int, engine: str = "mm", session: int | None = None) -> list[Any]:
        """Every event that settles a request."""
        return [
            event
            for _, event in self.feed
            if event.answers is not None
            and (event.answers.engine, event.answers.rid) == (engine, rid)
            and session in (None, event.answers.session)
        ]

    def answer_to(self, rid: int, engine: str = "mm", session: int | None = None) -> Any:
        """The one event that settles a request."""
        (found,) = self.answers_to(rid, engine, session)
        return found

    def states(self, cid: str) -> list[str]:
        """What the feed said of an order, one state after the other."""
        return [order.state.name for order in self.words(cid)]

    def words(self, cid: str) -> list[Order]:
        found = []
        for event in self.events((OrderSnapshot, OrderCancelled, AccountSnapshot)):
            orders = event.orders if isinstance(event, AccountSnapshot) else [event.order]
            found += [order for order in orders if order is not None and order.cid == cid]
        return found

    def check_promises(self) -> None:
        """What must be true of any feed, whatever a test did (P1, P3, P4, P5)."""
        for feed_id in {header.feed_id for header, _ in self.feed}:
            numbers = [header.seq for header, _ in self.feed if header.feed_id == feed_id]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "the feed has a gap"
        answered = [event.answers for _, event in self.feed if event.answers is not None]
        assert len(answered) == len(set(answered)), "a request was answered twice"
        trades = [
            (header.exchange, trade.instrument, trade.side, trade.id)
            for header, trade in self.feed
            if isinstance(trade, Trade)
        ]
        assert len(trades) == len(set(trades)), "a trade is on the feed twice"
        cids = {event.order.cid for event in self.events(OrderSnapshot)}
        for cid in cids:
            self._check_forwards(cid)

    def _check_forwards(self, cid: str) -> None:
        filled, ended = amount(0), None
        for order in self.words(cid):
            assert order.filled >= filled, f"{cid} was un-filled"
            filled = order.filled
            if ended is not None:
                assert order.state.finished, f"{cid} came back from {ended.name} to {order.state.name}"
            ended = order.state if order.state.finished else None
