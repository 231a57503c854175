"""One account stream kept up: in order, once per outage, with nothing traded in between lost."""

import pytest

from pipeline.amounts import amount
from pipeline.client import (
    AccountSnapshot,
    Alive,
    AssetBalance,
    Capability,
    ExecutionError,
    TradeVoided,
)
from pipeline.messages import AccountSnapshot as SnapshotEvent
from pipeline.messages import (
    ActorStarted,
    BalanceSnapshot,
    OrderSnapshot,
    Reconnecting,
    Subscribed,
    Synced,
    Trade,
)
from pipeline.messages import TradeVoided as VoidedEvent
from pipeline.vocabulary import Error, Evidence, Side
from tests.actors.pipeline import ALL, MS, START_NS
from tests.actors.venue_words import cancelled, fill, order

DOWN = ExecutionError(Error.ExchangeOffline, "closed for repairs")
NAME = "reconnector.alpha"


def kinds(desk, since=0):
    """The names of what the reconnector said, in order."""
    heard = (
        ActorStarted,
        OrderSnapshot,
        Trade,
        BalanceSnapshot,
        SnapshotEvent,
        Reconnecting,
        Subscribed,
        Synced,
    )
    names = []
    for event in desk.events(heard, since):
        if not isinstance(event, ActorStarted) or event.actor == NAME:
            names.append(type(event).__name__)
    return names


def balance(total="5", asset="USD", **more):
    return AssetBalance(asset, amount(total), amount(total), **more)


def again(desk):
    """Wait until the next connection is tried."""
    tried = len(desk.streams)
    while len(desk.streams) == tried:
        desk.advance(5)


def test_a_generation_is_said_in_its_order(make):
    desk = make()
    stream = desk.stream()
    stream.answer()
    stream.item(order("early"), fill("early", "t-2"))
    desk.call("account_snapshot").answer(AccountSnapshot([balance()], [order("early")]))
    stream.item(order("early", filled="0.5"))
    desk.advance(150)
    assert not any(isinstance(event, Synced) for event in desk.events())
    desk.call("fetch_trades").answer(([fill("early", "t-1"), fill("early", "t-2")], True))
    assert kinds(desk) == [
        "ActorStarted",
        "Subscribed",
        "AccountSnapshot",
        "Trade",
        "OrderSnapshot",
        "Trade",
        "Synced",
    ]
    assert [trade.id for trade in desk.events(Trade)] == ["t-2", "t-1"]


def test_updates_are_held_until_the_snapshot_and_follow_it_in_order(make):
    desk = make()
    desk.stream().answer()
    seq = desk.seq
    desk.stream().item(order("a"), order("b"), order("a", filled="0.5"))
    assert kinds(desk, seq) == []
    desk.call("account_snapshot").answer(AccountSnapshot())
    words = [(event.order.cid, str(event.order.filled)) for event in desk.events(OrderSnapshot)]
    assert words == [("a", "0"), ("b", "0"), ("a", "0.5")]


def test_the_first_connect_failing_is_an_outage_like_any_other(make):
    desk = make()
    desk.stream().fail(DOWN)
    (said,) = desk.events(Reconnecting)
    assert (said.failure.error, said.failure.detail) == (Error.ExchangeOffline, "closed for repairs")
    again(desk)
    desk.sync()
    assert kinds(desk)[-1] == "Synced"


def test_an_outage_is_said_once_however_often_connecting_fails(make):
    desk = make()
    desk.sync()
    desk.stream().end(DOWN)
    for step in ("connect", "snapshot", "trades", "connect"):
        again(desk)
        if step == "connect":
            desk.stream().fail(DOWN)
            continue
        desk.stream().answer()
        if step == "snapshot":
            desk.call("account_snapshot").fail(DOWN)
            continue
        desk.call("account_snapshot").answer(AccountSnapshot())
        desk.call("fetch_trades").fail(DOWN)
    assert len(desk.events(Reconnecting)) == 1
    again(desk)
    desk.sync()
    desk.stream().end()
    assert len(desk.events(Reconnecting)) == 2


def test_generations_rise(make):
    desk = make()
    for _ in range(3):
        desk.sync()
        desk.stream().end()
        again(desk)
    desk.restart(NAME)
    desk.sync()
    generations = [event.generation for event in desk.events(Subscribed)]
    assert generations == sorted(set(generations))


@pytest.mark.parametrize("items", [3, 4])
def test_what_is_held_for_the_snapshot_has_a_limit_and_beyond_it_the_connection_is_given_up(make, items):
    desk = make(limits={"stream_buffer": 3})
    stream = desk.stream()
    stream.answer()
    stream.item(*[fill("c", f"t-{n}") for n in range(items)])
    assert stream.cancelled is (items > 3)
    assert len(desk.events(Reconnecting)) == (items > 3)
    assert len(desk.waiting("account_snapshot")) == (items <= 3), "what it had asked is not waited for"


def test_waits_grow_to_the_maximum_with_full_jitter(make):
    desk = make(backoff={"initial_ms": 100, "multiplier": 2.0, "max_ms": 1_000})
    waits = []
    for _ in range(300):
        desk.stream().fail(DOWN)
        waits.append((desk.actors[NAME]._connect_at_ns - desk.now_ns) / MS)
        desk.now_ns = desk.actors[NAME]._connect_at_ns
        desk.advance(0)
    for n, wait in enumerate(waits):
        assert 0 <= wait <= min(1_000, 100 * 2**n)
    late = waits[10:]
    assert min(late) < 100 and max(late) > 900, "anything up to the ceiling"
    assert 400 < sum(late) / len(late) < 600


@pytest.mark.parametrize(("healthy_ms", "attempt"), [(9_900, 2), (10_100, 1)])
def test_the_count_of_attempts_begins_again_only_after_a_healthy_while(make, healthy_ms, attempt):
    desk = make()
    desk.stream().fail(DOWN)
    again(desk)
    up_ns = desk.now_ns
    desk.sync()
    desk.advance(healthy_ms - (desk.now_ns - up_ns) / MS)
    desk.stream().end()
    assert desk.actors[NAME].gauges(desk.now_ns)["attempt"] == attempt


def test_a_silent_stream_is_renewed(make):
    desk = make(timing={"stream_silence_ms": 3_000})
    stream = desk.sync()
    desk.advance(2_000)
    stream.item(Alive())
    desk.advance(2_900)
    assert not stream.cancelled
    desk.advance(200)
    assert stream.cancelled
    assert desk.events(Reconnecting)[-1].failure.error is Error.Timeout
    again(desk)
    assert desk.stream() is not stream


def test_without_a_limit_silence_is_no_fault(make):
    desk = make()
    stream = desk.sync()
    desk.advance(600_000)
    assert not stream.cancelled


@pytest.mark.parametrize("step", ["account_stream", "account_snapshot", "fetch_trades"])
def test_a_step_that_is_never_answered_is_given_up(make, step):
    desk = make(timing={"call_lifetime_ms": 2_000})
    stream = desk.stream()
    if step != "account_stream":
        stream.answer()
    if step == "fetch_trades":
        desk.call("account_snapshot").answer(AccountSnapshot())
        desk.advance(150)
    desk.advance(2_100)
    assert stream.cancelled
    assert len(desk.events(Reconnecting)) == 1
    again(desk)
    desk.sync()
    assert kinds(desk)[-1] == "Synced"


def test_nothing_is_heard_of_a_connection_that_was_given_up(make):
    desk = make()
    old = desk.sync()
    old.end()
    again(desk)
    desk.sync()
    seq = desk.seq
    at = desk.actors[NAME]
    desk.turn(NAME, lambda now_ns: at.on_item(old.token, fill("c", "t-1"), now_ns))
    desk.turn(NAME, lambda now_ns: at.on_stream_end(old.token, None, now_ns))
    desk.settle()
    assert kinds(desk, seq) == []
    assert not desk.stream().cancelled


# ---------------------------------------------------------------------------- what cannot be indexed


@pytest.mark.parametrize(
    "item",
    [
        order("c-1", instrument="DOGEUSD"),
        fill("c-1", "t-9", instrument="DOGEUSD"),
        balance(asset="DOGE"),
        TradeVoided("DOGEUSD", Side.BUY, "t-9"),
        cancelled("c-1").__class__("DOGEUSD", "c-1", None),
    ],
)
def test_an_item_outside_the_deployment_file_is_counted_and_left_out(desk, item):
    seq = desk.seq
    desk.stream().item(item)
    assert kinds(desk, seq) == []
    assert desk.counted(NAME, "unindexed_items") == 1
    assert any("DOGE" in note for note in desk.actors[NAME].notes())


def test_a_trade_is_not_dropped_for_its_fees_asset(desk):
    desk.stream().item(fill("c-1", "t-1", fees=[("BNB", amount("0.01")), ("USD", amount("1"))]))
    (trade,) = desk.events(Trade)
    assert [(fee.asset, str(fee.amount)) for fee in trade.fees] == [("BNB", "0.01"), ("usd", "1")]


def test_a_snapshot_leaves_out_what_cannot_be_indexed_and_keeps_the_rest(make):
    desk = make()
    desk.sync([order("a"), order("b", instrument="DOGE")], [balance(), balance(asset="DOGE")])
    (snapshot,) = desk.events(SnapshotEvent)
    assert [each.cid for each in snapshot.orders] == ["a"]
    assert len(snapshot.balances) == 1
    assert desk.counted(NAME, "unindexed_items") == 2


@pytest.mark.parametrize("item", [None, 5, "text", object()])
def test_an_item_that_is_nothing_a_stream_should_carry_is_counted(desk, item):
    seq = desk.seq
    desk.stream().item(item)
    assert kinds(desk, seq) == []
    assert desk.counted(NAME, "client_bugs") == 1


@pytest.mark.parametrize("step", ["account_snapshot", "fetch_trades"])
@pytest.mark.parametrize("answer", [None, 7, "text", (1, 2, 3)])
def test_an_answer_that_is_none_is_the_clients_bug_and_an_outage(make, step, answer):
    desk = make()
    desk.stream().answer()
    if step == "fetch_trades":
        desk.call("account_snapshot").answer(AccountSnapshot())
        desk.advance(150)
    desk.call(step).answer(answer)
    assert desk.counted(NAME, "client_bugs") >= 1
    assert desk.events(Reconnecting)[-1].failure.error is Error.Socket


def test_what_is_none_among_good_ones_is_counted_and_the_good_ones_are_said(make):
    desk = make()
    desk.stream().answer()
    desk.call("account_snapshot").answer(AccountSnapshot([balance(), "x"], [order("a"), None]))
    desk.advance(150)
    desk.call("fetch_trades").answer(([fill("a", "t-1"), 5], True))
    assert desk.counted(NAME, "client_bugs") == 3
    assert ([t.id for t in desk.events(Trade)], kinds(desk)[-1]) == (["t-1"], "Synced")


def test_an_id_of_another_type_costs_no_more_than_its_item(desk):
    desk.stream().item(order("a", id=77), order("b"))
    desk.advance(1_000)
    assert [event.order.cid for event in desk.events(OrderSnapshot)] == ["b"]
    assert desk.actors[NAME].source.unacknowledged == 0


# ---------------------------------------------------------------------------- the items


def test_every_kind_of_item_is_said_by_its_stream(desk):
    seq = desk.seq
    desk.stream().item(
        order("a", filled="0.5", exchange_at_ns=7),
        fill("a", "t-1", "0.5", exchange_at_ns=8),
        balance("9", exchange_at_ns=9),
        TradeVoided("BTCUSD", Side.BUY, "t-1", "a"),
        Alive(),
    )
    said, trade, held, voided = desk.events(since=seq)
    assert (said.order.cid, said.exchange_at_ns, said.evidence) == ("a", 7, Evidence.STREAM)
    assert (trade.id, trade.cid, trade.exchange_at_ns) == ("t-1", "a", 8)
    assert (held.balance.asset, str(held.balance.total)) == (1, "9")
    assert isinstance(voided, VoidedEvent) and voided.id == "t-1"
    assert said.received_at_ns == desk.now_ns


def test_an_order_without_a_cid_is_adopted_by_the_venues_id(desk):
    desk.stream().item(order("", id="77"), fill("", "t-1", order_id="77"))
    assert desk.events(OrderSnapshot)[-1].order.cid == "ext-77"
    assert desk.events(Trade)[-1].cid == "ext-77"


def test_a_large_snapshot_travels_in_parts(make, monkeypatch):
    monkeypatch.setattr("actors.reconnector.PART_ENTRIES", 2)
    desk = make()
    desk.sync([order(f"c-{n}") for n in range(5)])
    parts = desk.events(SnapshotEvent)
    assert [(part.part, part.parts, len(part.orders)) for part in parts] == [(1, 3, 2), (2, 3, 2), (3, 3, 1)]


# ---------------------------------------------------------------------------- missed trades


def test_without_trades_to_fetch_the_stream_is_in_step_and_not_surely_complete(make):
    desk = make(capabilities=ALL - {Capability.TRADES})
    desk.sync()
    assert [event.complete for event in desk.events(Synced)] == [False]


@pytest.mark.parametrize("complete", [True, False])
def test_synced_says_whether_the_trades_are_complete(make, complete):
    desk = make()
    desk.sync(complete=complete)
    assert [event.complete for event in desk.events(Synced)] == [complete]


def test_the_first_time_trades_are_asked_for_as_far_back_as_the_horizon(make):
    desk = make(timing={"trade_horizon_ms": 3_600_000})
    desk.stream().answer()
    desk.call("account_snapshot").answer(AccountSnapshot())
    desk.advance(150)
    since_ns = desk.call("fetch_trades").args[1]
    assert abs(since_ns - (START_NS - 3_600_000 * MS)) <= 150 * MS


def outage(desk, **stream_item):
    desk.stream().end()
    again(desk)
    desk.stream().answer()
    desk.call("account_snapshot").answer(AccountSnapshot())
    return desk.call("fetch_trades")


def test_trades_are_fetched_from_the_last_that_the_merger_has_less_an_overlap(make):
    desk = make(timing={"trade_overlap_ms": 2_000})
    desk.sync()
    desk.stream().item(fill("c", "t-1", exchange_at_ns=START_NS + 50 * MS))
    desk.advance(150)
    fetched = outage(desk)
    assert fetched.args[0] == ("BTCUSD", "ETHUSD")
    assert fetched.args[1] <= START_NS + 50 * MS - 2_000 * MS
    fetched.answer(([fill("c", "t-1"), fill("c", "t-2")], True))
    assert [trade.id for trade in desk.events(Trade)] == ["t-1", "t-2"]
    assert desk.events(Trade)[-1].evidence is Evidence.BACKFILL


def test_a_trade_missed_in_an_outage_is_fetched_though_later_ones_came_and_the_fetch_failed(make):
    """What the new stream brings is later than what was missed: the next fetch must not begin there."""
    desk = make(timing={"trade_overlap_ms": 1_000})
    desk.sync()
    desk.stream().item(fill("c", "t-1", exchange_at_ns=START_NS))
    desk.advance(150)
    failing = outage(desk)
    missed_at_ns = START_NS + 60_000 * MS
    desk.stream().item(fill("c", "t-3", exchange_at_ns=missed_at_ns + 60_000 * MS))
    desk.advance(150)
    failing.fail(DOWN)
    again(desk)
    desk.stream().answer()
    desk.call("account_snapshot").answer(AccountSnapshot())
    assert desk.call("fetch_trades").args[1] < missed_at_ns


def test_a_trade_missed_while_the_reconnector_was_gone_is_fetched(make):
    desk = make(timing={"trade_overlap_ms": 1_000})
    desk.sync()
    desk.stream().item(fill("c", "t-1", exchange_at_ns=START_NS))
    desk.advance(150)
    desk.restart(NAME)
    desk.stream().answer()
    desk.stream().item(fill("c", "t-3", exchange_at_ns=START_NS + 600_000 * MS))
    desk.call("account_snapshot").answer(AccountSnapshot())
    desk.advance(300)
    assert desk.call("fetch_trades").args[1] <= START_NS - 1_000 * MS


def test_no_trades_are_fetched_before_the_merger_has_said_what_it_has(make):
    desk = make()
    desk.lose = lambda sender, to, link, frame: sender == "merger"
    desk.stream().answer()
    desk.call("account_snapshot").answer(AccountSnapshot())
    desk.advance(1_000)
    assert desk.waiting("fetch_trades") == []
    desk.lose = lambda *_: False
    desk.advance(150)
    assert desk.waiting("fetch_trades")


# ---------------------------------------------------------------------------- a merger that is away


def test_nothing_is_lost_while_the_merger_is_away(make):
    desk = make()
    desk.sync()
    desk.crash("merger")
    desk.stream().item(*[fill("c", f"t-{n}") for n in range(20)])
    desk.advance(3_000)
    desk.stopped.discard("merger")
    desk.begin("merger")
    desk.advance(2_000)
    assert [trade.id for trade in desk.events(Trade)] == [f"t-{n}" for n in range(20)]
    assert desk.actors[NAME].source.unacknowledged == 0


def test_a_stream_is_not_read_further_than_can_be_kept(make):
    desk = make(edges={"outbox_limit": 100})
    stream = desk.sync()
    desk.lose = lambda sender, to, link, frame: link == "events"
    stream.item(*[fill("c", f"t-{n}") for n in range(60)])
    assert (NAME, stream.token) in desk.paused
    desk.lose = lambda *_: False
    desk.advance(2_000)
    assert (NAME, stream.token) not in desk.paused
    assert len(desk.events(Trade)) == 60


def test_a_new_stream_is_paused_too_while_nothing_can_be_kept(make):
    desk = make(edges={"outbox_limit": 100}, timing={"call_lifetime_ms": 600_000})
    stream = desk.sync()
    desk.lose = lambda sender, to, link, frame: link == "events"
    stream.item(*[fill("c", f"t-{n}") for n in range(60)])
    stream.end()
    again(desk)
    assert (NAME, desk.stream().token) in desk.paused


def test_a_full_link_is_tried_again_in_order(make):
    desk = make()
    desk.sync()
    desk.full.add((NAME, "events"))
    desk.stream().item(*[fill("c", f"t-{n}") for n in range(5)])
    desk.advance(20)
    assert desk.events(Trade) == []
    desk.full.clear()
    desk.advance(20)
    assert [trade.id for trade in desk.events(Trade)] == [f"t-{n}" for n in range(5)]


def test_its_health_says_how_the_stream_stands(make):
    desk = make()
    assert not desk.actors[NAME].ready(desk.now_ns)
    desk.sync()
    assert desk.actors[NAME].ready(desk.now_ns)
    assert any("synced" in note for note in desk.actors[NAME].notes())
