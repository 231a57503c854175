"""The fixed little-endian headers in front of every body, and the number of every kind.

A frame is one header and one MessagePack array. All headers begin alike: exchange (u16, 0xFFFF: none),
magic, version, kind. So one byte prefix selects an exchange of the feed, a router forwards by the first two
bytes, and a body that nobody can read is still refused to its sender.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from msgspec import Struct

MAGIC: Final = b"OW"
VERSION: Final = 1
NO_EXCHANGE: Final = 0xFFFF
ENGINE_LIMIT: Final = 24  # bytes of an engine's name


class Kind(IntEnum):
    """Every kind of body. Numbers are only ever added; those without a class yet are reserved."""

    OpenOrder = 1
    CancelOrder = 2
    CancelAll = 3
    ReplaceOrder = 4

    AccountSnapshot = 32
    BalanceSnapshot = 33
    OrderSnapshot = 34
    OrderCancelled = 35
    Trade = 36
    Reconnecting = 37
    Subscribed = 38
    Synced = 39
    Refused = 40
    CancelAllDone = 41
    TradeVoided = 42
    Stuck = 43
    ActorStarted = 44
    ActorLost = 45
    Halted = 46
    Resumed = 47
    FeedReset = 48
    PositionSnapshot = 49
    Funding = 50
    InstrumentStatus = 51
    OrderReplaced = 52
    Heartbeat = 63

    Hello = 64
    Welcome = 65
    Shutdown = 66
    Halt = 67
    Resume = 68
    Resolve = 69
    SetFault = 70
    Done = 71
    Failed = 72
    HealthQuery = 73
    Health = 74
    ReplayQuery = 75
    ReplayChunk = 76
    StateQuery = 77
    StateChunk = 78

    # 96 to 127: between a simulated exchange and its client, see actors/exchange/wire.py.


REQUEST_KINDS: Final = frozenset(range(1, 32))

_START = struct.Struct("<H2sBB")
# exchange, magic, version, kind, attempt, fingerprint, reserved, engine, session, rid, expires_at_ns
_REQUEST = struct.Struct("<H2sBBHII24sQQQ")
# exchange, magic, version, kind, 1 when nothing before is kept, source, epoch, number
_SOURCE = struct.Struct("<H2sBBHQQQ")
# exchange, magic, version, kind, role of the source, feed_id, seq, exchange_seq, published_at_ns
_FEED = struct.Struct("<H2sBBHQQQQ")
# exchange, magic, version, kind, reserved, fingerprint, reserved, token
_CONTROL = struct.Struct("<H2sBBHIIQ")

START_SIZE: Final = _START.size
REQUEST_SIZE: Final = _REQUEST.size
SOURCE_SIZE: Final = _SOURCE.size
FEED_SIZE: Final = _FEED.size
CONTROL_SIZE: Final = _CONTROL.size


class HeaderError(Exception):
    """Bytes that begin as no header of ours: whoever sent them cannot be answered."""


class Start(NamedTuple):
    exchange: int
    magic: bytes
    version: int
    kind: int


class RequestHeader(Struct, gc=False):
    """Identity (engine, session, rid), the copy's `attempt` (0: the first) and the UTC end of its
    validity.
    """

    exchange: int
    version: int
    kind: int
    attempt: int
    fingerprint: int
    engine: str
    session: int
    rid: int
    expires_at_ns: int


class SourceHeader(Struct, gc=False):
    exchange: int
    kind: int
    source: int
    epoch: int
    number: int
    first: bool = False  # the source keeps none before it: what it sent before was acknowledged


class FeedHeader(Struct, gc=False):
    """Numbers in the whole feed and in the exchange's part of it; `role` says what kind of actor spoke."""

    exchange: int
    kind: int
    role: int
    feed_id: int
    seq: int
    exchange_seq: int
    published_at_ns: int


class ControlHeader(Struct, gc=False):
    exchange: int
    kind: int
    fingerprint: int
    token: int


def read_start(frame: bytes) -> Start:
    """The six bytes that every header begins with. Raises HeaderError when they are not ours."""
    if len(frame) < START_SIZE:
        raise HeaderError(f"a frame of {len(frame)} bytes has no header")
    start = Start(*_START.unpack_from(frame))
    if start.magic != MAGIC:
        raise HeaderError(f"a frame that does not carry {MAGIC!r} at byte 2")
    return start


def request(
    exchange: int,
    kind: int,
    attempt: int,
    fingerprint: int,
    engine: bytes,
    session: int,
    rid: int,
    expires_at_ns: int,
) -> bytes:
    return _REQUEST.pack(
        exchange, MAGIC, VERSION, kind, attempt, fingerprint, 0, engine, session, rid, expires_at_ns
    )


def read_request(frame: bytes) -> RequestHeader:
    """Read a request's header, of any version (the caller refuses other versions by name). Raises
    HeaderError.
    """
    if len(frame) < REQUEST_SIZE:
        raise HeaderError(f"a request of {len(frame)} bytes is shorter than its header of {REQUEST_SIZE}")
    exchange, magic, version, kind, attempt, fingerprint, _, engine, session, rid, expires_at_ns = (
        _REQUEST.unpack_from(frame)
    )
    if magic != MAGIC:
        raise HeaderError(f"a request that does not carry {MAGIC!r} at byte 2")
    try:
        name = engine.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise HeaderError("a request whose engine name is not ASCII") from None
    return RequestHeader(exchange, version, kind, attempt, fingerprint, name, session, rid, expires_at_ns)


def source(exchange: int, kind: int, source_id: int, epoch: int, number: int, first: bool = False) -> bytes:
    return _SOURCE.pack(exchange, MAGIC, VERSION, kind, first, source_id, epoch, number)


def as_first(frame: bytes) -> bytes:
    """The same source frame, marked as the oldest that its source keeps."""
    return frame[:6] + b"\1\0" + frame[8:]


def with_epoch(frame: bytes, epoch: int) -> bytes:
    """The same source frame, of another epoch."""
    return frame[:16] + epoch.to_bytes(8, "little") + frame[24:]


def read_source(frame: bytes) -> SourceHeader:
    """Read a source frame's header. Raises HeaderError."""
    if len(frame) < SOURCE_SIZE:
        raise HeaderError(f"a source frame of {len(frame)} bytes is shorter than its header of {SOURCE_SIZE}")
    exchange, magic, version, kind, first, source_id, epoch, number = _SOURCE.unpack_from(frame)
    if magic != MAGIC or version != VERSION:
        raise HeaderError("a source frame of another protocol")
    return SourceHeader(exchange, kind, source_id, epoch, number, first == 1)


def feed(
    exchange: int, kind: int, role: int, feed_id: int, seq: int, exchange_seq: int, published_at_ns: int
) -> bytes:
    return _FEED.pack(exchange, MAGIC, VERSION, kind, role, feed_id, seq, exchange_seq, published_at_ns)


def read_feed(frame: bytes) -> FeedHeader:
    """Read a feed frame's header. Raises HeaderError."""
    if len(frame) < FEED_SIZE:
        raise HeaderError(f"a feed frame of {len(frame)} bytes is shorter than its header of {FEED_SIZE}")
    exchange, magic, version, kind, role, feed_id, seq, exchange_seq, published_at_ns = _FEED.unpack_from(
        frame
    )
    if magic != MAGIC or version != VERSION:
        raise HeaderError("a feed frame of another protocol")
    return FeedHeader(exchange, kind, role, feed_id, seq, exchange_seq, published_at_ns)


def control(exchange: int, kind: int, fingerprint: int, token: int) -> bytes:
    return _CONTROL.pack(exchange, MAGIC, VERSION, kind, 0, fingerprint, 0, token)


def read_control(frame: bytes) -> ControlHeader:
    """Read a control frame's header. Raises HeaderError."""
    if len(frame) < CONTROL_SIZE:
        raise HeaderError(
            f"a control frame of {len(frame)} bytes is shorter than its header of {CONTROL_SIZE}"
        )
    exchange, magic, version, kind, _, fingerprint, _, token = _CONTROL.unpack_from(frame)
    if magic != MAGIC or version != VERSION:
        raise HeaderError("a control frame of another protocol")
    return ControlHeader(exchange, kind, fingerprint, token)


def prefix(exchange: int) -> bytes:
    """What a subscriber asks for to read one exchange's part of the feed."""
    return _START.pack(exchange, MAGIC, VERSION, 0)[:-1]


def with_attempt(frame: bytes, attempt: int) -> bytes:
    """The same request as its `attempt`th copy."""
    return frame[:6] + attempt.to_bytes(2, "little") + frame[8:]
