"""A wire on the loop: what arrives is handed over in batches, and no edge of its descriptor is lost.

The descriptor signals a change once, and a send on a two-way socket may swallow that signal. So one more
drain is scheduled after the reader was added, when a batch ended by its limit, and by `nudge` after a send.
"""

from collections.abc import Callable
from typing import Any, Protocol

from pipeline.sockets import Wire


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Any: ...
    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Any: ...
    def remove_reader(self, fd: Any) -> bool: ...


class Reader:
    """Drains one wire, at most `limit` frames at a time, into `handle`."""

    def __init__(self, loop: Loop, wire: Wire, limit: int, handle: Callable[[list[Any]], None]) -> None:
        self.wire = wire
        self.limit = limit
        self._loop = loop
        self._handle = handle
        self._take: Callable[[int], list[Any]] = wire.take_from if wire.replies else wire.take
        self._reading = False
        self._again = False  # a drain is scheduled

    def resume(self) -> None:
        """Read, from now on; safe to repeat."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self.wire.fd, self.drain)
            self._schedule()

    def pause(self) -> None:
        """Read no more until `resume`; safe to repeat."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.wire.fd)

    def nudge(self) -> None:
        """To be called after a send on a wire that also receives."""
        if self._reading and not self._again and self.wire.readable():
            self._schedule()

    def drain(self) -> bool:
        """Take one batch now; whether there is more."""
        if not self._reading:
            return False
        taken = self._take(self.limit)
        if not self.wire.drained:
            self._schedule()
        if taken:
            self._handle(taken)
        return not self.wire.drained

    def _schedule(self) -> None:
        if not self._again:
            self._again = True
            self._loop.call_soon(self._drain_again)

    def _drain_again(self) -> None:
        self._again = False
        self.drain()
