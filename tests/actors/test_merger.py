"""The one feed: numbered without gap, each answer and trade once, no order backwards, all of it kept."""

import pytest

from pipeline import codec, headers
from pipeline.amounts import amount
from pipeline.control import Hello, ReplayChunk, ReplayQuery, StateChunk, StateQuery
from pipeline.headers import Kind
from pipeline.messages import (
    AccountSnapshot,
    ActorStarted,
    Answers,
    FeedReset,
    Halted,
    Heartbeat,
    OpenOrder,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Subscribed,
    Synced,
    Trade,
)
from pipeline.topology import source_id
from pipeline.vocabulary import Evidence, OrderState, Refusal, Side
from tests.actors.pipeline import MS, open_body
from tests.order_words import order

E = Evidence


@pytest.fixture
def bench(make):
    """A merger that hears nobody but the test."""
    desk = make()
    for name in ("router", "executor.alpha", "reconnector.alpha"):
        desk.crash(name)
    desk.advance(30)
    return Bench(desk)


class Bench:
    """Speaks to the merger in the numbered frames of its sources."""

    def __init__(self, desk):
        self.desk = desk
        desk.repeats_expected = True
        self.numbers = {}
        self.epoch = 5 * 10**18

    @property
    def merger(self):
        return self.desk.actors["merger"]

    def frame(self, source, event, number=None, epoch=None, exchange=0):
        id = source_id(self.desk.deployment, source)
        if number is None:
            number = self.numbers[source] = self.numbers.get(source, 0) + 1
        head = headers.source(exchange, codec.KINDS[type(event)], id, epoch or self.epoch, number)
        return head + codec.encode(event)

    def say(self, source, event, **more):
        """What the feed says because a source said this."""
        return self.hear(self.frame(source, event, **more))

    def hear(self, *frames):
        """Frames in one turn; what the feed says of them."""
        before = len(self.desk.feed)

        def handle(now_ns):
            for frame in frames:
                self.merger.on_message("events", frame, now_ns)

        self.desk.turn("merger", handle)
        return [event for _, event in self.desk.feed[before:]]

    def executor(self, *words, answers=None, evidence=E.CALL, **more):
        return self.say(
            "executor.alpha", OrderSnapshot(order=order(*words, **more), evidence=evidence, answers=answers)
        )

    def stream(self, *words, **more):
        return self.say("reconnector.alpha", OrderSnapshot(order=order(*words, **more), evidence=E.STREAM))

    def ask(self, body, exchange=0xFFFF, token=3):
        frame = headers.control(exchange, codec.KINDS[type(body)], self.desk.deployment.fingerprint, token)
        self.desk.turn(
            "merger",
            lambda now_ns: self.merger.on_question("replay", b"reader", frame + codec.encode(body), now_ns),
        )
        answers = [frame for _, to, _, frame in self.desk.wire if to == "reader"]
        self.desk.wire.clear()
        assert all(headers.read_control(answer).token == token for answer in answers)
        return [codec.read_control_body(headers.read_control(a).kind, a) for a in answers]

    def heartbeat(self):
        """The next heartbeat's body and header."""
        reader = Listener()
        self.desk.engines["listener"] = reader
        self.desk.advance(100)
        del self.desk.engines["listener"]
        frame = reader.heartbeats[-1]
        return codec.decode_as(Heartbeat, frame, headers.FEED_SIZE), headers.read_feed(frame)

    def restart(self):
        self.desk.restart("merger")


class Listener:
    """Hears heartbeats, where an engine would read the feed."""

    def __init__(self):
        self.core = self
        self.heartbeats = []

    def next_deadline_ns(self):
        return None

    def on_frame(self, link, frame, now_ns):
        if headers.read_feed(frame).kind == Kind.Heartbeat:
            self.heartbeats.append(frame)


def trade(id="t-1", side=Side.BUY, instrument=0, at_ns=0):
    one = amount("1")
    return Trade(
        instrument=instrument,
        side=side,
        id=id,
        cid="c-1",
        order_id="1",
        price=one,
        quantity=one,
        exchange_at_ns=at_ns,
        evidence=E.STREAM,
    )


def refused(rid, engine="mm", session=1):
    return Refused(reason=Refusal.TooLate, answers=Answers(engine, session, rid))


# ---------------------------------------------------------------------------- sources


def test_only_the_next_frame_of_a_source_is_taken(bench):
    frames = [bench.frame("executor.alpha", refused(rid)) for rid in (1, 2, 3)]
    assert len(bench.hear(frames[0], frames[2])) == 1, "a gap is not taken"
    assert len(bench.hear(frames[0], frames[1], frames[1])) == 1, "a repeat is dropped"
    assert len(bench.hear(frames[2])) == 1
    assert [event.answers.rid for event in bench.desk.events(Refused)] == [1, 2, 3]


def test_an_older_epoch_is_dropped_once_a_newer_was_seen(bench):
    old = bench.frame("executor.alpha", refused(1))
    assert bench.say("executor.alpha", refused(2), number=1, epoch=bench.epoch + 1)
    assert bench.hear(old) == []


def test_a_new_epoch_begins_with_its_first_frame(bench):
    assert bench.say("executor.alpha", refused(2), number=2, epoch=bench.epoch + 1) == []
    assert bench.say("executor.alpha", refused(2), number=1, epoch=bench.epoch + 1)


def test_sources_do_not_disturb_each_other(bench):
    assert bench.say("executor.alpha", refused(1))
    assert bench.say("router", refused(2), exchange=0xFFFF)


def test_what_is_acknowledged_is_what_was_taken_in_order(bench):
    bench.say("executor.alpha", refused(1))
    bench.say("executor.alpha", refused(3), number=3)
    marks, _ = bench.heartbeat()
    of = source_id(bench.desk.deployment, "executor.alpha")
    assert [(m.epoch, m.number) for m in marks.acknowledged if m.source == of] == [(bench.epoch, 1)]


def test_marks_survive_a_crash(bench):
    first = bench.frame("executor.alpha", refused(1))
    bench.hear(first)
    bench.restart()
    assert bench.hear(first) == []
    assert bench.say("executor.alpha", refused(2))


@pytest.mark.parametrize("cut", [0, 1, 10, 31])
def test_frames_that_are_no_source_frames_are_counted_and_dropped(bench, cut):
    frame = bench.frame("executor.alpha", refused(1))
    assert bench.hear(frame[:cut], b"\xff" * 200, frame[:cut]) == []
    assert bench.desk.counted("merger", "bad_source_frames") == 3
    assert bench.hear(frame)


def test_frames_of_sources_and_exchanges_that_do_not_exist_are_counted_and_dropped(bench):
    id = source_id(bench.desk.deployment, "executor.alpha")
    body = codec.encode(refused(1))
    assert bench.hear(
        headers.source(77, Kind.Refused, id, bench.epoch, 1) + body,
        headers.source(0, Kind.Refused, 99 << 16, bench.epoch, 1) + body,
        headers.source(0, Kind.Refused, 2**64 - 1, bench.epoch, 1) + body,
        headers.source(0, Kind.Refused, id, 2**64 - 1, 1) + body,
        headers.source(0, Kind.Refused, id, bench.epoch, 2**64 - 1) + body,
    ) == []  # fmt: skip
    assert bench.desk.counted("merger", "bad_source_frames") == 5


def test_a_body_that_is_no_event_is_counted_and_its_number_is_taken(bench):
    id = source_id(bench.desk.deployment, "executor.alpha")
    junk = headers.source(0, Kind.Refused, id, bench.epoch, 1) + b"\xc1"
    hello = headers.source(0, Kind.Hello, id, bench.epoch, 2) + codec.encode(Hello("mm"))
    asked = headers.source(0, Kind.OpenOrder, id, bench.epoch, 3) + codec.encode(open_body())
    assert isinstance(open_body(), OpenOrder)
    assert bench.hear(junk, hello, asked) == []
    assert bench.desk.counted("merger", "bad_source_bodies") == 3
    bench.numbers["executor.alpha"] = 3
    assert bench.say("executor.alpha", refused(1))


# ---------------------------------------------------------------------------- numbers


def test_numbers_go_on_without_gap_across_a_crash(bench):
    for rid in range(1, 6):
        bench.say("executor.alpha", refused(rid))
        if rid % 2:
            bench.restart()
    numbers = [header.seq for header, _ in bench.desk.feed]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({header.feed_id for header, _ in bench.desk.feed}) == 1


def test_an_exchanges_numbers_count_its_own_events(make):
    desk = make(exchanges=("alpha", "beta"))
    desk.sync(exchange="beta")
    for index in (0, 1):
        numbers = [header.exchange_seq for header, _ in desk.feed if header.exchange == index]
        assert numbers == list(range(1, len(numbers) + 1))


def test_nothing_is_published_that_is_not_committed(bench):
    journal = bench.desk.journals["merger"]
    publish = bench.desk._publish

    def look(frame):
        assert not journal._dirty
        publish(frame)

    bench.desk._publish = look
    assert bench.say("executor.alpha", refused(1))


def test_the_feeds_id_changes_only_when_its_tail_may_be_lost(make):
    desk = make(durability="none")
    feed_id = desk.actors["merger"].state.feed_id
    desk.restart("merger", clean=True)
    assert desk.actors["merger"].state.feed_id == feed_id
    assert desk.events(FeedReset) == []
    desk.restart("merger")
    (reset,) = desk.events(FeedReset)
    assert reset.previous_feed_id == feed_id
    assert desk.actors["merger"].state.feed_id != feed_id
    numbers = [header.seq for header, _ in desk.feed if header.feed_id != feed_id]
    assert numbers[0] == 1


@pytest.mark.parametrize("restarts", [1, 2])
def test_after_a_reset_the_old_numbers_of_words_mean_nothing(make, restarts):
    """An order that was heard of under old numbers may become Unknown under the new."""
    desk = make(durability="none")
    desk.sync()
    mm = desk.engine()
    cid = mm.open()
    from tests.actors.pipeline import order as venue_order

    desk.call("open_order").answer(venue_order(cid))
    for _ in range(20):
        desk.stream().item(venue_order("else", id="9"), venue_order("else", filled="0.1"))
    desk.advance(150)
    for _ in range(restarts):
        desk.restart("merger")
        desk.advance(500)
    rid = mm.cancel(cid)
    desk.advance(2_100)
    assert desk.answer_to(rid).order.state is OrderState.Unknown


# ---------------------------------------------------------------------------- answers


def test_an_answer_is_on_the_feed_once(bench):
    mine = Answers("mm", 1, 1)
    assert len(bench.executor(answers=mine)) == 1
    assert bench.executor(answers=mine) == []
    assert bench.say("router", refused(1), exchange=0xFFFF) == []
    assert bench.desk.counted("merger", "repeated_answers") == 2


def test_an_answer_is_once_across_a_crash(bench):
    bench.executor(answers=Answers("mm", 1, 1))
    bench.restart()
    assert bench.executor(answers=Answers("mm", 1, 1)) == []


def test_a_repeated_answer_that_has_news_of_the_order_is_published_without_answering(bench):
    mine = Answers("mm", 1, 1)
    bench.executor(answers=mine)
    (event,) = bench.executor(OrderState.FullyFilled, 10, answers=mine)
    assert (event.order.state, event.answers) == (OrderState.FullyFilled, None)


def test_answers_out_of_their_order_are_each_taken_once(bench):
    for rid in (5, 1, 3, 2, 4, 1, 5):
        bench.say("executor.alpha", refused(rid))
    assert [event.answers.rid for event in bench.desk.events(Refused)] == [5, 1, 3, 2, 4]


def test_answers_of_more_sessions_than_are_kept_in_memory_are_known(bench):
    from actors.admission import SESSIONS_LIMIT

    def say_all():
        frames = [
            bench.frame("executor.alpha", refused(1, session=session))
            for session in range(1, SESSIONS_LIMIT + 20)
        ]
        return bench.hear(*frames)

    assert len(say_all()) == SESSIONS_LIMIT + 19
    assert say_all() == []


def test_an_answer_that_comes_too_late_carries_the_order_as_it_is(bench):
    bench.stream(OrderState.FullyFilled, 10)
    (event,) = bench.executor(OrderState.Open, answers=Answers("mm", 1, 1))
    assert (event.order.state, str(event.order.filled)) == (OrderState.FullyFilled, "10")
    assert event.answers == Answers("mm", 1, 1)


def test_a_cancels_answer_that_comes_too_late_carries_the_order_as_it_is(bench):
    bench.stream(OrderState.FullyFilled, 10)
    stale = OrderCancelled(
        instrument=0,
        cid="c-1",
        order=order(OrderState.Open, 3),
        evidence=E.DEADLINE,
        answers=Answers("mm", 1, 2),
    )
    (event,) = bench.say("executor.alpha", stale)
    assert event.order.state is OrderState.FullyFilled


# ---------------------------------------------------------------------------- orders


def test_what_would_take_an_order_back_is_counted_and_left_out(bench):
    bench.stream(OrderState.Open, 4)
    assert bench.stream(OrderState.Open, 3) == []
    assert bench.stream(OrderState.Open, 4) == []
    bench.stream(OrderState.Cancelled, 4)
    assert bench.stream(OrderState.Open, 4) == []
    assert bench.desk.counted("merger", "stale_orders") == 2
    assert bench.desk.counted("merger", "unchanged_orders") == 1


def test_a_finished_order_is_known_beyond_the_tombstones_and_across_a_crash(make):
    desk = make(edges={"tombstone_limit": 4})
    for name in ("router", "executor.alpha", "reconnector.alpha"):
        desk.crash(name)
    bench = Bench(desk)
    for n in range(20):
        bench.stream(OrderState.FullyFilled, 10, cid=f"c-{n}")
        bench.stream(OrderState.FullyFilled, 10, cid=f"ow.mm.1.{n + 1}")
    for _ in range(2):
        for n in range(20):
            assert bench.stream(OrderState.Open, cid=f"c-{n}") == []
            assert bench.stream(OrderState.Open, cid=f"ow.mm.1.{n + 1}") == []
        bench.restart()


def test_generated_cids_that_come_out_of_their_order_are_each_known(bench):
    for rid in (7, 3, 9, 1):
        assert bench.stream(OrderState.FullyFilled, 10, cid=f"ow.mm.1.{rid}")
    bench.restart()
    for rid in (1, 3, 7, 9):
        assert bench.stream(OrderState.Open, cid=f"ow.mm.1.{rid}") == []


def test_active_orders_come_back_after_a_crash(bench):
    bench.executor(OrderState.Open, 4)
    bench.restart()
    assert bench.stream(OrderState.Open, 3) == []
    (event,) = bench.stream(OrderState.Open, 6)
    assert event.order.engine == "mm", "what only the executor knew is not lost"


def test_a_streams_cancel_is_completed_with_what_is_known_of_the_order(bench):
    bench.executor(OrderState.Open, 4)
    said = OrderCancelled(instrument=0, cid="c-1", evidence=E.STREAM)
    (event,) = bench.say("reconnector.alpha", said)
    assert (event.order.state, str(event.order.filled)) == (OrderState.Cancelled, "4")
    assert bench.say("reconnector.alpha", said) == [], "it is told once"


def test_an_order_that_the_venue_had_before_is_adopted(bench):
    (event,) = bench.stream(cid="ext-77", engine="")
    assert (event.order.cid, event.order.engine) == ("ext-77", "")


# ---------------------------------------------------------------------------- trades


def test_a_trade_is_on_the_feed_once_whoever_reports_it(bench):
    assert bench.say("reconnector.alpha", trade())
    assert bench.say("reconnector.alpha", trade()) == []
    bench.restart()
    assert bench.say("reconnector.alpha", trade()) == []


def test_the_two_legs_of_a_self_trade_and_trades_of_two_instruments_are_not_one(bench):
    assert bench.say("reconnector.alpha", trade(side=Side.BUY))
    assert bench.say("reconnector.alpha", trade(side=Side.SELL))
    assert bench.say("reconnector.alpha", trade(instrument=1))


def test_the_same_id_at_two_exchanges_is_two_trades(make):
    desk = make(exchanges=("alpha", "beta"))
    bench = Bench(desk)
    for name in desk.deployment.actors[2:]:
        desk.crash(name)
    assert bench.say("reconnector.alpha", trade())
    assert bench.say("reconnector.beta", trade(), exchange=1)


def test_a_trade_is_known_beyond_the_cache(bench, monkeypatch):
    monkeypatch.setattr("actors.admission.RECENT_TRADES", 10)
    for n in range(30):
        assert bench.say("reconnector.alpha", trade(f"t-{n}"))
    for n in range(30):
        assert bench.say("reconnector.alpha", trade(f"t-{n}")) == []


def test_the_mark_of_the_last_trade_waits_until_the_stream_is_in_step(bench):
    """Behind a trade that came before the missed ones were fetched, others may still be missing."""

    def mark():
        beat, _ = bench.heartbeat()
        return beat.exchanges[0].last_trade_at_ns

    bench.say("reconnector.alpha", Subscribed(generation=1))
    bench.say("reconnector.alpha", trade("t-1", at_ns=1_000))
    assert mark() == 0
    bench.say("reconnector.alpha", Synced(generation=1, complete=True))
    assert mark() == 1_000
    bench.say("reconnector.alpha", trade("t-2", at_ns=2_000))
    assert mark() == 2_000
    bench.say("reconnector.alpha", Reconnecting(generation=1))
    bench.say("reconnector.alpha", Subscribed(generation=2))
    bench.say("reconnector.alpha", trade("t-9", at_ns=9_000))
    assert mark() == 2_000
    bench.restart()
    assert mark() == 2_000


# ---------------------------------------------------------------------------- snapshots


def part(n, of, generation=1, orders=(), balances=()):
    return AccountSnapshot(
        generation=generation,
        part=n,
        parts=of,
        orders=list(orders),
        balances=list(balances),
        evidence=E.SNAPSHOT,
    )


def test_parts_of_a_snapshot_are_invisible_until_the_last(bench):
    assert bench.say("reconnector.alpha", part(1, 3, orders=[order(cid="c-1")])) == []
    assert bench.say("reconnector.alpha", part(2, 3)) == []
    assert bench.merger.admission.orders.active == {}
    parts = bench.say("reconnector.alpha", part(3, 3, orders=[order(cid="c-3")]))
    assert [(event.part, event.parts) for event in parts] == [(1, 3), (2, 3), (3, 3)]


def acknowledged(bench, source="reconnector.alpha"):
    beat, _ = bench.heartbeat()
    of = source_id(bench.desk.deployment, source)
    return next(((m.epoch, m.number) for m in beat.acknowledged if m.source == of), None)


def test_a_source_is_not_acknowledged_beyond_a_snapshot_that_is_only_half_said(bench):
    bench.say("reconnector.alpha", Subscribed(generation=1))
    bench.say("reconnector.alpha", part(1, 2))
    assert acknowledged(bench) == (bench.epoch, 1)
    assert bench.merger.state.sources.marks[source_id(bench.desk.deployment, "reconnector.alpha")][1] == 2
    bench.restart()
    first, second = part(1, 2), part(2, 2)
    assert bench.say("reconnector.alpha", first, number=2) == [], "it is said again, and taken again"
    assert len(bench.say("reconnector.alpha", second, number=3)) == 2
    assert acknowledged(bench) == (bench.epoch, 3)


def test_a_snapshot_that_a_crash_of_its_source_cut_is_never_seen_and_holds_nothing_back(bench):
    bench.say("reconnector.alpha", part(1, 2, orders=[order(cid="half")]))
    bench.epoch += 1
    bench.numbers["reconnector.alpha"] = 0
    assert bench.say("reconnector.alpha", Reconnecting(generation=2))
    assert acknowledged(bench) == (bench.epoch, 1)
    bench.say("reconnector.alpha", Subscribed(generation=2))
    bench.say("reconnector.alpha", part(1, 1, generation=2))
    assert "half" not in str(bench.desk.events(AccountSnapshot))


def test_a_snapshot_that_a_disconnect_cut_is_never_seen_and_holds_nothing_back(bench):
    bench.say("reconnector.alpha", part(1, 2, orders=[order(cid="half")]))
    bench.say("reconnector.alpha", Reconnecting(generation=1))
    assert acknowledged(bench) == (bench.epoch, 2)
    assert bench.say("reconnector.alpha", part(2, 2)) == []
    assert bench.desk.counted("merger", "broken_snapshots") == 1
    assert bench.desk.events(AccountSnapshot) == []


@pytest.mark.parametrize("parts", [[(2, 3)], [(1, 3), (3, 3)], [(1, 2), (1, 2)], [(1, 1_001)], [(0, 0)]])
def test_parts_that_do_not_follow_each_other_are_left_out(bench, parts):
    for n, of in parts:
        assert bench.say("reconnector.alpha", part(n, of)) == []


def test_a_snapshot_takes_no_order_back_and_shows_none_that_is_over(bench):
    bench.stream(OrderState.FullyFilled, 10, cid="over")
    bench.stream(OrderState.Open, 5, cid="ahead")
    stale = part(1, 1, orders=[order(cid="over"), order(OrderState.Open, 2, cid="ahead"), order(cid="new")])
    (event,) = bench.say("reconnector.alpha", stale)
    assert [(o.cid, str(o.filled)) for o in event.orders] == [("ahead", "5"), ("new", "0")]


def test_the_words_of_a_snapshot_stand_under_the_number_of_their_part(bench):
    bench.say("reconnector.alpha", part(1, 2, orders=[order(cid="a")]))
    bench.say("reconnector.alpha", part(2, 2, orders=[order(cid="b")]))
    published = {
        h.exchange_seq: [o.cid for o in e.orders]
        for h, e in bench.desk.feed
        if isinstance(e, AccountSnapshot)
    }
    active = bench.merger.admission.orders.active
    assert {active[0, cid].word: [cid] for cid in ("a", "b")} == published


# ---------------------------------------------------------------------------- heartbeat


def test_a_heartbeat_follows_within_20_ms_of_a_burst(bench):
    bench.heartbeat()
    bench.say("executor.alpha", refused(1))
    assert bench.merger.next_deadline_ns() <= bench.desk.now_ns + 20 * MS


def test_a_heartbeat_says_how_far_the_feed_and_each_exchange_have_come(bench):
    bench.say("executor.alpha", refused(1))
    beat, header = bench.heartbeat()
    last = bench.desk.feed[-1][0]
    assert (header.exchange, header.seq, header.feed_id) == (0xFFFF, last.seq, last.feed_id)
    assert beat.last_seq == last.seq
    assert beat.exchanges[0].exchange_seq == last.exchange_seq


# ---------------------------------------------------------------------------- questions


def test_a_replay_gives_the_frames_as_they_were_published(bench):
    for rid in range(1, 11):
        bench.say("executor.alpha", refused(rid))
    feed_id = bench.merger.state.feed_id
    (chunk,) = bench.ask(ReplayQuery(feed_id, after=bench.desk.seq - 10, limit=4))
    assert isinstance(chunk, ReplayChunk)
    events = [codec.read_feed_body(headers.read_feed(frame).kind, frame) for frame in chunk.frames]
    assert [event.answers.rid for event in events] == [1, 2, 3, 4]
    assert (chunk.through, chunk.last) == (bench.desk.seq - 6, bench.desk.seq)


def test_a_replay_of_one_exchange_leaves_the_others_out_and_counts_them_as_read(bench):
    bench.say("executor.alpha", refused(1))
    bench.say("router", refused(2), exchange=0xFFFF)
    (chunk,) = bench.ask(ReplayQuery(bench.merger.state.feed_id, after=0), exchange=0)
    assert {headers.read_feed(frame).exchange for frame in chunk.frames} == {0}
    assert chunk.through == chunk.last == bench.desk.seq


def test_a_replay_under_another_feeds_id_gives_nothing(bench):
    bench.say("executor.alpha", refused(1))
    (chunk,) = bench.ask(ReplayQuery(12345, after=0))
    assert (chunk.frames, chunk.through) == ([], 0)
    assert chunk.feed_id == bench.merger.state.feed_id


def test_a_replay_of_what_is_pruned_says_where_it_can_begin(make):
    desk = make(edges={"event_retention": 5})
    for name in ("router", "executor.alpha", "reconnector.alpha"):
        desk.crash(name)
    bench = Bench(desk)
    for rid in range(1, 31):
        bench.say("executor.alpha", refused(rid))
    desk.advance(200)
    (chunk,) = bench.ask(ReplayQuery(bench.merger.state.feed_id, after=1))
    assert chunk.oldest == desk.seq - 4
    assert len(chunk.frames) == 5
    bench.restart()
    assert desk.seq == len(desk.feed), "what is pruned does not change how numbers go on"


def test_the_state_is_told_in_parts_with_the_number_it_stands_at(bench, monkeypatch):
    monkeypatch.setattr("actors.admission.CHUNK_ENTRIES", 3)
    for n in range(8):
        bench.stream(cid=f"c-{n}")
    bench.stream(OrderState.FullyFilled, 10, cid="c-0")
    bench.say("executor.alpha", Halted(by="ann"))
    chunks = bench.ask(StateQuery())
    assert all(isinstance(chunk, StateChunk) for chunk in chunks)
    assert [(chunk.part, chunk.parts) for chunk in chunks] == [(1, 3), (2, 3), (3, 3)]
    assert sorted(p.order.cid for c in chunks for p in c.orders) == [f"c-{n}" for n in range(1, 8)]
    assert {chunk.seq for chunk in chunks} == {bench.desk.seq}
    state = {each.exchange: each for each in chunks[0].exchanges}
    assert (state[0].halted, state[0].synced) == (True, False)


def test_the_state_of_one_exchange_is_only_that(make):
    desk = make(exchanges=("alpha", "beta"))
    desk.sync(exchange="alpha")
    (chunk,) = Bench(desk).ask(StateQuery(), exchange=1)
    assert [state.exchange for state in chunk.exchanges] == [1]


def test_an_engine_that_was_away_goes_on_after_the_last_number_it_handled(desk, mm):
    from tests.actors.pipeline import order as venue_order

    cid = mm.open()
    desk.call("open_order").answer(venue_order(cid))
    left_at = (mm.core.reader.feed_id, mm.core.reader.seq)
    del desk.engines["mm"]
    desk.stream().item(venue_order(cid, filled="0.5"), venue_order(cid, filled="1"))
    desk.restart("merger")
    back = desk.engine("mm", resume=left_at)
    assert [str(event.order.filled) for event in back.events(OrderSnapshot)] == ["0.5", "1"]
    assert all(isinstance(event, (OrderSnapshot, ActorStarted)) for event in back.events())


def test_a_late_joiner_has_the_orders_and_balances_of_those_before(desk, mm):
    from tests.actors.pipeline import order as venue_order

    cid = mm.open()
    desk.call("open_order").answer(venue_order(cid, filled="0.25"))
    late = desk.engine("late")
    known = late.core.orders[0, cid]
    assert isinstance(known, Order)
    assert (known.state, str(known.filled), known.engine) == (OrderState.Open, "0.25", "mm")
    assert late.core.synced == {0}
    assert late.events() == []
