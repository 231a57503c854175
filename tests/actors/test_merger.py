"""The one feed: numbered without gap, acknowledged as it is kept, replayed to whoever asks."""

import pytest

from pipeline import codec, headers
from pipeline.control import Hello, ReplayChunk, ReplayQuery, StateChunk, StateQuery
from pipeline.headers import Kind
from pipeline.messages import (
    ActorStarted,
    FeedReset,
    Halted,
    OpenOrder,
    Order,
    OrderSnapshot,
    Refused,
)
from pipeline.topology import source_id
from pipeline.vocabulary import Evidence, OrderState
from tests.actors.merger_bench import Bench, refused
from tests.actors.pipeline import MS
from tests.actors.venue_words import open_body
from tests.actors.venue_words import order as venue_order

E = Evidence


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
    cid = mm.open()
    desk.call("open_order").answer(venue_order(cid, filled="0.25"))
    late = desk.engine("late")
    known = late.core.orders[0, cid]
    assert isinstance(known, Order)
    assert (known.state, str(known.filled), known.engine) == (OrderState.Open, "0.25", "mm")
    assert late.core.synced == {0}
    assert late.events() == []
