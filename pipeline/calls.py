"""An actor's client, on behalf of its station: the calls and streams asked for, and what they bring back.

What comes back waits here, in order, for the station's next turn. Calls that end in the same turn of the loop
are delivered together, so that they share a commit.
"""

from collections import deque
from typing import Any, Protocol

from pipeline.actor import Actor, Call, Cancel, Outcome, Stream
from pipeline.lane import CallCancelled, Lane, Loop, attempt
from pipeline.streams import Streams

_DONE, _ITEM, _ENDED = range(3)


class Attached(Protocol):
    """What a client holds open beside its own connections: see attachment.ClientLinks."""

    def close(self) -> None: ...


class Told(Protocol):
    """Who is told that something came back."""

    def arrived(self) -> None: ...


class Calls:
    """One client (None: an actor that has none), and everything that runs on it."""

    def __init__(self, loop: Loop, client: Any, station: Told, batch_limit: int) -> None:
        self.client = client
        self.links: Attached | None = None
        self._station = station
        self._lane = Lane(loop, self.opened)
        self._streams = Streams(loop, self, batch_limit)
        self._arrivals: deque[tuple[int, int, Any]] = deque()

    def __bool__(self) -> bool:
        """Whether something has come back."""
        return bool(self._arrivals)

    def do(self, action: Call | Stream | Cancel) -> None:
        """Take on what the outbox asks for; calls begin with `run`. AttributeError: no such method."""
        if isinstance(action, Call):
            self._lane.submit(action.token, getattr(self.client, action.method), action.args)
        elif isinstance(action, Stream):
            self._streams.open(action.token, getattr(self.client, action.method), action.args)
        elif not self._streams.cancel(action.token):
            self._lane.cancel(action.token)

    def pause(self, token: int, paused: bool) -> None:
        self._streams.pause(token, paused)

    def run(self) -> None:
        self._lane.run()

    def deliver(self, actor: Actor, now_ns: int) -> None:
        """Give the actor what has come back so far."""
        arrivals, self._arrivals = self._arrivals, deque()
        for what, token, value in arrivals:
            if what == _DONE:
                actor.on_call_done(token, value, now_ns)
            elif what == _ITEM:
                actor.on_item(token, value, now_ns)
            else:
                actor.on_stream_end(token, value, now_ns)

    async def close(self, within_s: float) -> list[str]:
        """End calls and streams, then the client, then what it left connected; returns what went wrong."""
        client, self.client = self.client, None
        problems = []
        left = await self._lane.close(within_s / 2) + await self._streams.close(within_s / 2)
        if left:
            problems.append(f"{left} calls of its client did not end when cancelled")
        self._arrivals.clear()
        if client is not None:
            error = (await attempt(client.close)).error
            if error is not None and not isinstance(error, CallCancelled):  # the host says that it was late
                problems.append(f"its client did not close: {type(error).__name__}: {error}")
        if self.links is not None:
            self.links.close()
        return problems

    # ------------------------------------------------------------------ what the lane and the streams tell

    def opened(self, token: int, outcome: Outcome) -> None:
        """A call is done, or a stream is open (or would not open)."""
        self._arrivals.append((_DONE, token, outcome))
        self._station.arrived()

    def item(self, token: int, item: Any) -> None:
        self._arrivals.append((_ITEM, token, item))
        self._station.arrived()

    def ended(self, token: int, error: Exception | None) -> None:
        self._arrivals.append((_ENDED, token, error))
        self._station.arrived()
