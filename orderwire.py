"""orderwire's public face: load a deployment, run its actors, trade through an engine.

async with Engine(load("config/split.toml"), name="mm-1") as engine:
    cid = engine.open("binance_spot", "btc_usdt", side="buy", quantity="0.010", price="50000")
"""

from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.assembly import maker
from actors.clients import client_class
from pipeline import deployment_file
from pipeline.deployment import ConfigError, Deployment
from pipeline.engine import Backpressure, Engine, EngineError, FeedLost, InvalidRequest
from pipeline.host import ActorFailed
from pipeline.host import Host as ProcessHost
from pipeline.messages import (
    AccountSnapshot,
    BalanceSnapshot,
    CancelAllDone,
    Event,
    FeedReset,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Refused,
    Stuck,
    Subscribed,
    Synced,
    Trade,
    TradeVoided,
)
from pipeline.topology import links
from pipeline.vocabulary import Error, Evidence, OrderState, Refusal, Side

__all__ = [
    "AccountSnapshot",
    "ActorFailed",
    "Backpressure",
    "BalanceSnapshot",
    "CancelAllDone",
    "ConfigError",
    "Deployment",
    "Engine",
    "EngineError",
    "Error",
    "Event",
    "Evidence",
    "FeedLost",
    "FeedReset",
    "Host",
    "InvalidRequest",
    "Order",
    "OrderCancelled",
    "OrderSnapshot",
    "OrderState",
    "Reconnecting",
    "Refusal",
    "Refused",
    "Side",
    "Stuck",
    "Subscribed",
    "Synced",
    "Trade",
    "TradeVoided",
    "load",
]


def load(path: str | PathLike[str]) -> Deployment:
    """Read and validate a deployment file. Raises ConfigError, one line: file, key, what is wrong, what
    would be right.
    """
    return deployment_file.load(Path(path), client_class)


class Host:
    """The actors of one process of a deployment, and engines beside them over inproc.

    `process` may be left out when the deployment has only one. Raises ConfigError when it cannot run.
    """

    def __init__(self, deployment: Deployment, process: str | None = None) -> None:
        if process is None:
            if len(deployment.processes) != 1:
                named = ", ".join(deployment.processes)
                raise ConfigError(f"{deployment.path}: processes: there are several; name one of {named}")
            process = next(iter(deployment.processes))
        elif process not in deployment.processes:
            named = ", ".join(deployment.processes)
            raise ConfigError(f"{deployment.path}: processes: there is no {process!r}; name one of {named}")
        self.deployment = deployment
        self.inner = ProcessHost(deployment, process, maker(deployment))

    async def __aenter__(self) -> Self:
        await self.inner.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.inner.stop()

    async def wait(self) -> None:
        """Until it is stopped. Raises ActorFailed when an actor ended it."""
        await self.inner.wait()

    def engine(
        self,
        name: str,
        *,
        everything: bool = False,
        resume_after: int | tuple[int, int] | None = None,
        state: str | PathLike[str] | None = None,
    ) -> Engine:
        """An engine in this process, reading already; `await engine.ready()` before the first open."""
        engine = Engine(
            self.deployment,
            name,
            everything=everything,
            resume_after=resume_after,
            state=state,
            attach=lambda of, on_frame, on_drained: self.inner.attach(
                of, links(self.deployment, "engine"), on_frame, on_drained
            ),
            clock=self.inner.clock,
        )
        engine.connect()
        return engine
