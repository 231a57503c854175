"""What a run of the demo counts, from its requests and from the feed, and how long answers took."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from pipeline.messages import Event, Order, OrderCancelled, OrderSnapshot, Reconnecting, Refused, Trade
from pipeline.vocabulary import OrderState

LATENCIES_LIMIT: Final = 20_000  # the newest count


@dataclass
class Tally:
    """Counts since the start; `open` and `unknown` are now."""

    orders: int = 0
    cancels: int = 0
    fills: int = 0
    refused: int = 0
    timeouts: int = 0
    reconnects: int = 0
    unknowns: int = 0
    faults: list[str] = field(default_factory=list)
    _states: dict[tuple[int, str], OrderState] = field(default_factory=dict)
    _sent_ns: dict[str, int] = field(default_factory=dict)
    _latencies_ns: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES_LIMIT))

    def sent(self, cid: str, now_ns: int) -> None:
        """An open has left."""
        self.orders += 1
        self._sent_ns[cid] = now_ns

    def on_event(self, event: Event, now_ns: int) -> None:
        if isinstance(event, OrderSnapshot):
            self._on_order(event.exchange, event.order)
            if event.answers is not None:
                self._answered(event.order.cid, now_ns)
                self.timeouts += event.failure is not None and not event.failure.error.rejected
        elif isinstance(event, OrderCancelled):
            if event.order is not None:
                self._on_order(event.exchange, event.order)
        elif isinstance(event, Trade):
            self.fills += 1
        elif isinstance(event, Refused):
            self.refused += 1
            self._sent_ns.pop(event.cid, None)
        elif isinstance(event, Reconnecting):
            self.reconnects += 1

    def _on_order(self, exchange: int, order: Order) -> None:
        key = (exchange, order.cid)
        before = self._states.get(key)
        if order.state is OrderState.Unknown and before is not OrderState.Unknown:
            self.unknowns += 1
        if order.state.finished:
            self._states.pop(key, None)
            self.cancels += order.state is OrderState.Cancelled and before is not None
        else:
            self._states[key] = order.state

    def _answered(self, cid: str, now_ns: int) -> None:
        sent_ns = self._sent_ns.pop(cid, None)
        if sent_ns is not None:
            self._latencies_ns.append(now_ns - sent_ns)

    @property
    def open(self) -> int:
        return len(self._states)

    @property
    def unknown(self) -> int:
        return sum(state is OrderState.Unknown for state in self._states.values())

    def latency_ms(self, quantile: float) -> float:
        """From the request to its answer on the feed; 0.0 before the first."""
        if not self._latencies_ns:
            return 0.0
        ranked = sorted(self._latencies_ns)
        return ranked[min(len(ranked) - 1, int(quantile * len(ranked)))] / 1e6
