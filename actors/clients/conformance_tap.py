"""Stands between a client and the pipeline, to keep back what a venue cannot be asked to lose or delay.

An answer can be held or left out, the stream cut or muted, questions left without an answer. Whatever is let
through is the client's own word, unchanged.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from pipeline.client import ExecutionError, Order, OrderCancelled
from pipeline.vocabulary import Error

Hook = Callable[[], Awaitable[None]]


class Tap:
    """An ExecutionClient, as executor and reconnector see theirs."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.left_out = False  # opens and cancels answer None, whatever the client said
        self.blind = False  # questions about orders have no answer
        self.muted = False  # the stream tells nothing of orders
        self.refused = 0  # so many subscriptions fail
        self.before_snapshot: Hook | None = None
        self.after_snapshot: Hook | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._joined = asyncio.Event()
        self._joined.set()
        self._cut: asyncio.Future[None] | None = None
        self._extra: asyncio.Queue[Any] = asyncio.Queue()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def hold(self, held: bool = True) -> None:
        """Keep the answers of opens and cancels back, or let them go."""
        (self._open.clear if held else self._open.set)()

    def part(self) -> None:
        """End the stream, and let no new one begin until `join`."""
        self._joined.clear()
        if self._cut is not None and not self._cut.done():
            self._cut.set_result(None)

    def join(self) -> None:
        self._joined.set()

    def tell(self, item: Any) -> None:
        """Put an item of our own on the stream."""
        self._extra.put_nowait(item)

    async def open_order(self, request: Any) -> Any:
        return await self._answer(self.client.open_order(request))

    async def cancel_order(self, request: Any) -> Any:
        return await self._answer(self.client.cancel_order(request))

    async def _answer(self, call: Awaitable[Any]) -> Any:
        value = await call
        await self._open.wait()
        return None if self.left_out else value

    async def fetch_order(self, *args: Any) -> Any:
        self._see()
        return await self.client.fetch_order(*args)

    async def fetch_open_orders(self, *args: Any) -> Any:
        self._see()
        return await self.client.fetch_open_orders(*args)

    def _see(self) -> None:
        if self.blind:
            raise ExecutionError(Error.Timeout, "the suite lets no question be answered now")

    async def account_snapshot(self, *args: Any) -> Any:
        before, self.before_snapshot = self.before_snapshot, None
        if before is not None:
            await before()
        said = await self.client.account_snapshot(*args)
        after, self.after_snapshot = self.after_snapshot, None
        if after is not None:
            await after()
        return said

    async def account_stream(self, *args: Any) -> AsyncIterator[Any]:
        await self._joined.wait()
        if self.refused:
            self.refused -= 1
            raise ExecutionError(Error.ExchangeOffline, "the suite lets no subscription be made now")
        stream = await self.client.account_stream(*args)
        self._cut = asyncio.get_running_loop().create_future()
        return self._items(stream, self._cut)

    async def _items(self, stream: Any, cut: "asyncio.Future[None]") -> AsyncIterator[Any]:
        """The client's items and ours, until it ends or is cut."""
        theirs: asyncio.Future[Any] = asyncio.ensure_future(anext(stream))
        ours: asyncio.Future[Any] = asyncio.ensure_future(self._extra.get())
        try:
            while True:
                await asyncio.wait((theirs, ours, cut), return_when=asyncio.FIRST_COMPLETED)
                if cut.done():
                    raise ExecutionError(Error.ExchangeOffline, "the suite has cut the stream")
                if ours.done():
                    yield ours.result()
                    ours = asyncio.ensure_future(self._extra.get())
                if theirs.done():
                    try:
                        item = theirs.result()
                    except StopAsyncIteration:
                        return
                    theirs = asyncio.ensure_future(anext(stream))
                    if not (self.muted and isinstance(item, Order | OrderCancelled)):
                        yield item
        finally:
            ours.cancel()
            if theirs.cancel():
                await asyncio.wait((theirs,))
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
