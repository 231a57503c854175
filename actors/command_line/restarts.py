"""When a process that died is started again: soon, then less and less often, and at some point not at all."""

from collections import deque
from typing import Final

FIRST_S: Final = 0.25
LONGEST_S: Final = 10.0
HEALTHY_S: Final = 60.0  # who lived this long begins with the shortest pause again
DEATHS_LIMIT: Final = 5
DEATHS_WITHIN_S: Final = 60.0


class Restarts:
    """The deaths of one process."""

    def __init__(self) -> None:
        self._pause_s = FIRST_S
        self._deaths: deque[float] = deque(maxlen=DEATHS_LIMIT)

    def after_death(self, began_s: float, now_s: float) -> float | None:
        """How long to wait before the next start; None when it dies again and again."""
        self._deaths.append(now_s)
        if len(self._deaths) == DEATHS_LIMIT and now_s - self._deaths[0] <= DEATHS_WITHIN_S:
            return None
        if now_s - began_s >= HEALTHY_S:
            self._pause_s = FIRST_S
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, LONGEST_S)
        return pause_s
