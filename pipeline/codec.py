"""Bodies to bytes and back: typed, limited, and with one error for every way that bytes can be wrong.

A decoder here checks types, the decimal grammar, sizes and depth before any logic sees the value. What needs
the deployment file (is this instrument there, is this price on its step) is checks.py's.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from pipeline import control, messages
from pipeline.amounts import Amount, parse, text
from pipeline.headers import CONTROL_SIZE, FEED_SIZE, REQUEST_SIZE, SOURCE_SIZE, Kind
from pipeline.messages import Event, Message, Request
from pipeline.outline import outline

REQUEST_LIMIT: Final = 64 * 1024
CHUNK_LIMIT: Final = 4 * 1024 * 1024
ARRAY_LIMIT: Final = messages.ARRAY_LIMIT

M = TypeVar("M", bound=Message)


class BodyError(Exception):
    """A body that is not what its kind says; the text names the field and what is wrong with it."""


def _encode_other(value: object) -> str:
    if isinstance(value, Amount):
        return text(value)
    raise TypeError(f"{type(value).__name__} does not travel")


def _decode_other(kind: type, value: object) -> Amount:
    if kind is not Amount or type(value) is not str:
        raise TypeError(f"a decimal travels as text, not as {type(value).__name__}")
    return parse(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other, decimal_format="string")
encode: Final[Callable[[Message], bytes]] = _encoder.encode


def _classes() -> dict[int, type[Message]]:
    found: dict[int, type[Message]] = {}
    for module in (messages, control):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message) and value.__name__ in Kind.__members__:
                found[Kind[value.__name__]] = value
    return found


CLASSES: Final = _classes()
KINDS: Final[dict[type, int]] = {cls: kind for kind, cls in CLASSES.items()}
# Bodies that hold many of something; all others fit in 64 KiB.
_BULKY: Final = frozenset(
    {Kind.AccountSnapshot, Kind.ReplayChunk, Kind.StateChunk, Kind.Health, Kind.Heartbeat}
)
_DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(cls, dec_hook=_decode_other) for kind, cls in CLASSES.items()
}
# What those of them that hold decimals are held against first (outline.py says why).
_OUTLINES: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(outline(CLASSES[kind])) for kind in (Kind.AccountSnapshot, Kind.StateChunk)
}


def decode(kind: int, frame: bytes, offset: int) -> Any:
    """The body of `frame` from `offset` on, as the class of `kind`. Raises BodyError."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise BodyError(f"kind {kind} is not one that this version knows")
    try:
        if len(frame) > REQUEST_LIMIT:
            _check_large(kind, frame, offset)
            return decoder.decode(memoryview(frame)[offset:])
        return decoder.decode(frame[offset:])  # for small ones a copy costs less than a view
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise BodyError(str(error)[:200]) from None


def _check_large(kind: int, frame: bytes, offset: int) -> None:
    limit = CHUNK_LIMIT if kind in _BULKY else REQUEST_LIMIT
    if len(frame) > limit:
        raise BodyError(f"{len(frame)} bytes are over the limit of {limit} for kind {kind}")
    if kind in _OUTLINES:
        _OUTLINES[kind].decode(memoryview(frame)[offset:])


def decode_as(cls: type[M], frame: bytes, offset: int = 0) -> M:
    """A body whose kind is known already. Raises BodyError."""
    body: M = decode(KINDS[cls], frame, offset)
    return body


def read_request_body(kind: int, frame: bytes) -> Request:
    body: Request = decode(kind, frame, REQUEST_SIZE)
    return body


def read_source_body(kind: int, frame: bytes) -> Event:
    body: Event = decode(kind, frame, SOURCE_SIZE)
    return body


def read_feed_body(kind: int, frame: bytes) -> Event:
    body: Event = decode(kind, frame, FEED_SIZE)
    return body


def read_control_body(kind: int, frame: bytes) -> Message:
    body: Message = decode(kind, frame, CONTROL_SIZE)
    return body
