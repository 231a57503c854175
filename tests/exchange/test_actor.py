"""The exchange as an actor: answers, the stream, latency, restarts, health."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange import wire
from pipeline import control, headers
from pipeline.deployment import ConfigError
from pipeline.vocabulary import Error, OrderState, TimeInForce
from tests.exchange.bench import ASSETS, BUY, MS, SELL, START_NS, SYMBOLS, Bench, MemoryJournal, open_body


@pytest.fixture
def bench() -> Bench:
    return Bench()


def kinds(bodies: list[Any]) -> list[str]:
    return [type(body).__name__ for body in bodies]


def line(bodies: list[Any], kind: type) -> Any:
    found = [body for body in bodies if type(body) is kind]
    assert len(found) == 1, f"{kinds(bodies)} holds not one {kind.__name__}"
    return found[0]


def snapshot(bench: Bench) -> wire.SnapshotPart:
    part: wire.SnapshotPart = line(bench.ask(wire.AskSnapshot(ASSETS, SYMBOLS)), wire.SnapshotPart)
    return part


def test_an_open_is_answered_in_its_own_batch(bench: Bench) -> None:
    (answer,) = bench.open("a", BUY, "1", "90")
    assert (answer.cid, answer.state, answer.exchange_at_ns) == ("a", OrderState.Open, START_NS)


def test_an_answer_carries_the_token_of_its_question_to_the_peer_that_asked(bench: Bench) -> None:
    frame = wire.frame(0xFFFF, bench.deployment.fingerprint, 4711, wire.AskBalances(ASSETS))
    bench.exchange.on_question("calls", b"someone", frame, bench.now_ns)
    (send,) = bench.frames()
    assert (send.link, send.peer, headers.read_control(send.frame).token) == ("calls", b"someone", 4711)


def test_a_rejection_names_its_error_and_is_surely_not_done(bench: Bench) -> None:
    answer = line(bench.open("a", BUY, "1000000", "90"), wire.Refusal)
    assert (answer.error, answer.maybe) == (Error.BalanceInsufficient, False)


def test_a_repeated_cid_is_rejected_also_after_a_restart(bench: Bench) -> None:
    bench.open("a", BUY, "1", "90")
    bench.cancel("a")
    bench.build()
    answer = line(bench.open("a", BUY, "1", "90"), wire.Refusal)
    assert answer.detail == "duplicate client order id"


@pytest.mark.parametrize(
    ("after_ms", "taken"), [(1_000, True), (1_001, False), (-1_000, True), (-1_001, False)]
)
def test_an_open_is_taken_only_within_its_receive_window(bench: Bench, after_ms: int, taken: bool) -> None:
    answer = bench.ask(open_body("a", BUY, "1", "90", bench.now_ns - after_ms * MS))
    assert kinds(answer) == ["OrderLine" if taken else "Refusal"]


def test_an_expired_open_is_refused(bench: Bench) -> None:
    assert kinds(bench.open("a", BUY, "1", "90", expires_at_ns=bench.now_ns - 1)) == ["Refusal"]
    assert kinds(bench.open("b", BUY, "1", "90", expires_at_ns=bench.now_ns)) == ["OrderLine"]


def test_the_stream_tells_trades_then_the_order_then_balances_numbered_from_one(bench: Bench) -> None:
    bench.subscribe()
    bench.open("a", BUY, "1", "90")
    bodies = bench.trade("90", "1", SELL)
    assert kinds(bodies) == ["TradeItem", "OrderItem", "BalanceItem", "BalanceItem"]
    assert [body.number for body in bodies] == [3, 4, 5, 6]
    assert bodies[1].line.state is OrderState.FullyFilled


def test_two_subscriptions_each_get_everything_with_their_own_numbers(bench: Bench) -> None:
    bench.subscribe(b"one")
    bench.open("a", BUY, "1", "90")
    bench.subscribe(b"two")
    frame = wire.frame(0xFFFF, bench.deployment.fingerprint, 99, wire.Cancel("BTCUSDT", "a", None))
    bench.exchange.on_question("calls", b"executor", frame, bench.now_ns)
    numbers: dict[bytes | None, list[int]] = {}
    for send in bench.frames():
        if send.peer != b"executor":
            body = wire.body(headers.read_control(send.frame).kind, send.frame)
            numbers.setdefault(send.peer, []).append(body.number)
    assert numbers == {b"one": [3, 4], b"two": [1, 2]}


def test_a_quiet_stream_shows_a_sign_of_life_at_least_twice_a_second(bench: Bench) -> None:
    bench.subscribe()
    bodies = bench.wait(2_000)
    assert kinds(bodies) == ["AliveItem"] * 8
    assert [body.number for body in bodies] == list(range(1, 9))


def test_a_subscription_that_is_not_renewed_ends_and_costs_nothing_more(bench: Bench) -> None:
    bench.subscribe()
    bodies = bench.wait(11_000)
    assert kinds(bodies)[-1] == "Disconnected"
    assert bench.wait(1_000) == []
    assert len(bench.exchange.timers) == 1, "the end of the day, and nothing else"


def test_a_renewed_subscription_goes_on(bench: Bench) -> None:
    bench.subscribe()
    for _ in range(4):
        bench.wait(5_000)
        frame = wire.frame(0xFFFF, bench.deployment.fingerprint, 1, wire.Renew())
        bench.exchange.on_question("calls", b"reconnector", frame, bench.now_ns)
    assert kinds(bench.wait(5_000))[-1] == "AliveItem"


def test_renewing_what_a_restarted_exchange_never_knew_ends_the_stream(bench: Bench) -> None:
    bench.subscribe()
    bench.build()
    assert kinds(bench.ask(wire.Renew(), b"reconnector")) == ["Disconnected"]


def test_latency_delays_the_act_and_the_answer_by_half_each() -> None:
    bench = Bench({"latency_ms": 10})
    assert bench.open("a", BUY, "1", "90") == []
    assert bench.wait(4) == []
    assert bench.exchange.orders.open_count == 0
    bench.wait(1)
    assert bench.exchange.orders.open_count == 1
    assert kinds(bench.wait(5)) == ["OrderLine"]


def test_stream_latency_is_drawn_and_keeps_the_order() -> None:
    bench = Bench({"stream_latency_ms": {"min": 1, "max": 200}})
    bench.subscribe()
    cids = [f"c{i}" for i in range(20)]
    for cid in cids:
        answer = bench.open(cid, BUY, "1", "90")
        assert kinds(answer) == ["OrderLine"], "the answer does not wait for the stream"
    items = bench.wait(400)
    assert [b.line.cid for b in items if isinstance(b, wire.OrderItem)] == cids
    assert [b.number for b in items] == list(range(1, len(items) + 1))


def test_day_orders_expire_when_the_day_ends_and_the_stream_says_so() -> None:
    bench = Bench({"day_ends": "22:30"})  # the bench starts at 22:13:20 UTC
    bench.open("a", BUY, "1", "90", tif=TimeInForce.DAY)
    bench.wait(995_000)
    bench.subscribe()
    assert not [b for b in bench.wait(4_000) if isinstance(b, wire.OrderItem)]
    (ended,) = [b.line for b in bench.wait(1_000) if isinstance(b, wire.OrderItem)]
    assert (ended.cid, ended.state) == ("a", OrderState.Expired)


def test_a_call_about_what_is_not_here_is_refused_by_name(bench: Bench) -> None:
    asked = [
        (wire.AskBalances(["DOGE"]), Error.AssetInvalid),
        (wire.AskOpenOrders(["DOGE"]), Error.InstrumentInvalid),
        (wire.AskOrder("DOGE", "a", None), Error.InstrumentInvalid),
        (wire.Cancel("DOGE", "a", None), Error.InstrumentInvalid),
        (wire.Cancel("BTCUSDT", "a", None), Error.OrderNotFound),
    ]
    for body, error in asked:
        assert line(bench.ask(body), wire.Refusal).error is error


def test_an_order_is_found_by_cid_and_by_id_and_an_unknown_one_is_not_there(bench: Bench) -> None:
    (opened,) = bench.open("a", BUY, "1", "90")
    for cid, id in (("a", None), ("", opened.id)):
        assert line(bench.ask(wire.AskOrder("BTCUSDT", cid, id)), wire.OrderLine) == opened
    assert kinds(bench.ask(wire.AskOrder("BTCUSDT", "b", None))) == ["NoSuchOrder"]


def test_finished_orders_leave_memory_and_stay_known(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.exchange.orders.FINISHED_LIMIT", 3)
    for i in range(10):
        bench.open(f"c{i}", BUY, "1", "90")
        bench.cancel(f"c{i}")
    assert len(bench.exchange.orders._by_number) == 3
    (found,) = bench.ask(wire.AskOrder("BTCUSDT", "c0", None))
    assert (found.cid, found.state) == ("c0", OrderState.Cancelled)
    assert bench.ask(wire.AskOrder("BTCUSDT", "", found.id)) == [found]
    assert line(bench.open("c0", BUY, "1", "90"), wire.Refusal).detail == "duplicate client order id"
    assert line(bench.cancel("c0"), wire.Refusal).error is Error.OrderAlreadyCancelled


def test_trades_are_fetched_from_a_time_on_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TRADES_SIZE", 4)
    bench.open("a", BUY, "10", "90")
    for _ in range(10):
        bench.wait(100)
        bench.trade("90", "1", SELL)
    ids, after, more = [], 0, True
    while more:
        page = line(bench.ask(wire.AskTrades(SYMBOLS, START_NS + 300 * MS, after)), wire.Trades)
        ids += [trade.id.partition(".")[2] for trade in page.trades]
        after, more = page.last, page.more
    assert ids == ["3", "4", "5", "6", "7", "8", "9", "10"]


def test_a_large_snapshot_comes_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PART_SIZE", 3)
    for i in range(5):
        bench.open(f"c{i}", BUY, "1", "90")
    parts = bench.ask(wire.AskSnapshot(ASSETS, SYMBOLS))
    assert [(p.part, p.parts, len(p.balances), len(p.orders)) for p in parts] == [
        (1, 3, 2, 1),
        (2, 3, 0, 3),
        (3, 3, 0, 1),
    ]


def test_bad_bytes_are_counted_and_a_readable_header_is_answered(bench: Bench) -> None:
    fingerprint = bench.deployment.fingerprint
    for frame in (b"", b"GET / HTTP/1.1", headers.control(0, 200, fingerprint, 1)):
        bench.exchange.on_question("calls", b"x", frame, bench.now_ns)
    assert bench.bodies() == []
    frame = headers.control(0, wire.Wire.Open, fingerprint, 9) + b"\x81\xa1x\x01"
    bench.exchange.on_question("calls", b"x", frame, bench.now_ns)
    assert line(bench.bodies(), wire.Refusal).maybe is False
    assert bench.exchange.counters["bad_frames"] == 4


def test_another_deployments_table_is_refused(bench: Bench) -> None:
    frame = wire.frame(0, bench.deployment.fingerprint ^ 1, 1, open_body("a", BUY, "1", "90"))
    bench.exchange.on_question("calls", b"x", frame, bench.now_ns)
    assert "table" in line(bench.bodies(), wire.Refusal).detail
    assert bench.exchange.orders.last_number == 0


def test_health_says_what_the_exchange_is_doing(bench: Bench) -> None:
    bench.open("a", BUY, "1", "90")
    bench.subscribe()
    bench.fault("delay", "5")
    health = bench.control(control.HealthQuery())
    assert (health.actor, health.epoch, health.ready) == ("exchange.alpha", bench.journal.birth_id, True)
    assert health.counters["opens"] == 1
    assert (health.gauges["open_orders"], health.gauges["subscriptions"]) == (1, 1)
    assert health.notes == ["the fault delay is on"]


# ------------------------------------------------------------------------------------------ restarts


def test_a_restarted_exchange_is_the_same_exchange() -> None:
    bench = Bench({"maker_fee": "0.001", "taker_fee": "0.002"})
    bench.open("resting", BUY, "2", "90")
    bench.open("partly", SELL, "2", "110")
    bench.open("gone", SELL, "2", "111")
    bench.trade("110", "0.5", BUY)
    bench.cancel("gone")
    bench.open("taker", BUY, "1", None)
    before, trade = snapshot(bench), bench.exchange.orders.last_trade
    reserved = dict(bench.exchange.matching.account.reserved)
    bench.build()
    after = snapshot(bench)
    assert (after.orders, after.balances) == (before.orders, before.balances)
    assert bench.exchange.matching.account.reserved == reserved
    assert (
        line(bench.ask(wire.AskOrder("BTCUSDT", "taker", None)), wire.OrderLine).state
        is OrderState.FullyFilled
    )
    bench.open("next", BUY, "1", None)
    ids = [row[1] for row in bench.journal.range("trades", 0, 99, 99)]
    assert len(set(ids)) == len(ids) > trade


def test_an_account_begun_anew_repeats_no_ids() -> None:
    ids = set()
    for birth in (0x1111, 0x2222):
        bench = Bench(journal=MemoryJournal(birth))
        (opened,) = bench.open("a", BUY, "1", None)
        ids.add(opened.id)
        ids.add(bench.journal.range("trades", 0, 9, 9)[0][1] + "t")
    assert len(ids) == 4


def test_an_order_that_cannot_be_paid_after_fees_were_raised_is_cancelled_at_start() -> None:
    bench = Bench({"balances": {"usdt": "100"}})
    bench.open("a", BUY, "1", "99.99")
    again = Bench({"balances": {"usdt": "100"}, "taker_fee": "0.05"}, bench.journal)
    found = line(again.ask(wire.AskOrder("BTCUSDT", "a", None)), wire.OrderLine)
    assert (found.state, found.failure[0]) == (OrderState.Cancelled, Error.BalanceInsufficient)
    assert again.exchange.matching.account.free("USDT") == 100


class Story(Bench):
    """A bench that a property test drives."""

    def play(self, step: tuple[Any, ...], at: int) -> None:
        match step:
            case ("open", side, steps, price):
                self.open(f"c{at}", side, str(Decimal(steps) / 1000), price)
            case ("cancel", which):
                self.cancel(f"c{which}")
            case ("trade", price, side):
                self.trade(price, "0.7", side)
            case ("wait", ms):
                self.wait(ms)


prices = st.integers(9_900, 10_100).map(lambda steps: str(Decimal(steps) / 100))
story_steps = st.one_of(
    st.tuples(st.just("open"), st.sampled_from((BUY, SELL)), st.integers(100, 3_000), prices | st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("trade"), prices, st.sampled_from((BUY, SELL))),
    st.tuples(st.just("wait"), st.integers(1, 300)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(story_steps, max_size=20), st.integers(0, 1_000))
def test_wherever_it_is_killed_an_exchange_comes_back_equal(story: list[tuple[Any, ...]], seed: int) -> None:
    market = {"model": "synthetic", "step_ms": 50, "volatility": 0.001, "trade_every_ms": 100}
    bench = Story({"seed": seed, "market": market, "maker_fee": "-0.0001", "taker_fee": "0.001"})
    for at, step in enumerate(story):
        bench.play(step, at)
    kept = bench.exchange
    # The same ledger, and a market that shows nothing new to our orders.
    nothing = {"model": "recordings", "files": {}}
    bench.deployment = Bench({"maker_fee": "-0.0001", "taker_fee": "0.001", "market": nothing}).deployment
    bench.build()
    new = bench.exchange
    assert [o.told() for o in new.orders.open_orders()] == [o.told() for o in kept.orders.open_orders()]
    assert new.matching.account.totals == kept.matching.account.totals
    assert new.matching.account.reserved == kept.matching.account.reserved
    assert (new.orders.last_number, new.orders.last_trade) == (
        kept.orders.last_number,
        kept.orders.last_trade,
    )
    numbers = {row[0] for row in bench.journal.range("resting", 0, 10**9, 10**9)}
    assert numbers == {o.number for o in new.orders.open_orders()}


def test_the_same_seed_gives_the_same_market() -> None:
    def prices_of(seed: int) -> list[tuple[Any, ...]]:
        market = {"model": "synthetic", "step_ms": 100, "volatility": 0.001, "trade_every_ms": 50}
        bench = Bench({"seed": seed, "market": market, "stream_latency_ms": {"min": 1, "max": 9}})
        bench.open("a", BUY, "500", "99.9")
        bench.open("b", SELL, "500", "100.1")
        bench.wait(3_000)
        return bench.journal.range("trades", 0, 10_000, 10_000)

    assert prices_of(5) == prices_of(5) != prices_of(6)
    assert prices_of(5), "a market that never trades proves nothing"


@pytest.mark.parametrize(
    ("simulation", "names"),
    [
        ({"sed": 1}, "simulation: "),
        ({"market": {"model": "astral"}}, "simulation.market"),
        ({"market": {"model": "synthetic", "step_ms": "fast"}}, "simulation.market.step_ms"),
        ({"market": {"model": "synthetic", "step_ms": 0}}, "simulation.market.step_ms"),
        (
            {"market": {"model": "synthetic", "prices": {"eth_usdt": "1"}}},
            "simulation.market.prices.eth_usdt",
        ),
        (
            {"market": {"model": "synthetic", "prices": {"btc_usdt": "-1"}}},
            "simulation.market.prices.btc_usdt",
        ),
        (
            {"market": {"model": "recordings", "files": {"btc_usdt": "none.gz"}}},
            "simulation.market.files.btc_usdt",
        ),
        ({"balances": {"doge": "1"}}, "simulation.balances.doge"),
        ({"balances": {"btc": "1e5"}}, "simulation.balances.btc"),
        ({"balances": {"btc": 1.5}}, "simulation.balances"),
        ({"balances": {"btc": "-1"}}, "simulation.balances.btc"),
        ({"maker_fee": "0.5"}, "simulation.maker_fee"),
        ({"taker_fee": "0.00000000000001"}, "simulation.taker_fee"),
        ({"latency_ms": {"min": 9, "max": 1}}, "simulation.latency_ms"),
        ({"day_ends": "24:00"}, "simulation.day_ends"),
        ({"faults": ["dely 5"]}, "simulation.faults"),
        ({"open_orders_limit": 0}, "simulation.open_orders_limit"),
    ],
)
def test_a_bad_simulation_table_is_one_line_that_names_file_and_key(
    simulation: dict[str, Any], names: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        Bench(simulation)
    said = str(raised.value)
    assert said.startswith(f"bench.toml: exchanges.alpha.{names}") and "\n" not in said and "; " in said
