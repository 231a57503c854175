"""Frames that are nearly right: good ones spoiled by seed in the ways that break decoders.

The same seed gives the same frames. What is told about a failure is the frame in hex: add it to `KNOWN` in
test_decoders.py, and it stays found.
"""

import random
import struct
from collections.abc import Iterator, Sequence

FRAME_LIMIT = 4 * 1024 * 1024  # what a link lets through at most
# Formats of MessagePack at the edges of what they can say, and texts that Python would take for a decimal.
PIECES = [
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + b"\0" * 7,
    b"\xcb\x7f\xf8" + b"\0" * 6,
    b"\xcb\x7f\xf0" + b"\0" * 6,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xd6\xff" + b"\xff" * 4,
    b"\xc1",
    b"\xc0",
    b"\xc2",
    b"\x90",
    b"\x80",
    b"\x81\xa1a\x01",
    b"\xff",
    b"\xa0",
    b"\xa2\xff\xfe",
    b"\xa3\xed\xa0\x80",
    *(bytes([0xA0 + len(text)]) + text for text in (b"NaN", b"-0", b"1e400", b"1_000", b"Infinity", b"1\n")),
    b"\xb2" + "１２３４５６".encode(),
    b"\xd9\x28" + b"9" * 40,
    b"\xda\x10\x00" + b"9" * 4096,
]


def mutations(seed: int, good: Sequence[bytes]) -> Iterator[bytes]:
    """Spoiled frames without end."""
    source = random.Random(seed)
    while True:
        frame = bytearray(source.choice(good))
        for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
            _spoil(source, frame, good)
        yield bytes(frame[:FRAME_LIMIT])


def _spoil(source: random.Random, frame: bytearray, good: Sequence[bytes]) -> None:
    at = source.randrange(len(frame) + 1)
    way = source.randrange(9)
    if way == 0:
        del frame[at:]
    elif way == 1:
        frame[at : at + 1] = bytes([source.randrange(256)])
    elif way == 2 and frame:
        place = source.randrange(len(frame))
        frame[place] ^= 1 << source.randrange(8)
    elif way == 3:
        frame[at:at] = source.choice(PIECES)
    elif way == 4:
        frame[at : at + 1] = source.choice(PIECES)
    elif way == 5:
        other = source.choice(good)
        frame[at:] = other[source.randrange(len(other) + 1) :]
    elif way == 6 and len(frame) > 5:
        frame[5] = source.randrange(128)  # the same body as another kind
    elif way == 7:
        frame[at:at] = frame[at : at + source.randrange(64)] * source.randrange(4)
    elif source.randrange(40) == 0:
        frame[at:at] = _bomb(source)


def _bomb(source: random.Random) -> bytes:
    """An array of many small things, or of things in things."""
    count = source.choice((1_000, 60_000, 1_000_000))
    piece = source.choice((b"\x90", b"\x80", b"\x91", b"\x81\xa0", b"\xa0", b"\x01", b"\xdd\0\0\0\1"))
    return b"\xdd" + struct.pack(">I", count) + piece * count
