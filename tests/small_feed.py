"""A merger as its readers see it: numbers, heartbeats, replay, state. And a listener that checks it all."""

from pipeline import headers
from pipeline.codec import decode_as, encode
from pipeline.control import ExchangeState, ReplayChunk, ReplayQuery, StateChunk
from pipeline.headers import CONTROL_SIZE, Kind
from pipeline.messages import NO_EXCHANGE, ExchangeMark, Heartbeat, Stuck
from pipeline.vocabulary import Role


class SmallFeed:
    """Publishes events of a few exchanges, keeps the newest, answers questions."""

    def __init__(self, exchanges=2, parts=2, chunk_limit=1_000, synced=True):
        self.feed_id = 1_000
        self.exchanges = exchanges
        self.parts = parts
        self.chunk_limit = chunk_limit
        self.synced = synced
        self.unwritable = False
        self._begin()

    def _begin(self):
        self.frames = []  # (number, exchange, frame)
        self.seq = 0
        self.oldest = 1
        self.numbers = dict.fromkeys([*range(self.exchanges), NO_EXCHANGE], 0)

    def become_another(self):
        self.feed_id += 1
        self._begin()

    def publish(self, exchange, event=None):
        """Number an event and return its frame."""
        self.seq += 1
        self.numbers[exchange] += 1
        event = event or Stuck(instrument=0, cid=str(self.seq), since_ns=0)
        kind = Kind[type(event).__name__]
        numbers = (self.feed_id, self.seq, self.numbers[exchange], 0)
        frame = headers.feed(exchange, kind, Role.EXECUTOR, *numbers) + encode(event)
        self.frames.append((self.seq, exchange, frame))
        return frame

    def forget(self, keep):
        self.oldest = max(self.oldest, self.seq - keep + 1)
        self.frames = [kept for kept in self.frames if kept[0] >= self.oldest]

    def heartbeat(self):
        marks = [ExchangeMark(exchange, number, 0) for exchange, number in self.numbers.items()]
        body = Heartbeat(last_seq=self.seq, exchanges=marks, acknowledged=[], unwritable=self.unwritable)
        return headers.feed(NO_EXCHANGE, Kind.Heartbeat, Role.MERGER, self.feed_id, self.seq, 0, 0) + encode(
            body
        )

    def answer(self, question):
        """The frames that answer a question, in order."""
        header = headers.read_control(question)
        if header.kind == Kind.ReplayQuery:
            bodies = [self._replay(decode_as(ReplayQuery, question, CONTROL_SIZE), header.exchange)]
            kind = Kind.ReplayChunk
        else:
            bodies = self._state(header.exchange)
            kind = Kind.StateChunk
        head = headers.control(header.exchange, kind, header.fingerprint, header.token)
        return [head + encode(body) for body in bodies]

    def _replay(self, query, exchange):
        if query.feed_id != self.feed_id or query.after > self.seq:
            return self._chunk(query, query.after, [])
        kept = [held for held in self.frames if held[0] > query.after][: min(query.limit, self.chunk_limit)]
        through = kept[-1][0] if kept else query.after
        return self._chunk(query, through, [f for _, of, f in kept if exchange in (NO_EXCHANGE, of)])

    def _chunk(self, query, through, frames):
        numbers = (self.feed_id, query.after, through, self.seq, self.oldest)
        return ReplayChunk(*numbers, frames)

    def _state(self, exchange):
        wanted = [of for of in self.numbers if exchange in (NO_EXCHANGE, of)]
        states = [ExchangeState(of, self.numbers[of], 1, self.synced, False) for of in wanted]
        return [
            StateChunk(self.feed_id, self.seq, part + 1, self.parts, states) for part in range(self.parts)
        ]


class CheckingListener:
    """Asserts that every number comes once, in order, after the state or number it began with."""

    def __init__(self, exchange, feed, resumed=None):
        self.exchange, self.feed = exchange, feed
        self.feed_id, self.number = resumed or (0, None)
        self.heard, self.resets, self.parts, self.heartbeats = [], [], 0, 0

    def on_event(self, header, frame, now_ns):
        assert self.number is not None, "an event before the state that it follows"
        number = header.seq if self.exchange is None else header.exchange_seq
        assert (header.feed_id, number) == (self.feed_id, self.number + 1)
        assert self.exchange in (None, header.exchange)
        self.number = number
        self.heard.append(number)

    def on_heartbeat(self, heartbeat, now_ns):
        self.heartbeats += 1

    def on_state(self, chunk, now_ns):
        self.parts = 1 if chunk.part == 1 else self.parts + 1
        assert chunk.part == self.parts
        if chunk.part == chunk.parts:
            self.feed_id, self.number = chunk.feed_id, chunk.seq
            if self.exchange is not None:
                self.number = {e.exchange: e.exchange_seq for e in chunk.exchanges}[self.exchange]

    def on_reset(self, feed_id, previous_feed_id, now_ns):
        assert previous_feed_id == self.feed_id
        self.resets.append(feed_id)
        self.feed_id, self.number = 0, None
