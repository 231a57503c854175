import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import engine_core, headers
from pipeline.amounts import amount
from pipeline.codec import decode_as, read_request_body
from pipeline.control import ReplayQuery
from pipeline.engine_core import Backpressure, EngineCore, FeedLost, InvalidRequest
from pipeline.headers import CONTROL_SIZE, Kind
from pipeline.identity import generated_cid
from pipeline.messages import (
    NO_EXCHANGE,
    AccountSnapshot,
    ActorStarted,
    Answers,
    Balance,
    BalanceSnapshot,
    CancelAll,
    CancelAllDone,
    CancelOrder,
    FeedReset,
    OpenOrder,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Stuck,
    Subscribed,
    Synced,
    Trade,
)
from pipeline.vocabulary import CancelScope, OrderKind, OrderState, Refusal, Side, TimeInForce
from tests.deployment_text import paper
from tests.order_words import order
from tests.small_feed import SmallFeed

MILLI = 1_000_000
SESSION = 5_000
DEPLOYMENT = paper()
STALE_NS = DEPLOYMENT.edges.feed_stale_ms * MILLI
TIMEOUT_NS = DEPLOYMENT.exchanges[0].timing.request_timeout_ms * MILLI
EXPIRES_NS = 9_000 * MILLI


class Wired:
    """An engine's core on a small feed; what it sends is kept, and taken unless `full`."""

    def __init__(self, name="mm", session=SESSION, resume=None, feed=None, **options):
        self.feed = feed or SmallFeed(exchanges=2)
        self.sent = {"requests": [], "replay": []}
        self.full = False
        self.now_ns = 0
        self.core = EngineCore(DEPLOYMENT, name, session, self.send, resume=resume, **options)

    def send(self, link, frame):
        if self.full:
            return False
        self.sent[link].append(frame)
        return True

    def join(self):
        self.core.on_frame("feed", self.feed.heartbeat(), self.now_ns)
        for _ in range(100):
            if self.core.reader.joined:
                return self
            for frame in self.feed.answer(self.sent["replay"].pop(0)):
                self.core.on_frame("replay", frame, self.now_ns)
        raise AssertionError("it never joined")

    def hear(self, *events, exchange=0):
        for event in events:
            self.core.on_frame("feed", self.feed.publish(exchange, event), self.now_ns)

    def open(self, cid=""):
        return self.core.open(0, an_open(cid), self.now_ns, EXPIRES_NS)

    def beat(self):
        self.core.on_frame("feed", self.feed.heartbeat(), self.now_ns)

    def wait_until(self, now_ns):
        self.now_ns = now_ns
        self.core.on_deadline(now_ns)

    def attempts(self):
        """(rid, attempt) of every copy that was sent."""
        read = (headers.read_request(frame) for frame in self.sent["requests"])
        return [(header.rid, header.attempt) for header in read]


def an_open(cid=""):
    return OpenOrder(
        instrument=0,
        cid=cid,
        side=Side.BUY,
        kind=OrderKind.LIMIT,
        time_in_force=TimeInForce.GTC,
        flags=0,
        price=amount(100),
        quantity=amount(1),
    )


def answered(rid, engine="mm", session=SESSION, **more):
    return OrderSnapshot(order=order(engine=engine, **more), answers=Answers(engine, session, rid))


def a_trade(cid, id="t-1"):
    fields = {"instrument": 0, "side": Side.BUY, "id": id, "cid": cid, "order_id": None}
    return Trade(price=amount(1), quantity=amount(1), **fields)


@pytest.fixture
def wired():
    return Wired().join()


# ------------------------------------------------------------------------------------ requests


def test_a_generated_cid_tells_engine_session_and_request(wired):
    cids = [wired.open(), wired.open("mine"), wired.open()]
    assert cids == [generated_cid("mm", SESSION, 1), "mine", generated_cid("mm", SESSION, 3)]
    frame = wired.sent["requests"][2]
    header = headers.read_request(frame)
    assert (header.exchange, header.kind, header.attempt) == (0, Kind.OpenOrder, 0)
    assert (header.engine, header.session, header.rid) == ("mm", SESSION, 3)
    assert (header.fingerprint, header.expires_at_ns) == (DEPLOYMENT.fingerprint, EXPIRES_NS)
    assert read_request_body(header.kind, frame) == an_open(cids[2])


def trace(wired):
    core = wired.core
    return (
        core._rid,
        dict(core.outstanding),
        dict(core._placed),
        dict(core.orders),
        len(wired.sent["requests"]),
    )


def test_a_full_way_out_is_backpressure_and_leaves_no_trace(wired):
    wired.open()
    before = trace(wired)
    wired.full = True
    body = an_open()
    for send in (
        lambda: wired.core.open(0, body, 0, EXPIRES_NS),
        lambda: wired.core.cancel(0, CancelOrder(instrument=0, cid="x"), 0, EXPIRES_NS),
        lambda: wired.core.cancel_all(0, CancelAll(scope=CancelScope.ENGINE), 0, EXPIRES_NS),
    ):
        with pytest.raises(Backpressure):
            send()
    assert trace(wired) == before and body.cid == ""
    wired.full = False
    assert wired.open() == generated_cid("mm", SESSION, 2)


def test_an_open_is_refused_while_the_feed_is_lost_and_leaves_no_trace(wired):
    before = trace(wired)
    wired.now_ns = STALE_NS + 1
    with pytest.raises(FeedLost):
        wired.open()
    assert trace(wired) == before
    wired.beat()
    wired.open()


def test_before_the_feed_was_joined_opens_are_refused_and_cancels_go_out():
    wired = Wired()
    with pytest.raises(FeedLost):
        wired.open()
    wired.core.cancel(0, CancelOrder(instrument=0, cid="x"), 0, EXPIRES_NS)
    assert wired.attempts() == [(1, 0)]


def test_an_unwritable_feed_refuses_opens(wired):
    wired.feed.unwritable = True
    wired.beat()
    with pytest.raises(FeedLost):
        wired.open()


@pytest.mark.parametrize("name", ["", "a" * 25, "a b", "ü", "mm\n"])
def test_an_engine_has_a_name_that_fits(name):
    with pytest.raises(InvalidRequest, match="engine name"):
        Wired(name)


@pytest.mark.parametrize(
    ("change", "expires_at_ns"),
    [({}, -1), ({}, 2**64), ({}, 1.5), ({"tag": "x" * 70_000}, 1), ({"tag": "\ud800"}, 1)],
)
def test_what_cannot_travel_is_refused_here_and_leaves_no_trace(wired, change, expires_at_ns):
    before = trace(wired)
    body = an_open()
    for field, value in change.items():
        setattr(body, field, value)
    with pytest.raises(InvalidRequest):
        wired.core.open(0, body, 0, expires_at_ns)
    assert trace(wired) == before


# ------------------------------------------------------------------------------------ outstanding


def test_a_request_is_outstanding_until_the_event_that_answers_it(wired):
    cid = wired.open()
    wired.core.cancel(0, CancelOrder(instrument=0, cid=cid), 0, EXPIRES_NS)
    wired.hear(OrderSnapshot(order=order(cid=cid)))
    assert set(wired.core.outstanding) == {1, 2}
    wired.hear(answered(1, engine="other"), answered(1, session=SESSION - 1))
    assert set(wired.core.outstanding) == {1, 2}
    wired.hear(answered(1, cid=cid))
    assert set(wired.core.outstanding) == {2}
    wired.hear(Refused(reason=Refusal.TooLate, answers=Answers("mm", SESSION, 2)))
    assert wired.core.outstanding == {} and wired.core.next_deadline_ns() is None


def test_an_unanswered_request_is_asked_about_when_its_time_is_over_and_then_ever_less_often(wired):
    wired.open()
    due_ns = EXPIRES_NS + TIMEOUT_NS
    assert wired.core.next_deadline_ns() == due_ns
    wired.wait_until(due_ns - 1)
    assert wired.attempts() == [(1, 0)]
    pauses = []
    for attempt in range(1, 5):
        wired.wait_until(due_ns)
        assert wired.attempts()[-1] == (1, attempt)
        assert len(wired.attempts()) == attempt + 1
        pauses.append(wired.core.next_deadline_ns() - due_ns)
        due_ns = wired.core.next_deadline_ns()
    assert pauses == sorted(set(pauses)) and pauses[0] >= TIMEOUT_NS
    first, *again = wired.sent["requests"]
    assert [headers.with_attempt(frame, 0) for frame in again] == [first] * 4


def test_a_cancel_is_asked_about_as_an_open_is(wired):
    wired.core.cancel(1, CancelOrder(instrument=0, cid="x"), 0, EXPIRES_NS)
    wired.wait_until(EXPIRES_NS + TIMEOUT_NS)
    assert wired.attempts() == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("actor", "asked"),
    [("router", [1, 2]), ("executor.alpha", [1]), ("executor.beta", [2]), ("merger", []), ("executor.x", [])],
)
def test_what_an_actor_may_have_lost_is_asked_about_when_it_began_anew(wired, actor, asked):
    wired.open()
    wired.core.cancel(1, CancelOrder(instrument=0, cid="x"), 0, EXPIRES_NS)
    wired.hear(ActorStarted(actor=actor, epoch=9))
    wired.wait_until(1)
    assert wired.attempts()[2:] == [(rid, 1) for rid in asked]


def test_asking_again_into_a_full_link_is_not_the_end_of_it(wired):
    wired.open()
    wired.full = True
    wired.wait_until(EXPIRES_NS + TIMEOUT_NS)
    wired.full = False
    wired.wait_until(wired.core.next_deadline_ns())
    assert wired.attempts() == [(1, 0), (1, 1)]  # the copy that was not taken does not count


# ------------------------------------------------------------------------------------ which events


OTHERS = [
    OrderSnapshot(order=order(engine="other", cid="theirs")),
    OrderSnapshot(order=order(engine="", cid="ext-77")),
    a_trade("theirs"),
    a_trade(""),
    a_trade(generated_cid("mm.2", SESSION, 1)),
    OrderCancelled(instrument=0, cid="theirs"),
    Refused(reason=Refusal.TooLate, cid="theirs", answers=Answers("other", 1, 1)),
    Refused(reason=Refusal.TooLate, answers=Answers("other", 1, 1)),
    CancelAllDone(cancelled=1, failed=0, unknown=0, answers=Answers("other", 1, 1)),
    Stuck(instrument=0, cid="theirs", since_ns=0),
]
OWN = [
    OrderSnapshot(order=order(cid="explicit")),
    a_trade(generated_cid("mm", SESSION, 1)),
    a_trade(generated_cid("mm", SESSION - 9, 4)),
    OrderCancelled(instrument=0, cid="mine"),
    a_trade("mine"),
    Stuck(instrument=0, cid="mine", since_ns=0),
    Refused(reason=Refusal.TooLate, cid="mine", answers=Answers("mm", SESSION, 1)),
    Refused(reason=Refusal.InvalidRequest, answers=Answers("mm", SESSION - 9, 1)),
    CancelAllDone(cancelled=1, failed=0, unknown=0, answers=Answers("mm", SESSION, 2)),
]
OF_THE_EXCHANGE = [
    Reconnecting(generation=1),
    Subscribed(generation=2),
    Synced(generation=2, complete=True),
    BalanceSnapshot(balance=Balance(0, amount(1), amount(1))),
    AccountSnapshot(generation=2, part=1, parts=1),
    ActorStarted(actor="router", epoch=1),
]


@pytest.mark.parametrize("event", OTHERS, ids=lambda event: type(event).__name__)
def test_what_concerns_others_is_handed_over_only_when_everything_is_wanted(event):
    own, all_ = Wired().join(), Wired(everything=True).join()
    own.hear(event)
    all_.hear(event)
    assert (len(own.core.events), len(all_.core.events)) == (0, 1)


@pytest.mark.parametrize("event", OWN + OF_THE_EXCHANGE, ids=lambda event: type(event).__name__)
def test_what_concerns_own_orders_or_the_exchange_is_handed_over(wired, event):
    wired.open("mine")
    wired.hear(event)
    (handed,) = wired.core.events
    assert handed == event and (handed.seq, handed.exchange, handed.place.feed_id) == (
        1,
        0,
        wired.feed.feed_id,
    )


def test_an_order_of_an_earlier_run_keeps_its_trades_to_its_end(wired):
    wired.hear(OrderSnapshot(order=order(cid="my-1")))
    wired.hear(OrderSnapshot(order=order(OrderState.FullyFilled, 10, cid="my-1")), a_trade("my-1"))
    wired.hear(a_trade("my-1"), exchange=1)
    assert [type(event) for event in wired.core.events] == [OrderSnapshot, OrderSnapshot, Trade]


def test_own_opens_are_remembered_up_to_a_limit(wired, monkeypatch):
    monkeypatch.setattr(engine_core, "PLACED_LIMIT", 2)
    for cid in ("a", "b", "c"):
        wired.open(cid)
    assert [wired.core.instrument_of(0, cid) for cid in ("a", "b", "c")] == [None, 0, 0]


def test_a_kind_of_a_newer_version_is_passed_over_and_counted(wired):
    frame = bytearray(wired.feed.publish(0))
    frame[5] = Kind.Funding
    wired.core.on_frame("feed", bytes(frame), 0)
    wired.hear(Synced(generation=1, complete=True))
    assert wired.core.skipped == 1 and len(wired.core.events) == 1


# ------------------------------------------------------------------------------------ what it knows


def test_the_table_of_orders_is_what_the_feed_said_last(wired):
    wired.hear(OrderSnapshot(order=order(OrderState.Open, 1)))
    assert wired.core.orders[0, "c-1"].filled == 1
    wired.hear(OrderSnapshot(order=order(OrderState.Open, 3)))
    assert wired.core.orders[0, "c-1"].filled == 3
    wired.hear(OrderCancelled(instrument=0, cid="c-1"))
    assert (0, "c-1") in wired.core.orders, "a cancel that says nothing of the order ends nothing"
    wired.hear(OrderCancelled(instrument=0, cid="c-1", order=order(OrderState.Cancelled, 3)))
    assert wired.core.orders == {}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["a", "b"]), st.sampled_from(list(OrderState))),
        max_size=30,
    )
)
def test_only_active_orders_are_in_the_table(said):
    wired, expected = Wired().join(), {}
    for exchange, cid, state in said:
        wired.hear(OrderSnapshot(order=order(state, cid=cid)), exchange=exchange)
        expected[exchange, cid] = state
    found = {key: known.state for key, known in wired.core.orders.items()}
    assert found == {key: state for key, state in expected.items() if not state.finished}


def test_balances_are_the_last_that_were_said(wired):
    balances = [Balance(0, amount(1), amount(1)), Balance(1, amount(5), amount(4))]
    wired.hear(AccountSnapshot(generation=1, part=1, parts=1, balances=balances, orders=[order()]))
    wired.hear(BalanceSnapshot(balance=Balance(0, amount(9), amount(8))))
    assert {key: balance.total for key, balance in wired.core.balances.items()} == {(0, 0): 9, (0, 1): 5}
    assert (0, "c-1") in wired.core.orders


def test_an_exchange_is_in_step_from_synced_to_the_next_outage():
    wired = Wired(feed=SmallFeed(exchanges=2, synced=False)).join()
    steps = [Subscribed(generation=1), Synced(generation=1, complete=True), Reconnecting(generation=1)]
    seen = []
    for event in steps:
        wired.hear(event, exchange=1)
        seen.append(set(wired.core.synced))
    assert seen == [set(), {1}, set()]


# ------------------------------------------------------------------------------------ resuming


def test_it_begins_with_the_state_of_the_deployment(wired):
    assert wired.core.synced == {0, 1, NO_EXCHANGE}
    assert list(wired.core.events) == []


def published(feed, count):
    for rid in range(1, count + 1):
        feed.publish(0, OrderSnapshot(order=order(cid=f"c-{rid}")))
    return feed


@pytest.mark.parametrize("feed_id", [0, 1_000])
def test_a_resume_hands_over_every_event_after_the_number(feed_id):
    wired = Wired(resume=(feed_id, 4), feed=published(SmallFeed(), 9)).join()
    assert [event.seq for event in wired.core.events] == [5, 6, 7, 8, 9]
    wired.hear(Synced(generation=1, complete=True))
    assert wired.core.events[-1].seq == 10


def test_a_resume_knows_the_state_as_well():
    wired = Wired(resume=(1_000, 9), feed=published(SmallFeed(), 9)).join()
    assert wired.core.synced == {0, 1, NO_EXCHANGE} and list(wired.core.events) == []


@pytest.mark.parametrize("resume", [(999, 4), (1_000, 40), (0, 40)])
def test_a_resume_that_leads_nowhere_is_told_and_the_state_follows(resume):
    wired = Wired(resume=resume, feed=published(SmallFeed(), 9)).join()
    (reset,) = wired.core.events
    assert isinstance(reset, FeedReset) and reset.previous_feed_id == resume[0]
    assert reset.place.feed_id == 1_000
    assert wired.core.reader.seq == 9


def test_another_feed_is_told_and_what_was_known_is_replaced(wired):
    wired.hear(OrderSnapshot(order=order()))
    wired.feed.become_another()
    wired.beat()
    with pytest.raises(FeedLost):
        wired.open()
    wired.join()
    assert isinstance(wired.core.events[-1], FeedReset)
    assert wired.core.orders == {} and wired.core.synced == {0, 1, NO_EXCHANGE}
    assert wired.open()


def test_an_engine_without_room_asks_for_nothing_more():
    wired = Wired()
    wired.beat()
    asked = len(wired.sent["replay"])
    wired.core.paused = True
    wired.wait_until(10_000 * MILLI)
    assert wired.core.next_deadline_ns() is None and len(wired.sent["replay"]) == asked
    wired.core.paused = False
    wired.wait_until(10_000 * MILLI)
    assert len(wired.sent["replay"]) == asked + 1


def test_a_gap_is_asked_for_from_the_last_number_that_was_handed_over(wired):
    wired.hear(Synced(generation=1, complete=True))
    wired.feed.publish(0)
    wired.hear(Synced(generation=2, complete=True))
    query = decode_as(ReplayQuery, wired.sent["replay"][0], CONTROL_SIZE)
    assert query.after == 1
    wired.join()
    assert [event.seq for event in wired.core.events if isinstance(event, Synced)] == [1, 3]
