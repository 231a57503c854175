"""A strategy's side of the pipeline, without sockets or a clock: requests out, the feed in, its orders in
a table.

Every request is outstanding until the one event that answers it. What may have been lost on the way is
asked about again, never opened again. A full way out is `Backpressure`, a feed that is not heard is
`FeedLost`: there is no queue that hides either.
"""

import struct
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from pipeline import headers
from pipeline.codec import REQUEST_LIMIT, BodyError, decode_as, encode, read_feed_body
from pipeline.control import StateChunk
from pipeline.deployment import Deployment
from pipeline.engine_state import EngineState, Kept, StateError
from pipeline.feed_reader import FeedReader
from pipeline.headers import FeedHeader, Kind
from pipeline.identity import engine_of, generated_cid, is_engine_name
from pipeline.messages import (
    NO_EXCHANGE,
    AccountSnapshot,
    ActorStarted,
    Balance,
    BalanceSnapshot,
    CancelAll,
    CancelAllDone,
    CancelOrder,
    Event,
    FeedReset,
    Heartbeat,
    OpenOrder,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Place,
    Reconnecting,
    Refused,
    Request,
    Subscribed,
    Synced,
    Trade,
    TradeVoided,
)

EVENTS_LIMIT = (
    65_536  # events that wait for the strategy; beyond it the feed is left unread (and replayed later)
)
UNSENT_PAUSE_NS = 50_000_000  # before a question that the router did not take is put again
PLACED_LIMIT = 16_384  # own opens that are remembered
_MILLI = 1_000_000
_OF_SOMEBODY = (Refused, CancelAllDone, Trade, TradeVoided)  # never of an exchange as a whole


class EngineError(Exception):
    """Something a strategy asked for that cannot be done now; the text says what to do about it."""


class Backpressure(EngineError):
    """The way to the router is full: send more slowly. Nothing was sent."""


class FeedLost(EngineError):
    """The feed is not heard, or not being kept: an open would be blind. Nothing was sent."""


class InvalidRequest(EngineError, ValueError):
    """The request itself is wrong; the text names the field and what would be right. Nothing was sent."""


@dataclass(slots=True)
class Outstanding:
    """A request that has not been answered yet."""

    exchange: int
    frame: bytes
    ask_at_ns: int
    pause_ns: int
    attempt: int = 0


class EngineCore:
    """One run of one engine: its session, its requests, what it knows. `send(link, frame)` says whether
    it was taken.
    """

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        session: int,
        send: Callable[[str, bytes], bool],
        everything: bool = False,
        resume: tuple[int, int] | None = None,
        state: EngineState | None = None,
    ) -> None:
        if not is_engine_name(name):
            raise InvalidRequest(f"engine name: {name!r} must be 1 to 24 letters, digits, '.', '_' and '-'")
        self.deployment = deployment
        self.name = name
        self.session = session
        self.orders: dict[tuple[int, str], Order] = {}
        self.balances: dict[tuple[int, int], Balance] = {}
        self.synced: set[int] = set()
        self.outstanding: dict[int, Outstanding] = {}
        self.events: deque[Event] = deque()
        self.asked_again = 0
        self.skipped = 0
        self._everything = everything
        self._send = send
        self._state = state
        self._rid = 0
        self._name_bytes = name.encode()
        self._fingerprint = deployment.fingerprint
        # Own opens: (exchange, cid) -> instrument.
        self._placed: OrderedDict[tuple[int, str], int] = OrderedDict()
        self.paused = False  # the strategy has no room: nothing more is asked of the feed
        resume_at = None if resume is None else (resume[0], resume[1], 0)
        self.reader = FeedReader(
            self,
            lambda frame: _ignore(send("replay", frame)),
            self._fingerprint,
            None,
            resume_at,
            state_too=True,
        )
        if state is not None:
            self._go_on(state)

    def _go_on(self, state: EngineState) -> None:
        """Take up the session of an earlier life: what it had sent is asked about."""
        self._rid = state.rid
        for rid, exchange, kind, expires_at_ns, body in state.outstanding():
            frame = self._header(exchange, kind, rid, expires_at_ns) + body
            timeout_ns = self.deployment.exchanges[exchange].timing.request_timeout_ms * _MILLI
            self.outstanding[rid] = Outstanding(exchange, frame, 0, timeout_ns)
            if kind == Kind.OpenOrder:
                request = decode_as(OpenOrder, body)
                self._remember(exchange, request.cid, request.instrument)

    def _header(self, exchange: int, kind: int, rid: int, expires_at_ns: int) -> bytes:
        return headers.request(
            exchange, kind, 0, self._fingerprint, self._name_bytes, self.session, rid, expires_at_ns
        )

    # ------------------------------------------------------------------------------------ requests

    def request(self, exchange: int, kind: Kind, body: Request, now_ns: int, expires_at_ns: int) -> int:
        """Send a request and return its rid. What is wrong with it the router says. Raises Backpressure, and
        InvalidRequest for what cannot travel.
        """
        rid = self._rid + 1
        try:
            encoded = encode(body)
            frame = self._header(exchange, kind, rid, expires_at_ns) + encoded
        except (struct.error, ValueError, TypeError) as error:
            raise InvalidRequest(f"the request does not fit its fields: {error}") from None
        if len(frame) > REQUEST_LIMIT:
            raise InvalidRequest(f"the request has {len(frame)} bytes and may have {REQUEST_LIMIT}")
        if self._state is not None:
            self._keep(self._state, Kept(rid, exchange, kind, expires_at_ns, encoded))
        if not self._send("requests", frame):
            if self._state is not None:
                self._state.not_sent(rid)
            raise Backpressure(
                f"the router does not take requests: wait for answers ({len(self.outstanding)} outstanding)"
            )
        self._rid = rid
        timeout_ns = self.deployment.exchanges[exchange].timing.request_timeout_ms * _MILLI
        self.outstanding[rid] = Outstanding(exchange, frame, expires_at_ns + timeout_ns, timeout_ns)
        return rid

    def _keep(self, state: EngineState, request: Kept) -> None:
        """Make a request safe before it is sent. Raises FeedLost, EngineError."""
        if state.cursor is None:
            raise FeedLost(
                "the feed is not joined yet: a later life would not know where to look for answers"
            )
        try:
            state.sending(request)
        except StateError as error:
            state.not_sent(request.rid)
            raise EngineError(f"the state cannot be kept, nothing was sent: {error}") from None

    @property
    def last_rid(self) -> int:
        return self._rid

    def open(self, exchange: int, body: OpenOrder, now_ns: int, expires_at_ns: int) -> str:
        """Send an open (an empty `cid` gets a generated one) and return its cid. Raises FeedLost as well."""
        if self.reader.stale(now_ns, self.deployment.edges.feed_stale_ms):
            raise FeedLost("the feed has not been heard of for too long: opens would be blind, wait for it")
        if not body.cid:
            body = replace(body, cid=generated_cid(self.name, self.session, self._rid + 1))
        self.request(exchange, Kind.OpenOrder, body, now_ns, expires_at_ns)
        self._remember(exchange, body.cid, body.instrument)
        return body.cid

    def _remember(self, exchange: int, cid: str, instrument: int) -> None:
        self._placed[exchange, cid] = instrument
        if len(self._placed) > PLACED_LIMIT:
            self._placed.popitem(last=False)

    def cancel(self, exchange: int, body: CancelOrder, now_ns: int, expires_at_ns: int) -> int:
        return self.request(exchange, Kind.CancelOrder, body, now_ns, expires_at_ns)

    def cancel_all(self, exchange: int, body: CancelAll, now_ns: int, expires_at_ns: int) -> int:
        return self.request(exchange, Kind.CancelAll, body, now_ns, expires_at_ns)

    def is_own(self, exchange: int, cid: str) -> bool:
        return (exchange, cid) in self._placed or engine_of(cid) == self.name

    def instrument_of(self, exchange: int, cid: str) -> int | None:
        """The instrument of an order that this run opened, while that is remembered."""
        return self._placed.get((exchange, cid))

    # ------------------------------------------------------------------------------------ the feed

    def on_frame(self, link: str, frame: bytes, now_ns: int) -> None:
        if link == "feed":
            self.reader.on_frame(frame, now_ns)
        else:
            self.reader.on_answer(frame, now_ns)

    def on_event(self, header: FeedHeader, frame: bytes, now_ns: int) -> None:
        try:
            event = read_feed_body(header.kind, frame)
        except BodyError:
            self.skipped += 1  # a kind of a newer version: not for us
            return
        event.at(
            Place(header.exchange, header.feed_id, header.seq, header.exchange_seq, header.published_at_ns)
        )
        self._take(event, now_ns)
        if self._everything or self._concerns(event):
            self.events.append(event)

    def _concerns(self, event: Event) -> bool:
        """Own orders and what concerns an exchange as a whole."""
        if event.answers is not None and event.answers.engine == self.name:
            return True
        if isinstance(event, OrderSnapshot):
            return event.order.engine == self.name or self.is_own(event.exchange, event.order.cid)
        cid = getattr(event, "cid", "")
        if cid:
            return self.is_own(event.exchange, cid)
        return not isinstance(event, _OF_SOMEBODY)

    def _take(self, event: Event, now_ns: int) -> None:
        """Keep the table of orders, the balances and the outstanding requests true."""
        answers = event.answers
        if answers is not None and answers.engine == self.name and answers.session == self.session:
            self.outstanding.pop(answers.rid, None)
        exchange = event.exchange
        if isinstance(event, OrderSnapshot):
            self._take_order(exchange, event.order)
        elif isinstance(event, OrderCancelled):
            if event.order is not None:
                self._take_order(exchange, event.order)
        elif isinstance(event, AccountSnapshot):
            for order in event.orders:
                self._take_order(exchange, order)
            for balance in event.balances:
                self.balances[exchange, balance.asset] = balance
        elif isinstance(event, BalanceSnapshot):
            self.balances[exchange, event.balance.asset] = event.balance
        elif isinstance(event, Synced):
            self.synced.add(exchange)
        elif isinstance(event, (Reconnecting, Subscribed)):
            self.synced.discard(exchange)
        elif isinstance(event, ActorStarted):
            self._on_started(event.actor, now_ns)

    def _take_order(self, exchange: int, order: Order) -> None:
        # The feed never takes an order back, so its word simply stands.
        if order.engine == self.name and not engine_of(order.cid):
            self._remember(
                exchange, order.cid, order.instrument
            )  # of an earlier run: its trades are ours too
        if order.state.finished:
            self.orders.pop((exchange, order.cid), None)
        else:
            self.orders[exchange, order.cid] = order

    def _on_started(self, actor: str, now_ns: int) -> None:
        """A router or executor that began anew may have lost what was on its way: ask about it."""
        for waiting in self.outstanding.values():
            name = self.deployment.exchanges[waiting.exchange].name
            if actor in ("router", f"executor.{name}"):
                waiting.ask_at_ns = now_ns

    def on_heartbeat(self, heartbeat: Heartbeat, now_ns: int) -> None: ...

    def on_state(self, chunk: StateChunk, now_ns: int) -> None:
        if chunk.part == 1:
            self.orders.clear()
            self.balances.clear()
        for placed in chunk.orders:
            self._take_order(placed.exchange, placed.order)
        for balance in chunk.balances:
            self.balances[balance.exchange, balance.balance.asset] = balance.balance
        self.synced = {state.exchange for state in chunk.exchanges if state.synced}

    def on_reset(self, feed_id: int, previous_feed_id: int, now_ns: int) -> None:
        reset = FeedReset(previous_feed_id=previous_feed_id, received_at_ns=now_ns, reason="another feed")
        reset.at(Place(NO_EXCHANGE, feed_id, 0, 0, now_ns))
        self.events.append(reset)

    # ------------------------------------------------------------------------------------ time

    def next_deadline_ns(self) -> int | None:
        times = [None if self.paused else self.reader.next_deadline_ns()]
        if self.outstanding:
            times.append(min(waiting.ask_at_ns for waiting in self.outstanding.values()))
        return min((time for time in times if time is not None), default=None)

    def on_deadline(self, now_ns: int) -> None:
        if not self.paused:
            self.reader.on_deadline(now_ns)
        for waiting in self.outstanding.values():
            if waiting.ask_at_ns <= now_ns:
                attempt = min(waiting.attempt + 1, 0xFFFF)
                if not self._send("requests", headers.with_attempt(waiting.frame, attempt)):
                    waiting.ask_at_ns = now_ns + UNSENT_PAUSE_NS
                    continue
                waiting.attempt = attempt
                waiting.pause_ns *= 2
                waiting.ask_at_ns = now_ns + waiting.pause_ns
                self.asked_again += 1


def _ignore(_: bool) -> None: ...
