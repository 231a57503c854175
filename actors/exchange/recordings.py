"""The market from recordings: raw Binance spot frames, `<receive time, ns> <json>` a line, from a `.gz`.

The order of lines is the timeline and the first line is now; stamps only say how long to wait, and time
never goes back. The file is never in memory as a whole. Best bid/ask, depth differences, trades and the
REST depth snapshot are understood, other lines are passed over. The book shows what was recorded, less
what our orders took until the recording next speaks of that level; our orders never move the recording.
Resting orders match its trades only. Prices and quantities off the instrument's steps are rounded away
from us.
"""

import gzip
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from actors.exchange.account import exact
from actors.exchange.listing import Listing
from actors.exchange.market import Clock
from actors.exchange.matching import Matching
from actors.exchange.settings import Recordings
from pipeline.amounts import parse
from pipeline.deployment import ConfigError
from pipeline.vocabulary import Side

_LINES_PER_TURN: Final = 500
_LINE_LIMIT: Final = 4 * 1024 * 1024
_PENDING_LIMIT: Final = 1_000  # depth differences kept until the first snapshot is there
_LOOP_PAUSE_NS: Final = 1_000_000
_Pairs = list[tuple[str, str]]


class _Data(Struct):
    """bookTicker, depthUpdate or trade, as in Binance's spot API, "WebSocket Streams"."""

    e: str = ""
    u: int = 0  # last update id
    b: str | _Pairs = ""
    bid_quantity: str = field(default="", name="B")
    a: str | _Pairs = ""
    ask_quantity: str = field(default="", name="A")
    p: str = ""
    q: str = ""
    m: bool = False  # the buyer was the maker


class _Frame(Struct):
    data: _Data | None = None
    last_update_id: int | None = field(default=None, name="lastUpdateId")
    bids: _Pairs = field(default_factory=list)
    asks: _Pairs = field(default_factory=list)


_decode: Final = msgspec.json.Decoder(_Frame).decode


class _Lines:
    """The lines of one file, again and again if it loops: (due time, frame)."""

    def __init__(self, path: Path, loop: bool, speed: float) -> None:
        self.path = path
        self.loop = loop
        self.speed = speed
        self.number = 0
        self.rounds = 0

    def frames(self, start_ns: int) -> Iterator[tuple[int, _Frame]]:
        due_ns = start_ns
        while True:
            base_ns, first = due_ns, None
            for stamp, frame in self._read():
                first = stamp if first is None else first
                due_ns = max(due_ns, base_ns + int((stamp - first) / self.speed))
                yield due_ns, frame
            if first is None:
                raise ConfigError(f"{self.path}: an empty recording; give one that has lines")
            if not self.loop:
                return
            self.rounds += 1
            due_ns += _LOOP_PAUSE_NS

    def _read(self) -> Iterator[tuple[int, _Frame]]:
        self.number = 0
        try:
            with gzip.open(self.path) as lines:
                while line := lines.readline(_LINE_LIMIT):
                    self.number += 1
                    stamp, _, body = line.partition(b" ")
                    yield int(stamp), _decode(body)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(f"{self.path}: cannot be read ({error}); give a recording in gzip") from None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self.bad(str(error)) from None

    def bad(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.path}: line {self.number}: {what[:160]}; "
            "each line is a time in nanoseconds, a space and a frame"
        )


class Recording:
    """One instrument's recorded market."""

    def __init__(self, matching: Matching, listing: Listing, lines: _Lines, clock: Clock) -> None:
        self.matching = matching
        self.listing = listing
        self.lines = lines
        self.clock = clock
        self.shown = matching.books[listing.symbol].shown
        self._frames: Iterator[tuple[int, _Frame]] = iter(())
        self._next: tuple[int, _Frame] | None = None
        self._round = 0
        self._forget()

    def _forget(self) -> None:
        self._pending: deque[_Data] | None = deque(maxlen=_PENDING_LIMIT)  # None: the snapshot was there
        self._snapshot_id = 0
        self._ticker_id = 0

    def start(self, now_ns: int) -> None:
        """The first line is now. Raises ConfigError when there is none, or it is no line of a recording."""
        self._frames = self.lines.frames(now_ns)
        self._next = next(self._frames, None)

    def next_ns(self) -> int | None:
        return None if self._next is None else self._next[0]

    def step(self) -> None:
        """Play one line. Raises ConfigError when it, or the next one, is bad."""
        assert self._next is not None, "a recording that is over has no next line"
        if self.lines.rounds != self._round:
            self._round = self.lines.rounds
            self._forget()
            for levels in self.shown.values():
                levels.replace(())
        try:
            due_ns, frame = self._next
            self._play(self.clock(due_ns), frame)
        except ValueError as error:
            raise self.lines.bad(str(error)) from None
        self._next = next(self._frames, None)

    @exact
    def _play(self, now_ns: int, frame: _Frame) -> None:
        data = frame.data
        if data is None:
            if frame.last_update_id is not None:
                self._play_snapshot(frame, frame.last_update_id)
        elif data.e == "trade":
            aggressor = Side.SELL if data.m else Side.BUY
            quantity = self._quantity(data.q)
            self.matching.trade(
                self.listing.symbol, self._price(aggressor, data.p), quantity, aggressor, now_ns
            )
        elif data.e == "depthUpdate":
            if self._pending is not None:
                self._pending.append(data)
            if data.u > self._snapshot_id:
                self._play_depth(data)
        elif data.bid_quantity:
            self._play_ticker(data)

    def _play_ticker(self, data: _Data) -> None:
        """The best bid and ask: nothing better than these stands any more."""
        assert isinstance(data.b, str) and isinstance(data.a, str), "a best bid/ask has one price a side"
        self._ticker_id = data.u
        for side, price, quantity in (
            (Side.BUY, data.b, data.bid_quantity),
            (Side.SELL, data.a, data.ask_quantity),
        ):
            at = self._price(side, price)
            self.shown[side].trim(at)
            self.shown[side].set(at, self._quantity(quantity))

    def _play_depth(self, data: _Data) -> None:
        """Levels that changed; those at or better than a *newer* best bid/ask stay as that showed them."""
        assert not isinstance(data.b, str) and not isinstance(data.a, str), "a depth difference has levels"
        for side, pairs in ((Side.BUY, data.b), (Side.SELL, data.a)):
            levels = self.shown[side]
            best = levels.best_price() if data.u < self._ticker_id else None
            for written, quantity in pairs:
                price = self._price(side, written)
                if best is None or (price < best if side is Side.BUY else price > best):
                    levels.set(price, self._quantity(quantity))

    def _play_snapshot(self, frame: _Frame, last_update_id: int) -> None:
        """The whole book, as it was at an update id: differences that came before it and are newer go on
        top.
        """
        self._snapshot_id = last_update_id
        bests = {side: self.shown[side].best_price() for side in Side}
        for side, pairs in ((Side.BUY, frame.bids), (Side.SELL, frame.asks)):
            self.shown[side].replace(self._levels(side, pairs))
        pending, self._pending = self._pending or (), None
        for data in pending:
            if data.u > last_update_id:
                self._play_depth(data)
        if self._ticker_id > last_update_id:
            for side, best in bests.items():
                if best is not None:
                    self.shown[side].trim(best)

    def _levels(self, side: Side, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[Decimal, Decimal]]:
        for price, quantity in pairs:
            yield self._price(side, price), self._quantity(quantity)

    def _price(self, side: Side, written: str) -> Decimal:
        price, step = parse(written), self.listing.price_step
        off = price % step
        if not off:
            return price
        return price - off if side is Side.BUY else price - off + step

    def _quantity(self, written: str) -> Decimal:
        quantity = parse(written)
        return quantity - quantity % self.listing.quantity_step


class RecordedMarket:
    """Plays every instrument's recording on one timeline."""

    def __init__(
        self, model: Recordings, files: Mapping[str, Path], matching: Matching, clock: Clock
    ) -> None:
        self.recordings = [
            Recording(matching, matching.listings[symbol], _Lines(path, model.loop, model.speed), clock)
            for symbol, path in files.items()
        ]

    def start(self, now_ns: int) -> None:
        for recording in self.recordings:
            recording.start(now_ns)

    def next_ns(self) -> int | None:
        return min((due for r in self.recordings if (due := r.next_ns()) is not None), default=None)

    def advance(self, now_ns: int) -> None:
        """Play what is due, in time's order; at most a turn's worth of lines."""
        for _ in range(_LINES_PER_TURN):
            due = [(at, i) for i, r in enumerate(self.recordings) if (at := r.next_ns()) is not None]
            if not due or min(due)[0] > now_ns:
                return
            self.recordings[min(due)[1]].step()
