"""A strategy's engine: the core (engine_core.py) on real wires, in a process of its own or beside the
actors.

Names go in, events come out. `open` and `cancel` send at once or raise; the feed is read by async
iteration, or by `poll` for a strategy that has its own loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from decimal import Decimal
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pipeline.amounts import amount
from pipeline.attachment import Attachment
from pipeline.clock import Clock
from pipeline.deployment import Deployment
from pipeline.engine_core import EVENTS_LIMIT, Backpressure, EngineCore, EngineError, FeedLost, InvalidRequest
from pipeline.engine_state import EngineState, StateError
from pipeline.messages import Balance, CancelAll, CancelOrder, Event, OpenOrder, Order
from pipeline.sockets import Sockets
from pipeline.topology import links
from pipeline.vocabulary import CancelScope, Flags, OrderKind, Side, TimeInForce

__all__ = ["Backpressure", "Engine", "EngineError", "FeedLost", "InvalidRequest"]

TICK_S = 0.02
JOIN_S = 5.0
_MILLI = 1_000_000

T = TypeVar("T")

SIDES = {word.label: word for word in Side}
KINDS = {word.label: word for word in OrderKind}
TIMES_IN_FORCE = {word.label: word for word in TimeInForce}
SCOPES = {word.label: word for word in CancelScope}

Attach = Callable[[str, Callable[[str, bytes], None], Callable[[], None]], Attachment]


class Engine:
    """One strategy. `everything` gives all events, not only its own orders' and the exchanges'.

    `resume_after` is the number of the last event that was handled (or (feed_id, number), which notices
    that the feed is another one): the feed goes on right after it. Raises FeedLost when the deployment
    does not run.

    `state` is a file (made when it is not there) by which a killed strategy goes on: started again with it,
    the engine resumes its session and its count, asks about requests that were not answered, and reads the
    feed on after the last event that was handled. An event counts as handled when the next one is asked for,
    or when the engine is closed (not by an exception): only the one that the strategy was killed at comes
    again. Each request is committed before it is sent, the cursor when the next event is asked for. Raises
    ConfigError for a file that is in use or another engine's.
    """

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        *,
        everything: bool = False,
        resume_after: int | tuple[int, int] | None = None,
        attach: Attach | None = None,
        clock: Clock | None = None,
        state: str | PathLike[str] | None = None,
    ) -> None:
        self.deployment = deployment
        self.name = name
        self._exchanges = {each.name: each for each in deployment.exchanges}
        self._instruments = {
            each.name: {entry.name: entry for entry in each.instruments} for each in deployment.exchanges
        }
        self._clock = clock or Clock()
        self._attach = attach
        self._sockets: Sockets | None = None
        self._wires: Attachment | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        resume = (0, resume_after) if isinstance(resume_after, int) else resume_after
        session = self._clock.now_ns()
        self._state: EngineState | None = None
        self._answered: list[int] = []  # requests whose answers were handed out, and are handled once more is
        self._handed = False
        if state is not None:
            self._state = EngineState(Path(state), deployment, name, session)
            session = self._state.session
            resume = resume or self._state.cursor
        self._core = EngineCore(
            deployment, name, session, self._send, everything=everything, resume=resume, state=self._state
        )

    # ------------------------------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._handed = False  # what was being handled comes again
        self.close()

    async def start(self) -> None:
        """Connect and join the feed, as far as there is room for what was missed. Raises FeedLost when it is
        not heard within five seconds.
        """
        self.connect()
        try:
            await self._until(lambda: self._core.reader.joined or self._core.paused, JOIN_S)
        except TimeoutError:
            self.close()
            raise FeedLost(
                f"no feed from {self.deployment.run_dir} within {JOIN_S:g} s: is the deployment "
                f"{self.deployment.name} running? (orderwire run {self.deployment.path})"
            ) from None

    def connect(self) -> None:
        """Begin to read the feed without waiting for it."""
        if self._wires is not None:
            return
        if self._state is not None and self._state.closed:
            raise EngineError("the engine was closed, and its state with it: make another one")
        loop = asyncio.get_running_loop()
        if self._attach is not None:
            self._wires = self._attach(self.name, self._on_frame, self._on_drained)
        else:
            self._sockets = Sockets(self.deployment.run_dir)
            self._wires = Attachment(
                self.deployment, self._sockets, loop, None, self._on_frame, self._on_drained, self.name
            )
            self._wires.connect(links(self.deployment, "engine"))
        self._tick = loop.call_later(TICK_S, self._on_tick)

    def close(self) -> None:
        """Leave. Outstanding requests go on and are answered on the feed."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._wires is not None:
            self._wires.close()
            self._wires = None
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
        if self._state is not None and not self._state.closed:
            if self._handed:
                self._keep_handled(self._state)
            self._state.close()
        self._wake()

    async def ready(self, *exchanges: str, within_s: float = 10.0) -> None:
        """Wait until the account streams of these exchanges (none named: all) are in step. Raises
        FeedLost, and InvalidRequest for a name that there is not.
        """
        names = exchanges or tuple(self._exchanges)
        wanted = {_known("exchange", name, self._exchanges).index for name in names}
        try:
            await self._until(lambda: self._core.reader.joined and wanted <= self._core.synced, within_s)
        except TimeoutError:
            missing = [e.name for e in self.deployment.exchanges if e.index in wanted - self._core.synced]
            why = "the feed is not joined"
            if self._core.paused:
                why = "missed events wait to be handled"
            elif missing:
                why = f"the account stream of {', '.join(missing)} is not in step"
            raise FeedLost(f"{why} after {within_s:g} s") from None

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await self._arrival()

    # ------------------------------------------------------------------------------------ requests

    def open(
        self,
        exchange: str,
        instrument: str,
        *,
        side: str,
        quantity: str | int | Decimal,
        price: str | int | Decimal | None = None,
        kind: str | None = None,
        time_in_force: str = "gtc",
        post_only: bool = False,
        cid: str | None = None,
        tag: str | None = None,
        expires_ms: int | None = None,
    ) -> str:
        """Place an order and return its cid at once; what became of it comes as events.

        `kind` is limit when there is a price, else market. Raises InvalidRequest (the text names the field),
        Backpressure (the way out is full) and FeedLost (opens would be blind); nothing was sent then.
        """
        of = _known("exchange", exchange, self._exchanges)
        entry = _known("instrument", instrument, self._instruments[exchange])
        default_kind = "market" if price is None else "limit"
        try:
            body = OpenOrder(
                instrument=entry.index,
                cid=cid or "",
                side=_known("side", side, SIDES),
                kind=_known("kind", kind or default_kind, KINDS),
                time_in_force=_known("time_in_force", time_in_force, TIMES_IN_FORCE),
                flags=int(Flags.POST_ONLY) if post_only else 0,
                price=None if price is None else amount(price),
                quantity=amount(quantity),
                tag=tag,
            )
        except (ValueError, TypeError) as error:
            raise InvalidRequest(str(error)) from None
        now_ns = self._clock.now_ns()
        valid_ms = of.timing.expires_ms if expires_ms is None else expires_ms
        return self._core.open(of.index, body, now_ns, now_ns + valid_ms * _MILLI)

    def cancel(self, cid: str, exchange: str | None = None, *, tag: str | None = None) -> int:
        """Ask for an order's cancellation; returns the request's number. Raises InvalidRequest, Backpressure.

        The exchange may be left out for orders that this engine or the feed's state knows.
        """
        index, instrument = self._find(cid, exchange)
        now_ns = self._clock.now_ns()
        valid_ns = self.deployment.exchanges[index].timing.expires_ms * _MILLI
        body = CancelOrder(instrument=instrument, cid=cid, tag=tag)
        return self._core.cancel(index, body, now_ns, now_ns + valid_ns)

    def cancel_all(
        self, exchange: str, *, scope: str = "engine", external: bool = False, tag: str | None = None
    ) -> int:
        """Cancel every order of an exchange in the scope (session, engine, all); one CancelAllDone
        answers.
        """
        of = _known("exchange", exchange, self._exchanges)
        word = _known("scope", scope, SCOPES)
        now_ns = self._clock.now_ns()
        body = CancelAll(scope=word, external=external, tag=tag)
        return self._core.cancel_all(of.index, body, now_ns, now_ns + of.timing.expires_ms * _MILLI)

    def _find(self, cid: str, exchange: str | None) -> tuple[int, int]:
        places = {e.index: e for e in self.deployment.exchanges if exchange in (None, e.name)}
        if not places:
            _known("exchange", exchange or "", self._exchanges)
        for index in places:
            order = self._core.orders.get((index, cid))
            if order is not None:
                return index, order.instrument
            instrument = self._core.instrument_of(index, cid)
            if instrument is not None:
                return index, instrument
        if exchange is not None:
            return next(iter(places)), 0
        raise InvalidRequest(
            f"cid: {cid[:64]!r} is no active order; name its exchange to cancel it all the same"
        )

    # ------------------------------------------------------------------------------------ events

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._state is not None:
            self._keep_handled(self._state)
        while not self._core.events:
            await self._arrival()
            if self._wires is None and not self._core.events:
                raise StopAsyncIteration  # closed meanwhile
        return self._next()

    def poll(self) -> list[Event]:
        """The events that are there now, without waiting; reads the wires itself."""
        if self._wires is not None and not self._core.events:
            self._wires.drain()
        if self._state is not None:
            self._keep_handled(self._state)
        events = list(self._core.events)
        self._core.events.clear()
        for event in events:
            self._hand_out(event)
        self._resume()
        return events

    def _keep_handled(self, state: EngineState) -> None:
        """What was handed out before is handled: the strategy wants more, or leaves."""
        if not self._handed and state.cursor is not None:
            return
        feed_id, seq = self.cursor
        # A FeedReset that waits has no place in either feed: until it is handled, the old cursor stands.
        reset = bool(self._core.events) and not self._core.events[0].place.seq
        cursor = (feed_id, seq) if feed_id and not reset else None
        if cursor is None and not self._answered:
            return
        answered, self._answered, self._handed = self._answered, [], False
        try:
            state.handled(cursor, answered)
        except StateError as error:
            self._answered, self._handed = answered, True
            raise EngineError(f"the state cannot be kept: {error}") from None

    def _hand_out(self, event: Event) -> None:
        if self._state is None:
            return
        self._handed = True
        answers = event.answers
        if answers is not None and (answers.engine, answers.session) == (self.name, self._core.session):
            self._answered.append(answers.rid)

    def _next(self) -> Event:
        if self._state is not None and self._state.cursor is None:
            self._keep_handled(self._state)  # before the first
        event = self._core.events.popleft()
        self._hand_out(event)
        if self._core.paused:
            self._resume()
        return event

    def _resume(self) -> None:
        if self._core.paused and len(self._core.events) < EVENTS_LIMIT // 2 and self._wires is not None:
            self._core.paused = False
            for link in ("feed", "replay"):
                self._wires.pause(link, False)

    async def _arrival(self) -> None:
        if self._wires is None:
            raise EngineError("the engine is closed: use it inside 'async with'")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------------------------------ state

    @property
    def orders(self) -> dict[str, Order]:
        """Active orders by cid (of all engines, as the feed has them)."""
        return {cid: order for (_, cid), order in self._core.orders.items()}

    @property
    def balances(self) -> dict[tuple[str, str], Balance]:
        """(exchange, asset) -> balance, as the feed has it."""
        exchanges = self.deployment.exchanges
        return {
            (exchanges[e].name, exchanges[e].assets[asset].name): balance
            for (e, asset), balance in self._core.balances.items()
        }

    @property
    def outstanding(self) -> int:
        """Requests not answered yet."""
        return len(self._core.outstanding)

    @property
    def cursor(self) -> tuple[int, int]:
        """(feed_id, number) up to which the feed was read, for `resume_after`."""
        waiting, reader = self._core.events, self._core.reader
        if not waiting:
            return reader.feed_id, reader.seq
        place = waiting[0].place
        return place.feed_id, max(place.seq - 1, 0)

    # ------------------------------------------------------------------------------------ wires

    @property
    def requests(self) -> int:
        """How many requests were made: the number of the last; with `state`, in its earlier lives too."""
        return self._core.last_rid

    @property
    def waits(self) -> int:
        """Requests of which the strategy has not handled the answer yet: not answered, or still to be handed
        out. Only with `state`."""
        assert self._state is not None, "without a state nobody counts what was handled"
        return len(self._state.unhandled.difference(self._answered))

    @property
    def session(self) -> int:
        """The number of this engine's run; with `state`, that of its earlier lives."""
        return self._core.session

    def _send(self, link: str, frame: bytes) -> bool:
        if self._wires is None:
            raise EngineError("the engine is not connected: use it inside 'async with'")
        return self._wires.send(link, frame)

    def _on_frame(self, link: str, frame: bytes) -> None:
        self._core.on_frame(link, frame, self._clock.now_ns())

    def _on_drained(self) -> None:
        if len(self._core.events) >= EVENTS_LIMIT and not self._core.paused and self._wires is not None:
            # A slow strategy costs no memory: the feed is left unread, and replayed when there is room.
            self._core.paused = True
            for link in ("feed", "replay"):
                self._wires.pause(link)
        if self._state is not None and self._state.cursor is None and self._core.reader.joined:
            with suppress(EngineError):  # the first request says so
                self._keep_handled(self._state)  # from here on it can be resumed
        self._wake()

    def _on_tick(self) -> None:
        now_ns = self._clock.now_ns()
        due = self._core.next_deadline_ns()
        if due is not None and now_ns >= due:
            self._core.on_deadline(now_ns)
        self._clock.check()
        self._tick = asyncio.get_running_loop().call_later(TICK_S, self._on_tick)


def _known(field: str, name: str, table: dict[str, T]) -> T:
    found = table.get(name)
    if found is None:
        raise InvalidRequest(f"{field}: {name!r} must be one of {', '.join(table)}")
    return found
