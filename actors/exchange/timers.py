"""What an actor will do later: actions at times, in order of time and then of asking. Bounded."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

TIMERS_LIMIT: Final = 100_000
Action = Callable[[int], None]


class Timers:
    """A heap of actions; the owner asks `next_ns` and calls `run` then."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Action]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def full(self) -> bool:
        return len(self._heap) >= TIMERS_LIMIT

    def at(self, at_ns: int, action: Action) -> None:
        self._count += 1
        heappush(self._heap, (at_ns, self._count, action))

    def next_ns(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def run(self, now_ns: int) -> None:
        """Do everything that is due, each with `now_ns`."""
        while self._heap and self._heap[0][0] <= now_ns:
            heappop(self._heap)[2](now_ns)
