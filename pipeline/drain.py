"""The time between the wish to stop and the stop: what is under way is brought to its end, within a bound.

Every actor is told once; the loop goes on for all of them, so that an executor still hears its exchange, the
feed and the acknowledgements of the merger beside it. It is over when all are drained, when the time is, or
when somebody is in a hurry.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from pipeline.station import Station

LOOK_S: Final = 0.005  # how often the actors are asked whether they are drained


class DrainLoop(Protocol):
    """What is needed of an event loop."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Any: ...
    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any: ...
    def time(self) -> float: ...
    def create_future(self) -> Any: ...


class Drain:
    """One drain of the actors of a process. `over` is a future: whether all were drained."""

    def __init__(self, loop: DrainLoop, stations: Sequence[Station], within_ms: int) -> None:
        self.over: Any = loop.create_future()
        self._loop = loop
        self._stations = stations
        self._until_s = loop.time() + within_ms / 1000
        for station in stations:
            station.begin_drain()
        self._look()

    def hurry(self) -> None:
        """Stop waiting; safe to repeat."""
        if not self.over.done():
            self.over.set_result(False)

    def _look(self) -> None:
        if self.over.done():
            return
        if all(station.drained() for station in self._stations):
            self.over.set_result(True)
        elif self._loop.time() >= self._until_s:
            self.hurry()
        else:
            self._loop.call_later(LOOK_S, self._look)
