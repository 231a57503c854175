"""Clients with one fault each: the example client, broken in a way that people do break clients."""

import threading
from copy import copy

from pipeline.client import ExecutionError, NotFound
from pipeline.vocabulary import Error, OrderState
from tests.clients.example_client import ExampleClient


class AnswersAnotherCid(ExampleClient):
    """It cuts the cid to what the venue stores, and answers with that."""

    async def open_order(self, request):
        order = await super().open_order(request)
        order.cid = order.cid[:6]
        return order


class RepeatsATradeUnderANewId(ExampleClient):
    """It numbers trades itself, anew in every answer."""

    count = 0

    async def fetch_trades(self, instruments, since_ns):
        trades, complete = await super().fetch_trades(instruments, since_ns)
        renamed = [copy(trade) for trade in trades]
        for trade in renamed:
            RepeatsATradeUnderANewId.count += 1
            trade.id = f"n{self.count}"
        return renamed, complete


class LosesFillsInTheGap(ExampleClient):
    """It has no way to fetch trades, and says that there were none."""

    async def fetch_trades(self, instruments, since_ns):
        return [], True


class GivesFloats(ExampleClient):
    """Its balances are what the JSON parser made of them."""

    async def fetch_balances(self, assets):
        balances = await super().fetch_balances(assets)
        for balance in balances:
            balance.total = float(balance.total)
        return balances


class RaisesKeyError(ExampleClient):
    """It looks an order up without looking whether it is there."""

    async def cancel_order(self, request):
        _ = self.at.orders[request.cid]
        return await super().cancel_order(request)


class CannotFetchOrdersAfterAll(ExampleClient):
    """It declares FETCH_ORDER and answers nothing."""

    async def fetch_order(self, instrument, cid, id):
        return None


class DoesNotFindLiveOrders(ExampleClient):
    """It asks the venue's history, where an order comes when it has ended."""

    async def fetch_order(self, instrument, cid, id):
        found = await super().fetch_order(instrument, cid, id)
        return found if isinstance(found, NotFound) or found.state.finished else NotFound()


class SubscribesTooLate(ExampleClient):
    """Its stream is a generator: it subscribes when somebody reads the first item."""

    async def account_stream(self, assets, instruments):
        return self._later(assets, instruments)

    async def _later(self, assets, instruments):
        async for item in await super().account_stream(assets, instruments):
            yield item


class BlocksTheLoop(ExampleClient):
    """It waits for the venue with the thread that everybody runs on."""

    async def fetch_open_orders(self, instruments):
        if not hasattr(self, "waited"):
            self.waited = True
            threading.Event().wait(1.0)  # the whole thread: that is the fault
        return await super().fetch_open_orders(instruments)


class ShrinksFilled(ExampleClient):
    """After an order's end it tells once more how it began."""

    async def open_order(self, request):
        order = await super().open_order(request)
        if order.state is OrderState.FullyFilled:
            again = copy(order)
            again.filled, again.state = order.filled - order.filled, OrderState.Open
            self.at.tell(again)
        return order


class SwallowsRejections(ExampleClient):
    """It logs what the venue refuses, and answers as if all were well."""

    async def open_order(self, request):
        try:
            return await super().open_order(request)
        except ExecutionError:
            order = await super().open_order(_larger(request))
            await super().cancel_order(_larger(request))
            order.quantity = request.quantity
            return order


class SaysTimeoutWhenRejected(ExampleClient):
    """It makes one error of everything."""

    async def open_order(self, request):
        try:
            return await super().open_order(request)
        except ExecutionError as error:
            raise ExecutionError(Error.Timeout, str(error)) from None


class ShowsNoOrdersInSnapshots(ExampleClient):
    """It has only balances in its snapshot."""

    async def account_snapshot(self, assets, instruments):
        said = await super().account_snapshot(assets, instruments)
        said.orders = []
        return said


class IsNoCoroutine(ExampleClient):
    """Its account_stream is an async generator itself: it cannot be awaited and subscribes to nothing."""

    async def account_stream(self, assets, instruments):
        async for item in await super().account_stream(assets, instruments):
            yield item


def _larger(request):
    larger = {name: getattr(request, name) for name in request.__struct_fields__}
    larger["quantity"] = larger["quantity"] * 1000
    return type(request)(**larger)
