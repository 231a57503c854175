"""The matching engine: one account's orders against what the market shows and trades. Pure; no clock, no I/O.

Marketable orders take the shown levels, best first, at the levels' prices. Resting orders are filled at
their own price by the market's trades, in price-time priority among themselves; the market's queue ahead
is ignored. Self-trade rule: cancel newest. An incoming order that reaches a resting one of ours takes what
stands before it (the market's share at that price included), and what is left is cancelled. Every
operation leaves in `changes` what it did, in order: trades, then the order's state, then balances.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from actors.exchange.account import NOTHING, Account, exact
from actors.exchange.book import Book, BookOrder, rank
from actors.exchange.listing import IMMEDIATE, POST_ONLY, Listing, Rejection, Terms
from actors.exchange.orders import Orders
from pipeline.client import AssetBalance, OpenOrder, Order, Trade
from pipeline.vocabulary import Error, Liquidity, OrderKind, OrderState, Side, TimeInForce

Change = Trade | Order | AssetBalance
_SELF_TRADE: Final = (Error.OrderRejected, "self-trade: the newer order's remainder is cancelled")
_ONE: Final = Decimal(1)


@dataclass(slots=True)
class _Plan:
    """What an incoming order would take now, and whether one of our own stands in its way."""

    takes: list[tuple[Decimal, Decimal]]
    quantity: Decimal
    meets_own: bool


class Matching:
    """Matches the orders of one account."""

    def __init__(self, listings: Iterable[Listing], account: Account, terms: Terms, orders: Orders) -> None:
        self.listings = {listing.symbol: listing for listing in listings}
        self.books = {symbol: Book() for symbol in self.listings}
        self.account = account
        self.terms = terms
        self.orders = orders
        self.changes: list[Change] = []
        self._hold = _ONE + terms.dearest_fee

    # ------------------------------------------------------------------------------------- requests

    @exact
    def open(self, request: OpenOrder, now_ns: int) -> Order:
        """Accept an order and match it at once. Raises Rejection; then nothing has changed."""
        listing = self.listings.get(request.instrument)
        if listing is None:
            raise Rejection(Error.InstrumentInvalid, f"no instrument {request.instrument!r} here")
        self._check(listing, request)
        plan = self._plan(request)
        if request.flags & POST_ONLY and (plan.takes or plan.meets_own):
            raise Rejection(Error.OrderRejected, "a post-only order that would take")
        takes = plan.takes
        if request.time_in_force is TimeInForce.FOK and plan.quantity < request.quantity:
            takes = []
        self._check_funds(listing, request, takes)
        number = self.orders.next_number()
        order = BookOrder(
            request.instrument, request.cid, self.orders.id_of(number), request.side, request.kind,
            request.time_in_force, request.price, request.quantity, NOTHING, OrderState.Open, request.flags,
            now_ns, number=number,
        )  # fmt: skip
        self.orders.add(order)
        self._hold_for(order)
        shown = self.books[order.instrument].shown[order.side.opposite]
        for price, quantity in takes:
            shown.take(price, quantity)
            self._fill(listing, order, price, quantity, Liquidity.TAKER, now_ns)
        if order.state is OrderState.Open:
            if plan.meets_own:
                order.failure = _SELF_TRADE
                self._finish(order, OrderState.Cancelled)
            elif order.kind is OrderKind.MARKET or order.time_in_force in IMMEDIATE:
                self._finish(order, OrderState.Cancelled)
            else:
                self.books[order.instrument].of[order.side].add(order)
        return self._told(order, now_ns)

    @exact
    def cancel(self, symbol: str, cid: str, id: str | None, now_ns: int) -> Order:
        """Take an open order out of the book. Raises Rejection when it is not open."""
        if symbol not in self.listings:
            raise Rejection(Error.InstrumentInvalid, f"no instrument {symbol!r} here")
        order = self.orders.find(symbol, cid, id)
        if order is None:
            raise Rejection(Error.OrderNotFound, f"no order {cid or id!r} on {symbol}")
        if order.state is OrderState.FullyFilled:
            raise Rejection(Error.OrderAlreadyFullyFilled, f"order {order.id} is filled")
        if order.state is not OrderState.Open:
            raise Rejection(
                Error.OrderAlreadyCancelled, f"order {order.id} is {order.state and order.state.label}"
            )
        self._withdraw(order, OrderState.Cancelled)
        return self._told(order, now_ns)

    def cancel_all(self, symbols: Iterable[str], now_ns: int) -> int:
        """Cancel every open order of the instruments, oldest first; how many."""
        wanted = set(symbols)
        return self._end_all(lambda order: order.instrument in wanted, OrderState.Cancelled, now_ns)

    def end_day(self, now_ns: int) -> int:
        """Expire every resting DAY order; how many."""
        return self._end_all(lambda order: order.time_in_force is TimeInForce.DAY, OrderState.Expired, now_ns)

    @exact
    def _end_all(self, wanted: Callable[[BookOrder], bool], state: OrderState, now_ns: int) -> int:
        ending = [order for order in self.orders.open_orders() if wanted(order)]
        for order in ending:
            self._withdraw(order, state)
            self._told(order, now_ns)
        return len(ending)

    @exact
    def restore(self, order: BookOrder, now_ns: int) -> None:
        """Put an order that was open back into the book, with what it holds: at start, from the ledger.

        One that can no longer be paid for (fees were raised meanwhile) is cancelled, and says so.
        """
        self.orders.add(order)
        self.books[order.instrument].of[order.side].add(order)
        listing = self.listings[order.instrument]
        asset = listing.base if order.side is Side.SELL else listing.quote
        self._hold_for(order)
        if self.account.free(asset) < 0:
            order.failure = (Error.BalanceInsufficient, "its fees were raised beyond what is free")
            self._withdraw(order, OrderState.Cancelled)
            self._told(order, now_ns)
        self.account.changed.clear()

    # ------------------------------------------------------------------------------------- the market

    @exact
    def trade(self, symbol: str, price: Decimal, quantity: Decimal, aggressor: Side, now_ns: int) -> None:
        """A trade of the market: it fills our orders that stood where it went, up to its quantity.

        Those on the maker's side at its price or better; on the other side only those it went through.
        """
        book = self.books[symbol]
        maker = aggressor.opposite
        left = self._fill_resting(symbol, maker, price, quantity, now_ns, through=False)
        if left and book.of[aggressor]:
            self._fill_resting(symbol, aggressor, price, left, now_ns, through=True)

    @exact
    def cross(self, symbol: str, now_ns: int) -> None:
        """After the market's quotes moved: what it now shows at or through our resting orders fills them."""
        book = self.books[symbol]
        for side in Side:
            shown, ours = book.shown[side.opposite], book.of[side]
            while (order := ours.best()) is not None:
                price = shown.best_price()
                assert order.price is not None, "only an order with a price rests"
                if price is None or rank(side.opposite, price) > rank(side.opposite, order.price):
                    break
                quantity = min(order.remaining, next(iter(shown))[1])
                shown.take(price, quantity)
                self._fill_maker(order, quantity, now_ns)

    def _fill_resting(
        self, symbol: str, side: Side, price: Decimal, quantity: Decimal, now_ns: int, through: bool
    ) -> Decimal:
        ours, limit, left = self.books[symbol].of[side], rank(side, price), quantity
        while left > 0 and (order := ours.best()) is not None:
            assert order.price is not None, "only an order with a price rests"
            at = rank(side, order.price)
            if at > limit or (through and at == limit):
                break
            filled = min(order.remaining, left)
            left -= filled
            self._fill_maker(order, filled, now_ns)
        return left

    def _fill_maker(self, order: BookOrder, quantity: Decimal, now_ns: int) -> None:
        assert order.price is not None, "only an order with a price rests"
        listing, ours = self.listings[order.instrument], self.books[order.instrument].of[order.side]
        self._fill(listing, order, order.price, quantity, Liquidity.MAKER, now_ns)
        if order.state is not OrderState.Open:
            ours.remove(order)
        self._told(order, now_ns)

    # ------------------------------------------------------------------------------------- checks

    def _check(self, listing: Listing, request: OpenOrder) -> None:
        listing.check(request)
        if self.orders.knows(request.cid):
            raise Rejection(Error.OrderRejected, "duplicate client order id")
        if self.orders.open_count >= self.terms.open_orders_limit:
            raise Rejection(
                Error.OrderRejected, f"{self.orders.open_count} orders are open: that is the limit"
            )

    def _plan(self, request: OpenOrder) -> _Plan:
        """Walk the other side, best first, to the order's price, its quantity, or an order of our own."""
        book, other = self.books[request.instrument], request.side.opposite
        limit = None if request.price is None else rank(other, request.price)
        own_price = book.of[other].best_price()
        own = None if own_price is None else rank(other, own_price)
        takes: list[tuple[Decimal, Decimal]] = []
        left = request.quantity
        for price, quantity in book.shown[other]:
            at = rank(other, price)
            if not left or (limit is not None and at > limit) or (own is not None and at > own):
                break
            taken = min(left, quantity)
            takes.append((price, taken))
            left -= taken
        meets_own = bool(left) and own is not None and (limit is None or own <= limit)
        return _Plan(takes, request.quantity - left, meets_own)

    def _check_funds(
        self, listing: Listing, request: OpenOrder, takes: list[tuple[Decimal, Decimal]]
    ) -> None:
        if request.side is Side.SELL:
            asset, needed = listing.base, request.quantity
        elif request.price is not None:
            asset, needed = listing.quote, request.price * request.quantity * self._hold
        else:
            notional = sum((price * quantity for price, quantity in takes), NOTHING)
            asset, needed = listing.quote, notional * self._hold
        free = self.account.free(asset)
        if needed > free:
            raise Rejection(
                Error.BalanceInsufficient, f"{needed.normalize():f} {asset} needed, {free:f} free"
            )

    # ------------------------------------------------------------------------------------- effects

    def _hold_for(self, order: BookOrder) -> None:
        """Hold what the order's remainder may still cost, no more. A market buy pays as it goes."""
        listing = self.listings[order.instrument]
        selling = order.side is Side.SELL
        if order.state is not OrderState.Open:
            needed = NOTHING
        elif selling:
            needed = order.remaining
        else:
            needed = NOTHING if order.price is None else order.price * order.remaining * self._hold
        self.account.reserve(listing.base if selling else listing.quote, needed - order.reserved)
        order.reserved = needed

    def _fill(
        self,
        listing: Listing,
        order: BookOrder,
        price: Decimal,
        quantity: Decimal,
        role: Liquidity,
        now_ns: int,
    ) -> None:
        notional = price * quantity
        fee = notional * (self.terms.taker_fee if role is Liquidity.TAKER else self.terms.maker_fee)
        order.filled += quantity
        if order.filled == order.quantity:
            order.state = OrderState.FullyFilled
            self.orders.finished(order)
        buying = order.side is Side.BUY
        self._hold_for(order)
        self.account.move(listing.base, quantity if buying else -quantity)
        self.account.move(listing.quote, -notional - fee if buying else notional - fee)
        trade = Trade(
            order.instrument, order.side, self.orders.next_trade_id(), order.cid, order.id, price, quantity,
            ((listing.quote, fee),), role, now_ns,
        )  # fmt: skip
        self.changes.append(trade)

    def _finish(self, order: BookOrder, state: OrderState) -> None:
        order.state = state
        self.orders.finished(order)
        self._hold_for(order)

    def _withdraw(self, order: BookOrder, state: OrderState) -> None:
        self.books[order.instrument].of[order.side].remove(order)
        self._finish(order, state)

    def _told(self, order: BookOrder, now_ns: int) -> Order:
        """Say how the order stands now, and what the operation did to the balances."""
        order.exchange_at_ns = now_ns
        told = order.told()
        self.changes.append(told)
        self.changes.extend(self.account.take_changes(now_ns))
        return told
