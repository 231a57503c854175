"""The way of a call through the exchange: in, acted upon, answered, told to the streams.

The order path's faults strike here. Half of a drawn latency passes before a call acts and half before its
answer leaves; at zero latency both happen where the call comes in.
"""

import random
from collections.abc import Callable
from typing import Final

from actors.exchange import wire
from actors.exchange.calls import MS, Calls
from actors.exchange.faults import Faults
from actors.exchange.listing import Rejection
from actors.exchange.settings import Range
from actors.exchange.timers import Timers
from pipeline.messages import Message
from pipeline.vocabulary import Error

_WORDS: Final[dict[type[Message], str]] = {wire.Open: "open", wire.Cancel: "cancel"}


def draw_ns(source: random.Random, latency: Range) -> int:
    """A latency, in nanoseconds."""
    return int(source.uniform(latency.min, latency.max) * MS) if latency.max else 0


class Gateway:
    """Serves calls. `told` is run after each, `ended` when an answer broke off and the streams with it."""

    def __init__(
        self,
        calls: Calls,
        faults: Faults,
        timers: Timers,
        count: Callable[[str], None],
        latency_ns: Callable[[], int],
        send: Callable[[bytes, int, Message], None],
        told: Callable[[int], None],
        ended: Callable[[str], None],
    ) -> None:
        self._calls = calls
        self._faults = faults
        self._timers = timers
        self._count = count
        self._latency_ns = latency_ns
        self._send = send
        self._told = told
        self._ended = ended
        self._clock_ns = 0
        self._rate: tuple[int, int] = (0, 0)  # the second that runs, and the calls in it

    def start(self, clock_ns: int) -> None:
        """What happens from here on is not before this."""
        self._clock_ns = clock_ns

    def take(self, peer: bytes, token: int, body: Message, now_ns: int) -> None:
        """A call that has come in."""
        half_ns = self._latency_ns() // 2
        if not half_ns:
            self._serve(peer, token, body, 0, now_ns)
        elif self._timers.full:
            self._send(peer, token, wire.Refusal(Error.RateLimit, "too many calls are waiting here", False))
        else:
            self._timers.at(
                now_ns + half_ns, lambda then_ns: self._serve(peer, token, body, half_ns, then_ns)
            )

    def clock(self, now_ns: int) -> int:
        """The time of what happens now: as the exchange's clock shows, but never back."""
        self._clock_ns = max(self._clock_ns, self._shown(now_ns))
        return self._clock_ns

    def _shown(self, now_ns: int) -> int:
        return now_ns + (self._faults.number("clock_skew", "ms") or 0) * MS

    def _serve(self, peer: bytes, token: int, body: Message, half_ns: int, now_ns: int) -> None:
        self._count("calls")
        word = _WORDS.get(type(body), "")
        if word and self._faults.strikes("drop_before_accept", word):
            return
        answer: Message | list[Message]
        try:
            self._check_rate(now_ns)
            answer = self._calls.answer(body, self.clock(now_ns), self._shown(now_ns))
        except Rejection as rejection:
            self._count("rejected")
            answer = wire.Refusal(rejection.error, rejection.detail[:200], False)
            self._leave(peer, token, [answer], half_ns + self._delay_ns(""), now_ns)
            return
        if word:
            self._count("opens" if word == "open" else "cancels")
            if self._faults.strikes("error_after_accept", word):
                answer = wire.Refusal(Error.ExchangeOffline, "503 after the exchange had acted", True)
        if not (word and self._faults.strikes("accept_then_no_reply", word)):
            parts = answer if isinstance(answer, list) else [answer]
            self._leave(peer, token, parts, half_ns + self._delay_ns(word), now_ns)
        self._told(now_ns)

    def _leave(self, peer: bytes, token: int, parts: list[Message], wait_ns: int, now_ns: int) -> None:
        if self._faults.strikes("duplicate_reply"):
            parts = parts * 2
        if wait_ns:
            self._timers.at(now_ns + wait_ns, lambda _: self._answer(peer, token, parts))
        else:
            self._answer(peer, token, parts)

    def _answer(self, peer: bytes, token: int, parts: list[Message]) -> None:
        for part in parts:
            self._send(peer, token, part)
            if isinstance(part, wire.Disconnected):
                self._ended(part.detail)

    def _delay_ns(self, word: str) -> int:
        """How late an answer leaves; `word` is set for an open or a cancel that was done."""
        if not self._faults.on:
            return 0
        delay_ms = self._faults.number("delay", "ms") or 0
        if delay_ms:
            self._faults.strikes("delay")
        late_ms = self._faults.number("late_reply", "ms") or 0
        if late_ms and not (word and self._faults.strikes("late_reply", word)):
            late_ms = 0
        return (delay_ms + late_ms) * MS

    def _check_rate(self, now_ns: int) -> None:
        per_s = self._faults.number("rate_limit", "per_s")
        if per_s is None:
            return
        second = now_ns // (1_000 * MS)
        count = self._rate[1] + 1 if self._rate[0] == second else 1
        self._rate = (second, count)
        if count > per_s:
            raise Rejection(Error.RateLimit, f"more than {per_s} calls a second")
