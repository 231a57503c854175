"""Virtual time: everything that is still to happen, in order of time and then of asking.

Nothing here reads a clock. Two runs that ask for the same things get the same order.
"""

from collections.abc import Callable
from heapq import heappop, heappush

START_NS = 1_000_000_000_000  # of the monotonic clock
WALL_NS = 1_700_000_000_000_000_000
MS = 1_000_000


class Timeline:
    """The monotonic clock of the host that is simulated, and its wall clock, which may be stepped."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.wall_ahead_ns = WALL_NS - START_NS
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns + self.wall_ahead_ns

    def venue_ns(self) -> int:
        """An exchange's wall clock: nobody steps that."""
        return self.now_ns + WALL_NS - START_NS

    def at(self, at_ns: int, action: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._heap, (max(at_ns, self.now_ns), self._count, action))

    def after(self, ms: float, action: Callable[[], None]) -> None:
        self.at(self.now_ns + int(ms * MS), action)

    def run_until(self, end_ns: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= end_ns:
            self.now_ns, _, action = heappop(heap)
            action()
        self.now_ns = end_ns
