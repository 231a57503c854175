"""PROTOCOL.md says what the code does, in both directions, and every byte it shows is right."""

import json
import re
import types
import typing
import zlib
from enum import IntEnum
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import asdict

from pipeline import checks, codec, control, headers, identity, messages, topology, vocabulary
from pipeline.amounts import DIGITS_LIMIT, Amount, parse, text
from pipeline.deployment import Asset, Deployment, Exchange, Instrument, actors_of
from pipeline.messages import Event
from tests import protocol_document as written

TEXT = written.DOCUMENT.read_text()
EXAMPLES = written.examples(TEXT)
READERS = {
    "request": (headers.read_request, headers.REQUEST_SIZE),
    "source": (headers.read_source, headers.SOURCE_SIZE),
    "feed": (headers.read_feed, headers.FEED_SIZE),
    "control": (headers.read_control, headers.CONTROL_SIZE),
}
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.heading.replace(" ", "_"))


def rows(heading):
    return written.table(written.section(TEXT, heading))


@each_example
def test_the_stated_values_packed_by_another_library_are_the_shown_bytes(example):
    assert written.build_header(TEXT, example) + written.build_body(example) == example.shown


@each_example
def test_the_shown_bytes_decode_to_the_stated_header_and_encode_again_to_the_same(example):
    read, size = READERS[example.link]
    header = read(example.shown)
    stated = {name: value for name, value in example.header.items() if hasattr(header, name)}
    assert {name: getattr(header, name) for name in stated} == stated
    assert encoded_header(example.link, header) == example.shown[:size]


def encoded_header(link, header):
    fields = asdict(header)
    fields.pop("version", None)
    if link == "request":
        fields["engine"] = fields["engine"].encode()
    if link == "source":
        fields["source_id"] = fields.pop("source")
    return getattr(headers, link)(**fields)


@each_example
def test_the_shown_bytes_decode_to_a_message_that_encodes_to_a_body_with_the_same_beginning(example):
    kind = headers.read_start(example.shown).kind
    size = READERS[example.link][1]
    body = codec.decode(kind, example.shown, size)
    assert type(body) is codec.CLASSES[kind]
    # A writer may leave fields with a default off at the tail; ours writes them all.
    stated = example.body
    again = msgspec.msgpack.decode(codec.encode(body))
    assert again[: len(stated)] == stated
    assert again[len(stated) :] == [
        default_of(field) for field in msgspec.structs.fields(body)[len(stated) :]
    ]
    assert codec.decode(kind, example.shown[:size] + codec.encode(body), size) == body


def default_of(field):
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def test_every_kind_and_every_header_has_an_example():
    assert {headers.read_start(example.shown).kind for example in EXAMPLES} == set(codec.CLASSES)
    assert {example.link for example in EXAMPLES} == set(READERS)


def test_the_document_is_as_its_own_program_would_write_it():
    assert written.rewritten(TEXT) == TEXT


def test_a_wrong_byte_in_an_example_would_be_found():
    spoiled = TEXT.replace("00 00 4f 57 01 02", "00 00 4f 57 01 03", 1)
    assert spoiled != TEXT
    wrong = [
        e for e in written.examples(spoiled) if written.build_header(TEXT, e) != e.shown[: READERS[e.link][1]]
    ]
    assert len(wrong) == 1


def test_the_sizes_of_the_headers_are_the_codes():
    for link, (_, size) in READERS.items():
        last = rows(f"{link.capitalize()} header")[-1]
        assert int(last["offset"]) + int(last["size"]) == size


def test_the_kinds_are_the_codes_kinds():
    listed = {int(row["number"]): (row["kind"], row["where"]) for row in rows("Kinds")}
    assert {number: kind for number, (kind, _) in listed.items()} == {
        int(kind): kind.name for kind in headers.Kind
    }
    for number, (_, where) in listed.items():
        assert (where == "reserved") == (number not in codec.CLASSES)
        if where == "requests":
            assert number in headers.REQUEST_KINDS
        if where == "feed":
            assert 32 <= number < 64
        if where in ("replay", "control"):
            assert 64 <= number < 96


def enumerations():
    found = [
        value for value in vars(vocabulary).values() if isinstance(value, type) and issubclass(value, IntEnum)
    ]
    return [e for e in (*found, vocabulary.Flags) if len(e)]


def test_every_enumeration_is_listed_and_no_other():
    listed = {heading for chapter, heading, _ in written.sections(TEXT) if chapter == "Enumerations"}
    assert listed - {"Enumerations"} == {e.__name__ for e in enumerations()}


@pytest.mark.parametrize("enumeration", enumerations(), ids=lambda e: e.__name__)
def test_the_numbers_of_an_enumeration_are_the_codes(enumeration):
    listed = {int(row["number"]): (row["name"], row["read as"]) for row in rows(enumeration.__name__)}
    members = enumeration.__members__.values()
    labels = {m: m.label if hasattr(m, "label") else m.name.lower().replace("_", "-") for m in members}
    assert listed == {int(m): (m.name, labels[m]) for m in members}


def bodies_and_parts():
    parts = [
        value
        for module in (messages, control)
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and (issubclass(value, messages.Message) or value is messages.Answers)
        and value not in codec.KINDS
        and value not in (messages.Message, Event)
    ]
    return [*codec.KINDS, *parts]


@pytest.mark.parametrize("cls", bodies_and_parts(), ids=lambda cls: cls.__name__)
def test_the_fields_of_a_body_are_the_codes(cls):
    heading = f"{cls.__name__} ({codec.KINDS[cls]})" if cls in codec.KINDS else cls.__name__
    listed = [(row["index"], row["field"], row["type"], row["default"]) for row in rows(heading)]
    expected = fields_of(cls)
    if issubclass(cls, Event):
        expected = expected[len(fields_of(Event)) :]
    assert listed == expected


def test_the_fields_that_events_begin_with_are_the_codes():
    listed = [(row["index"], row["field"], row["type"], row["default"]) for row in rows("Events")]
    assert listed == fields_of(Event)


def test_no_body_is_described_that_does_not_exist():
    described = {
        heading
        for chapter, heading, _ in written.sections(TEXT)
        if chapter in ("Requests", "Events", "Control bodies", "Parts") and heading != chapter
    }
    numbers = {cls: f"{cls.__name__} ({kind})" for cls, kind in codec.KINDS.items()}
    assert described == {numbers.get(cls, cls.__name__) for cls in bodies_and_parts()}


def fields_of(cls):
    if issubclass(cls, tuple):
        hints = typing.get_type_hints(cls)
        return [(str(i), name, words_of(hints[name]), "") for i, name in enumerate(cls._fields)]
    return [
        (str(i), field.name, words_of(field.type), words_of_default(field))
        for i, field in enumerate(msgspec.structs.fields(cls))
    ]


def words_of(kind):
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return words_of(args[0])
    if origin in (typing.Union, types.UnionType):
        return f"{words_of(next(arg for arg in args if arg is not type(None)))} or nil"
    if origin is list:
        return f"list of {words_of(args[0])}"
    if origin is dict:
        assert args == (str, int)
        return "map of text to integer"
    names = {int: "integer", bool: "boolean", str: "text", bytes: "bytes", Amount: "decimal"}
    return names.get(kind) or kind.__name__


def words_of_default(field):
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return ""
    default = default_of(field)
    return "nil" if default is None else json.dumps(int(default) if isinstance(default, IntEnum) else default)


def test_the_decimals_are_read_as_the_document_says():
    for row in rows("Decimals"):
        if row["read as"] == "refused":
            with pytest.raises(ValueError, match="no decimal"):
                parse(row["written"])
        else:
            assert text(parse(row["written"])) == row["read as"]


def test_the_limits_are_the_codes():
    limits = {row["what"]: row["limit"] for row in rows("Limits and names")}
    assert limits["frame of a request, an event or a command"] == f"{codec.REQUEST_LIMIT} bytes"
    bulky = "frame of an AccountSnapshot, Heartbeat, Health, ReplayChunk or StateChunk"
    assert limits[bulky] == f"{codec.CHUNK_LIMIT} bytes"
    for kind, cls in codec.CLASSES.items():
        limit = codec.CHUNK_LIMIT if re.search(rf"\b{cls.__name__}\b", bulky) else codec.REQUEST_LIMIT
        with pytest.raises(codec.BodyError, match=f"over the limit of {limit}"):
            codec.decode(kind, bytes(limit + 1), 0)
        with pytest.raises(codec.BodyError, match=r"^(?!.*over the limit)"):
            codec.decode(kind, bytes(limit), 0)
    assert topology.REQUEST_SIZE_LIMIT == codec.REQUEST_LIMIT
    assert topology.CHUNK_SIZE_LIMIT == codec.CHUNK_LIMIT
    assert limits["elements of one list or map"] == str(codec.ARRAY_LIMIT)
    assert limits["decimal"] == f"{DIGITS_LIMIT} characters"
    assert limits["cid"] == rf"\A{identity.CID_GRAMMAR.pattern}\Z"
    assert limits["engine name"] == rf"\A{identity.ENGINE_GRAMMAR.pattern}\Z"
    assert limits["tag"].startswith(f"{checks.TAG_LIMIT} characters")
    assert limits["session, rid"] == "1 to 2^63 - 1"
    assert identity.COUNT_LIMIT == 2**63 - 1
    assert limits["detail of a refusal or a failure"].startswith(f"{checks.DETAIL_LIMIT} ")


def test_the_generated_cids_are_the_codes():
    tables = [b for b in written.section(TEXT, "Limits and names").split("\n\n") if "| generated cid |" in b]
    listed = written.table(tables[0])
    assert listed
    for row in listed:
        made = identity.generated_cid(row["engine"], int(row["session"]), int(row["rid"]))
        assert made == row["generated cid"]


def test_the_fingerprint_is_made_of_the_lines_shown(example_deployment):
    lines, shown = written.fingerprint(TEXT)
    assert list(example_deployment.table) == lines
    assert zlib.crc32("\n".join(lines).encode()) == int(shown, 16) == example_deployment.fingerprint


def test_the_edges_of_an_engine_are_the_topologys(example_deployment):
    listed = {(row["edge"], row["path"], row["your socket"].lower()) for row in rows("Edges")}
    for link in topology.links(example_deployment, "engine"):
        assert (link.edge, f"<run_dir>/{link.binder}.{link.edge}", link.pattern) in listed
    path = topology.ipc(example_deployment, "router.requests")
    assert path == f"ipc://{example_deployment.run_dir}/router.requests"


@pytest.fixture
def example_deployment():
    one = Instrument(0, "btc_usdt", "BTCUSDT", "btc", "usdt", parse("0.01"), parse("0.00001"))
    assets = (Asset(0, "btc", "BTC"), Asset(1, "usdt", "USDT"))
    exchange = Exchange(0, "binance_spot", "binance", "simulated", (one,), assets)
    actors = ("router", "merger", *actors_of(exchange))
    return Deployment(Path("x.toml"), "x", Path("run"), Path("state"), (exchange,), {"all": actors})
