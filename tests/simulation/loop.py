"""One process's event loop on virtual time: as much of asyncio's as hosts, stations, lanes and clients use.

A process runs only when its loop is woken; then all that is ready runs, one callback after the other. A
turn may cost time, during which frames pile up into batches. A stopped process (SIGSTOP) keeps what is due
until it is continued; a dead one forgets it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any

from tests.simulation.timeline import MS, Timeline

TURNS_LIMIT = 200_000  # callbacks in a row without any time passing: somebody never rests


class Killed(SystemExit):
    """The process ends here and now: between two instructions, as with SIGKILL."""


class Livelock(Exception):
    """A loop that never comes to rest."""


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("args", "callback", "cancelled", "context")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> None:
        if self.cancelled:
            return
        if self.context is None:
            self.callback(*self.args)
        else:
            self.context.run(self.callback, *self.args)


class ProcessLoop(asyncio.AbstractEventLoop):
    """The loop of one process. `on_killed` is told when something on it raised Killed."""

    def __init__(
        self, timeline: Timeline, random: Random, turn_ms: float, on_killed: Callable[[], None]
    ) -> None:
        self.dead = False
        self.stopped = False
        self.complaints: list[str] = []
        self._timeline = timeline
        self._random = random
        self._turn_ms = turn_ms
        self._on_killed = on_killed
        self._ready: deque[Handle] = deque()
        self._readers: dict[int, Callable[[], None]] = {}
        self._busy_until_ns = 0
        self._waking = False

    # ------------------------------------------------------------------ what the simulation does to it

    def wake(self) -> None:
        """Something is ready: run it, now or when the process is free again."""
        if self.dead or self.stopped or self._waking or not self._ready:
            return
        if self._busy_until_ns > self._timeline.now_ns:
            self._waking = True
            self._timeline.at(self._busy_until_ns, self._wake_later)
            return
        self._run()

    def proceed(self) -> None:
        """Continue after a stop."""
        self.stopped = False
        self.wake()

    def kill(self) -> None:
        self.dead = True
        self._ready.clear()
        self._readers.clear()

    def readable(self, fd: int) -> None:
        """Something arrived on a wire."""
        reader = self._readers.get(fd)
        if reader is not None:
            self._ready.append(Handle(reader, (), None))
        self.wake()

    def _wake_later(self) -> None:
        self._waking = False
        self.wake()

    def _run(self) -> None:
        asyncio._set_running_loop(self)
        try:
            for _ in range(TURNS_LIMIT):
                if not self._ready or self.stopped:
                    break
                self._ready.popleft().run()
            else:
                raise Livelock("a process never comes to rest")
        except Killed:
            self._on_killed()
        finally:
            asyncio._set_running_loop(None)
        if self._turn_ms:
            self._busy_until_ns = self._timeline.now_ns + int(self._random.uniform(0, self._turn_ms) * MS)

    # ------------------------------------------------------------------ what runs on it asks for

    def time(self) -> float:
        return self._timeline.now_ns / 1e9

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(callback, args, context)
        if not self.dead:
            self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(callback, args, context)
        self._timeline.at(self._timeline.now_ns + int(max(0.0, delay) * 1e9), lambda: self._due(handle))
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _due(self, handle: Handle) -> None:
        if not self.dead and not handle.cancelled:
            self._ready.append(handle)
            self.wake()

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        self._readers[fd] = lambda: callback(*args)

    def remove_reader(self, fd: Any) -> bool:
        return self._readers.pop(fd, None) is not None

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead and not isinstance(context.get("exception"), Killed):
            self.complaints.append(str(context.get("message")))
