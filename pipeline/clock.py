"""The time that a process gives its actors: UTC nanoseconds that never go backwards and never jump.

It runs with the monotonic clock. `check`, called about once a second, steers it towards the wall clock by at
most `SLEW_PPM_MAX`, so that a deadline keeps its meaning whatever a person or a time server does to the wall
clock. While the two are further apart than `step_ms`, `settled` is False.
"""

import time
from collections.abc import Callable
from typing import Final

SLEW_PPM_MAX: Final = 500
CHECK_EVERY_MS: Final = 1_000
STEP_MS: Final = 500


class Clock:
    """UTC by the monotonic clock, slewed."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        step_ms: int = STEP_MS,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._step_ns = step_ms * 1_000_000
        self._base_monotonic_ns = monotonic_ns()
        self._base_ns = wall_ns()
        self._slew_ppm = 0
        self.settled = True  # the wall clock is where we think it is, give or take step_ms
        self.steps = 0  # how often the wall clock was found to have stepped

    def now_ns(self) -> int:
        elapsed_ns = self._monotonic_ns() - self._base_monotonic_ns
        return self._base_ns + elapsed_ns + elapsed_ns * self._slew_ppm // 1_000_000

    def check(self) -> None:
        """Compare with the wall clock and choose the slew until the next check."""
        now_ns, monotonic_ns = self.now_ns(), self._monotonic_ns()
        ahead_ns = self._wall_ns() - now_ns
        if self.settled and abs(ahead_ns) > self._step_ns:
            self.steps += 1
        self.settled = abs(ahead_ns) <= self._step_ns
        # The rate that would close the distance by the next check, in parts per million.
        wanted_ppm = ahead_ns // CHECK_EVERY_MS
        self._base_ns, self._base_monotonic_ns = now_ns, monotonic_ns
        self._slew_ppm = max(-SLEW_PPM_MAX, min(SLEW_PPM_MAX, wanted_ppm))
