"""One timer of the loop for all deadlines of a process: set for the earliest, moved when an earlier comes.

It may ring when nothing is due any more, and never before the time it was asked for.
"""

from collections.abc import Callable
from typing import Any, Protocol

from pipeline.clock import Clock


class TimerLoop(Protocol):
    """What is needed of an event loop."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any: ...


class Alarm:
    """Calls `ring(now_ns)` when the earliest time asked for has come; then it must be asked again."""

    def __init__(self, loop: TimerLoop, clock: Clock, ring: Callable[[int], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._ring = ring
        self._handle: Any = None
        self._due_ns: int | None = None

    def ask(self, due_ns: int) -> None:
        if self._due_ns is not None and self._due_ns <= due_ns:
            return
        self.stop()
        self._due_ns = due_ns
        # The loop counts whole milliseconds. At least one: what is always overdue keeps nobody waiting.
        ahead_ms = max(1, -((self._clock.now_ns() - due_ns) // 1_000_000))
        self._handle = self._loop.call_later(ahead_ms / 1000, self._on_time)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._due_ns = None

    def _on_time(self) -> None:
        self._handle = self._due_ns = None
        self._ring(self._clock.now_ns())
