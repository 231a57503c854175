import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from pipeline import headers
from pipeline.headers import ENGINE_LIMIT, HeaderError, Kind

U16, U32, U64 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
U8 = st.integers(0, 255)
ENGINES = st.from_regex(r"\A[A-Za-z0-9._-]{1,24}\Z").map(str)
READERS = [
    headers.read_start,
    headers.read_request,
    headers.read_source,
    headers.read_feed,
    headers.read_control,
]
SIZES = [
    headers.START_SIZE,
    headers.REQUEST_SIZE,
    headers.SOURCE_SIZE,
    headers.FEED_SIZE,
    headers.CONTROL_SIZE,
]
EXAMPLES = [
    headers.request(3, Kind.OpenOrder, 0, 0xDEADBEEF, b"mm-1", 7, 8, 9),
    headers.request(3, Kind.OpenOrder, 0, 0xDEADBEEF, b"mm-1", 7, 8, 9),
    headers.source(3, Kind.Trade, 0x20003, 5, 6),
    headers.feed(3, Kind.Trade, 2, 5, 6, 4, 7),
    headers.control(3, Kind.Hello, 0xDEADBEEF, 5),
]


@given(U16, U8, U16, U32, ENGINES, U64, U64, U64)
def test_a_request_header_comes_back(exchange, kind, attempt, fingerprint, engine, session, rid, expires):
    packed = headers.request(exchange, kind, attempt, fingerprint, engine.encode(), session, rid, expires)
    assert len(packed) == headers.REQUEST_SIZE
    assert astuple(headers.read_request(packed + b"body")) == (
        exchange,
        headers.VERSION,
        kind,
        attempt,
        fingerprint,
        engine,
        session,
        rid,
        expires,
    )


@given(U16, U8, U64, U64, U64)
def test_a_source_header_comes_back(exchange, kind, source, epoch, number):
    packed = headers.source(exchange, kind, source, epoch, number)
    assert len(packed) == headers.SOURCE_SIZE
    assert astuple(headers.read_source(packed + b"body")) == (exchange, kind, source, epoch, number, False)
    again = headers.read_source(headers.as_first(packed))
    assert astuple(again) == (exchange, kind, source, epoch, number, True)


@given(U16, U8, U16, U64, U64, U64, U64)
def test_a_feed_header_comes_back(exchange, kind, role, feed_id, seq, exchange_seq, published):
    packed = headers.feed(exchange, kind, role, feed_id, seq, exchange_seq, published)
    assert len(packed) == headers.FEED_SIZE
    assert astuple(headers.read_feed(packed + b"body")) == (
        exchange,
        kind,
        role,
        feed_id,
        seq,
        exchange_seq,
        published,
    )


@given(U16, U8, U32, U64)
def test_a_control_header_comes_back(exchange, kind, fingerprint, token):
    packed = headers.control(exchange, kind, fingerprint, token)
    assert len(packed) == headers.CONTROL_SIZE
    assert astuple(headers.read_control(packed + b"body")) == (exchange, kind, fingerprint, token)


@pytest.mark.parametrize(("read", "size", "whole"), list(zip(READERS, SIZES, EXAMPLES, strict=True)))
def test_every_truncation_of_a_header_is_refused(read, size, whole):
    for length in range(size):
        with pytest.raises(HeaderError):
            read(whole[:length])
    assert read(whole[:size]).exchange == 3


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(max_size=100))
def test_random_bytes_are_a_header_or_a_header_error(read, data):
    try:
        read(data)
    except HeaderError as error:
        assert str(error).isprintable()
    else:
        assert data[2:4] == headers.MAGIC


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(min_size=60, max_size=100))
def test_random_bytes_behind_the_right_magic_and_version_are_a_header_or_a_header_error(read, data):
    frame = data[:2] + headers.MAGIC + bytes([headers.VERSION]) + data[5:]
    try:
        read(frame)
    except HeaderError as error:
        assert "ASCII" in str(error) or "shorter" in str(error)
    else:
        assert headers.read_start(frame).kind == data[5]


@pytest.mark.parametrize(("read", "whole"), list(zip(READERS, EXAMPLES, strict=True)))
def test_another_magic_is_refused(read, whole):
    with pytest.raises(HeaderError):
        read(whole[:2] + b"WO" + whole[4:])


def test_a_request_of_another_version_is_read_so_that_it_can_be_refused_to_its_sender():
    frame = EXAMPLES[1][:4] + b"\x02" + EXAMPLES[1][5:]
    header = headers.read_request(frame)
    assert (header.version, header.engine, header.session, header.rid) == (2, "mm-1", 7, 8)


@pytest.mark.parametrize(("read", "whole"), list(zip(READERS, EXAMPLES, strict=True))[2:])
def test_other_headers_of_another_version_are_refused(read, whole):
    with pytest.raises(HeaderError, match="another protocol"):
        read(whole[:4] + b"\x02" + whole[5:])


@pytest.mark.parametrize("name", [b"\xff", "é".encode(), b"a\x80"])
def test_an_engine_name_that_is_not_ascii_is_refused(name):
    with pytest.raises(HeaderError, match="not ASCII"):
        headers.read_request(headers.request(0, 1, 0, 0, name, 1, 1, 1))


def test_an_engine_name_of_full_length_fills_its_field():
    name = b"e" * ENGINE_LIMIT
    assert headers.read_request(headers.request(0, 1, 0, 0, name, 1, 1, 1)).engine == name.decode()


def test_an_exchanges_prefix_selects_its_frames_and_no_others():
    for exchange in (0, 1, 256, headers.NO_EXCHANGE):
        own = headers.prefix(exchange)
        assert headers.feed(exchange, Kind.Trade, 0, 1, 2, 3, 4).startswith(own)
        assert not headers.feed(exchange ^ 1, Kind.Trade, 0, 1, 2, 3, 4).startswith(own)
        assert not headers.feed(exchange ^ 256, Kind.Trade, 0, 1, 2, 3, 4).startswith(own)


def test_a_value_that_its_field_cannot_hold_is_not_packed():
    with pytest.raises(struct.error):
        headers.request(0x10000, 1, 0, 0, b"e", 1, 1, 1)
    with pytest.raises(struct.error):
        headers.request(0, 1, 0, 0, b"e", -1, 1, 1)


def test_every_edge_has_its_own_range_of_kinds():
    for kind in Kind:
        assert (kind < 32) == (kind in headers.REQUEST_KINDS)
        assert kind < 96
