"""A small venue in one class: everything trades at 100, ten at a time, and all instances share it."""

import asyncio
import time
from collections import defaultdict
from copy import copy
from decimal import Decimal
from typing import ClassVar

from pipeline import client
from pipeline.vocabulary import Error, Flags, OrderState, Side, TimeInForce

PRICE, DEPTH, HELD = Decimal(100), Decimal(10), Decimal(1_000_000)
RESTING = (TimeInForce.GTC, TimeInForce.DAY)


class Venue:  # what a real client would reach over the network
    def __init__(self):
        self.orders, self.trades, self.streams = {}, [], []

    def tell(self, item):
        for stream in self.streams:
            stream.put_nowait(copy(item))


class ExampleClient:
    venues: ClassVar = defaultdict(Venue)
    venue = None  # the venue whose client it is; None fits any
    capabilities = frozenset(map(client.Capability, ("fetch_order", "balances", "open_orders", "trades")))
    request_validity_ms = 0  # how late a sent request can still act: here it acts at once or never

    def __init__(self, exchange, options):
        self.at = self.venues[exchange]

    async def account_stream(self, assets, instruments):
        queue = asyncio.Queue()
        self.at.streams.append(queue)  # subscribed before we return: nothing is missed from here on
        return self._items(queue)

    async def _items(self, queue):
        try:
            while True:
                yield await queue.get()
        finally:
            self.at.streams.remove(queue)

    async def account_snapshot(self, assets, instruments):
        return client.AccountSnapshot(
            await self.fetch_balances(assets), await self.fetch_open_orders(instruments)
        )

    async def open_order(self, request):
        r, price = request, request.price or PRICE
        takes = r.price is None or (price >= PRICE if r.side is Side.BUY else price <= PRICE)
        if r.quantity * price < 5 or (takes and r.flags & Flags.POST_ONLY):
            raise client.ExecutionError(Error.OrderRejected, "below 5, or post-only and taking", sent="no")
        killed = r.time_in_force is TimeInForce.FOK and r.quantity > DEPTH
        filled = min(r.quantity, DEPTH) if takes and not killed else Decimal(0)
        state = OrderState.Open if r.price and r.time_in_force in RESTING else OrderState.Cancelled
        if filled == r.quantity:
            state = OrderState.FullyFilled
        id, now = str(len(self.at.orders) + 1), time.time_ns()
        order = client.Order(r.instrument, r.cid, id, r.side, r.kind, r.time_in_force, r.price, r.quantity,
                             filled, state, r.flags, now)  # fmt: skip
        self.at.orders[r.cid] = order
        if filled:
            trade = client.Trade(r.instrument, r.side, f"t{id}", r.cid, id, PRICE, filled, exchange_at_ns=now)
            self.at.trades.append(trade)
            self.at.tell(trade)
        self.at.tell(order)
        return copy(order)

    async def cancel_order(self, request):
        order = self.at.orders.get(request.cid)
        if order is None:
            raise client.ExecutionError(Error.OrderNotFound, "never heard of it", sent="no")
        if order.state is OrderState.FullyFilled:
            raise client.ExecutionError(Error.OrderAlreadyFullyFilled, sent="no")
        if order.state is OrderState.Cancelled:
            raise client.ExecutionError(Error.OrderAlreadyCancelled, sent="no")
        order.state = OrderState.Cancelled
        self.at.tell(order)
        return client.OrderCancelled(order.instrument, order.cid, order.id, order.filled)

    async def fetch_balances(self, assets):
        return [client.AssetBalance(asset, total=HELD, free=HELD) for asset in assets]

    async def fetch_open_orders(self, instruments):
        return [copy(order) for order in self.at.orders.values() if not order.state.finished]

    async def fetch_trades(self, instruments, since_ns):
        return [trade for trade in self.at.trades if trade.exchange_at_ns >= since_ns], True

    async def fetch_order(self, instrument, cid, id):
        return copy(self.at.orders.get(cid)) or client.NotFound()

    async def close(self):
        pass  # nothing is held open; it may be called twice
