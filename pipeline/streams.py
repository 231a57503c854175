"""A client's account streams, pumped: opened, read item by item into the host, paused, and closed.

A stream is opened once and ended once: `opened` with an error is its end. A paused stream is not read
further, so that what bounds it is the client's. After `cancel` nothing more is heard of it.
"""

import asyncio
from typing import Any, Protocol

from pipeline.actor import Outcome
from pipeline.lane import CallCancelled, Loop, Method, attempt


class Receiver(Protocol):
    """Who is told of the streams."""

    def opened(self, token: int, outcome: Outcome) -> None: ...
    def item(self, token: int, item: Any) -> None: ...
    def ended(self, token: int, error: Exception | None) -> None: ...


class Streams:
    """The streams of one client; `limit` items at most are handed over in one turn of the loop."""

    def __init__(self, loop: Loop, receiver: Receiver, limit: int) -> None:
        self._loop = loop
        self._receiver = receiver
        self._limit = limit
        self._pumps: dict[int, _Pump] = {}

    def open(self, token: int, method: Method, args: tuple[Any, ...]) -> None:
        self._pumps[token] = _Pump(self, token, method, args)

    def pause(self, token: int, paused: bool) -> None:
        pump = self._pumps.get(token)
        if pump is not None:
            pump.pause(paused)

    def cancel(self, token: int) -> bool:
        """Whether there was such a stream."""
        pump = self._pumps.get(token)
        if pump is not None:
            pump.cancel()
        return pump is not None

    async def close(self, within_s: float = 1.0) -> int:
        """Cancel all and wait for them to end; returns how many would not."""
        tasks = [pump.task for pump in self._pumps.values()]
        for pump in list(self._pumps.values()):
            pump.cancel()
        if not tasks:
            return 0
        _, pending = await asyncio.wait(tasks, timeout=within_s)
        return len(pending)


class _Pump:
    """One stream and the task that reads it."""

    def __init__(self, streams: Streams, token: int, method: Method, args: tuple[Any, ...]) -> None:
        self._streams = streams
        self._token = token
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._cancelled = False
        self.task = streams._loop.create_task(self._run(method, args))

    def pause(self, paused: bool) -> None:
        if paused:
            self._resumed.clear()
        else:
            self._resumed.set()

    def cancel(self) -> None:
        self._cancelled = True
        self.task.cancel()

    async def _run(self, method: Method, args: tuple[Any, ...]) -> None:
        receiver, token = self._streams._receiver, self._token
        try:
            items, error = await attempt(method, *args)
            if self._cancelled:
                await _closed(items)
                return
            receiver.opened(token, Outcome(None, error))
            if error is None:
                error = await self._pump(items)
                if not self._cancelled:
                    receiver.ended(token, error)
        finally:
            self._streams._pumps.pop(token, None)

    async def _pump(self, items: Any) -> Exception | None:
        """Read until the end; returns the error that ended it, if one did."""
        receiver, token, limit = self._streams._receiver, self._token, self._streams._limit
        handed_over = 0
        try:
            async for item in items:
                if self._cancelled:
                    return None
                receiver.item(token, item)
                handed_over += 1
                if handed_over % limit == 0:
                    await asyncio.sleep(0)
                if not self._resumed.is_set():
                    await self._resumed.wait()
        except asyncio.CancelledError:
            return CallCancelled("the account stream")
        except Exception as error:
            return error
        finally:
            await _closed(items)
        return None


async def _closed(items: Any) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await attempt(close)  # the stream is over either way, and how it ended is told elsewhere
