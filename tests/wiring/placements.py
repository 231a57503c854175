"""One deployment in each placement, with real sockets and simulated exchanges whose market stands still.

`inproc`: all actors and engines on one loop; `ipc`: the same over Unix sockets; `processes`: each exchange,
its executor with its reconnector, and router with merger in processes of their own. No test knows which.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.command_line.questions import Questions
from orderwire import Engine, Host, load
from pipeline.control import Done, SetFault
from pipeline.deployment import Deployment
from pipeline.messages import Refused

ROOT = Path(__file__).resolve().parents[2]
PLACEMENTS = ("inproc", "ipc", "processes")
WITHIN_S = 20.0
_PROCESSES = {
    "inproc": 'all = ["*"]',
    "ipc": 'all = ["*"]',
    "processes": """
front = ["router", "merger"]
alpha = ["executor.alpha", "reconnector.alpha"]
beta = ["executor.beta", "reconnector.beta"]
alpha_venue = ["exchange.alpha"]
beta_venue = ["exchange.beta"]
""",
}
_EXCHANGE = """
[exchanges.{name}]
venue = "{name}"
client = "simulated"

[exchanges.{name}.timing]
request_timeout_ms = {timeout_ms}

[exchanges.{name}.backoff]
initial_ms = 20
max_ms = 100

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
taker_fee = "0.002"

[exchanges.{name}.simulation.market]
model = "synthetic"
step_ms = 60000
volatility = 0.0
trade_every_ms = 0
level_notional = "100000"
prices = {{ btc_usd = "1000" }}
"""


def text(placement: str, folder: Path, timeout_ms: int = 1_000, edges: str = "") -> str:
    transport = "auto" if placement == "inproc" else "ipc"
    lines = [
        'name = "floor"',
        f'run_dir = "{folder}/run"',
        f'state_dir = "{folder}/state"',
        "testing = true",
        f"[processes]\n{_PROCESSES[placement]}",
        f'[edges]\ntransport = "{transport}"\n{edges}',
        *(_EXCHANGE.format(name=name, timeout_ms=timeout_ms) for name in ("alpha", "beta")),
    ]
    return "\n".join(lines)


class Running:
    """A deployment that runs: engines to trade with, faults to flip."""

    def __init__(self, deployment: Deployment, host: Host | None, questions: Questions) -> None:
        self.deployment = deployment
        self.questions = questions
        self._host = host
        self._engines: list[Engine] = []

    async def trader(self, name: str, **more: Any) -> "Trader":
        if self._host is None:
            engine = Engine(self.deployment, name, **more)
            await engine.start()
        else:
            engine = self._host.engine(name, **more)
        self._engines.append(engine)
        await engine.ready(within_s=WITHIN_S)
        return Trader(engine)

    async def warm_up(self) -> None:
        """Until each exchange answers: a process that began before another connects only after a while."""
        trader = await self.trader("warm-up")
        for exchange in self.deployment.exchanges:
            answered = False
            while not answered:
                rid = trader.engine.cancel("nobody-s", exchange.name)
                await trader.settled()
                (answer,) = (e for e in trader.events if e.answers is not None and e.answers.rid == rid)
                answered = not isinstance(answer, Refused)
        trader.engine.close()

    async def fault(self, exchange: str, name: str, *arguments: str) -> None:
        answer = await self.questions.ask(f"exchange.{exchange}", SetFault(name, list(arguments)), WITHIN_S)
        assert isinstance(answer, Done), answer

    def close(self) -> None:
        for engine in self._engines:
            engine.close()


class Trader:
    """An engine and every event that it was given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[Any] = []
        self._opened: dict[str, str] = {}

    def open(self, exchange: str = "alpha", **terms: Any) -> str:
        terms = {"side": "buy", "quantity": "0.1", "price": "900"} | terms
        if terms["price"] is None:
            del terms["price"]
        cid = self.engine.open(exchange, "btc_usd", **terms)
        self._opened[cid] = exchange
        return cid

    def cancel(self, cid: str) -> int:
        return self.engine.cancel(cid, self._opened[cid])

    async def until(self, done: Callable[[], Any], what: str) -> Any:
        """Read the feed until something holds, and return it. Fails by name when it does not come to that."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not (found := done()):
                    self.events.append(await anext(self.engine))
        except TimeoutError:
            said = [type(event).__name__ for event in self.events]
            raise AssertionError(f"{what} did not come; what came: {said}") from None
        return found

    async def settled(self) -> None:
        """Every request of this engine is answered."""
        await self.until(lambda: not self.engine.outstanding, "an answer to each request")
        self.events += (
            self.engine.poll()
        )  # what the engine knows already, its strategy may still have to read

    async def state(self, cid: str, *names: str) -> None:
        await self.until(lambda: self.states(cid)[-1:] in [[name] for name in names], f"{cid} {names}")

    def said_of(self, cid: str) -> list[Any]:
        """The orders that its events tell of."""
        orders = [getattr(event, "order", None) for event in self.events]
        return [order for order in orders if order is not None and order.cid == cid]

    def states(self, cid: str) -> list[str]:
        """How the order went, without repeats."""
        found: list[str] = []
        for order in self.said_of(cid):
            if found[-1:] != [order.state.name]:
                found.append(order.state.name)
        return found

    def of(self, cls: type, **fields: Any) -> list[Any]:
        """Events of a class whose fields are these."""
        found = [event for event in self.events if isinstance(event, cls)]
        return [e for e in found if all(getattr(e, name) == value for name, value in fields.items())]


@asynccontextmanager
async def running(placement: str, **terms: Any) -> AsyncIterator[Running]:
    """The deployment, up and gone again with all that it left."""
    folder = Path(tempfile.mkdtemp(prefix="ow"))
    path = folder / "floor.toml"
    path.write_text(text(placement, folder, **terms))
    deployment = load(path)
    try:
        if placement == "processes":
            async with _processes(deployment), Questions(deployment) as questions:
                run = Running(deployment, None, questions)
                await run.warm_up()
                yield run
                run.close()
        else:
            async with Host(deployment) as host, Questions(deployment) as questions:
                run = Running(deployment, host, questions)
                await run.warm_up()
                yield run
                run.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _processes(deployment: Deployment) -> AsyncIterator[None]:
    """Each process of the deployment as the command line runs it, ready; ended by a signal to its own pid."""
    started: list[asyncio.subprocess.Process] = []
    try:
        for name in deployment.processes:
            started.append(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "actors.command_line", "run", str(deployment.path), name),
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=subprocess.PIPE,
                )
            )
        for process in started:
            async with asyncio.timeout(WITHIN_S):
                assert process.stdout is not None
                while b"ready" not in (line := await process.stdout.readline()):
                    assert line, "a process ended before it was ready"
        yield
    finally:
        for process in started:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                async with asyncio.timeout(WITHIN_S):
                    assert await process.wait() == 0
            except TimeoutError:
                process.kill()
                await process.wait()
                raise
