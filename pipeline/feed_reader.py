"""A reader's side of the feed: every frame once, in order, gaps noticed and replayed.

The feed is PUB to SUB, so frames may be missing; the numbers say which, the heartbeat says how far it has
come, and the merger's journal has them. A reader of one exchange counts that exchange's numbers. What
arrives while a replay is under way waits, up to a limit, for the replay to reach it.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pipeline import headers
from pipeline.codec import BodyError, decode_as, encode
from pipeline.control import ReplayChunk, ReplayQuery, StateChunk, StateQuery
from pipeline.headers import FeedHeader, Kind
from pipeline.messages import NO_EXCHANGE, Heartbeat, Message

_ASK_AGAIN_NS = 1_000_000_000
_HELD_LIMIT = 8192  # live frames that wait while a replay is under way; the oldest give way to the newest


class FeedListener(Protocol):
    """Who reads."""

    def on_event(self, header: FeedHeader, frame: bytes, now_ns: int) -> None: ...

    def on_heartbeat(self, heartbeat: Heartbeat, now_ns: int) -> None: ...

    def on_state(self, chunk: StateChunk, now_ns: int) -> None:
        """One part of the state snapshot that the reader begins with, or begins again with after
        `on_reset`.
        """

    def on_reset(self, feed_id: int, previous_feed_id: int, now_ns: int) -> None:
        """The feed is another one: what was known by its numbers is void, a state snapshot follows."""


class FeedReader:
    """Joins the feed, follows it, and fills its own gaps by asking through `ask(frame)`.

    `exchange` None reads the whole feed. `resume` (feed_id, seq, exchange_seq) goes on after that number;
    without it the reader begins with a state snapshot. `state_too`: so it does when it resumes, for a
    listener whose own tables did not survive.
    """

    def __init__(
        self,
        listener: FeedListener,
        ask: Callable[[bytes], None],
        fingerprint: int,
        exchange: int | None = None,
        resume: tuple[int, int, int] | None = None,
        state_too: bool = False,
    ) -> None:
        self.feed_id, self.seq, self.exchange_seq = resume or (0, 0, 0)
        self.joined = False  # every frame up to `seq` was handled, and live ones follow
        self._begun = False  # it was joined once since it last began
        self._parted_at_ns = 0  # when it was last joined, if it is not
        self.heard_at_ns = 0  # the last heartbeat
        self.unwritable = False
        self.gaps = 0
        self.replayed = 0
        self.refused_frames = 0
        self._listener = listener
        self._ask = ask
        self._fingerprint = fingerprint
        self._exchange = exchange
        self._token = 0
        self._asked_at_ns: int | None = None
        self._parts = 0
        self._held: deque[tuple[FeedHeader, bytes]] = deque(maxlen=_HELD_LIMIT)
        self._any_feed_id = resume is not None and resume[0] == 0  # resumed by number alone
        self._state_too = state_too and resume is not None

    def on_frame(self, frame: bytes, now_ns: int) -> None:
        """A frame of the SUB socket."""
        try:
            header = headers.read_feed(frame)
        except headers.HeaderError:
            self.refused_frames += 1
            return
        if header.kind == Kind.Heartbeat:
            self._on_heartbeat(header, frame, now_ns)
        elif self._exchange is not None and header.exchange != self._exchange:
            return  # said of the deployment as a whole, beside the heartbeat's prefix
        elif not self.joined:
            self._held.append((header, frame))
        elif header.feed_id == self.feed_id:
            self._on_live(header, frame, now_ns)

    def on_answer(self, frame: bytes, now_ns: int) -> None:
        """A frame of the replay link: a chunk of feed frames, or of the state."""
        try:
            header = headers.read_control(frame)
            if header.token != self._token:
                return  # an answer to a question that was given up
            if header.kind == Kind.ReplayChunk:
                self._on_replay(decode_as(ReplayChunk, frame, headers.CONTROL_SIZE), now_ns)
            elif header.kind == Kind.StateChunk:
                self._on_state(decode_as(StateChunk, frame, headers.CONTROL_SIZE), now_ns)
        except (headers.HeaderError, BodyError):
            self.refused_frames += 1

    def next_deadline_ns(self) -> int | None:
        return None if self._asked_at_ns is None else self._asked_at_ns + _ASK_AGAIN_NS

    def on_deadline(self, now_ns: int) -> None:
        """A question without an answer is put again."""
        if self._asked_at_ns is not None and now_ns >= self._asked_at_ns + _ASK_AGAIN_NS:
            self._begin(now_ns)

    def stale(self, now_ns: int, feed_stale_ms: int) -> bool:
        """Whether the feed cannot be trusted to tell what happens: silent for too long, or not being kept.

        A gap that is being replayed does not make it so, unless that takes as long: nothing is lost by it,
        only late.
        """
        heard_at_ns = self.heard_at_ns if self.joined else min(self.heard_at_ns, self._parted_at_ns)
        return not self._begun or self.unwritable or now_ns - heard_at_ns > feed_stale_ms * 1_000_000

    # ---------------------------------------------------------------------------------- joining and gaps

    def _begin(self, now_ns: int) -> None:
        """Ask for what is missing: the state if there is no number to go on from, else a replay."""
        if self.joined:
            self.joined = False
            self._parted_at_ns = now_ns
        self._parts = 0
        if self.feed_id and not self._state_too:
            self._question(ReplayQuery(feed_id=self.feed_id, after=self.seq), Kind.ReplayQuery, now_ns)
        else:
            self._question(StateQuery(), Kind.StateQuery, now_ns)

    def _start_over(self, feed_id: int, now_ns: int) -> None:
        """What was read leads nowhere any more: begin again with the state as it is now."""
        previous, self.feed_id, self.seq, self.exchange_seq = self.feed_id, 0, 0, 0
        self._begun = self._state_too = False
        self._listener.on_reset(feed_id, previous, now_ns)
        self._begin(now_ns)

    def _question(self, body: Message, kind: Kind, now_ns: int) -> None:
        self._token += 1
        self._asked_at_ns = now_ns
        exchange = NO_EXCHANGE if self._exchange is None else self._exchange
        self._ask(headers.control(exchange, kind, self._fingerprint, self._token) + encode(body))

    def _on_heartbeat(self, header: FeedHeader, frame: bytes, now_ns: int) -> None:
        try:
            heartbeat = decode_as(Heartbeat, frame, headers.FEED_SIZE)
        except BodyError:
            self.refused_frames += 1
            return
        self.heard_at_ns = now_ns
        self.unwritable = heartbeat.unwritable
        if self._any_feed_id and self.seq <= heartbeat.last_seq:
            self.feed_id = header.feed_id
        void = (self._any_feed_id or self.feed_id != 0) and header.feed_id != self.feed_id
        self._any_feed_id = False
        if void:
            self._start_over(header.feed_id, now_ns)
        elif not self.joined:
            if self._asked_at_ns is None:
                self._begin(now_ns)
        elif self._behind(heartbeat):
            self.gaps += 1
            self._begin(now_ns)
        self._listener.on_heartbeat(heartbeat, now_ns)

    def _behind(self, heartbeat: Heartbeat) -> bool:
        if self._exchange is None:
            return heartbeat.last_seq > self.seq
        return any(
            mark.exchange == self._exchange and mark.exchange_seq > self.exchange_seq
            for mark in heartbeat.exchanges
        )

    def _on_live(self, header: FeedHeader, frame: bytes, now_ns: int) -> None:
        if self._exchange is None:
            number, last = header.seq, self.seq
        else:
            number, last = header.exchange_seq, self.exchange_seq
        if number == last + 1:
            self._take(header, frame, now_ns)
        elif number > last:
            self.gaps += 1
            self._held.append((header, frame))
            self._begin(now_ns)

    def _take(self, header: FeedHeader, frame: bytes, now_ns: int) -> None:
        self.seq, self.exchange_seq = header.seq, header.exchange_seq
        self._listener.on_event(header, frame, now_ns)

    def _follows(self, header: FeedHeader) -> bool:
        if self._exchange is None:
            return header.seq == self.seq + 1
        return header.exchange_seq == self.exchange_seq + 1

    def _join(self, now_ns: int) -> None:
        """The replay is through: go on with what arrived meanwhile (a gap in it begins another replay)."""
        self.joined = self._begun = True
        waiting, self._held = self._held, deque(maxlen=_HELD_LIMIT)
        for header, frame in waiting:
            if not self.joined:
                self._held.append((header, frame))
            elif header.feed_id == self.feed_id:
                self._on_live(header, frame, now_ns)

    def _on_replay(self, chunk: ReplayChunk, now_ns: int) -> None:
        if chunk.feed_id != self.feed_id or chunk.after != self.seq:
            return
        if chunk.oldest > self.seq + 1 or chunk.last < self.seq:
            # What we missed is no longer kept, or our number was never given.
            self._start_over(chunk.feed_id, now_ns)
            return
        for frame in chunk.frames:
            header = headers.read_feed(frame)
            if not self._follows(header):
                self._start_over(chunk.feed_id, now_ns)
                return
            self.replayed += 1
            self._take(header, frame, now_ns)
        self.seq = max(self.seq, chunk.through)
        self._asked_at_ns = None
        if self.seq < chunk.last:
            self._begin(now_ns)
        else:
            self._join(now_ns)

    def _on_state(self, chunk: StateChunk, now_ns: int) -> None:
        if chunk.part != self._parts + 1:
            self._begin(now_ns)
            return
        self._parts = chunk.part
        self._listener.on_state(chunk, now_ns)
        if chunk.part == chunk.parts:
            if self._state_too and chunk.feed_id == self.feed_id:
                self._state_too = False  # what was published since our number is still to come
                self._begin(now_ns)
                return
            self.feed_id, self.seq = chunk.feed_id, chunk.seq
            self.exchange_seq = self._exchange_number(chunk)
            # What was published since the state was taken may have passed before we were ready for it.
            self._begin(now_ns)

    def _exchange_number(self, chunk: StateChunk) -> int:
        return next((e.exchange_seq for e in chunk.exchanges if e.exchange == self._exchange), 0)
