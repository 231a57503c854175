"""Requests on their way: their calls, their deadlines, and how long a call may outlive its deadline.

A flight counts against the in-flight limit until its call is over *and* its request is answered. All requests
of an exchange have the same timeout, so deadlines are due in the order in which they were set.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from actors.executor_state import Flight
from pipeline.actor import Outbox
from pipeline.deployment import Timing

_MILLI = 1_000_000


class Timed(Protocol):
    """A part of an executor that waits for a time."""

    def next_deadline_ns(self) -> int | None: ...


class Flights:
    """Every flight of one executor, by the token of its call, and the two clocks that run on it."""

    def __init__(self, timing: Timing, outbox: Outbox) -> None:
        self.count = 0
        self.settled = 0  # requests answered, of all times
        self._timeout_ns = timing.request_timeout_ms * _MILLI
        self._lifetime_ns = timing.call_lifetime_ms * _MILLI
        self._outbox = outbox
        self._token = 0
        self._calls: dict[int, Flight] = {}
        self._deadlines: deque[tuple[int, Flight]] = deque()
        self._lifetimes: deque[tuple[int, Flight]] = deque()
        self._given_up: list[Flight] = []

    def token(self) -> int:
        self._token += 1
        return self._token

    def register(self, flight: Flight, now_ns: int) -> None:
        """A request that is owed an answer from now on, whether its call has been made or waits."""
        self.count += 1
        self._deadlines.append((now_ns + self._timeout_ns, flight))

    def call(self, flight: Flight, method: str, *args: Any) -> None:
        """Make the call of a registered flight."""
        flight.token = self.token()
        self._calls[flight.token] = flight
        self._outbox.call(flight.token, method, *args)

    def launch(self, flight: Flight, now_ns: int, method: str, *args: Any) -> None:
        self.register(flight, now_ns)
        self.call(flight, method, *args)

    def landed(self, token: int) -> Flight | None:
        """The flight whose call has ended; None when it is none of ours."""
        flight = self._calls.pop(token, None)
        if flight is not None:
            self._over(flight)
        return flight

    def answered(self, flight: Flight) -> None:
        if not flight.answered:
            flight.answered = True
            self.settled += 1
            if flight.over:
                self.count -= 1

    def never_called(self, flight: Flight) -> None:
        """A flight whose call will not be made after all."""
        self._over(flight)

    def _over(self, flight: Flight) -> None:
        if not flight.over:
            flight.over = True
            if flight.answered:
                self.count -= 1

    def due(self, now_ns: int) -> Iterator[Flight]:
        """Flights whose request's time has run out; ends calls that have outlived theirs."""
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            _, flight = self._deadlines.popleft()
            if not flight.over:
                self._lifetimes.append((now_ns + self._lifetime_ns, flight))
            if not flight.answered:
                yield flight
        while self._lifetimes and self._lifetimes[0][0] <= now_ns:
            _, flight = self._lifetimes.popleft()
            if not flight.over and flight.token:
                self._calls.pop(flight.token, None)
                self._outbox.cancel(flight.token)
                self._over(flight)
                self._given_up.append(flight)

    def unanswered(self) -> list[Flight]:
        """Flights whose requests are owed an answer, oldest first."""
        return [flight for _, flight in self._deadlines if not flight.answered]

    def take_given_up(self) -> list[Flight]:
        """Flights whose calls `due` has ended since last asked."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def next_deadline_ns(self) -> int | None:
        if not self._deadlines:
            return self._lifetimes[0][0] if self._lifetimes else None
        first = self._deadlines[0][0]
        return min(first, self._lifetimes[0][0]) if self._lifetimes else first

    def tidy(self) -> None:
        """Forget the deadlines of what is settled, so that the queues hold what is on its way."""
        for queue in (self._deadlines, self._lifetimes):
            while queue and queue[0][1].over and queue[0][1].answered:
                queue.popleft()
