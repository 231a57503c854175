"""Bytes made to cost a reader more than they cost to send."""

import struct
import tracemalloc

import msgpack
import pytest

from pipeline.amounts import parse
from pipeline.codec import CHUNK_LIMIT, CLASSES, KINDS, REQUEST_LIMIT, BodyError, decode, encode
from pipeline.control import PlacedBalance, StateChunk
from pipeline.messages import AccountSnapshot, Balance
from tests import protocol_document

BODIES = {CLASSES[kind]: body for kind, body in protocol_document.bodies().items()}
each_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)


def bombs(size):
    """Bytes that make an untyped reader build something huge or deep."""
    whole = struct.pack(">I", size)
    yield b"\x90" * size
    yield b"\x80" * size
    yield b"\xc0" * size
    yield b"\x91" * size
    yield b"\x81" * size
    yield b"\x81\xa0" * (size // 2)
    yield b"\xdd" + whole + b"\x90" * (size - 5)
    yield b"\xdd" + whole + b"\x80" * (size - 5)
    yield b"\xdf" + whole + b"\x00\x90" * ((size - 5) // 2)
    yield b"\xdd\xff\xff\xff\xff" * (size // 5)
    yield b"\xdd\xff\xff\xff\xff"
    yield b"\xdf\xff\xff\xff\xff"
    yield b"\xdb\xff\xff\xff\xff"
    yield b"\xc6\xff\xff\xff\xff"
    yield b"\xc9\xff\xff\xff\xff\x01"


def places(cls, deep=False):
    """The beginnings of a good body up to each of its fields; `deep`: up to each value in it."""
    whole = BODIES[cls]
    if deep:
        # Every byte string that a body can be cut to is the beginning of some value, or of the inside of one.
        yield from (whole[:length] for length in range(1, len(whole)))
        return
    values = msgpack.unpackb(whole)
    for count in range(len(values) + 1):
        yield msgpack.packb([*values[:count], None])[:-1]


@each_class
def test_a_bomb_in_any_place_is_refused_and_stays_small(cls):
    kind = KINDS[cls]
    limit = REQUEST_LIMIT - 4_096
    # Of a bomb in a decimal's place each byte may cost one small object before it is refused.
    allowed = 96 * limit
    for head in places(cls):
        for bomb in bombs(limit):
            assert cost_of_refusing(kind, head + bomb) < allowed


@each_class
@pytest.mark.parametrize("size", [1_000_000, CHUNK_LIMIT - 64])
def test_a_large_bomb_is_refused_without_building_anything(cls, size):
    for bomb in bombs(size):
        assert cost_of_refusing(KINDS[cls], bomb) < 1_000_000


@pytest.mark.parametrize("cls", [AccountSnapshot, StateChunk], ids=lambda cls: cls.__name__)
def test_a_large_bomb_in_a_decimals_place_is_refused_without_building_anything(cls):
    heads = [head for head in places(cls, deep=True) if len(head) < 200]
    assert len(heads) > 10
    for head in heads:
        for bomb in bombs(1_000_000):
            assert cost_of_refusing(KINDS[cls], head + bomb) < 1_000_000


def test_a_large_good_body_passes_its_outline():
    balances = [Balance(n, parse(f"{n}.5"), parse("1"), 10**18) for n in range(4_000)]
    snapshot = AccountSnapshot(generation=1, part=1, parts=1, balances=balances)
    placed = [PlacedBalance(0, balance) for balance in balances]
    chunk = StateChunk(feed_id=1, seq=1, part=1, parts=1, balances=placed)
    for body in (snapshot, chunk):
        packed = encode(body)
        assert len(packed) > REQUEST_LIMIT
        assert decode(KINDS[type(body)], packed, 0) == body
        assert (
            decode(KINDS[type(body)], msgpack.packb([*msgpack.unpackb(packed), "a newer field"]), 0) == body
        )


def test_the_decimals_of_a_large_body_are_still_checked():
    values = msgpack.unpackb(BODIES[AccountSnapshot])
    values[8] = [[0, "1.5", "1", 0]] * 4_000 + [[0, "1e3", "1", 0]]
    small = msgpack.packb(values)
    values[4] = "t" * REQUEST_LIMIT
    large = msgpack.packb(values)
    assert len(small) < REQUEST_LIMIT < len(large)
    for body in (small, large):
        with pytest.raises(BodyError, match="is no decimal"):
            decode(KINDS[AccountSnapshot], body, 0)


def cost_of_refusing(kind, data):
    """The most memory that was in use on the way to the refusal."""
    tracemalloc.start()
    try:
        with pytest.raises(BodyError):
            decode(kind, data, 0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
