"""Which requests of a session were answered: exact, small, and fit for a journal's row.

Requests count from 1 and are answered nearly in order, so what is missing below the highest answered is a few
ranges. An answer is news exactly once.
"""

from bisect import bisect_right

_RANGE_LIMIT = 65_536


class AnsweredRids:
    """The set of answered rids of one session, as the highest and the ranges below it that are missing."""

    def __init__(self, text: str = "") -> None:
        high, _, rest = text.partition(" ")
        self.high = int(high or 0)
        pairs = [part.partition("-") for part in rest.split()]
        self._lows = [int(low) for low, _, _ in pairs]
        self._highs = [int(high or low) for low, _, high in pairs]

    def add(self, rid: int) -> bool:
        """Whether `rid` was not yet answered; from now on it is."""
        if rid > self.high:
            if rid > self.high + 1:
                self._lows.append(self.high + 1)
                self._highs.append(rid - 1)
                self._keep_to_limit()
            self.high = rid
            return True
        at = bisect_right(self._lows, rid) - 1
        if at < 0 or rid > self._highs[at]:
            return False
        low, high = self._lows[at], self._highs[at]
        if low == high:
            del self._lows[at], self._highs[at]
        elif rid == low:
            self._lows[at] = rid + 1
        elif rid == high:
            self._highs[at] = rid - 1
        else:
            self._highs[at] = rid - 1
            self._lows.insert(at + 1, rid + 1)
            self._highs.insert(at + 1, high)
            self._keep_to_limit()
        return True

    def _keep_to_limit(self) -> None:
        if len(self._lows) > _RANGE_LIMIT:
            # Requests lost this long ago are not waited for any more.
            del self._lows[0], self._highs[0]

    @property
    def missing_ranges(self) -> int:
        return len(self._lows)

    def __str__(self) -> str:
        ranges = (f"{a}-{b}" if b > a else str(a) for a, b in zip(self._lows, self._highs, strict=True))
        return " ".join((str(self.high), *ranges))
