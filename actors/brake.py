"""After an exchange has said RateLimit: what waits, and for how long.

Opens are refused and questions put off for a while that doubles each time the exchange says it again. Cancels
pass: the budget that is left is theirs.
"""

from pipeline.client import ExecutionError
from pipeline.vocabulary import Error

PAUSE_MS = 250
PAUSE_LIMIT_MS = 8_000
_MILLI = 1_000_000


class Brake:
    """One account's brake; it is on until `until_ns`."""

    def __init__(self) -> None:
        self.until_ns = 0
        self.pause_ns = 0  # the last pause, 0 once the exchange has answered otherwise after it

    def hear(self, error: Exception | None, now_ns: int) -> None:
        """How a call ended. What was under way when the brake went on neither lengthens nor ends it."""
        if now_ns < self.until_ns:
            return
        if isinstance(error, ExecutionError) and error.error is Error.RateLimit:
            self.pause_ns = min(max(2 * self.pause_ns, PAUSE_MS * _MILLI), PAUSE_LIMIT_MS * _MILLI)
            self.until_ns = now_ns + self.pause_ns
        else:
            self.pause_ns = 0
