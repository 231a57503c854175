"""One actor's side of its link to the merger: number, keep until acknowledged, resend when nothing moves.

The merger takes only the next number of a source's newest epoch, so a frame that a link or a crash lost
is sent again from the oldest that is not acknowledged. What is kept is bounded: `room` says how much is
left, and an actor admits nothing whose consequences it could not keep.
"""

from collections import deque
from collections.abc import Iterable

from pipeline import headers
from pipeline.actor import Outbox
from pipeline.codec import KINDS, encode
from pipeline.messages import Event, Heartbeat

_RESEND_LIMIT = 512  # frames a resend sends at once
_RETRY_NS = 2_000_000  # when a full link is tried again


class Source:
    """The numbered frames of one actor (or one life of it: its `epoch`)."""

    def __init__(self, outbox: Outbox, source_id: int, epoch: int, limit: int, resend_after_ms: int) -> None:
        self.id = source_id
        self.epoch = epoch
        self.number = 0
        self.acknowledged = 0
        self.resends = 0
        self._outbox = outbox
        self._limit = limit
        self._resend_after_ns = resend_after_ms * 1_000_000
        self._kept: deque[tuple[int, bytes]] = deque()
        self._unsent_from: int | None = None  # a full link stopped us here
        self._due_ns: int | None = None
        self._lasting = False  # a journal keeps the frames, and its birth is their epoch

    def restore(self, rows: Iterable[tuple[int, bytes]], number: int, now_ns: int) -> None:
        """Take up what an earlier life left unacknowledged; `number` is the last it gave."""
        self._lasting = True
        self._kept.extend(rows)
        self.number = max(number, self._kept[-1][0] if self._kept else 0)
        self.acknowledged = self._kept[0][0] - 1 if self._kept else self.number
        self._due_ns = now_ns if self._kept else None

    @property
    def room(self) -> int:
        """How many more events can be kept."""
        return self._limit - len(self._kept)

    @property
    def unacknowledged(self) -> int:
        return len(self._kept)

    def emit(self, exchange: int, event: Event, now_ns: int) -> tuple[int, bytes]:
        """Give an event its number and send it. Returns the number and the frame, for a journal to keep."""
        self.number += 1
        kind = KINDS[type(event)]
        frame = headers.source(exchange, kind, self.id, self.epoch, self.number) + encode(event)
        if not self._kept and self._unsent_from is None:
            self._due_ns = now_ns + self._resend_after_ns
        self._kept.append((self.number, frame))
        if self._unsent_from is None:
            self._outbox.send("events", frame)
        return self.number, frame

    def on_heartbeat(self, heartbeat: Heartbeat, now_ns: int) -> int:
        """Drop what the merger has committed. Returns the number up to which that is now so."""
        for mark in heartbeat.acknowledged:
            if mark.source == self.id and mark.epoch > self.epoch and not self._lasting:
                self._begin_again(mark.epoch + 1, now_ns)
            if mark.source == self.id and mark.epoch == self.epoch and mark.number > self.acknowledged:
                self.acknowledged = mark.number
                while self._kept and self._kept[0][0] <= mark.number:
                    self._kept.popleft()
                if self._unsent_from is None or not self._kept:
                    self._due_ns = now_ns + self._resend_after_ns if self._kept else None
                if self._unsent_from is not None and self._unsent_from <= mark.number:
                    self._unsent_from = self._kept[0][0] if self._kept else None
        return self.acknowledged

    def _begin_again(self, epoch: int, now_ns: int) -> None:
        """A life before this one had a later stamp, since the wall clock was stepped back: the merger takes
        nothing of ours, so all of it is said again under a stamp that is later still.
        """
        self.epoch = epoch
        self._kept = deque((number, headers.with_epoch(frame, epoch)) for number, frame in self._kept)
        self._unsent_from = None
        self._due_ns = now_ns if self._kept else None

    def on_unsent(self, frames: list[bytes], now_ns: int) -> None:
        """The link is full: nothing more is sent until it is tried again from the first that it did not
        take.
        """
        first = headers.read_source(frames[0]).number
        self._unsent_from = first if self._unsent_from is None else min(first, self._unsent_from)
        self._due_ns = now_ns + _RETRY_NS

    def next_deadline_ns(self) -> int | None:
        return self._due_ns

    def on_deadline(self, now_ns: int) -> None:
        """Send again: from where a full link stopped us, or everything not acknowledged for too long."""
        if self._due_ns is None or now_ns < self._due_ns:
            return
        start = self._unsent_from
        self._unsent_from = None
        if start is None:
            self.resends += 1
        sent = 0
        for number, frame in self._kept:
            if start is not None and number < start:
                continue
            if sent == _RESEND_LIMIT:
                self._unsent_from = number
                break
            # The oldest says that it is: a merger that lost its journal goes on from there.
            self._outbox.send("events", headers.as_first(frame) if number == self._kept[0][0] else frame)
            sent += 1
        if self._unsent_from is not None:
            self._due_ns = now_ns + _RETRY_NS
        else:
            self._due_ns = now_ns + self._resend_after_ns if self._kept else None
