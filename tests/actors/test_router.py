"""The way in: what is wrong with a request's bytes is refused here, the rest goes on untouched."""

import pytest

from pipeline import codec, headers
from pipeline.amounts import amount
from pipeline.headers import Kind
from pipeline.messages import CancelAll, CancelOrder, Refused
from pipeline.vocabulary import CancelScope, OrderKind, Refusal
from tests.actors.pipeline import MS
from tests.actors.venue_words import open_body


@pytest.fixture
def way_in(make):
    """A router whose executors only take: what reaches them is in `taken`."""
    desk = make(exchanges=("alpha", "beta"))
    desk.taken = []

    def take(sender, to, link, frame):
        if link == "requests" and to.startswith("executor."):
            desk.taken.append((to, frame))
            return True
        return False

    desk.lose = take
    return desk


def only_refusal(desk):
    (refused,) = desk.events(Refused)
    return refused


def test_a_request_goes_to_the_executor_of_its_exchange_untouched(way_in):
    first = way_in.request(open_body("c-1"), rid=1, exchange=0)
    second = way_in.request(CancelOrder(1, "c-1"), rid=2, exchange=1)
    third = way_in.request(CancelAll(CancelScope.ALL), rid=3, exchange=1)
    assert way_in.taken == [("executor.alpha", first), ("executor.beta", second), ("executor.beta", third)]


@pytest.mark.parametrize("exchange", [2, 77, 0xFFFE, 0xFFFF])
def test_an_exchange_that_is_not_there_is_refused(way_in, exchange):
    way_in.request(open_body("c-1"), rid=1, exchange=exchange)
    refused = only_refusal(way_in)
    assert (refused.reason, refused.answers.rid) == (Refusal.UnknownExchange, 1)
    assert str(exchange) in refused.detail


@pytest.mark.parametrize("instrument", [2, 4_000, -1])
@pytest.mark.parametrize("kind", ["open", "cancel"])
def test_an_instrument_that_is_not_there_is_refused(way_in, instrument, kind):
    body = open_body("c-1", instrument=instrument) if kind == "open" else CancelOrder(instrument, "c-1")
    way_in.request(body, rid=1)
    refused = only_refusal(way_in)
    assert (refused.reason, refused.cid) == (Refusal.UnknownInstrument, "c-1")


def test_another_table_is_refused_with_what_to_do(way_in):
    way_in.request(open_body(), rid=1, fingerprint=1)
    refused = only_refusal(way_in)
    assert refused.reason is Refusal.FingerprintMismatch
    assert "load the deployment file" in refused.detail


def with_bytes(desk, at, value, body=None):
    body = body or open_body()
    frame = bytearray(
        headers.request(
            0, codec.KINDS[type(body)], 0, desk.deployment.fingerprint, b"mm", 1, 1, desk.now_ns + 1_000 * MS
        )
        + codec.encode(body)
    )
    frame[at] = value
    desk.send_raw(bytes(frame))


def test_another_version_is_refused(way_in):
    with_bytes(way_in, 4, 9)
    assert only_refusal(way_in).reason is Refusal.WrongVersion


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.ReplaceOrder, Refusal.Unsupported),
        (17, Refusal.UnknownKind),
        (0, Refusal.UnknownKind),
        (Kind.Trade, Refusal.UnknownKind),
        (Kind.Shutdown, Refusal.UnknownKind),
        (255, Refusal.UnknownKind),
    ],
)
def test_a_kind_that_is_no_request_is_refused(way_in, kind, reason):
    with_bytes(way_in, 5, kind)
    assert only_refusal(way_in).reason is reason
    assert way_in.taken == []


def test_every_cut_of_a_body_is_refused_to_its_sender(way_in):
    body = codec.encode(open_body("c-1"))
    head = headers.request(
        0, Kind.OpenOrder, 0, way_in.deployment.fingerprint, b"mm", 1, 1, way_in.now_ns + 1_000 * MS
    )
    for cut in range(len(body)):
        way_in.send_raw(head[:-16] + (cut + 1).to_bytes(8, "little") + head[-8:] + body[:cut])
    refusals = way_in.events(Refused)
    assert [refused.answers.rid for refused in refusals] == list(range(1, len(body) + 1))
    assert {refused.reason for refused in refusals} == {Refusal.InvalidRequest}
    assert way_in.taken == []


def test_a_body_with_something_behind_it_is_refused(way_in):
    head = headers.request(0, Kind.CancelOrder, 0, way_in.deployment.fingerprint, b"mm", 1, 1, 10**18)
    way_in.send_raw(head + codec.encode(CancelOrder(0, "c-1")) + b"\x00")
    assert only_refusal(way_in).reason is Refusal.InvalidRequest


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": amount(0)},
        {"quantity": amount("-1")},
        {"quantity": amount("0.0001")},
        {"price": amount("100.001")},
        {"price": amount(0)},
        {"price": None},
        {"price": amount("100"), "kind": OrderKind.MARKET},
        {"flags": 64},
        {"cid": "a b"},
        {"cid": "x" * 65},
        {"cid": ""},
        {"cid": "line\n"},
        {"cid": "ext-1"},
        {"tag": "t" * 129},
        {"tag": "bell\x07"},
    ],
)
def test_what_is_wrong_with_an_order_by_itself_is_refused(way_in, changes):
    body = open_body()
    for name, value in changes.items():
        setattr(body, name, value)
    way_in.request(body, rid=1)
    refused = only_refusal(way_in)
    assert refused.reason in (Refusal.InvalidRequest, Refusal.Unsupported)
    assert refused.detail.isprintable() and refused.detail.startswith(next(iter(changes)))
    assert way_in.taken == []


def test_the_same_resend_has_the_same_verdict_and_one_answer(way_in):
    way_in.repeats_expected = True
    for attempt in (0, 1, 2):
        way_in.request(open_body(quantity="0"), rid=1, attempt=attempt)
    assert only_refusal(way_in).reason is Refusal.InvalidRequest


def test_a_full_executor_refuses_first_copies_and_drops_resends(way_in):
    way_in.full.add(("router", "executor.alpha"))
    way_in.request(open_body("c-1"), rid=1)
    way_in.request(open_body("c-2"), rid=2, attempt=1)
    way_in.request(CancelOrder(0, "c-1"), rid=3)
    way_in.request(open_body("c-4"), rid=4, exchange=1)
    refusals = [(refused.answers.rid, refused.reason, refused.cid) for refused in way_in.events(Refused)]
    assert refusals == [(1, Refusal.Overloaded, "c-1"), (3, Refusal.Overloaded, "")]
    assert way_in.counted("router", "resends_dropped") == 1
    assert [to for to, _ in way_in.taken] == ["executor.beta"], "another exchange is not slowed"


def test_while_its_refusals_are_not_taken_it_stops_reading(make):
    desk = make(edges={"outbox_limit": 1_000})
    desk.lose = lambda sender, to, link, frame: sender == "router" and link == "events"
    rid = 0
    while ("router", "requests") not in desk.paused:
        rid += 1
        desk.request(open_body(quantity="0"), rid=rid)
        assert rid < 1_000
    desk.lose = lambda *_: False
    desk.advance(2_000)
    assert ("router", "requests") not in desk.paused
    assert len(desk.events(Refused)) == rid


def test_a_heartbeat_that_nobody_can_read_is_counted(way_in):
    frame = headers.feed(0xFFFF, Kind.Heartbeat, 3, 1, 1, 0, 1)
    way_in.wire.append(("merger", "router", "feed", frame + b"\xc1"))
    way_in.wire.append(("merger", "router", "feed", b"short"))
    way_in.settle()
    assert way_in.counted("router", "bad_feed_frames") == 2


def test_refusals_of_an_earlier_life_do_not_come_again(make):
    desk = make()
    desk.request(open_body(quantity="0"), rid=1)
    desk.restart("router")
    desk.request(open_body(quantity="0"), rid=2)
    desk.advance(1_000)
    assert [refused.answers.rid for refused in desk.events(Refused)] == [1, 2]
