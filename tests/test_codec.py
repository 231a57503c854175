import random
from decimal import Decimal

import msgpack
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import codec
from pipeline.amounts import parse
from pipeline.codec import ARRAY_LIMIT, CHUNK_LIMIT, CLASSES, KINDS, REQUEST_LIMIT, BodyError, decode, encode
from pipeline.control import Health, ReplayChunk, SetFault
from pipeline.headers import CONTROL_SIZE, FEED_SIZE, REQUEST_SIZE, SOURCE_SIZE, Kind
from pipeline.messages import (
    AccountSnapshot,
    Answers,
    Balance,
    BalanceSnapshot,
    CancelOrder,
    Fee,
    OpenOrder,
    Order,
    OrderSnapshot,
    Trade,
)
from pipeline.vocabulary import Evidence, OrderKind, OrderState, Side, TimeInForce
from tests import protocol_document
from tests.strategies import amounts, messages_of

ALL = list(CLASSES.values())
BODIES = {CLASSES[kind]: body for kind, body in protocol_document.bodies().items()}
each_class = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)

OPEN = OpenOrder(
    0, "c-1", Side.BUY, OrderKind.LIMIT, TimeInForce.GTC, 0, parse("50000.5"), parse("0.01"), "t"
)
OPEN_VALUES = [0, "c-1", 0, 1, 0, 0, "50000.5", "0.01", "t"]
ORDER = Order(
    instrument=0,
    cid="c-1",
    engine="mm-1",
    venue_cid=None,
    id="77",
    side=Side.BUY,
    kind=OrderKind.LIMIT,
    time_in_force=TimeInForce.GTC,
    flags=0,
    price=parse("5"),
    quantity=parse("2"),
    filled=parse("1"),
    state=OrderState.Open,
)
SNAPSHOT = OrderSnapshot(order=ORDER, evidence=Evidence.CALL, answers=Answers("mm-1", 1, 2))
TRADE = Trade(
    instrument=0,
    side=Side.BUY,
    id="t-1",
    cid="c-1",
    order_id=None,
    price=parse("5"),
    quantity=parse("1"),
    fees=[Fee("usdt", parse("0.1"))],
)


def read(cls, data):
    return decode(KINDS[cls], data, 0)


def refused(cls, values):
    """What is said about a body of these values, which must be refused."""
    with pytest.raises(BodyError) as caught:
        read(cls, msgpack.packb(values))
    return str(caught.value)


def test_every_kind_but_the_reserved_ones_has_a_class():
    reserved = {"ReplaceOrder", "PositionSnapshot", "Funding", "InstrumentStatus", "OrderReplaced"}
    assert {kind.name for kind in Kind} - {cls.__name__ for cls in ALL} == reserved


@each_class
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_message_comes_back_as_it_was(cls, data):
    message = data.draw(messages_of(cls))
    packed = encode(message)
    assert read(cls, packed) == message
    assert encode(read(cls, packed)) == packed


@each_class
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_another_library_reads_the_same_values(cls, data):
    message = data.draw(messages_of(cls))
    values = msgpack.unpackb(encode(message), strict_map_key=True)
    assert len(values) == len(message.__struct_fields__)
    assert read(cls, msgpack.packb(values)) == message


@each_class
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_every_truncation_is_a_body_error(cls, data):
    packed = encode(data.draw(messages_of(cls)))
    for length in range(len(packed)):
        with pytest.raises(BodyError):
            read(cls, packed[:length])


@each_class
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    data=st.data(),
    tail=st.lists(st.none() | st.integers(0, 9) | st.text(max_size=4) | st.just([1, [2]]), max_size=3),
)
def test_a_longer_body_is_read_and_its_tail_ignored(cls, data, tail):
    message = data.draw(messages_of(cls))
    values = msgpack.unpackb(encode(message)) + tail
    assert read(cls, msgpack.packb(values)) == message


def optional_fields(cls):
    """How many fields at the tail have a default."""
    required = [
        field.default is field.default_factory is msgspec.NODEFAULT for field in msgspec.structs.fields(cls)
    ]
    return required[::-1].index(True) if True in required else len(required)


@pytest.mark.parametrize("cls", [cls for cls in ALL if optional_fields(cls)], ids=lambda cls: cls.__name__)
def test_fields_that_have_defaults_may_be_left_off_at_the_tail(cls):
    whole = msgpack.unpackb(encode(read(cls, BODIES[cls])))
    least = len(whole) - optional_fields(cls)
    for count in range(least, len(whole)):
        shorter = read(cls, msgpack.packb(whole[:count]))
        assert msgpack.unpackb(encode(shorter))[:count] == whole[:count]
    if least:
        assert "length" in refused(cls, whole[: least - 1])


@each_class
def test_bytes_behind_the_body_are_refused(cls):
    packed = BODIES[cls]
    with pytest.raises(BodyError, match="trailing"):
        read(cls, packed + b"\0")


@each_class
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_a_message_or_a_body_error(cls, data):
    try:
        message = read(cls, data)
    except BodyError as error:
        assert len(str(error)) <= 200
    else:
        assert type(message) is cls


def test_a_hundred_thousand_spoiled_bodies_are_messages_or_body_errors():
    chance = random.Random(20)
    whole = [(KINDS[type(m)], encode(m)) for m in (OPEN, SNAPSHOT, TRADE, CancelOrder(0, "c"))]
    refusals = 0
    for _ in range(100_000):
        kind, packed = chance.choice(whole)
        spoiled = bytearray(packed)
        for _ in range(chance.randint(1, 3)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        try:
            message = decode(kind, bytes(spoiled), 0)
        except BodyError:
            refusals += 1
        else:
            assert type(message) is CLASSES[kind]
    assert 30_000 < refusals < 100_000


def test_a_kind_that_is_not_known_is_refused():
    for kind in (0, int(Kind.ReplaceOrder), 96, 255):
        with pytest.raises(BodyError, match=f"kind {kind} is not one"):
            decode(kind, b"\x90", 0)


NO_DECIMALS = [
    *("NaN", "nan", "Infinity", "1e400", "1e3", "１", "1_000", "+1", "01", ".5", "1.", " 1", "1\n", ""),
    *("9" * 21, "0." + "0" * 18 + "1", 1, 1.5, float("nan"), float("inf"), True, b"1", [], {}),
    *(msgpack.Timestamp(1, 1), msgpack.ExtType(5, b"1"), 2**64 - 1, -1),
]


@pytest.mark.parametrize("written", NO_DECIMALS, ids=lambda w: ascii(w)[:14])
def test_what_is_no_decimal_in_a_decimals_place_is_refused(written):
    for place in (6, 7):
        values = [*OPEN_VALUES[:place], written, *OPEN_VALUES[place + 1 :]]
        said = refused(OpenOrder, values)
        assert "decimal" in said
        assert f"$[{place}]" in said


@given(amounts)
def test_a_decimal_travels_in_its_one_form(number):
    packed = encode(msgspec.structs.replace(OPEN, quantity=number))
    assert msgpack.unpackb(packed)[7] == str(number)


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, 2), (2, 255), (2, -1), (2, "buy"), (2, None), (2, 0.0), (3, 7), (4, 4), (2, True)],
)
def test_an_enumerations_number_that_is_not_listed_is_refused(place, value):
    assert f"$[{place}]" in refused(OpenOrder, [*OPEN_VALUES[:place], value, *OPEN_VALUES[place + 1 :]])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "0"),
        (0, 0.0),
        (0, None),
        (0, True),
        (0, 2**64 - 1 + 0.0),
        (1, b"c-1"),
        (1, 1),
        (1, None),
        (5, "1"),
        (8, 1),
    ],
)
def test_a_value_of_another_type_is_refused_and_its_place_named(place, value):
    assert f"$[{place}]" in refused(OpenOrder, [*OPEN_VALUES[:place], value, *OPEN_VALUES[place + 1 :]])


@pytest.mark.parametrize(
    "values", [None, 1, "x", b"x", {}, {"instrument": 0}, [], [0], OPEN_VALUES[:7]], ids=repr
)
def test_what_is_not_the_whole_array_is_refused(values):
    assert "rray" in refused(OpenOrder, values)


def test_text_that_is_not_utf8_is_refused():
    spoiled = encode(OPEN).replace(b"c-1", b"c\xff1")
    with pytest.raises(BodyError, match="utf-8"):
        read(OpenOrder, spoiled)
    with pytest.raises(BodyError, match="utf-8"):
        read(OpenOrder, encode(OPEN).replace(b"c-1", b"\xed\xa0\x80"))


# ------------------------------------------------------------------------------------------ limits


def test_a_list_has_a_limit():
    fees = [Fee("usdt", parse("1"))]
    assert (
        len(read(Trade, encode(msgspec.structs.replace(TRADE, fees=fees * ARRAY_LIMIT))).fees) == ARRAY_LIMIT
    )
    with pytest.raises(BodyError, match=f"length <= {ARRAY_LIMIT}"):
        read(Trade, encode(msgspec.structs.replace(TRADE, fees=fees * (ARRAY_LIMIT + 1))))


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (ReplayChunk, [1, 1, 1, 1, 1, [b""] * (ARRAY_LIMIT + 1)]),
        (SetFault, ["f", [""] * (ARRAY_LIMIT + 1)]),
        (Health, ["a", 1, True, {str(n): n for n in range(ARRAY_LIMIT + 1)}]),
        (Health, ["a", 1, True, {}, {}, [""] * (ARRAY_LIMIT + 1)]),
        (AccountSnapshot, [0, 0, 0, None, None, 1, 1, 1, [[0, "1", "1"]] * (ARRAY_LIMIT + 1)]),
        (
            AccountSnapshot,
            [0, 0, 0, None, None, 1, 1, 1, [], [msgpack.unpackb(encode(ORDER))] * (ARRAY_LIMIT + 1)],
        ),
    ],
    ids=["frames", "arguments", "counters", "notes", "balances", "orders"],
)
def test_every_list_and_map_has_that_limit(cls, values):
    assert f"length <= {ARRAY_LIMIT}" in refused(cls, values)


def test_no_list_of_any_message_is_without_the_limit():
    unlimited = [
        f"{cls.__name__}.{field.name}"
        for cls in ALL
        for field in msgspec.structs.fields(cls)
        if getattr(field.type, "__origin__", None) in (list, dict)
        and not any(getattr(m, "max_length", None) for m in getattr(field.type, "__metadata__", ()))
    ]
    assert unlimited == []


def test_a_request_over_its_limit_is_refused_before_it_is_read():
    tag = "t" * REQUEST_LIMIT
    frame = bytes(REQUEST_SIZE) + encode(msgspec.structs.replace(OPEN, tag=tag))
    with pytest.raises(BodyError, match=f"over the limit of {REQUEST_LIMIT}"):
        codec.read_request_body(Kind.OpenOrder, frame)


def test_only_what_holds_many_may_be_large():
    large = {CLASSES[kind].__name__ for kind in CLASSES if not over(kind, REQUEST_LIMIT + 1)}
    assert large == {"AccountSnapshot", "ReplayChunk", "StateChunk", "Health", "Heartbeat"}
    assert all(over(kind, CHUNK_LIMIT + 1) for kind in CLASSES)


def over(kind, size):
    with pytest.raises(BodyError) as caught:
        decode(kind, b"\xc1" * size, 0)
    return "over the limit" in str(caught.value)


def test_a_tail_that_is_too_deep_is_refused():
    values = msgpack.packb([*OPEN_VALUES, None])[:-1]
    with pytest.raises(BodyError, match="recursion"):
        read(OpenOrder, values + b"\x91" * 60_000)


# ------------------------------------------------------------------------------------------ frames


def test_a_body_is_read_from_behind_its_header():
    request = bytes(REQUEST_SIZE) + encode(OPEN)
    assert codec.read_request_body(Kind.OpenOrder, request) == OPEN
    assert codec.read_source_body(Kind.Trade, bytes(SOURCE_SIZE) + encode(TRADE)) == TRADE
    assert codec.read_feed_body(Kind.Trade, bytes(FEED_SIZE) + encode(TRADE)) == TRADE
    fault = SetFault("delay", ["5"])
    assert codec.read_control_body(Kind.SetFault, bytes(CONTROL_SIZE) + encode(fault)) == fault
    assert codec.decode_as(OpenOrder, request, REQUEST_SIZE) == OPEN


@pytest.mark.parametrize("length", range(REQUEST_SIZE + 1))
def test_a_frame_without_a_body_is_refused(length):
    with pytest.raises(BodyError):
        codec.read_request_body(Kind.OpenOrder, bytes(length))


def test_a_plain_decimal_that_slipped_in_is_never_misread():
    # The types forbid it. Were it to happen, a reader gets the value or an error, not another value.
    assert read(BalanceSnapshot, encode(holding(parse("1.5") + parse("1.5")))) == holding(parse("3"))
    for beyond in (Decimal("1E+3"), Decimal("NaN"), Decimal("1E-20")):
        with pytest.raises(BodyError, match="no decimal"):
            read(BalanceSnapshot, encode(holding(beyond)))


def holding(total):
    return BalanceSnapshot(balance=Balance(0, total, parse("1")))
