"""The suite's own hands on a client: bounded calls, errors held against the taxonomy, orders cleared away.

One instance trades and one watches, as executor and reconnector do. What was bought is sold again, so that
the account ends about where it began.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from actors.clients.conformance_terms import FAR, Terms
from actors.clients.conformance_watch import Watch
from actors.clients.conformance_words import (
    Broken,
    NotSupported,
    broken,
    check,
    check_cancelled,
    check_order,
    check_trade,
    state_of,
)
from pipeline.actor import Outcome
from pipeline.client import (
    CancelOrder,
    Capability,
    ExecutionClient,
    ExecutionError,
    NotFound,
    OpenOrder,
    Order,
    OrderCancelled,
    Trade,
)
from pipeline.deployment import Exchange
from pipeline.identity import base36
from pipeline.lane import attempt
from pipeline.vocabulary import Error, OrderKind, OrderState, Side, TimeInForce

Provoke = Callable[..., Awaitable[None]]
DOUBLINGS_LIMIT: Final = 24  # of the first order's size, until the venue takes it
GONE: Final = (Error.OrderNotFound, Error.OrderAlreadyCancelled, Error.OrderAlreadyFullyFilled)
RETRY_S: Final = 0.02
_VALID_NS: Final = 30_000_000_000
_NO_PRICE: Final = Decimal(100)  # where there is no market any price will do


class Done(NamedTuple):
    """An order that has come to its end, and the fills that it had."""

    order: Order
    trades: list[Trade]


class Trader:
    """An account in hand. Its methods raise Broken, NotSupported, and the client's own ExecutionError."""

    def __init__(
        self,
        exchange: Exchange,
        make: Callable[[], ExecutionClient],
        terms: Terms,
        provoke: Provoke | None,
        client: ExecutionClient,
        other: ExecutionClient,
    ) -> None:
        self.exchange = exchange
        self.make = make
        self.terms = terms
        self.client = client
        self.other = other  # a second instance, beside the first
        self.watch: Watch | None = None
        self.slowest_s = 0.0
        self.price = terms.price
        self.leaves_it_to_the_stream = False  # open_order has answered None
        self.no_market = ""  # why market orders cannot be filled here
        self.symbol = terms.instrument.symbol
        self.symbols = tuple(instrument.symbol for instrument in exchange.instruments)
        self.assets = tuple(asset.symbol for asset in exchange.assets)
        self.live: dict[str, str | None] = {}  # cid -> id of what may rest at the venue
        self.left: list[str] = []
        self.position = Decimal(0)
        self._provoke = provoke
        self._stamp = base36(time.time_ns() // 1_000_000)
        self._count = 0

    def offers(self, capability: Capability) -> None:
        if capability not in self.client.capabilities:
            raise NotSupported(f"the client does not declare {capability.name}")

    @property
    def inline(self) -> bool:
        """Whether the client answers by itself: then each instance is alone, and no stream tells of it."""
        return Capability.ANSWERS_INLINE in self.client.capabilities

    def needs_stream(self) -> Watch:
        if self.inline:
            raise NotSupported("it answers inline: there is no venue behind it whose stream could tell")
        if self.watch is None:
            broken("the account stream could not be subscribed to")
        return self.watch

    async def provoke(self, name: str, *arguments: str) -> None:
        if self._provoke is None:
            raise NotSupported(f"nothing here can make the exchange do it ({name}): no fault switches")
        await self._provoke(name, *arguments)

    # ------------------------------------------------------------------------------------ calls

    async def call(self, method: str, *args: Any, of: ExecutionClient | None = None) -> Any:
        """The result of one call. Raises ExecutionError as the client does, Broken for all else."""
        until = time.monotonic() + self.terms.patience_s
        value, error = await self._once(method, args, of)
        while _surely_nothing_left(error) and time.monotonic() < until:
            await asyncio.sleep(RETRY_S)  # a new instance may still be connecting
            value, error = await self._once(method, args, of)
        if isinstance(error, ExecutionError):
            known = isinstance(error.error, Error)
            check(known, f"{method} raised an ExecutionError of {error.error!r}: give an Error")
            check(error.sent in ("no", "maybe"), f'{method} raised sent = {error.sent!r}: "no" or "maybe"')
            raise error
        if isinstance(error, Broken):
            raise error
        if error is not None:
            broken(f"{method} raised {type(error).__name__}: {error}; raise an ExecutionError")
        return value

    async def _once(self, method: str, args: tuple[Any, ...], of: ExecutionClient | None) -> Outcome:
        begun, patience_s = time.monotonic(), self.terms.patience_s
        outcome = await attempt(_bounded, getattr(of or self.client, method), args, patience_s)
        took_s = time.monotonic() - begun
        if isinstance(outcome.error, TimeoutError) and took_s >= patience_s:
            broken(f"{method} did not return within {patience_s:g} s")
        if method in ("open_order", "cancel_order"):
            self.slowest_s = max(self.slowest_s, took_s)
        return outcome

    async def rejection(self, method: str, *args: Any) -> Error | None:
        """Why the venue said no to a call; None when it did not. Broken when it is no rejection."""
        try:
            await self.call(method, *args)
        except ExecutionError as error:
            check(
                error.error.rejected, f"{method} raised {error}: the venue's no is a Rejected, which is final"
            )
            return error.error
        return None

    # ------------------------------------------------------------------------------------ orders

    def request(
        self,
        side: Side,
        quantity: Decimal,
        price: Decimal | None,
        time_in_force: TimeInForce = TimeInForce.GTC,
        flags: int = 0,
    ) -> OpenOrder:
        """A request with a cid that nobody had before; short, since venues are strict."""
        self._count += 1
        kind = OrderKind.MARKET if price is None else OrderKind.LIMIT
        cid = f"c{self._stamp}{base36(self._count).rjust(2, '0')}"
        expires_at_ns = time.time_ns() + _VALID_NS
        return OpenOrder(self.symbol, cid, side, kind, time_in_force, flags, price, quantity, expires_at_ns)

    def far(self, nth: int = 0, time_in_force: TimeInForce = TimeInForce.GTC, flags: int = 0) -> OpenOrder:
        """A small buy that rests far from the market."""
        price = self.price or _NO_PRICE
        below = self.terms.price_at(price, FAR) - nth * self.terms.instrument.price_step
        return self.request(Side.BUY, self.terms.lot(price), below, time_in_force, flags)

    async def open(self, request: OpenOrder) -> Order | None:
        """Open it, and remember to clear it away."""
        self.live[request.cid] = None
        try:
            value = await self.call("open_order", request)
        except ExecutionError as error:
            if error.error.rejected or error.sent == "no":
                del self.live[request.cid]
            raise
        if value is None:
            self.leaves_it_to_the_stream = True
            return None
        order = check_order(value, "open_order's answer")
        self.live[request.cid] = order.id
        return order

    async def cancel(self, request: OpenOrder) -> OrderCancelled | None:
        cid = request.cid
        value = await self.call("cancel_order", CancelOrder(request.instrument, cid, self.live.get(cid)))
        self.live.pop(cid, None)
        return None if value is None else check_cancelled(value, "cancel_order's answer")

    async def end(self, request: OpenOrder) -> None:
        """Cancel what rests; that it has ended already is as good."""
        try:
            await self.cancel(request)
        except ExecutionError as error:
            if error.error not in GONE:
                raise
            self.live.pop(request.cid, None)

    async def ended(self, request: OpenOrder, answer: Order | None) -> Order | None:
        """The order's end by its answer, the stream or a question; None while it stays open."""
        if answer is not None and state_of(answer).finished:
            return answer
        if self.watch is not None:
            told = await self.watch.order(
                request.cid, self.terms.patience_s, lambda order: state_of(order).finished
            )
            if told is not None:
                return told
        asked = await self.asked(request)
        return asked if isinstance(asked, Order) and state_of(asked).finished else None

    async def asked(self, request: OpenOrder, of: ExecutionClient | None = None) -> Order | NotFound | None:
        """What fetch_order says of it; None where there is no such question."""
        if Capability.FETCH_ORDER not in self.client.capabilities:
            return None
        value = await self.call("fetch_order", request.instrument, request.cid, None, of=of)
        return value if isinstance(value, NotFound) else check_order(value, "fetch_order's answer")

    # ------------------------------------------------------------------------------------ fills

    async def fill(self) -> tuple[OpenOrder, Done]:
        """A market order of one lot, filled: it sells what an earlier one bought."""
        await self.find_price()
        if self.no_market:
            raise NotSupported(self.no_market)
        assert self.price is not None
        lot = self.terms.lot(self.price)
        side = Side.SELL if self.position >= lot else Side.BUY
        request = self.request(side, lot, None)
        return request, await self.take(request)

    async def take(self, request: OpenOrder) -> Done:
        """Open an order that ends at once, and wait for its end and its fills."""
        order = await self.ended(request, await self.open(request))
        if order is None:
            await self.end(request)
            broken(f"a {request.kind.label} {request.time_in_force.label} order stays open")
        self.live.pop(request.cid, None)
        trades = await self._fills(request, order)
        for trade in trades:
            self.price = trade.price
        self.position += order.filled if request.side is Side.BUY else -order.filled
        return Done(order, trades)

    async def _fills(self, request: OpenOrder, order: Order) -> list[Trade]:
        """The trades of an order, as soon as they add up to what it says was filled."""
        watch = self.watch
        if watch is None:
            return await self.fetched(request, order.id)

        def all_of_it() -> list[Trade] | None:
            found = watch.trades_of(request.cid, order.id)
            return found if sum(trade.quantity for trade in found) >= order.filled else None

        found = await watch.until(all_of_it, self.terms.patience_s)
        return watch.trades_of(request.cid, order.id) if found is None else found

    async def fetched(
        self, request: OpenOrder, id: str | None, of: ExecutionClient | None = None
    ) -> list[Trade]:
        """The trades of an order by fetch_trades, where that is offered."""
        if Capability.TRADES not in self.client.capabilities:
            return []
        trades, _ = await self.fetch_trades(0, of)
        return [t for t in trades if t.cid == request.cid or (id is not None and t.order_id == id)]

    async def fetch_trades(
        self, since_ns: int, of: ExecutionClient | None = None
    ) -> tuple[list[Trade], bool]:
        """Raises Broken unless the answer is trades and a flag."""
        value = await self.call("fetch_trades", self.symbols, since_ns, of=of)
        pair = isinstance(value, tuple) and len(value) == 2
        check(pair and isinstance(value[1], bool), "fetch_trades: give (trades, whether they are complete)")
        return [check_trade(trade, "a trade of fetch_trades") for trade in value[0]], value[1]

    async def find_price(self) -> None:
        """Learn what the instrument trades at, by the smallest market order that the venue takes."""
        if self.price is not None or self.no_market:
            return
        instrument = self.terms.instrument
        quantity = self.terms.quantity or max(instrument.quantity_min, instrument.quantity_step)
        for _ in range(DOUBLINGS_LIMIT):
            request = self.request(Side.BUY, self.terms.on_step(quantity), None)
            try:
                answer = await self.open(request)
            except ExecutionError as error:
                if error.error is not Error.OrderRejected:
                    raise NotSupported(f"a small market order was refused ({error})") from None
                quantity *= 2
                continue
            order = await self.ended(request, answer)
            if order is None:
                await self.end(request)
                self.no_market = "a market order stays open: there is no market that would fill it"
                return
            self.live.pop(request.cid, None)
            self.position += order.filled
            trades = await self._fills(request, order)
            check(trades, f"a market order was filled, and no trade of {request.cid} was told")
            self.price = trades[-1].price
            return
        self.no_market = f"no market order up to {quantity} was taken: give a price and a quantity"

    # ------------------------------------------------------------------------------------ clearing away

    async def clear(self) -> None:
        """Cancel what was left open, sell what was bought; what cannot be done is said."""
        for cid, id in list(self.live.items()):
            _, error = await attempt(self.call, "cancel_order", CancelOrder(self.symbol, cid, id))
            if isinstance(error, ExecutionError) and error.error in GONE:
                error = None
            if error is not None:
                self.left.append(f"order {cid} could not be cancelled ({error})")
        step = self.terms.instrument.quantity_step
        surplus = self.position - self.position % step
        if surplus > 0 and not self.no_market:
            error = (await attempt(self.take, self.request(Side.SELL, surplus, None))).error
            if error is not None:
                self.left.append(
                    f"{surplus} of {self.terms.instrument.base} was bought and not sold ({error})"
                )
        for each in (self.client, self.other):
            await attempt(each.close)


def _surely_nothing_left(error: Exception | None) -> bool:
    """Whether the client was not connected: nothing was done, so it may be asked again."""
    offline = (Error.ExchangeOffline, Error.Socket)
    return isinstance(error, ExecutionError) and error.error in offline and error.sent == "no"


async def _bounded(method: Callable[..., Any], args: tuple[Any, ...], within_s: float) -> Any:
    result = method(*args)
    name = getattr(method, "__name__", "a method")
    check(inspect.isawaitable(result), f"{name} is no coroutine: write `async def` and return its result")
    async with asyncio.timeout(within_s):
        return await result


def finished_as(order: Order, *states: OrderState) -> None:
    check(
        state_of(order) in states,
        f"the order is {state_of(order).label}, not {' or '.join(state.label for state in states)}",
    )
