"""The client of a simulated exchange: calls and the account stream over one wire of the deployment.

It never guesses: a frame that the wire does not take is `Socket`, surely not sent; an exchange that does
not answer leaves the call waiting, and the caller's deadline decides. The stream ends (ExchangeOffline)
when the exchange says so, when its numbers have a gap, or after two seconds without any item.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from actors.exchange import wire
from actors.exchange.calls import AHEAD_MS, RECEIVE_WINDOW_MS
from pipeline import headers
from pipeline.amounts import amount
from pipeline.client import (
    AccountEvent,
    AccountSnapshot,
    Alive,
    AssetBalance,
    CancelOrder,
    Capability,
    ExecutionError,
    Links,
    NotFound,
    OpenOrder,
    Order,
    OrderCancelled,
    Trade,
    Wire,
)
from pipeline.codec import BodyError
from pipeline.headers import HeaderError
from pipeline.messages import Message
from pipeline.vocabulary import Error

SILENCE_S: Final = 2.0
RENEW_S: Final = 1.0
ITEMS_LIMIT: Final = 50_000  # items that wait for a slow reader; beyond it the stream ends
_NO_EXCHANGE: Final = 0xFFFF
_ENDED: Final = "the account stream is over"


class AccountStream(AsyncIterator[AccountEvent]):
    """One subscription's items, in order and without gap, until it ends with an ExecutionError."""

    def __init__(self, ended: Callable[[], None], renew: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[AccountEvent] = deque()
        self._number = 0
        self._error: ExecutionError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended = ended
        self._renew = renew
        self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(RENEW_S, self._watch)

    def __aiter__(self) -> "AccountStream":
        return self

    async def __anext__(self) -> AccountEvent:
        while not self._items:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    async def aclose(self) -> None:
        self.end(_ENDED)

    def take(self, number: int, item: AccountEvent) -> None:
        """One item as it came."""
        self._heard_s = self._loop.time()
        if number != self._number + 1:
            self.end(f"item {number} came after item {self._number}: something was lost")
        elif len(self._items) >= ITEMS_LIMIT:
            self.end(f"{ITEMS_LIMIT} items wait for their reader")
        else:
            self._number = number
            self._items.append(item)
            self._wake()

    def end(self, detail: str) -> None:
        if self._error is None:
            self._error = ExecutionError(Error.ExchangeOffline, detail)
            self._timer.cancel()
            self._ended()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _watch(self) -> None:
        if self._loop.time() - self._heard_s > SILENCE_S:
            self.end(f"nothing was heard for {SILENCE_S:g} s")
        else:
            self._renew()
            self._timer = self._loop.call_later(RENEW_S / 2, self._watch)


class SimulatedClient:
    """An ExecutionClient of the exchange actor of the same name."""

    venue: ClassVar[str | None] = None
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.FETCH_ORDER,
            Capability.BALANCES,
            Capability.OPEN_ORDERS,
            Capability.TRADES,
            Capability.CANCEL_ALL,
        }
    )
    # The exchange refuses an open that is older than its window, and one from further ahead than it allows:
    # with clocks as far apart as that, the sum of both is the latest that a sent open can act.
    request_validity_ms: ClassVar[int | None] = RECEIVE_WINDOW_MS + AHEAD_MS

    def __init__(self, exchange: str, options: Mapping[str, object]) -> None:
        self.exchange = exchange
        self.bad_frames = 0
        self.unasked = 0  # answers to no call that waits: late ones, and repeats
        self._links: Links | None = None
        self._wire: Wire | None = None
        self._token = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._parts: dict[int, list[wire.SnapshotPart]] = {}
        self._streams: dict[int, AccountStream] = {}

    def attach(self, links: Links) -> None:
        self._links = links
        self._wire = links.connect(f"exchange.{self.exchange}", "calls", self._on_frame)

    # ------------------------------------------------------------------------------------- the contract

    async def account_snapshot(self, assets: Sequence[str], instruments: Sequence[str]) -> AccountSnapshot:
        parts = await self._ask(wire.AskSnapshot(list(assets), list(instruments)), list)
        return AccountSnapshot(
            [wire.balance(line) for part in parts for line in part.balances],
            [wire.order(line) for part in parts for line in part.orders],
            parts[0].exchange_at_ns,
        )

    async def account_stream(
        self, assets: Sequence[str], instruments: Sequence[str]
    ) -> AsyncIterator[AccountEvent]:
        token = self._next_token()
        stream = AccountStream(lambda: self._forget_stream(token), lambda: self._send(token, wire.Renew()))
        self._streams[token] = stream
        try:
            await self._ask(wire.Subscribe(list(assets), list(instruments)), wire.Subscribed, token)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def open_order(self, request: OpenOrder) -> Order | None:
        price = None if request.price is None else amount(request.price)
        body = wire.Open(
            request.instrument, request.cid, request.side, request.kind, request.time_in_force, request.flags,
            price, amount(request.quantity), request.expires_at_ns, self._attached().now_ns(),
        )  # fmt: skip
        return wire.order(await self._ask(body, wire.OrderLine))

    async def cancel_order(self, request: CancelOrder) -> OrderCancelled | None:
        body = wire.Cancel(request.instrument, request.cid, request.id)
        return wire.cancelled(await self._ask(body, wire.CancelledLine))

    async def cancel_all(self, instruments: Sequence[str]) -> int:
        """Cancel every open order of the instruments; how many there were."""
        answer: wire.CancelledCount = await self._ask(wire.CancelAll(list(instruments)), wire.CancelledCount)
        return answer.count

    async def fetch_balances(self, assets: Sequence[str]) -> Sequence[AssetBalance]:
        found = await self._ask(wire.AskBalances(list(assets)), wire.Balances)
        return [wire.balance(line) for line in found.balances]

    async def fetch_open_orders(self, instruments: Sequence[str]) -> Sequence[Order]:
        found = await self._ask(wire.AskOpenOrders(list(instruments)), wire.Orders)
        return [wire.order(line) for line in found.orders]

    async def fetch_trades(self, instruments: Sequence[str], since_ns: int) -> tuple[Sequence[Trade], bool]:
        trades: list[Trade] = []
        after, more = 0, True
        while more:
            page = await self._ask(wire.AskTrades(list(instruments), since_ns, after), wire.Trades)
            trades.extend(wire.trade(line) for line in page.trades)
            after, more = page.last, page.more
        return trades, True

    async def fetch_order(self, instrument: str, cid: str, id: str | None) -> Order | NotFound:
        found = await self._ask(wire.AskOrder(instrument, cid, id), (wire.OrderLine, wire.NoSuchOrder))
        return NotFound() if isinstance(found, wire.NoSuchOrder) else wire.order(found)

    async def close(self) -> None:
        for token, stream in list(self._streams.items()):
            self._send(token, wire.Unsubscribe())
            stream.end("the client is closed")
        for waiting in self._waiting.values():
            waiting.cancel()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # ------------------------------------------------------------------------------------- the wire

    def _attached(self) -> Links:
        if self._links is None:
            raise ExecutionError(Error.Socket, "the client is not attached to a deployment", "no")
        return self._links

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    def _send(self, token: int, body: Message) -> bool:
        if self._wire is None or self._links is None:
            return False
        return self._wire.send(wire.frame(_NO_EXCHANGE, self._links.fingerprint, token, body))

    async def _ask(self, body: Message, expected: Any, token: int | None = None) -> Any:
        """One question and its answer, however long that takes. Raises ExecutionError."""
        token = self._next_token() if token is None else token
        if not self._send(token, body):
            raise ExecutionError(Error.Socket, f"exchange.{self.exchange} takes no frames now", "no")
        waiting = self._waiting[token] = asyncio.get_running_loop().create_future()
        try:
            answer = await waiting
        finally:
            del self._waiting[token]
            self._parts.pop(token, None)
        if not isinstance(answer, expected):
            raise ExecutionError(Error.Socket, f"an answer of another kind: {type(answer).__name__}")
        return answer

    def _on_frame(self, frame: bytes) -> None:
        try:
            header = headers.read_control(frame)
        except HeaderError:
            self.bad_frames += 1
            return
        try:
            body = wire.body(header.kind, frame)
        except BodyError as error:
            self.bad_frames += 1
            self._fail(header.token, ExecutionError(Error.Socket, f"an unreadable answer: {error}"))
            return
        self._on_body(header.token, body)

    def _on_body(self, token: int, body: Message) -> None:
        if isinstance(body, (wire.TradeItem, wire.OrderItem, wire.BalanceItem, wire.AliveItem)):
            stream = self._streams.get(token)
            if stream is not None:
                stream.take(body.number, _item(body))
        elif isinstance(body, wire.Refusal):
            self._fail(token, ExecutionError(body.error, body.detail, "maybe" if body.maybe else "no"))
        elif isinstance(body, wire.Disconnected):
            self._fail(token, ExecutionError(Error.Socket, body.detail))
            stream = self._streams.get(token)
            if stream is not None:
                stream.end(body.detail)
        elif isinstance(body, wire.SnapshotPart):
            self._on_part(token, body)
        else:
            self._settle(token, body)

    def _on_part(self, token: int, part: wire.SnapshotPart) -> None:
        if token in self._waiting:
            parts = self._parts.setdefault(token, [])
            if part.part == len(parts) + 1:  # a repeat is passed over
                parts.append(part)
                if part.part == part.parts:
                    self._settle(token, parts)

    def _settle(self, token: int, answer: object) -> None:
        waiting = self._waiting.get(token)
        if waiting is None or waiting.done():
            self.unasked += 1
        else:
            waiting.set_result(answer)

    def _fail(self, token: int, error: ExecutionError) -> None:
        waiting = self._waiting.get(token)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def _forget_stream(self, token: int) -> None:
        if self._streams.pop(token, None) is not None:
            self._send(token, wire.Unsubscribe())


def _item(body: "wire.TradeItem | wire.OrderItem | wire.BalanceItem | wire.AliveItem") -> AccountEvent:
    if isinstance(body, wire.TradeItem):
        return wire.trade(body.line)
    if isinstance(body, wire.OrderItem):
        return wire.order(body.line)
    return wire.balance(body.line) if isinstance(body, wire.BalanceItem) else Alive()
