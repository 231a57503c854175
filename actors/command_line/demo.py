"""`orderwire demo`: ten seconds of trading on two simulated exchanges, held against their own ledgers.

Everything runs in this process and in a directory that is gone at the end. On the way one exchange
drops its account stream, the other loses a request and accepts orders without answering. At the end every
order, trade and balance on the feed must equal the exchanges' own, or the exit code is 1.
"""

import asyncio
import importlib.resources
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import uvloop

from actors.assembly import maker
from actors.clients import client_class
from actors.command_line import demo_report, recordings
from actors.command_line.audit import FeedRecord
from actors.command_line.demo_view import view
from actors.command_line.exits import DONE, FAILED, INTERRUPTED, WorkFailed, complain
from actors.command_line.market_maker import Market, MarketMaker
from actors.command_line.questions import NoAnswer, Questions
from actors.command_line.readiness import not_ready
from actors.command_line.tally import Tally
from pipeline import deployment_file
from pipeline.amounts import amount
from pipeline.control import Done, SetFault
from pipeline.deployment import Deployment
from pipeline.engine import Engine, EngineError
from pipeline.host import ActorFailed, Host
from pipeline.messages import Event
from pipeline.topology import links

TURN_S: Final = 0.005
READY_WITHIN_S: Final = 10.0
QUIET_WITHIN_S: Final = 20.0
QUIET_FOR_S: Final = 0.3
BURST_LIMIT: Final = 200  # requests made up for in one turn
PATH_LIMIT: Final = 48  # of the directory: sockets stand in it, and their paths are short
# When (as a part of the time) which exchange (by its place in the file) gets which fault.
FAULTS: Final = (
    (0.3, 0, ("disconnect",)),
    (0.35, 1, ("drop_before_accept", "1", "open")),
    (0.45, 1, ("accept_then_no_reply", "3", "open")),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    seconds: float = 10.0
    rate: float = 200.0
    seed: int = 1
    files: tuple[Path, ...] = ()


def demo(plan: Plan) -> int:
    """Run the demo. Raises click.UsageError, ConfigError, WorkFailed."""
    with directory() as folder:
        deployment, prices = embedded(Path(folder), plan)
        try:
            run = uvloop.run(trade(deployment, prices, plan))
        except (ActorFailed, EngineError, NoAnswer) as error:
            raise WorkFailed(str(error)) from error
        except asyncio.CancelledError:  # SIGTERM: everything was stopped in order
            return INTERRUPTED
        discrepancies = demo_report.audit(deployment, run.record)
        demo_report.show(deployment, run.record, run.tally, discrepancies)
    for problem in (*run.problems, *run.record.problems, *map(str, discrepancies)):
        complain(problem)
    return FAILED if run.problems or run.record.problem_count or discrepancies else DONE


def directory() -> "tempfile.TemporaryDirectory[str]":
    """A new directory of our own, on a path short enough for sockets."""
    parent = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(
        prefix="orderwire-", dir=parent if len(parent) < PATH_LIMIT else "/tmp", ignore_cleanup_errors=True
    )


def embedded(folder: Path, plan: Plan) -> tuple[Deployment, dict[Market, Decimal]]:
    """The embedded deployment in that folder with the plan's seed and recordings; where its prices begin."""
    text = importlib.resources.files("actors.command_line").joinpath("embedded.toml").read_text()
    deployment = deployment_file.parse(text, folder / "demo.toml", folder, client_class)
    found = recordings.find(deployment, plan.files)
    exchanges = []
    prices: dict[Market, Decimal] = {}
    for exchange in deployment.exchanges:
        simulation: dict[str, Any] = {**exchange.simulation, "seed": plan.seed * 1_000 + exchange.index}
        recorded = {each.instrument: each for each in found if each.exchange == exchange.name}
        if recorded:
            files = {name: str(each.path) for name, each in recorded.items()}
            simulation["market"] = {"model": "recordings", "files": files}
            began: Mapping[str, Decimal] = {name: each.price for name, each in recorded.items()}
        else:
            began = {name: amount(price) for name, price in simulation["market"]["prices"].items()}
        prices |= {(exchange.name, name): price for name, price in began.items()}
        exchanges.append(replace(exchange, simulation=simulation))
    return replace(deployment, exchanges=tuple(exchanges)), prices


class Run:
    """One run: the engine, what it recorded, what it counted, what went wrong."""

    def __init__(self, deployment: Deployment, host: Host, engine: Engine) -> None:
        self.deployment = deployment
        self.host = host
        self.engine = engine
        self.record = FeedRecord(deployment)
        self.tally = Tally()
        self.problems: list[str] = []
        self.maker: MarketMaker

    def open(self, exchange: str, instrument: str, **terms: Any) -> str:
        """The engine's, counted."""
        cid = self.engine.open(exchange, instrument, **terms)
        self.tally.sent(cid, self.host.clock.now_ns())
        return cid

    def cancel(self, cid: str, exchange: str | None = None) -> int:
        return self.engine.cancel(cid, exchange)

    async def read(self) -> None:
        """Take every event of the feed, as long as it runs."""
        async for event in self.engine:
            self._take(event)
            for waiting in self.engine.poll():
                self._take(waiting)

    def _take(self, event: Event) -> None:
        self.record.take(event)
        self.tally.on_event(event, self.host.clock.now_ns())
        self.maker.on_event(event)


async def trade(deployment: Deployment, prices: Mapping[Market, Decimal], plan: Plan) -> Run:
    """Start everything, trade, come to rest, stop everything."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Host(deployment, next(iter(deployment.processes)), maker(deployment), seed=plan.seed) as host:
        engine = Engine(
            deployment,
            "demo",
            everything=True,
            resume_after=0,
            attach=lambda name, on_frame, on_drained: host.attach(
                name, links(deployment, "engine"), on_frame, on_drained
            ),
            clock=host.clock,
        )
        run = Run(deployment, host, engine)
        run.maker = MarketMaker(deployment, run, prices, plan.seed)
        async with engine, Questions(deployment, host.attach) as questions:
            await _until_ready(deployment, questions, engine)
            reading = asyncio.ensure_future(run.read())
            try:
                await _quote(run, questions, plan)
                await _come_to_rest(run)
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
    return run


async def _until_ready(deployment: Deployment, questions: Questions, engine: Engine) -> None:
    await engine.ready(within_s=READY_WITHIN_S)
    waiting = deployment.actors
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while waiting := await not_ready(questions, waiting):
                await asyncio.sleep(TURN_S)
    except TimeoutError:
        raise WorkFailed(f"not ready within {READY_WITHIN_S:g} s: {', '.join(waiting)}") from None


async def _quote(run: Run, questions: Questions, plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    began_s, made, faults = loop.time(), 0, list(FAULTS)
    flips: list[asyncio.Task[None]] = []
    with view() as shown:
        while (elapsed_s := loop.time() - began_s) < plan.seconds:
            due = min(int(elapsed_s * plan.rate) - made, BURST_LIMIT)
            for _ in range(due):
                run.maker.act()
            made += max(due, 0)
            while faults and elapsed_s >= faults[0][0] * plan.seconds:
                _, index, words = faults.pop(0)
                flips.append(asyncio.ensure_future(_flip(run, questions, index, words, elapsed_s)))
            shown.show(run.tally, elapsed_s)
            await asyncio.sleep(TURN_S)
        shown.show(run.tally, loop.time() - began_s)
    await asyncio.gather(*flips)


async def _flip(run: Run, questions: Questions, index: int, words: tuple[str, ...], at_s: float) -> None:
    exchange = run.deployment.exchanges[index]
    answer = await questions.ask(f"exchange.{exchange.name}", SetFault(words[0], list(words[1:])), 2.0)
    run.tally.faults.append(f"{' '.join(words)} on {exchange.name} at {at_s:.1f} s")
    if not isinstance(answer, Done):
        run.problems.append(f"{exchange.name} did not take the fault {' '.join(words)}")


async def _come_to_rest(run: Run) -> None:
    """Cancel everything; wait until every request is answered, every order finished, the feed quiet."""
    engine, loop = run.engine, asyncio.get_running_loop()
    for exchange in run.deployment.exchanges:
        engine.cancel_all(exchange.name)
    quiet_since_s, seq = loop.time(), run.record.seq
    give_up_at_s = loop.time() + QUIET_WITHIN_S
    while loop.time() - quiet_since_s < QUIET_FOR_S:
        await asyncio.sleep(TURN_S)
        if engine.outstanding or engine.orders or run.record.seq != seq:
            quiet_since_s, seq = loop.time(), run.record.seq
        if loop.time() > give_up_at_s:
            run.problems.append(
                f"not at rest {QUIET_WITHIN_S:g} s after the last request: {engine.outstanding} requests are "
                f"not answered, {len(engine.orders)} orders not finished"
            )
            return
