"""The reference row by row (barter 0.12.5): what it does works here, and where a row is better, it is."""

import pytest

from actors.clients.simulated import SimulatedClient
from actors.exchange.matching import Matching
from pipeline.amounts import amount
from pipeline.client import AccountSnapshot, ExecutionError
from pipeline.control import Halt, Resume, Shutdown
from pipeline.deployment import ConfigError
from pipeline.deployment_file import parse
from pipeline.messages import AccountSnapshot as SnapshotEvent
from pipeline.messages import (
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Subscribed,
    Synced,
    Trade,
)
from pipeline.vocabulary import CancelScope, Error, Evidence, OrderState, Refusal, Side
from tests.actors import conftest
from tests.actors.venue_words import cancelled, fill, open_body, order
from tests.deployment_text import PAPER
from tests.exchange import bench

make, desk, mm = conftest.make, conftest.desk, conftest.mm  # the fixtures of the actors' tests
DOWN = ExecutionError(Error.ExchangeOffline)


def resting(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid))
    return cid


def test_seed_row_01_opens_cancels_and_shutdown_go_to_one_executor_of_an_exchange(desk, mm):
    cid = resting(desk, mm)
    mm.cancel(cid)
    desk.call("cancel_order").answer(cancelled(cid))
    assert desk.states(cid) == ["Open", "Cancelled"]
    assert "stopping" in desk.command("executor.alpha", Shutdown(by="ann")).detail


def test_seed_row_01_better_many_engines_cancel_all_halt_and_resume(desk):
    one, two = desk.engine("one"), desk.engine("two")
    cids = [resting(desk, engine) for engine in (one, two)]
    rid = one.cancel_all(CancelScope.ALL)
    for call in desk.waiting("cancel_order"):
        call.answer(cancelled(call.request.cid))
    assert [desk.states(cid)[-1] for cid in cids] == ["Cancelled", "Cancelled"]
    assert desk.answer_to(rid, "one").cancelled == 2
    desk.command("executor.alpha", Halt(by="ann"))
    two.open()
    assert desk.answer_to(two.rid, "two").reason is Refusal.Halted
    desk.command("executor.alpha", Resume(by="ann"))
    two.open()
    assert desk.waiting("open_order")


def test_seed_row_02_indices_become_names_on_the_way_out_and_indices_on_the_way_back(desk, mm):
    cid = mm.open(instrument=1)
    call = desk.call("open_order")
    assert call.request.instrument == "ETHUSD"
    call.answer(order(cid, instrument="ETHUSD"))
    desk.stream().item(fill(cid, "t-1", instrument="ETHUSD", fees=[("ETH", amount("0.1"))]))
    assert desk.answer_to(mm.rid).order.instrument == 1
    (trade,) = desk.events(Trade)
    assert (trade.instrument, trade.fees[0].asset) == (1, "eth")


def test_seed_row_02_better_the_tables_fingerprint_is_checked(desk):
    desk.request(open_body(), rid=1, fingerprint=desk.deployment.fingerprint ^ 1)
    assert desk.answer_to(1).reason is Refusal.FingerprintMismatch


@pytest.mark.parametrize(
    ("of", "reason"),
    [({"exchange": 7}, Refusal.UnknownExchange), ({"instrument": 7}, Refusal.UnknownInstrument)],
)
def test_seed_row_03_an_index_that_is_not_configured_is_refused_and_nobody_else_suffers(desk, mm, of, reason):
    body = open_body("c-1", instrument=of.get("instrument", 0))
    desk.request(body, rid=1, engine="lost", exchange=of.get("exchange", 0))
    assert desk.answer_to(1, "lost").reason is reason
    resting(desk, mm)
    assert desk.answer_to(mm.rid).order.state is OrderState.Open


def test_seed_row_04_a_response_that_names_something_unknown_still_answers_the_request(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, instrument="DOGEUSD"))
    answer = desk.answer_to(mm.rid)
    assert "DOGEUSD" in answer.failure.detail
    assert desk.counted("executor.alpha", "unindexed_answers") == 1
    assert answer.order.state is OrderState.Unknown


def test_seed_row_05_requests_are_in_flight_together_and_finish_in_any_order(desk, mm):
    cids = [mm.open() for _ in range(20)]
    calls = desk.waiting("open_order")
    assert [call.request.cid for call in calls] == cids
    for call in reversed(calls):
        call.answer(order(call.request.cid))
    assert [event.order.cid for event in desk.events(OrderSnapshot)] == cids[::-1]


def test_seed_row_05_each_exchange_has_a_timeout_of_its_own(make):
    desk = make(timing={"request_timeout_ms": 700})
    desk.sync()
    mm = desk.engine()
    mm.open()
    desk.advance(699)
    assert desk.answers_to(mm.rid) == []
    desk.advance(2)
    assert desk.answer_to(mm.rid).failure.error is Error.Timeout


def test_seed_row_05_better_what_is_in_flight_has_a_limit(make):
    desk = make(limits={"in_flight": 3})
    desk.sync()
    mm = desk.engine()
    rids = []
    for _ in range(5):
        mm.open()
        rids.append(mm.rid)
    assert len(desk.waiting("open_order")) == 3
    assert [desk.answer_to(rid).reason for rid in rids[3:]] == [Refusal.Overloaded] * 2


@pytest.mark.parametrize(
    ("filled", "state"), [("0", OrderState.Open), ("0.9", OrderState.Open), ("1", OrderState.FullyFilled)]
)
def test_seed_row_06_what_is_left_decides_whether_an_open_is_open_or_filled(desk, mm, filled, state):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled=filled))
    assert desk.answer_to(mm.rid).order.state is state


def test_seed_row_06_an_open_answered_with_an_error_has_failed(desk, mm):
    mm.open()
    desk.call("open_order").fail(ExecutionError(Error.OrderRejected, "no"))
    answer = desk.answer_to(mm.rid)
    assert (answer.order.state, answer.failure.error) == (OrderState.OpenFailed, Error.OrderRejected)


def test_seed_row_06_better_an_order_may_carry_its_own_state(desk, mm):
    cid = mm.open()
    desk.call("open_order").answer(order(cid, filled="0.4", state=OrderState.Expired))
    assert desk.answer_to(mm.rid).order.state is OrderState.Expired


def test_seed_row_07_a_cancel_is_answered_with_cancelled_or_the_error(desk, mm):
    cid = resting(desk, mm)
    refused_rid = mm.cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.OrderRejected, "auction"))
    rid = mm.cancel(cid)
    desk.call("cancel_order").answer(cancelled(cid))
    refused, done = desk.answer_to(refused_rid), desk.answer_to(rid)
    assert isinstance(refused, OrderCancelled) and isinstance(done, OrderCancelled)
    assert refused.failure.error is Error.OrderRejected
    assert (done.failure, done.order.state) == (None, OrderState.Cancelled)


def test_seed_row_08_after_none_the_stream_tells_and_the_deadline_keeps_running(desk, mm):
    silent = mm.open()
    silent_rid = mm.rid
    desk.call("open_order").answer(None)
    told = mm.open()
    desk.call("open_order").answer(None)
    desk.stream().item(order(told))
    assert desk.answer_to(mm.rid).order.state is OrderState.Open
    desk.advance(2_001)
    assert desk.answer_to(silent_rid).failure.error is Error.Timeout
    assert desk.states(silent) == ["Unknown"]


def test_seed_row_08_better_the_answer_to_a_cancel_is_given_when_the_stream_settles_it(desk, mm):
    cid = resting(desk, mm)
    rid = mm.cancel(cid)
    desk.call("cancel_order").answer(None)
    desk.stream().item(order(cid, state=OrderState.Cancelled))
    assert desk.answer_to(rid).failure is None


def test_seed_row_09_timeouts_of_opens_and_cancels_are_answered_once(desk, mm):
    cid = resting(desk, mm)
    cancel_rid = mm.cancel(cid)
    mm.open()
    open_rid = mm.rid
    desk.advance(2_001)
    cancel, opened = desk.answer_to(cancel_rid), desk.answer_to(open_rid)
    assert isinstance(cancel, OrderCancelled) and isinstance(opened, OrderSnapshot)
    assert {cancel.failure.error, opened.failure.error} == {Error.Timeout}


def test_seed_row_09_better_the_order_is_unknown_not_gone_and_a_later_event_says_what_is_true(desk, mm):
    cid = mm.open()
    desk.advance(2_001)
    assert desk.answer_to(mm.rid).order.state is OrderState.Unknown
    assert mm.core.orders[0, cid].state is OrderState.Unknown
    desk.call("fetch_order").answer(order(cid, filled="1"))
    assert desk.states(cid) == ["Unknown", "FullyFilled"]
    assert desk.events(OrderSnapshot)[-1].evidence is Evidence.QUERY


def test_seed_row_10_better_a_late_answer_is_evidence(desk, mm):
    cid = mm.open()
    call = desk.call("open_order")
    desk.advance(2_001)
    call.answer(order(cid))
    assert desk.states(cid) == ["Unknown", "Open"]


def test_seed_row_11_subscribe_first_then_the_snapshot_then_updates(make):
    desk = make()
    assert desk.waiting("account_snapshot") == []
    desk.stream().answer()
    desk.call("account_snapshot").answer(AccountSnapshot([], [order("a")]))
    desk.stream().item(order("a", filled="0.5"))
    kinds = [type(event) for event in desk.events((Subscribed, SnapshotEvent, OrderSnapshot))]
    assert kinds == [Subscribed, SnapshotEvent, OrderSnapshot]


def test_seed_row_11_better_updates_are_buffered_and_a_half_snapshot_is_never_seen(make, monkeypatch):
    monkeypatch.setattr("actors.reconnector.PART_ENTRIES", 1)
    desk = make()
    desk.stream().answer()
    desk.stream().item(order("a", filled="0.5"))
    assert desk.events(OrderSnapshot) == []
    desk.lose = lambda sender, to, link, frame: link == "events" and b"cut-2" in frame
    desk.call("account_snapshot").answer(AccountSnapshot([], [order("a"), order("cut-2"), order("b")]))
    assert desk.events((SnapshotEvent, OrderSnapshot)) == []
    desk.lose = lambda *_: False
    desk.advance(600)
    assert [event.part for event in desk.events(SnapshotEvent)] == [1, 2, 3]
    assert str(desk.words("a")[-1].filled) == "0.5"


def test_seed_row_12_the_end_of_a_stream_is_said_and_everything_begins_again(desk):
    seq = desk.seq
    desk.stream().end(DOWN)
    desk.advance(200)
    desk.sync([order("a")])
    kinds = [type(event) for event in desk.events((Reconnecting, Subscribed, SnapshotEvent, Synced), seq)]
    assert kinds == [Reconnecting, Subscribed, SnapshotEvent, Synced]


def test_seed_row_12_better_trades_missed_meanwhile_are_fetched_and_published_once(desk, mm):
    cid = resting(desk, mm)
    desk.stream().item(fill(cid, "t-1", "0.2"))
    desk.stream().end(DOWN)
    desk.advance(200)
    desk.sync([], [], [fill(cid, "t-1", "0.2"), fill(cid, "t-2", "0.8")])
    assert [trade.id for trade in desk.events(Trade)] == ["t-1", "t-2"]


def test_seed_row_12_better_an_order_absent_from_the_snapshot_becomes_unknown_and_is_asked_about(desk, mm):
    cid = resting(desk, mm)
    desk.stream().end(DOWN)
    desk.advance(200)
    desk.sync()
    assert desk.states(cid)[-1] == "Unknown"
    desk.call("fetch_order").answer(order(cid, filled="1"))
    assert desk.states(cid)[-1] == "FullyFilled"


def test_seed_row_12_better_a_silent_stream_is_renewed(make):
    desk = make(timing={"stream_silence_ms": 1_000})
    stream = desk.sync()
    desk.advance(1_100)
    assert stream.cancelled and len(desk.events(Reconnecting)) == 1


def test_seed_row_13_backoff_grows_from_initial_to_maximum(make):
    desk = make(backoff={"initial_ms": 100, "multiplier": 3.0, "max_ms": 500})
    ceilings = []
    reconnector = desk.actors["reconnector.alpha"]
    reconnector._random.uniform = lambda low, high: ceilings.append(high) or high
    for _ in range(4):
        desk.stream().fail(DOWN)
        desk.advance(501)
    assert ceilings == [100, 300, 500, 500]


def test_seed_row_13_better_a_flapping_exchange_is_not_hammered(make):
    desk = make(backoff={"initial_ms": 100, "healthy_ms": 10_000})
    for _ in range(5):
        desk.sync()
        desk.stream().end(DOWN)
        desk.now_ns = desk.actors["reconnector.alpha"]._connect_at_ns
        desk.advance(0)
    assert desk.actors["reconnector.alpha"].gauges(desk.now_ns)["attempt"] == 5
    desk.sync()
    desk.advance(10_000)
    desk.stream().end(DOWN)
    assert desk.actors["reconnector.alpha"].gauges(desk.now_ns)["attempt"] == 1


def test_seed_row_14_better_a_first_connect_that_fails_is_not_fatal(make):
    desk = make()
    desk.stream().fail(DOWN)
    mm = desk.engine()
    mm.open()
    assert desk.answer_to(mm.rid).reason is Refusal.NotReady
    mm.cancel("ext-5")
    assert desk.waiting("cancel_order"), "cancels are tried"
    desk.advance(200)
    desk.sync()
    mm.open()
    assert desk.waiting("open_order")


def test_seed_row_15_an_item_that_cannot_be_indexed_is_counted_and_left_out(desk):
    seq = desk.seq
    desk.stream().item(order("a", instrument="DOGEUSD"))
    assert desk.events(since=seq) == []
    assert desk.counted("reconnector.alpha", "unindexed_items") == 1


def test_seed_row_15_better_a_trade_is_never_dropped_for_its_fees_asset(desk):
    desk.stream().item(fill("a", "t-1", fees=[("BNB", amount("0.1"))]))
    assert [trade.fees[0].asset for trade in desk.events(Trade)] == ["BNB"]


def test_seed_row_16_all_exchanges_are_merged_into_one_feed(make):
    desk = make(exchanges=("alpha", "beta"))
    desk.sync(exchange="alpha")
    desk.sync(exchange="beta")
    assert [header.seq for header, _ in desk.feed] == list(range(1, len(desk.feed) + 1))
    assert {header.exchange for header, _ in desk.feed} == {0, 1, 0xFFFF}


def test_seed_row_16_better_the_feed_is_replayed_to_an_engine_that_missed_it(desk, mm):
    desk.lose = lambda sender, to, link, frame: to == "mm" and link == "feed"
    cid = resting(desk, mm)
    assert mm.core.outstanding
    desk.lose = lambda *_: False
    desk.advance(200)
    assert mm.core.outstanding == {}
    assert [event.order.cid for event in mm.events(OrderSnapshot)] == [cid]
    assert mm.core.reader.gaps == 1


def test_seed_row_17_a_client_of_another_venue_is_a_fault_of_the_file_and_a_simulated_one_fits_any(tmp_path):
    class Kraken(SimulatedClient):
        venue = "kraken_spot"

    with pytest.raises(ConfigError) as raised:
        parse(PAPER, tmp_path / "desk.toml", tmp_path, lambda spec: Kraken)
    assert "kraken_spot" in str(raised.value) and "alpha" in str(raised.value)
    assert parse(PAPER, tmp_path / "desk.toml", tmp_path, lambda spec: SimulatedClient)


def test_seed_row_17_better_several_accounts_at_one_venue(make):
    desk = make(exchanges=("alpha", "beta"))
    for name in ("alpha", "beta"):
        desk.sync(exchange=name)
    mm = desk.engine()
    mm.open(cid="same", exchange=0)
    mm.open(cid="same", exchange=1)
    desk.call("open_order", "alpha").answer(order("same"))
    desk.call("open_order", "beta").fail(ExecutionError(Error.BalanceInsufficient))
    assert {(h.exchange, e.order.state.name) for h, e in desk.feed if isinstance(e, OrderSnapshot)} == {
        (0, "Open"),
        (1, "OpenFailed"),
    }


def test_seed_row_18_better_while_nobody_takes_its_events_an_executor_keeps_them(desk, mm):
    cid = mm.open()
    desk.crash("merger")
    desk.call("open_order").answer(order(cid))
    desk.advance(5_000)
    desk.stopped.discard("merger")
    desk.begin("merger")
    desk.advance(2_000)
    assert desk.answer_to(mm.rid).order.state is OrderState.Open


def test_seed_row_19_shutdown_stops_and_what_is_in_flight_is_unknown_in_the_next_life(desk, mm):
    cid = mm.open()
    desk.restart("executor.alpha", clean=True)
    desk.advance(250)
    assert desk.answer_to(mm.rid).failure.error is Error.Timeout
    assert desk.states(cid) == ["Unknown"]


def test_seed_row_20_better_every_queue_is_bounded_and_full_has_a_typed_answer(make):
    desk = make(limits={"in_flight": 1, "open_orders": 2, "stream_buffer": 2})
    desk.sync()
    mm = desk.engine()
    resting(desk, mm)
    mm.open()
    mm.open()
    assert desk.answer_to(mm.rid).reason is Refusal.Overloaded
    desk.call("open_order").answer(order(desk.call("open_order").request.cid))
    mm.open()
    assert desk.answer_to(mm.rid).reason is Refusal.Overloaded
    assert len(desk.events(Refused)) == 2


def test_seed_row_21_the_simulated_exchange_debits_the_right_asset_and_cancels():
    exchange = bench.engine(btc="10", usdt="100000")
    assert isinstance(exchange, Matching)
    bench.show(exchange, Side.BUY, ("100", "5"))
    exchange.open(bench.request("sell", Side.SELL, "2", None), 0)
    assert (exchange.account.totals["BTC"], exchange.account.totals["USDT"]) == (8, 100_200)
