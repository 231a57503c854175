"""What an actor is: plain synchronous code that is handed a message and the time, and fills an outbox.

An actor never awaits, reads a clock, draws a number from the system, or touches a socket or a database
handle. The host (host.py) drains an inbox, lets the actor handle the batch, calls `on_batch_end`, commits
its journal once, and only then sends what the outbox holds. A test or a simulation drives the same
methods by hand.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class Send(NamedTuple):
    """A frame for a link; `peer` is set on links that answer the one who asked."""

    link: str
    frame: bytes
    peer: bytes | None = None


class Call(NamedTuple):
    """A method of the actor's client, to be awaited by the host's lane; its outcome comes to
    `on_call_done`.
    """

    token: int
    method: str
    args: tuple[Any, ...]


class Stream(NamedTuple):
    """As a Call whose result is an async iterator: `on_call_done` when subscribed, `on_item` for each item,
    `on_stream_end` once when it ends."""

    token: int
    method: str
    args: tuple[Any, ...]


class Cancel(NamedTuple):
    """End a call or a stream that is still running; nothing more is heard of its token."""

    token: int


class Pause(NamedTuple):
    """Stop (or go on) reading a link or, by its token, a stream."""

    link: str | int
    paused: bool


class Stop(NamedTuple):
    """Stop this actor's process in an orderly way; `within_ms` bounds its drain (None: as the deployment
    says)."""

    reason: str
    within_ms: int | None = None


class HandOver(NamedTuple):
    """What an actor that stopped leaves to its next life: requests answered while it drained, orders that
    the exchange has, orders of which nobody knows."""

    settled: int
    left_open: int
    unknown: int


# Half the time of a NamedTuple's own constructor, and this is done for every frame.
_new = tuple.__new__

Action = Call | Stream | Cancel | Pause | Stop


class Outbox:
    """What an actor wants done once its journal is committed: frames in order, then calls."""

    def __init__(self) -> None:
        self.frames: list[Send] = []
        self.actions: list[Action] = []

    def send(self, link: str, frame: bytes) -> None:
        self.frames.append(_new(Send, (link, frame, None)))

    def reply(self, link: str, peer: bytes, frame: bytes) -> None:
        self.frames.append(Send(link, frame, peer))

    def call(self, token: int, method: str, *args: Any) -> None:
        self.actions.append(Call(token, method, args))

    def stream(self, token: int, method: str, *args: Any) -> None:
        self.actions.append(Stream(token, method, args))

    def cancel(self, token: int) -> None:
        self.actions.append(Cancel(token))

    def pause(self, link: str | int, paused: bool = True) -> None:
        self.actions.append(Pause(link, paused))

    def stop(self, reason: str, within_ms: int | None = None) -> None:
        self.actions.append(Stop(reason, within_ms))


class Journal(Protocol):
    """The rows an actor keeps. Writes are seen at once by `get` and `range`, and are safe after the
    batch's commit.
    """

    birth_id: int  # drawn when the journal was made: the epoch of its actor
    tail_lost: bool  # its last life may have let out more than it kept

    def put(self, table: str, row: tuple[Any, ...]) -> None: ...
    def get(self, table: str, key: Any) -> tuple[Any, ...] | None: ...
    def range(self, table: str, low: Any, high: Any, limit: int) -> list[tuple[Any, ...]]: ...
    def find(self, table: str, condition: str, *values: Any) -> list[tuple[Any, ...]]: ...
    def forget(self, table: str, low: Any, high: Any) -> None: ...


class Outcome(NamedTuple):
    """How a call ended: `value`, or `error` when it raised."""

    value: Any = None
    error: Exception | None = None


class Actor:
    """The contract, with a body that does nothing for what an actor has no use for."""

    name: str
    outbox: Outbox
    clock_settled = True  # the host says False while the wall clock has stepped away from the one we keep

    def on_start(self, now_ns: int, seed: int) -> None: ...

    def on_message(self, link: str, frame: bytes, now_ns: int) -> None: ...

    def on_question(self, link: str, peer: bytes, frame: bytes, now_ns: int) -> None: ...

    def on_call_done(self, token: int, outcome: Outcome, now_ns: int) -> None: ...

    def on_item(self, token: int, item: Any, now_ns: int) -> None: ...

    def on_stream_end(self, token: int, error: Exception | None, now_ns: int) -> None: ...

    def on_unsent(self, link: str, frames: list[bytes], now_ns: int) -> None:
        """Frames that a full link did not take, in order: the host keeps no queue of its own."""

    def on_dropped(self, link: str, count: int) -> None:
        """What came on a link and was no message: too large, or of the wrong number of parts."""

    def on_deadline(self, now_ns: int) -> None: ...

    def on_batch_end(self, now_ns: int) -> None: ...

    def next_deadline_ns(self) -> int | None:
        return None

    def on_drain(self, now_ns: int) -> None:
        """The process will stop: take on nothing new, bring to its end what is under way. Turns go on as
        before, in every actor of the process, until all are `drained` or the time for it is over.
        """

    def drained(self, now_ns: int) -> bool:
        """Whether nothing is under way that waiting could bring to its end. Asked after `on_drain`."""
        return True

    def on_stop(self, now_ns: int) -> None:
        """The last turn. What is still under way is written down here; no call is made any more."""

    def hand_over(self) -> HandOver | None:
        """What is left, asked once after `on_stop`; None for an actor that leaves nothing."""
        return None


Log = Callable[..., None]
