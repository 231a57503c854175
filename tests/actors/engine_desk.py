"""An engine without sockets, at the pipeline in memory."""

from typing import Any

from pipeline.engine_core import EngineCore
from pipeline.messages import CancelAll, CancelOrder, Event
from pipeline.vocabulary import CancelScope
from tests.actors.venue_words import open_body

MS = 1_000_000


class Desk:
    """An engine without sockets on the pipeline in memory."""

    def __init__(self, pipeline: Any, name: str, session: int | None = None, **more: Any) -> None:
        self.pipeline = pipeline
        self.name = name
        self.taking = True  # False: its way out is full
        self.core = EngineCore(
            pipeline.deployment, name, session or pipeline.now_ns, self._send, everything=True, **more
        )

    def _send(self, link: str, frame: bytes) -> bool:
        if self.taking:
            to = "router" if link == "requests" else "merger"
            self.pipeline.wire.append((self.name, to, link, frame))
        return self.taking

    def open(
        self,
        quantity: str = "1",
        price: str | None = "100",
        cid: str = "",
        expires_ms: int = 5_000,
        **more: Any,
    ) -> str:
        body = open_body(cid, quantity, price, **more)
        now_ns = self.pipeline.now_ns
        cid = self.core.open(more.get("exchange", 0), body, now_ns, now_ns + expires_ms * MS)
        self.pipeline.settle()
        return cid

    def cancel(self, cid: str, exchange: int = 0, expires_ms: int = 5_000) -> int:
        now_ns = self.pipeline.now_ns
        rid = self.core.cancel(exchange, CancelOrder(0, cid), now_ns, now_ns + expires_ms * MS)
        self.pipeline.settle()
        return rid

    def cancel_all(self, scope: CancelScope = CancelScope.ENGINE, external: bool = False) -> int:
        now_ns = self.pipeline.now_ns
        rid = self.core.cancel_all(0, CancelAll(scope, external), now_ns, now_ns + 5_000 * MS)
        self.pipeline.settle()
        return rid

    @property
    def rid(self) -> int:
        """The number of its last request."""
        return self.core._rid

    def events(self, cls: type[Event] = Event) -> list[Any]:
        return [event for event in self.core.events if isinstance(event, cls)]
