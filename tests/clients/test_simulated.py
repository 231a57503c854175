"""The simulated client against the real exchange, joined by a wire in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from actors.clients import simulated
from actors.clients.simulated import SimulatedClient
from pipeline import headers
from pipeline.amounts import amount
from pipeline.client import (
    AccountEvent,
    Alive,
    AssetBalance,
    CancelOrder,
    ExecutionError,
    NotFound,
    OpenOrder,
    Order,
    Trade,
)
from pipeline.vocabulary import Error, OrderKind, OrderState, Side, TimeInForce
from tests.exchange.bench import ASSETS, BUY, SELL, SYMBOLS, Bench, open_body

WITHIN_S = 5


class MemoryWire:
    """A wire whose frames reach the exchange at once, and whose answers come in the loop's next turn."""

    def __init__(self, joint: "Joint", peer: bytes, on_frame: Callable[[bytes], None]) -> None:
        self.joint = joint
        self.peer = peer
        self.on_frame = on_frame
        self.open = True

    def send(self, frame: bytes) -> bool:
        if not self.joint.up:
            return False
        exchange = self.joint.bench.exchange
        exchange.on_question("calls", self.peer, frame, self.joint.bench.now_ns)
        exchange.on_batch_end(self.joint.bench.now_ns)
        self.joint.carry()
        return True

    def close(self) -> None:
        self.open = False


class Joint:
    """The deployment's links, as a client sees them, with one exchange at the other end."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.fingerprint = bench.deployment.fingerprint
        self.up = True
        self.wires: dict[bytes, MemoryWire] = {}

    def connect(self, actor: str, edge: str, on_frame: Callable[[bytes], None]) -> MemoryWire:
        assert (actor, edge) == ("exchange.alpha", "calls")
        peer = f"client-{len(self.wires)}".encode()
        self.wires[peer] = MemoryWire(self, peer, on_frame)
        return self.wires[peer]

    def now_ns(self) -> int:
        return self.bench.now_ns

    def carry(self) -> None:
        """Bring what the exchange sent to the clients it is for."""
        for send in self.bench.frames():
            assert send.peer is not None
            asyncio.get_running_loop().call_soon(self.wires[send.peer].on_frame, send.frame)

    def wait(self, ms: int) -> None:
        end = self.bench.now_ns + ms * 1_000_000
        while (due := self.bench.exchange.next_deadline_ns()) is not None and due <= end:
            self.bench.now_ns = max(self.bench.now_ns, due)
            self.bench.exchange.on_deadline(self.bench.now_ns)
            self.bench.exchange.on_batch_end(self.bench.now_ns)
            self.carry()
        self.bench.now_ns = end


def play(story: Callable[[SimulatedClient, Joint], Coroutine[Any, Any, None]], **simulation: Any) -> None:
    """Run a story on a loop of its own, within a bound."""

    async def run() -> None:
        joint = Joint(Bench(simulation))
        client = SimulatedClient("alpha", {})
        client.attach(joint)
        async with asyncio.timeout(WITHIN_S):
            await story(client, joint)
        await client.close()

    asyncio.run(run())


def order(cid: str, side: Side = BUY, quantity: str = "1", price: str | None = "90") -> OpenOrder:
    kind = OrderKind.MARKET if price is None else OrderKind.LIMIT
    limit = None if price is None else amount(price)
    return OpenOrder("BTCUSDT", cid, side, kind, TimeInForce.GTC, 0, limit, amount(quantity), 0)


async def failure(call: Awaitable[Any]) -> ExecutionError:
    with pytest.raises(ExecutionError) as raised:
        await call
    return raised.value


async def begun(client: SimulatedClient, call: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """A call that is on its way, and whose answer is not here yet."""
    task = asyncio.create_task(call)
    await client.fetch_balances(ASSETS)  # the task had its turn while this one waited
    return task


async def items(stream: AsyncIterator[AccountEvent], count: int) -> list[AccountEvent]:
    return [await anext(stream) for _ in range(count)]


def test_an_order_lives_from_open_over_a_fill_to_its_cancel() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        stream = await client.account_stream(ASSETS, SYMBOLS)
        opened = await client.open_order(order("a"))
        assert opened is not None and (opened.state, opened.filled) == (OrderState.Open, 0)
        joint.bench.exchange.matching.trade("BTCUSDT", amount("90"), amount("0.4"), SELL, joint.now_ns())
        cancelled = await client.cancel_order(CancelOrder("BTCUSDT", "a", opened.id))
        assert cancelled is not None and str(cancelled.filled) == "0.4"
        told = await items(stream, 8)
        assert [type(item) for item in told[2:]] == [
            Trade, Order, AssetBalance, AssetBalance, Order, AssetBalance,
        ]  # fmt: skip
        assert isinstance(told[6], Order) and told[6].state is OrderState.Cancelled
        assert await client.fetch_order("BTCUSDT", "a", None) == told[6]

    play(story)


def test_what_is_fetched_is_what_the_exchange_has() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        await client.open_order(order("resting"))
        await client.open_order(order("taking", price=None))
        (resting,) = await client.fetch_open_orders(SYMBOLS)
        assert resting.cid == "resting"
        trades, complete = await client.fetch_trades(SYMBOLS, 0)
        assert [t.cid for t in trades] == ["taking"] and complete
        assert await client.fetch_trades(SYMBOLS, joint.now_ns() + 1) == ([], True)
        balances = await client.fetch_balances(ASSETS)
        snapshot = await client.account_snapshot(ASSETS, SYMBOLS)
        assert (snapshot.orders, snapshot.balances) == ([resting], balances)
        assert await client.fetch_order("BTCUSDT", "never", None) == NotFound()
        assert await client.cancel_all(SYMBOLS) == 1
        assert await client.fetch_open_orders(SYMBOLS) == []

    play(story)


def test_many_pages_of_trades_are_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.exchange.wire.TRADES_SIZE", 3)

    async def story(client: SimulatedClient, joint: Joint) -> None:
        await client.open_order(order("a", quantity="10"))
        for _ in range(10):
            joint.bench.exchange.matching.trade("BTCUSDT", amount("90"), amount("1"), SELL, joint.now_ns())
        await client.fetch_balances(ASSETS)
        trades, complete = await client.fetch_trades(SYMBOLS, 0)
        assert [t.id.partition(".")[2] for t in trades] == [str(n) for n in range(1, 11)] and complete

    play(story)


def test_a_rejection_is_raised_with_its_error_and_surely_not_done() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        error = await failure(client.open_order(order("a", quantity="1000000")))
        assert (error.error, error.sent) == (Error.BalanceInsufficient, "no")
        error = await failure(client.cancel_order(CancelOrder("BTCUSDT", "never", None)))
        assert error.error is Error.OrderNotFound

    play(story)


def test_an_error_after_the_exchange_acted_is_raised_as_maybe() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        joint.bench.fault("error_after_accept")
        error = await failure(client.open_order(order("a")))
        assert (error.error, error.sent) == (Error.ExchangeOffline, "maybe")
        assert isinstance(await client.fetch_order("BTCUSDT", "a", None), Order)

    play(story)


def test_a_frame_that_the_wire_does_not_take_surely_did_not_leave() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        joint.up = False
        error = await failure(client.open_order(order("a")))
        assert (error.error, error.sent) == (Error.Socket, "no")
        error = await failure(client.account_stream(ASSETS, SYMBOLS))
        assert error.sent == "no"
        joint.up = True
        assert await client.fetch_order("BTCUSDT", "a", None) == NotFound()

    play(story)


def test_a_call_without_an_answer_waits_for_its_callers_deadline_and_leaves_nothing_behind() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        joint.bench.fault("late_reply", "3000")
        call = await begun(client, client.open_order(order("a")))
        assert isinstance(await client.fetch_order("BTCUSDT", "a", None), Order)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        joint.wait(3_000)
        await client.fetch_balances(ASSETS)
        assert client.unasked == 1, "the late answer is passed over"

    play(story)


def test_a_late_answer_reaches_a_call_that_still_waits() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        joint.bench.fault("late_reply", "3000")
        call = await begun(client, client.open_order(order("a")))
        joint.wait(3_000)
        opened = await call
        assert opened is not None and opened.cid == "a"

    play(story)


def test_a_repeated_answer_settles_its_call_once() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        joint.bench.fault("duplicate_reply", "2")
        assert (await client.account_snapshot(ASSETS, SYMBOLS)).orders == []
        await client.open_order(order("a"))
        await client.fetch_balances(ASSETS)
        assert client.unasked == 1

    play(story)


def test_a_disconnected_stream_says_so_after_its_last_item_and_can_be_made_anew() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        stream = await client.account_stream(ASSETS, SYMBOLS)
        await client.open_order(order("a"))
        joint.bench.fault("disconnect")
        joint.carry()
        assert len(await items(stream, 2)) == 2
        error = await failure(anext(stream))
        assert error.error is Error.ExchangeOffline
        again = await client.account_stream(ASSETS, SYMBOLS)
        joint.wait(250)
        assert await items(again, 1) == [Alive()]

    play(story)


def test_a_gap_in_the_numbers_ends_the_stream() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        stream = await client.account_stream(ASSETS, SYMBOLS)
        joint.bench.fault("silence", "600")
        await client.open_order(order("a"))
        joint.wait(1_000)
        error = await failure(anext(stream))
        assert "lost" in error.detail

    play(story)


def test_a_stream_that_carries_nothing_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "SILENCE_S", 0.02)
    monkeypatch.setattr(simulated, "RENEW_S", 0.01)

    async def story(client: SimulatedClient, joint: Joint) -> None:
        stream = await client.account_stream(ASSETS, SYMBOLS)
        error = await failure(anext(stream))
        assert (error.error, "heard" in error.detail) == (Error.ExchangeOffline, True)

    play(story)


def test_an_exchange_that_restarted_ends_the_stream_and_takes_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulated, "RENEW_S", 0.01)

    async def story(client: SimulatedClient, joint: Joint) -> None:
        await client.open_order(order("before"))
        stream = await client.account_stream(ASSETS, SYMBOLS)
        joint.bench.build()
        error = await failure(anext(stream))
        assert error.error is Error.ExchangeOffline
        again = await client.account_stream(ASSETS, SYMBOLS)
        await client.cancel_order(CancelOrder("BTCUSDT", "before", None))
        told, _ = await items(again, 2)
        assert isinstance(told, Order) and (told.cid, told.state) == ("before", OrderState.Cancelled)

    play(story)


def test_a_cut_snapshot_is_an_error_and_takes_the_stream_with_it() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        stream = await client.account_stream(ASSETS, SYMBOLS)
        joint.bench.fault("cut_snapshot", "1")
        error = await failure(client.account_snapshot(ASSETS, SYMBOLS))
        assert error.error is Error.Socket
        assert (await failure(anext(stream))).error is Error.ExchangeOffline

    play(story)


def test_a_closed_stream_is_no_longer_served() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        stream = await client.account_stream(ASSETS, SYMBOLS)
        await stream.aclose()  # type: ignore[attr-defined]
        await client.fetch_balances(ASSETS)
        assert joint.bench.exchange.streams.subscriptions == {}
        assert (await failure(anext(stream))).error is Error.ExchangeOffline

    play(story)


def test_bad_bytes_are_counted_and_fail_only_the_call_they_name() -> None:
    async def story(client: SimulatedClient, joint: Joint) -> None:
        (wire,) = joint.wires.values()
        wire.on_frame(b"")
        wire.on_frame(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        joint.bench.fault("accept_then_no_reply")
        call = await begun(client, client.open_order(order("a")))
        (token,) = client._waiting
        wire.on_frame(headers.control(0, 112, joint.fingerprint, token) + b"\xc1")
        assert (await failure(call)).sent == "maybe"
        assert client.bad_frames == 3
        assert await client.fetch_open_orders(SYMBOLS)

    play(story)


def test_a_client_that_is_not_attached_sends_nothing() -> None:
    async def story() -> None:
        error = await failure(SimulatedClient("alpha", {}).open_order(order("a")))
        assert (error.error, error.sent) == (Error.Socket, "no")

    asyncio.run(story())


def test_its_validity_covers_the_latest_that_the_exchange_lets_an_open_act() -> None:
    bench = Bench()
    bench.fault("clock_skew", "-1000")  # an exchange whose clock is as far behind as it tolerates
    sent_ns = bench.now_ns
    validity_ms = SimulatedClient.request_validity_ms
    assert validity_ms is not None

    def taken(cid: str) -> bool:
        return type(bench.ask(open_body(cid, BUY, "1", "90", sent_ns))[0]).__name__ == "OrderLine"

    assert taken("at once")
    bench.now_ns += validity_ms * 1_000_000
    assert taken("at the end")
    bench.now_ns += 1_000_000
    assert not taken("after it")
