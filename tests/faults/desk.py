"""A deployment with real sockets and a trader at it, whose exchanges do what a test tells them to.

The market stands still: prices at 100, no trades but those that `fill` makes. Nothing sleeps: a story waits
for what it wants to see on the feed, within a bound, and ends with the three ledgers in agreement.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from actors.command_line.questions import Questions
from actors.exchange.actor import SimulatedExchange
from orderwire import Engine, Host
from pipeline.amounts import amount
from pipeline.control import Done, Health, HealthQuery, Resolve, SetFault
from pipeline.deployment import Deployment
from pipeline.deployment_file import parse
from pipeline.messages import (
    AccountSnapshot,
    Answers,
    Event,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Refused,
    Synced,
)
from pipeline.vocabulary import OrderState, Side
from tests.faults.auditor import Auditor
from tests.wiring import skeleton

WITHIN_S = 5.0
TIMING = {
    "request_timeout_ms": 2_000,
    "call_lifetime_ms": 1_500,
    "query_every_ms": 20,
    "reconcile_every_ms": 60_000,
    "stuck_after_ms": 60_000,
    "trade_overlap_ms": 100,
}
BACKOFF = {"initial_ms": 5, "multiplier": 2.0, "max_ms": 40, "healthy_ms": 10_000}

_EXCHANGE = """
[exchanges.{name}]
venue = "{name}"
client = "simulated"

[[exchanges.{name}.instruments]]
name = "btc_usd"
symbol = "BTCUSD"
base = "btc"
quote = "usd"
price_step = "0.01"
quantity_step = "0.001"

[exchanges.{name}.simulation]
seed = 1
maker_fee = "0.001"
taker_fee = "0.001"
faults = [{faults}]
market = {{ model = "synthetic", step_ms = 60000, volatility = 0.0, trade_every_ms = 0 }}
"""


def deployment(
    folder: Path,
    *,
    faults: tuple[str, ...] = (),
    exchanges: tuple[str, ...] = ("alpha",),
    processes: str = 'all = ["*"]',
    backoff: dict[str, Any] | None = None,
    **timing: int,
) -> Deployment:
    """Simulated exchanges of one instrument each; `faults` are the file's, on the first exchange."""
    lines = ['name = "desk"', 'run_dir = "run"', 'state_dir = "state"', "testing = true"]
    lines += ["[edges]", "heartbeat_ms = 50", "[processes]", processes]
    for at, name in enumerate(exchanges):
        lines.append(_EXCHANGE.format(name=name, faults=", ".join(f'"{f}"' for f in faults if not at)))
        for table, values in (("timing", TIMING | timing), ("backoff", BACKOFF | (backoff or {}))):
            lines.append(f"[exchanges.{name}.{table}]")
            lines += [f"{key} = {value}" for key, value in values.items()]
    return parse("\n".join(lines), folder / "desk.toml", folder)


class Desk:
    """A trader's desk: an engine that reads everything, the operator's questions, and an auditor."""

    def __init__(self, host: Host, engine: Engine, questions: Questions) -> None:
        self.host = host
        self.deployment = host.deployment
        self.engine = engine
        self.questions = questions
        self.events: list[Any] = []
        self.auditor = Auditor(self.deployment)
        self.asked: set[Answers] = set()
        self._arrived = asyncio.Condition()

    async def read(self) -> None:
        async for event in self.engine:
            self.events.append(event)
            self.auditor.take(event)
            async with self._arrived:
                self._arrived.notify_all()

    # ------------------------------------------------------------------ asking

    def _ask(self, rid: int) -> Answers:
        answers = Answers(self.engine.name, self.engine._core.session, rid)
        self.asked.add(answers)
        return answers

    def open(
        self,
        side: str = "buy",
        quantity: str = "1",
        price: str | None = "90",
        exchange: str = "alpha",
        **more: Any,
    ) -> str:
        """Place an order that rests (or, at a price beyond 100, does not)."""
        cid = self.engine.open(exchange, "btc_usd", side=side, quantity=quantity, price=price, **more)
        self._ask(self.engine._core._rid)
        return cid

    def cancel(self, cid: str, exchange: str = "alpha") -> Answers:
        return self._ask(self.engine.cancel(cid, exchange))

    async def opened(self, *args: Any, **more: Any) -> str:
        """An order that the feed shows open, and that was answered."""
        cid = self.open(*args, **more)
        await self.until(lambda: self.answer(cid) is not None and self.state(cid) is OrderState.Open)
        return cid

    async def fault(self, name: str, *arguments: object, exchange: str = "alpha") -> None:
        body = SetFault(name, [str(each) for each in arguments])
        answer = await self.questions.ask(f"exchange.{exchange}", body, WITHIN_S)
        assert isinstance(answer, Done), answer

    async def resolve(self, cid: str, outcome: str, because: str = "the venue's desk said so") -> object:
        body = Resolve(cid=cid, outcome=outcome, by="tester", because=because)
        return await self.questions.ask("executor.alpha", body, WITHIN_S)

    async def health(self, actor: str) -> Health:
        answer = await self.questions.ask(actor, HealthQuery(), WITHIN_S)
        assert isinstance(answer, Health)
        return answer

    async def counted(self, actor: str, what: str) -> int:
        return (await self.health(actor)).counters.get(what, 0)

    async def fill(
        self, price: str, quantity: str, aggressor: Side = Side.SELL, exchange: str = "alpha"
    ) -> None:
        """A trade of the market, which fills our orders that rest at its price."""
        await self.at_exchange(
            lambda actor, now_ns: actor.matching.trade(
                "BTCUSD", amount(price), amount(quantity), aggressor, actor.gateway.clock(now_ns)
            ),
            exchange,
        )

    async def cancel_at_exchange(self, cid: str, exchange: str = "alpha") -> None:
        """Somebody cancels the order at the venue itself."""
        await self.at_exchange(
            lambda actor, now_ns: actor.matching.cancel("BTCUSD", cid, None, actor.gateway.clock(now_ns)),
            exchange,
        )

    async def at_exchange(self, do: Callable[[SimulatedExchange, int], Any], exchange: str = "alpha") -> None:
        """Something that happens at the exchange, in a turn of its own."""
        actor: Any = self.host.inner.station(f"exchange.{exchange}").actor

        def act(now_ns: int) -> None:
            do(actor, now_ns)
            actor._told(now_ns)

        actor.timers.at(0, act)
        await self.health(f"exchange.{exchange}")  # a turn, after which its timers are asked

    async def calls_over(self, exchange: str = "alpha") -> None:
        """Until no call of the executor is under way, in time or late."""
        async with asyncio.timeout(WITHIN_S):
            while (await self.health(f"executor.{exchange}")).gauges["in_flight"]:
                pass

    # ------------------------------------------------------------------ looking

    async def until(self, condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Wait for what the feed says. Fails with the feed's last words."""
        try:
            async with asyncio.timeout(within_s), self._arrived:
                await self._arrived.wait_for(condition)
        except TimeoutError:
            raise AssertionError("never seen; the feed's last words:\n" + self.told()) from None

    def told(self, last: int = 40) -> str:
        return "\n".join(f"{event.seq} {event}" for event in self.events[-last:])

    def of(self, cls: type[Event] | tuple[type[Event], ...], since: int = 0) -> list[Any]:
        return [event for event in self.events if isinstance(event, cls) and event.seq > since]

    @property
    def seq(self) -> int:
        return self.events[-1].seq if self.events else 0

    def words(self, cid: str, since: int = 0) -> list[Order]:
        """Everything that the feed said of an order."""
        found: list[Order] = []
        for event in self.of((OrderSnapshot, OrderCancelled, AccountSnapshot), since):
            orders = event.orders if isinstance(event, AccountSnapshot) else [event.order]
            found += [order for order in orders if order is not None and order.cid == cid]
        return found

    def states(self, cid: str) -> list[str]:
        """Its states, one after the other, each change once."""
        names = [order.state.name for order in self.words(cid)]
        return [name for at, name in enumerate(names) if not at or names[at - 1] != name]

    def state(self, cid: str) -> OrderState | None:
        words = self.words(cid)
        return words[-1].state if words else None

    def answer(self, asked: str | Answers) -> Any:
        """The event that answers a request, or an open by its cid; None while there is none."""
        for event in self.events:
            if event.answers is None:
                continue
            if isinstance(asked, Answers):
                if Answers(*event.answers) == asked:
                    return event
            elif isinstance(event, OrderSnapshot):
                if event.order.cid == asked:
                    return event
            elif isinstance(event, Refused) and event.cid == asked:
                return event
        return None

    async def answered(self, asked: str | Answers, within_s: float = WITHIN_S) -> Any:
        await self.until(lambda: self.answer(asked) is not None, within_s)
        return self.answer(asked)

    async def at_rest(self, within_s: float = WITHIN_S) -> None:
        """Until the three ledgers agree (P7); fails with where they do not."""
        faults: list[str] = []

        def agree() -> bool:
            faults[:] = self.auditor.faults(self.asked)
            return not faults

        try:
            async with asyncio.timeout(within_s):
                await skeleton.until(agree)
        except TimeoutError:
            raise AssertionError("\n".join([*faults, "the feed's last words:", self.told()])) from None
        assert not self.auditor.feed_faults(self.asked)


@asynccontextmanager
async def desk(here: Deployment, process: str | None = None, ready: bool = True) -> AsyncIterator[Desk]:
    """A running deployment with a desk at it."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(Host(here, process))
        engine = host.engine("mm", everything=True, resume_after=0)
        stack.callback(engine.close)
        questions = await stack.enter_async_context(Questions(here, host.inner.attach))
        found = Desk(host, engine, questions)
        reading = asyncio.create_task(found.read())
        stack.callback(reading.cancel)
        if ready:
            await engine.ready()
            await found.until(lambda: len(found.of(Synced)) >= len(here.exchanges))  # and read here
        yield found


def play(here: Deployment, story: Callable[[Desk], Coroutine[Any, Any, None]], ready: bool = True) -> None:
    """Run a story at a desk; at its end nothing may be wrong with the feed."""

    async def body() -> None:
        async with desk(here, ready=ready) as found:
            await story(found)
            assert not found.auditor.feed_faults(found.asked)

    skeleton.run(body, within_s=30)
