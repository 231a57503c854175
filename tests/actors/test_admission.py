"""What the feed takes: each answer once, each trade once, no order backwards, no half snapshot."""

import pytest

from actors.admission import SESSIONS_LIMIT
from pipeline.messages import (
    AccountSnapshot,
    Answers,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Subscribed,
    Synced,
)
from pipeline.topology import source_id
from pipeline.vocabulary import Evidence, OrderState, Side
from tests.actors.merger_bench import Bench, refused, trade
from tests.order_words import order

E = Evidence


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


def test_a_repeated_answer_to_a_cancel_still_tells_that_the_order_ended(bench):
    mine, asked = Answers("mm", 1, 1), Answers("mm", 1, 2)
    bench.executor(answers=mine)
    bench.say("router", refused(2), exchange=0xFFFF)  # refused there, and done when it was asked again
    done = OrderCancelled(
        instrument=0, cid="c-1", order=order(OrderState.Cancelled), answers=asked, evidence=E.CALL
    )
    (event,) = bench.say("executor.alpha", done)
    assert (event.order.state, event.answers) == (OrderState.Cancelled, None)


def test_an_unknown_that_had_not_read_the_snapshot_gives_way_to_it(bench):
    bench.executor()
    before = bench.desk.actors["merger"].state.exchanges[0].exchange_seq
    part = AccountSnapshot(generation=1, part=1, parts=1, orders=[order()], evidence=E.SNAPSHOT)
    bench.say("reconnector.alpha", part)
    unknown = OrderSnapshot(order=order(OrderState.Unknown), evidence=E.RESTART, as_of=before)
    assert bench.say("executor.alpha", unknown) == []


def test_answers_out_of_their_order_are_each_taken_once(bench):
    for rid in (5, 1, 3, 2, 4, 1, 5):
        bench.say("executor.alpha", refused(rid))
    assert [event.answers.rid for event in bench.desk.events(Refused)] == [5, 1, 3, 2, 4]


def test_answers_of_more_sessions_than_are_kept_in_memory_are_known(bench):
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
