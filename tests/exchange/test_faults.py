"""Every fault on its switch: what it does to answers and streams, that it wears off, and what is refused."""

from typing import Any

import pytest

from actors.exchange import wire
from actors.exchange.faults import AT_ONCE, COUNTED, SWITCHES
from pipeline import control
from pipeline.vocabulary import Error, OrderState, TimeInForce
from tests.exchange.bench import ASSETS, BUY, SELL, SYMBOLS, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def kinds(bodies: list[Any]) -> list[str]:
    return [type(body).__name__ for body in bodies]


def is_open(bench: Bench, cid: str) -> bool:
    return any(order.cid == cid for order in bench.exchange.orders.open_orders())


def test_accept_then_no_reply_acts_says_nothing_and_wears_off(bench: Bench) -> None:
    bench.fault("accept_then_no_reply", "1")
    assert bench.open("a", BUY, "1", "90") == []
    assert is_open(bench, "a")
    assert kinds(bench.open("b", BUY, "1", "90")) == ["OrderLine"]


def test_a_fault_for_cancels_leaves_opens_alone(bench: Bench) -> None:
    bench.fault("accept_then_no_reply", "1", "cancel")
    assert kinds(bench.open("a", BUY, "1", "90")) == ["OrderLine"]
    assert bench.cancel("a") == []
    assert not is_open(bench, "a")


def test_a_rejection_uses_up_no_fault(bench: Bench) -> None:
    bench.fault("accept_then_no_reply", "1")
    assert kinds(bench.open("a", BUY, "1000000", "90")) == ["Refusal"]
    assert bench.open("b", BUY, "1", "90") == []


def test_the_stream_still_tells_what_the_answer_did_not(bench: Bench) -> None:
    bench.subscribe()
    bench.fault("accept_then_no_reply")
    assert kinds(bench.open("a", BUY, "1", "90")) == ["OrderItem", "BalanceItem"]


def test_delay_holds_back_so_many_answers(bench: Bench) -> None:
    bench.fault("delay", "50", "1")
    assert bench.open("a", BUY, "1", "90") == []
    assert is_open(bench, "a")
    assert kinds(bench.open("b", BUY, "1", "90")) == ["OrderLine"]
    assert bench.wait(49) == []
    assert [body.cid for body in bench.wait(1)] == ["a"]


def test_delay_without_a_count_stays_until_it_is_switched_off(bench: Bench) -> None:
    bench.fault("delay", "50")
    assert [bench.open(f"c{i}", BUY, "1", "90") for i in range(3)] == [[], [], []]
    assert bench.fault("delay", "off") == control.Done("delay is off")
    assert kinds(bench.open("d", BUY, "1", "90")) == ["OrderLine"]


def test_disconnect_ends_every_stream_once(bench: Bench) -> None:
    bench.subscribe(b"one")
    bench.subscribe(b"two")
    assert isinstance(bench.fault("disconnect"), control.Done)
    assert kinds(bench.bodies()) == ["Disconnected", "Disconnected"]
    assert kinds(bench.subscribe(b"one")) == ["Subscribed"]
    assert kinds(bench.wait(300)) == ["AliveItem"]


def test_duplicate_reply_answers_twice(bench: Bench) -> None:
    bench.fault("duplicate_reply")
    assert kinds(bench.open("a", BUY, "1", "90")) == ["OrderLine", "OrderLine"]
    assert bench.exchange.orders.last_number == 1


def test_late_reply_acts_at_once_and_answers_late(bench: Bench) -> None:
    bench.fault("late_reply", "3000")
    assert bench.open("a", BUY, "1", "90") == []
    assert is_open(bench, "a")
    assert kinds(bench.wait(2_999)) == []
    assert kinds(bench.wait(1)) == ["OrderLine"]


def test_error_after_accept_acts_and_says_that_nobody_knows(bench: Bench) -> None:
    bench.fault("error_after_accept")
    (answer,) = bench.open("a", BUY, "1", "90")
    assert (answer.error, answer.maybe) == (Error.ExchangeOffline, True)
    assert is_open(bench, "a")


def test_drop_before_accept_loses_the_order_on_its_way_in(bench: Bench) -> None:
    bench.fault("drop_before_accept")
    assert bench.open("a", BUY, "1", "90") == []
    assert not is_open(bench, "a")
    assert kinds(bench.ask(wire.AskOrder("BTCUSDT", "a", None))) == ["NoSuchOrder"]


def test_a_dropped_stream_frame_leaves_no_gap_in_the_numbers(bench: Bench) -> None:
    bench.subscribe()
    bench.open("a", BUY, "1", "90")
    bench.fault("drop_stream_frame", "trade", "1")
    bodies = bench.trade("90", "0.5", SELL)
    assert kinds(bodies) == ["OrderItem", "BalanceItem", "BalanceItem"]
    assert [body.number for body in bodies] == [3, 4, 5]
    assert kinds(bench.trade("90", "0.5", SELL))[0] == "TradeItem"


@pytest.mark.parametrize("after", range(6))
def test_a_snapshot_can_be_cut_after_any_element_and_takes_the_stream_with_it(
    bench: Bench, after: int
) -> None:
    for i in range(3):
        bench.open(f"c{i}", BUY, "1", "90")
    bench.subscribe()
    bench.fault("cut_snapshot", str(after))
    bodies = bench.ask(wire.AskSnapshot(ASSETS, SYMBOLS))
    *parts, cut, ended = bodies
    assert kinds([cut, ended]) == ["Disconnected", "Disconnected"]
    assert sum(len(p.balances) + len(p.orders) for p in parts) == after
    assert all(p.part < p.parts for p in parts), "a cut snapshot never looks whole"
    assert kinds(bench.ask(wire.AskSnapshot(ASSETS, SYMBOLS))) == ["SnapshotPart"]


def test_a_stale_snapshot_shows_the_account_as_it_was(bench: Bench) -> None:
    bench.open("old", BUY, "1", "90")
    bench.fault("stale_snapshot", "1000")
    bench.wait(900)
    bench.cancel("old")
    bench.open("new", BUY, "2", "90")
    (stale,) = bench.ask(wire.AskSnapshot(ASSETS, SYMBOLS))
    assert [order.cid for order in stale.orders] == ["old"]
    assert [str(balance.free) for balance in stale.balances] == ["1000000", "999910"]
    bench.wait(1_200)
    (later,) = bench.ask(wire.AskSnapshot(ASSETS, SYMBOLS))
    assert [order.cid for order in later.orders] == ["new"]


def test_reorder_swaps_two_items_and_keeps_the_numbers_whole(bench: Bench) -> None:
    bench.subscribe()
    bench.open("a", BUY, "1", "90")
    bench.fault("reorder")
    bodies = bench.trade("90", "1", SELL)
    assert kinds(bodies) == ["OrderItem", "TradeItem", "BalanceItem", "BalanceItem"]
    assert [body.number for body in bodies] == [3, 4, 5, 6]


def test_a_reordered_item_that_nothing_follows_comes_with_the_next_sign_of_life(bench: Bench) -> None:
    bench.subscribe()
    bench.fault("reorder", "2")
    bodies = bench.open("a", BUY, "1", "90")
    assert kinds(bodies) == ["OrderLine", "BalanceItem", "OrderItem"]
    bench.exchange.matching.account.changed.clear()
    bench.fault("reorder", "1")
    bench.fault("drop_stream_frame", "balance", "9")
    assert kinds(bench.cancel("a")) == ["CancelledLine"]
    assert kinds(bench.wait(250)) == ["OrderItem", "AliveItem"]


def test_new_streams_can_begin_with_the_last_trades_again(bench: Bench) -> None:
    bench.open("a", BUY, "5", "90")
    for _ in range(5):
        bench.trade("90", "1", SELL)
    bench.fault("replay_trades", "2")
    bodies = bench.subscribe()
    assert kinds(bodies) == ["Subscribed", "TradeItem", "TradeItem"]
    assert [body.line.id.partition(".")[2] for body in bodies[1:]] == ["4", "5"]


def test_a_flapping_exchange_takes_every_stream_and_drops_it_soon(bench: Bench) -> None:
    bench.subscribe()
    bench.fault("flap", "50")
    assert kinds(bench.bodies()) == ["Disconnected"]
    for _ in range(3):
        assert kinds(bench.subscribe()) == ["Subscribed"]
        assert kinds(bench.wait(49)) == []
        assert kinds(bench.wait(1)) == ["Disconnected"]
    bench.fault("flap", "off")
    bench.subscribe()
    assert kinds(bench.wait(300)) == ["AliveItem"]


def test_the_rate_limit_refuses_calls_beyond_it_until_the_next_second(bench: Bench) -> None:
    bench.fault("rate_limit", "3")
    answers = [bench.open(f"c{i}", BUY, "1", "90")[0] for i in range(5)]
    assert [getattr(a, "error", None) for a in answers] == [
        None,
        None,
        None,
        Error.RateLimit,
        Error.RateLimit,
    ]
    bench.wait(1_000)
    assert kinds(bench.open("later", BUY, "1", "90")) == ["OrderLine"]


@pytest.mark.parametrize(("ms", "taken"), [(900, True), (1_500, False), (-900, True), (-1_500, False)])
def test_a_skewed_clock_stamps_its_times_and_rejects_what_is_outside_its_window(
    bench: Bench, ms: int, taken: bool
) -> None:
    bench.fault("clock_skew", str(ms))
    (answer,) = bench.open("a", BUY, "1", "90")
    if taken:
        assert answer.exchange_at_ns == bench.now_ns + max(0, ms) * 1_000_000, "what happens never goes back"
    else:
        assert (answer.error, answer.maybe) == (Error.OrderRejected, False)
        assert str(abs(ms)) in answer.detail


def test_in_silence_items_are_lost_and_the_numbers_tell(bench: Bench) -> None:
    bench.subscribe()
    bench.wait(300)
    bench.fault("silence", "1000")
    assert kinds(bench.open("a", BUY, "1", "90")) == ["OrderLine"]
    assert bench.wait(900) == []
    bodies = bench.wait(300)
    assert kinds(bodies) == ["AliveItem"]
    assert bodies[0].number > 2


def test_the_day_can_be_ended_by_hand(bench: Bench) -> None:
    bench.open("a", BUY, "1", "90", tif=TimeInForce.DAY)
    bench.fault("end_day")
    (found,) = bench.ask(wire.AskOrder("BTCUSDT", "a", None))
    assert found.state is OrderState.Expired


def test_faults_of_the_deployment_file_are_on_from_the_start() -> None:
    bench = Bench({"faults": ["accept_then_no_reply 2 open", "delay 5 1"]})
    assert bench.open("a", BUY, "1", "90") == []
    health = bench.control(control.HealthQuery())
    assert health.notes == ["the fault accept_then_no_reply is on", "the fault delay is on"]


def test_clear_switches_everything_off(bench: Bench) -> None:
    bench.fault("delay", "500")
    bench.fault("drop_before_accept", "100")
    assert bench.fault("clear") == control.Done("every fault is off")
    assert kinds(bench.open("a", BUY, "1", "90")) == ["OrderLine"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dely"], "accept_then_no_reply, delay, disconnect"),
        (["delay"], "delay <ms>"),
        (["delay", "soon"], "a whole number"),
        (["delay", "-1"], "a whole number"),
        (["delay", "1_0"], "a whole number"),
        (["delay", "\uff11"], "a whole number"),
        (["delay", "5", "0"], "a whole number, 1 to"),
        (["delay", "1", "2", "3"], "2 arguments, not 3"),
        (["disconnect", "now"], "0 arguments, not 1"),
        (["drop_stream_frame", "quote"], "trade, order, balance, any"),
        (["accept_then_no_reply", "1", "query"], "any, open, cancel"),
    ],
)
def test_a_wrong_switch_is_refused_with_what_would_be_right(
    bench: Bench, words: list[str], says: str
) -> None:
    answer = bench.fault(*words)
    assert isinstance(answer, control.Failed) and says in answer.detail
    assert bench.exchange.faults.on == {}


@pytest.mark.parametrize("name", sorted(set(SWITCHES) - AT_ONCE))
def test_every_switch_can_be_turned_on_and_off(bench: Bench, name: str) -> None:
    needed = ["5" for _, default, _ in SWITCHES[name].arguments if default is None]
    assert isinstance(bench.fault(name, *needed), control.Done)
    assert list(bench.exchange.faults.on) == [name]
    bench.fault(name, "off")
    assert bench.exchange.faults.on == {}


def test_every_counted_fault_strikes_as_often_as_it_was_told(bench: Bench) -> None:
    faults = bench.exchange.faults
    for name in COUNTED:
        arguments = {"late_reply": ["5", "3"], "delay": ["5", "3"], "drop_stream_frame": ["any", "3"]}
        faults.flip(name, arguments.get(name, ["3"]), 0)
        assert [faults.strikes(name, "open") for _ in range(5)] == [True] * 3 + [False] * 2, name
