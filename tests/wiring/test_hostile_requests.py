"""Requests that are wrong in one thing: each is refused once, with its reason, to the engine that sent it."""

import struct

import msgpack
import pytest

from pipeline import headers
from pipeline.headers import Kind
from pipeline.messages import CancelAll, CancelOrder, OpenOrder, OrderCancelled, OrderSnapshot, Refused
from pipeline.vocabulary import CancelScope, OrderState, Refusal
from tests.wiring.siege import Bystander

INVALID = Refusal.InvalidRequest
FULL_WIDTH = "１２"


def body(**other):
    """An open's body as another language would write it; `other` replaces fields by name."""
    fields = {
        "instrument": 0,
        "cid": "c",
        "side": 0,
        "kind": 1,
        "time_in_force": 0,
        "flags": 0,
        "price": "1000.0",
        "quantity": "0.001",
        "tag": None,
    }
    assert set(other) <= set(fields)
    return msgpack.packb(list((fields | other).values()))


QUANTITIES = ["0", "0.000", "-1", "-0", "NaN", "Infinity", "1e400", "1" * 40, "1" * 21, FULL_WIDTH, "1_000"]
QUANTITIES += ["", " 1", "1\n", "+1", ".5", "1.", "0x1", "01", "0.0001", "1" + "0" * 60_000]
NO_TEXT = [0, 1, 1.5, float("nan"), None, True, b"1", ["1"], {"1": 1}, [[[[[[[[[["1"]]]]]]]]]]]
PRICES = ["0", "-1", "1000.05", "NaN", "1e3", FULL_WIDTH, "1000.0\n", "9" * 21, 1000, 1000.0, b"1000"]
CIDS = ["", "x" * 65, "x" * 60_000, "a b", "a\n", "a\x00", "\x1b[2J", "a/b", "é", "\u202e", "ow.other.1.1"]
CIDS += ["ow.", "ext-1", b"a", 7, None]
OTHER_FIELDS = [
    {"side": 9},
    {"side": "buy"},
    {"side": -1},
    {"kind": 9},
    {"kind": 0},  # a market order with a price
    {"price": None},  # a limit order without one
    {"time_in_force": 99},
    {"flags": 2**64 - 1},
    {"flags": "1"},
    {"instrument": 2**63},
    {"instrument": 2**64 - 1},
    {"instrument": "btc_usd"},
    {"instrument": 0.0},
    {"tag": "t" * 129},
    {"tag": "a\nb"},
    {"tag": 5},
    {"quantity": "0.001", "price": "0.1"},  # worth less than the venue takes
]
BODIES = {
    **{f"quantity {str(q)[:12]!r}": body(quantity=q) for q in QUANTITIES},
    **{f"quantity of type {type(q).__name__} {str(q)[:8]}": body(quantity=q) for q in NO_TEXT},
    **{f"price {p!r}": body(price=p) for p in PRICES},
    **{f"cid {str(c)[:12]!r} of {len(str(c))}": body(cid=c) for c in CIDS},
    **{f"{str(fields)[:40]}": body(**fields) for fields in OTHER_FIELDS},
    "no body": b"",
    "a map": msgpack.packb({"instrument": 0}),
    "nothing in it": msgpack.packb([]),
    "bytes after it": body() + b"\x00",
    "an order in an order": msgpack.packb([msgpack.unpackb(body())]),
    "deep nesting": b"\x91" * 60_000,
    "deep maps": b"\x81\xa1a" * 20_000,
    "empty maps": b"\xdd\x00\x00\xea\x60" + b"\x80" * 60_000,
    "more elements announced than there are": b"\xdd\xff\xff\xff\xff",
    "a text longer than the frame": b"\x99\x00\xdb\xff\xff\xff\xff",
    "an extension": b"\xc7\x10\x01" + b"x" * 16,
    "text that is no UTF-8": b"\x99\x00\xa2\xff\xfe" + body()[4:],
}
HEADERS = {
    "an exchange that is not there": ({"exchange": 2}, Refusal.UnknownExchange),
    "no exchange": ({"exchange": 0xFFFF}, Refusal.UnknownExchange),
    "another table": ({"fingerprint": 1}, Refusal.FingerprintMismatch),
    "a replace": ({"kind": Kind.ReplaceOrder}, Refusal.Unsupported),
    "a newer request": ({"kind": 31}, Refusal.UnknownKind),
    "kind 0": ({"kind": 0}, Refusal.UnknownKind),
    "an event": ({"kind": Kind.Trade}, Refusal.UnknownKind),
    "a command": ({"kind": Kind.Shutdown}, Refusal.UnknownKind),
    "kind 255": ({"kind": 255}, Refusal.UnknownKind),
    "expires at 2^63": ({"expires_at_ns": 2**63}, INVALID),
    "expires at 2^64 - 1": ({"expires_at_ns": 2**64 - 1}, INVALID),
    "expires in a year": ({"expires_at_ns": 2**63 - 1}, INVALID),
    "expired long ago": ({"expires_at_ns": 0}, Refusal.TooLate),
    "a resend of nothing": ({"attempt": 1}, Refusal.NotSent),
    "the last resend": ({"attempt": 0xFFFF}, Refusal.NotSent),
}


# Where the detail says that the fault is, if it does not name the field.
PLACES = {"quantity": "$[7]", "price": "$[6]", "cid": "$[1]"}


def with_version(frame, version):
    return frame[:4] + bytes([version]) + frame[5:]


async def refusals(siege, frames, edge="router"):
    """What is answered to each of {rid: frame}: every answer there is, once an order has gone after them."""
    wire = siege.attach(edge, "requests")
    await siege.send(wire, frames.values())
    await siege.until(lambda: all(answers_to(siege, rid) for rid in frames), "an answer to each")
    await siege.assert_all_alive()
    return {rid: answers_to(siege, rid) for rid in frames}


def answers_to(siege, rid, session=1, engine="mallory"):
    return siege.answers.get((engine, session, rid), [])


def check_refused(answers, reasons, names):
    wrong = {}
    for rid, found in answers.items():
        only = found[0]
        refused = len(found) == 1 and isinstance(only, Refused) and only.reason is reasons[rid]
        if not (refused and is_readable(only)):
            wrong[names.get(rid, rid)] = found
    assert not wrong, wrong


def is_readable(event):
    return event.detail.isprintable() and 0 < len(event.detail) <= 210 and event.cid.isprintable()


@pytest.mark.parametrize("edge", ["router", "executor.alpha"])
def test_a_body_that_is_wrong_in_one_thing_is_refused_once(siege, edge):
    bodies = {siege.next_rid(): (name, written) for name, written in BODIES.items()}
    frames = {rid: siege.request(written, rid) for rid, (_, written) in bodies.items()}
    names = {rid: name for rid, (name, _) in bodies.items()}

    async def attack():
        async with Bystander(siege, f"{len(frames)} wrong bodies at {edge}"):
            return await refusals(siege, frames, edge)

    answers = siege.run(attack())
    if edge == "router":
        check_refused(answers, dict.fromkeys(frames, INVALID), names)
        for rid, name in names.items():
            place = PLACES.get(name.split()[0], "")
            assert place in answers[rid][0].detail or name.split()[0] in answers[rid][0].detail, answers[rid]
    else:
        # Behind the router only what could harm is looked at again; the rest is the exchange's to reject.
        assert {len(found) for found in answers.values()} == {1}
        assert not [names[rid] for rid, (found,) in answers.items() if is_open(found)]


def test_the_body_that_the_others_spoil_is_served(siege):
    rid = siege.next_rid()
    (answer,) = siege.run(refusals(siege, {rid: siege.request(body(cid=f"good-{rid}"), rid)}))[rid]
    assert is_open(answer)


def is_open(event):
    return isinstance(event, OrderSnapshot) and not event.order.state.finished


def test_an_instrument_that_is_not_there_is_named(siege):
    wanted = [2, 4096, -1, 2**63 - 1, -(2**63)]
    rids = {siege.next_rid(): body(instrument=index) for index in wanted}
    frames = {rid: siege.request(written, rid) for rid, written in rids.items()}
    answers = siege.run(refusals(siege, frames))
    check_refused(answers, dict.fromkeys(frames, Refusal.UnknownInstrument), rids)


def test_flags_that_nobody_knows_are_unsupported(siege):
    rids = {siege.next_rid(): body(flags=flags) for flags in (4, 2**40, 2**63 - 1, -1, 2)}
    frames = {rid: siege.request(written, rid) for rid, written in rids.items()}
    answers = siege.run(refusals(siege, frames))
    check_refused(answers, dict.fromkeys(frames, Refusal.Unsupported), rids)


@pytest.mark.parametrize("edge", ["router", "executor.alpha"])
def test_a_header_that_is_wrong_in_one_thing_is_refused_once(siege, edge):
    rids = {siege.next_rid(): name for name in HEADERS}
    frames = {rid: siege.request(body(cid=f"h-{rid}"), rid, **HEADERS[name][0]) for rid, name in rids.items()}
    reasons = {rid: HEADERS[name][1] for rid, name in rids.items()}
    for version in (0, 2, 255):
        rid = siege.next_rid()
        rids[rid], reasons[rid] = f"version {version}", Refusal.WrongVersion
        frames[rid] = with_version(siege.request(body(), rid), version)
    answers = siege.run(refusals(siege, frames, edge))
    check_refused(answers, reasons, rids)


NAMELESS = {
    "no name": {"engine": b""},
    "a name with a space": {"engine": b"a b"},
    "a name that moves the cursor": {"engine": b"\x1b[2J"},
    "a name after a zero": {"engine": b"\0mallory"},
    "session 0": {"session": 0},
    "session 2^63": {"session": 2**63},
    "session 2^64 - 1": {"session": 2**64 - 1},
    "rid 0": {"rid": 0},
    "rid 2^63": {"rid": 2**63},
    "rid 2^64 - 1": {"rid": 2**64 - 1},
}


@pytest.mark.parametrize("edge", ["router", "executor.alpha"])
def test_a_request_of_nobody_is_counted_and_dropped(siege, edge):
    async def attack():
        before = (await siege.health(edge)).counters
        wire = siege.attach(edge, "requests")
        nobodys = [siege.request(body(), 1) for _ in NAMELESS]
        for number, fields in enumerate(NAMELESS.values()):
            nobodys[number] = siege.request(body(), **({"rid": 1} | fields))
        garbled = siege.request(body(), 1, engine="jürgen".encode())
        await siege.send(wire, [*nobodys, garbled])
        counters = before

        async def counted():
            nonlocal counters
            counters = (await siege.health(edge)).counters
            return counters.get("nameless_requests", 0) - before.get("nameless_requests", 0)

        for _ in range(1_000):
            if await counted() == len(nobodys):
                break
        await siege.assert_all_alive()
        return before, (await siege.health(edge)).counters

    before, after = siege.run(attack())
    assert after["nameless_requests"] - before.get("nameless_requests", 0) == len(NAMELESS)
    assert after["bad_request_frames"] - before.get("bad_request_frames", 0) == 1


def test_the_longest_name_and_the_highest_numbers_are_served(siege):
    async def trade():
        wire = siege.attach("router", "requests")
        last = 2**63 - 1
        frame = siege.request(body(cid="last"), last, engine=b"n" * 24, session=last)
        await siege.send(wire, [frame])
        await siege.until(lambda: answers_to(siege, last, last, "n" * 24), "the answer")
        await siege.assert_all_alive()
        return answers_to(siege, last, last, "n" * 24)

    (answer,) = siege.run(trade())
    assert isinstance(answer, OrderSnapshot)
    assert answer.order.state is OrderState.Open


def test_a_longer_body_is_served_and_its_tail_ignored(siege):
    rid = siege.next_rid()
    longer = msgpack.packb([*msgpack.unpackb(body(cid=f"long-{rid}")), "newer", {"a": [1, 2]}, 7])
    (answer,) = siege.run(refusals(siege, {rid: siege.request(longer, rid)}))[rid]
    assert isinstance(answer, OrderSnapshot)
    assert answer.order.state is OrderState.Open


def test_a_cid_with_other_content_is_a_duplicate(siege):
    first, second, third = (siege.next_rid() for _ in range(3))
    frames = {
        first: siege.request(body(cid=f"twice-{first}"), first),
        second: siege.request(body(cid=f"twice-{first}", quantity="0.002"), second),
        third: siege.request(body(cid=f"twice-{first}"), third),
    }
    answers = siege.run(refusals(siege, frames))
    assert [is_open(event) for event in answers.pop(first)] == [True]
    check_refused(answers, dict.fromkeys(answers, Refusal.DuplicateCid), frames)


def test_a_request_number_with_other_content_leaves_the_first_its_one_answer(siege):
    rid, after = siege.next_rid(), siege.next_rid()

    async def attack():
        wire = siege.attach("router", "requests")
        begun = len(siege.events)
        frames = [body(cid=f"first-{rid}"), body(cid=f"other-{rid}"), body(cid=f"third-{rid}")]
        await siege.send(wire, [siege.request(written, rid) for written in frames])
        await refusals(siege, {after: siege.request(CancelAll(CancelScope.SESSION), after)})
        return siege.events[begun:]

    events = siege.run(attack())
    assert [is_open(event) for event in answers_to(siege, rid)] == [True]
    told = [event for event in events if isinstance(event, Refused)]
    assert [(event.reason, event.answers) for event in told] == [(INVALID, None)] * 2
    cids = {event.order.cid for event in events if isinstance(event, OrderSnapshot)}
    assert f"first-{rid}" in cids
    assert not {f"other-{rid}", f"third-{rid}"} & cids


def test_cancels_of_what_is_not_there_are_answered(siege):
    rids = {siege.next_rid(): cid for cid in ("nobody", "ow.honest.1.1", "ext-", "ext-77", "x" * 64)}
    frames = {rid: siege.request(CancelOrder(instrument=0, cid=cid), rid) for rid, cid in rids.items()}
    answers = siege.run(refusals(siege, frames))
    assert {len(found) for found in answers.values()} == {1}
    for (answer,) in answers.values():
        assert isinstance(answer, OrderCancelled)
        assert answer.failure is not None


def test_a_request_cut_at_any_byte_is_refused_or_counted(siege):
    async def attack():
        wire = siege.attach("router", "requests")
        before = (await siege.health("router")).counters.get("bad_request_frames", 0)
        whole = len(siege.request(body(), 1))
        rids = [siege.next_rid() for _ in range(whole)]
        frames = [siege.request(body(), rid)[:size] for size, rid in enumerate(rids)]
        async with Bystander(siege, f"{whole} truncated requests"):
            await siege.send(wire, frames)
            named = rids[headers.REQUEST_SIZE :]
            await siege.until(lambda: all(answers_to(siege, rid) for rid in named), "an answer to each")
        await siege.assert_all_alive()
        after = (await siege.health("router")).counters["bad_request_frames"]
        return named, after - before

    named, counted = siege.run(attack())
    assert counted == headers.REQUEST_SIZE
    check_refused({rid: answers_to(siege, rid) for rid in named}, dict.fromkeys(named, INVALID), {})


def test_an_open_without_a_name_gets_the_words_of_its_class():
    # The bodies above are written by hand: if the class grows a field, they are no longer what it reads.
    assert len(msgpack.unpackb(body())) == len(OpenOrder.__struct_fields__)
    assert struct.calcsize("<H2sBBHII24sQQQ") == headers.REQUEST_SIZE
