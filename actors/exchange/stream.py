"""The private account stream: numbered items to every subscription, and proof of life while there are none.

Each subscription's items are numbered from 1 without gap; a reader that sees a gap has lost something and
subscribes anew. A subscription that is not renewed in time is dropped. The stream's faults strike here,
per subscription.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from actors.exchange import wire
from actors.exchange.faults import Faults
from actors.exchange.matching import Change
from actors.exchange.timers import TIMERS_LIMIT, Timers
from pipeline.client import AssetBalance, Order, Trade
from pipeline.messages import Message

MS: Final = 1_000_000
ALIVE_EVERY_NS: Final = 250 * MS
RENEW_WITHIN_NS: Final = 10_000 * MS
SUBSCRIPTIONS_LIMIT: Final = 64
_ITEMS: Final = {
    wire.OrderLine: (wire.OrderItem, "order"),
    wire.TradeLine: (wire.TradeItem, "trade"),
    wire.BalanceLine: (wire.BalanceItem, "balance"),
}


@dataclass(slots=True, eq=False)
class Subscription:
    peer: bytes
    token: int
    wanted: frozenset[str]  # instruments and assets, by symbol
    renewed_ns: int
    ended: bool = False
    number: int = 0
    held: wire.Line | None = None  # waits for the next item, to come after it
    release_ns: int = 0  # items in flight arrive in order: none before this


class Streams:
    """Every subscription of one exchange."""

    def __init__(
        self,
        send: Callable[[bytes, int, Message], None],
        timers: Timers,
        faults: Faults,
        latency_ns: Callable[[], int],
    ) -> None:
        self.subscriptions: dict[tuple[bytes, int], Subscription] = {}
        self.lost = 0  # items that found no room on their way
        self._send = send
        self._timers = timers
        self._faults = faults
        self._latency_ns = latency_ns
        self._ticking = False

    def subscribe(
        self, peer: bytes, token: int, wanted: Iterable[str], past: Sequence[Trade], now_ns: int
    ) -> None:
        """Begin a subscription; `past` trades are told again first (a fault). Beyond the limit the oldest
        ends.
        """
        if len(self.subscriptions) >= SUBSCRIPTIONS_LIMIT:
            self.end(next(iter(self.subscriptions.values())), "too many subscriptions")
        self.unsubscribe(peer, token)
        subscription = Subscription(peer, token, frozenset(wanted), now_ns)
        self.subscriptions[peer, token] = subscription
        self._send(peer, token, wire.Subscribed())
        for trade in past:
            self._deliver(subscription, wire.trade_line(trade), now_ns)
        period_ms = self._faults.number("flap", "period_ms")
        if period_ms is not None:
            self._timers.at(now_ns + period_ms * MS, lambda _: self.end(subscription, "flap"))
        if not self._ticking:
            self._ticking = True
            self._timers.at(now_ns + ALIVE_EVERY_NS, self._tick)

    def renew(self, peer: bytes, token: int, now_ns: int) -> None:
        subscription = self.subscriptions.get((peer, token))
        if subscription is None:
            self._send(peer, token, wire.Disconnected("no such subscription (any more)"))
        else:
            subscription.renewed_ns = now_ns

    def unsubscribe(self, peer: bytes, token: int) -> None:
        subscription = self.subscriptions.pop((peer, token), None)
        if subscription is not None:
            subscription.ended = True

    def end(self, subscription: Subscription, detail: str) -> None:
        if not subscription.ended:
            self.unsubscribe(subscription.peer, subscription.token)
            self._send(subscription.peer, subscription.token, wire.Disconnected(detail))

    def end_all(self, detail: str) -> None:
        for subscription in list(self.subscriptions.values()):
            self.end(subscription, detail)

    def publish(self, changes: Iterable[Change], now_ns: int) -> None:
        """Tell every subscription what concerns it, in order, each item after the stream's latency."""
        if not self.subscriptions:
            return
        for change in changes:
            line, about = _line(change)
            for subscription in list(self.subscriptions.values()):
                if about in subscription.wanted:
                    self._dispatch(subscription, line, now_ns)

    def _dispatch(self, subscription: Subscription, line: wire.Line, now_ns: int) -> None:
        at_ns = max(now_ns + self._latency_ns(), subscription.release_ns)
        if at_ns <= now_ns:
            self._deliver(subscription, line, now_ns)
        elif len(self._timers) >= TIMERS_LIMIT:
            self.lost += 1
            subscription.number += 1  # the gap tells the reader
        else:
            subscription.release_ns = at_ns
            self._timers.at(at_ns, lambda then_ns: self._deliver(subscription, line, then_ns))

    def _deliver(self, subscription: Subscription, line: wire.Line, now_ns: int) -> None:
        if subscription.ended:
            return
        if self._faults.on and self._struck(subscription, line, now_ns):
            return
        self._number(subscription, line)
        if subscription.held is not None:
            self._release(subscription)

    def _struck(self, subscription: Subscription, line: wire.Line, now_ns: int) -> bool:
        """Whether a fault keeps an item from leaving now."""
        if self._silent(now_ns):
            subscription.number += 1
            return True
        word = _ITEMS[type(line)][1]
        if self._faults.strikes("drop_stream_frame", word):
            return True  # no number: the stream looks whole
        if subscription.held is None and self._faults.strikes("reorder", word):
            subscription.held = line
            return True
        return False

    def _release(self, subscription: Subscription) -> None:
        held, subscription.held = subscription.held, None
        if held is not None:
            self._number(subscription, held)

    def _number(self, subscription: Subscription, line: wire.Line) -> None:
        subscription.number += 1
        item = _ITEMS[type(line)][0](subscription.number, line)
        self._send(subscription.peer, subscription.token, item)

    def _silent(self, now_ns: int) -> bool:
        silence_ms = self._faults.number("silence", "ms")
        if silence_ms is None:
            return False
        if now_ns < self._faults.since_ns["silence"] + silence_ms * MS:
            return True
        self._faults.on.pop("silence")
        return False

    def _tick(self, now_ns: int) -> None:
        silent = self._silent(now_ns)
        for subscription in list(self.subscriptions.values()):
            if now_ns - subscription.renewed_ns > RENEW_WITHIN_NS:
                self.end(subscription, "not renewed in time")
            elif not silent:
                self._release(subscription)
                subscription.number += 1
                self._send(subscription.peer, subscription.token, wire.AliveItem(subscription.number))
        self._ticking = bool(self.subscriptions)
        if self._ticking:
            self._timers.at(now_ns + ALIVE_EVERY_NS, self._tick)


def _line(change: Change) -> tuple[wire.Line, str]:
    """A change as it travels, and the symbol of what it is about."""
    if isinstance(change, Trade):
        return wire.trade_line(change), change.instrument
    if isinstance(change, Order):
        return wire.order_line(change), change.instrument
    assert isinstance(change, AssetBalance), "nothing else changes"
    return wire.balance_line(change), change.asset
