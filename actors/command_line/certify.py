"""`certify`: the conformance suite against a deployment's clients, as they would be made for its actors.

A simulated exchange is the running deployment's, or one of the same settings that is started for the purpose
in a temporary folder and thrown away. A live client trades on its account.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from actors.assembly import maker
from actors.clients import make_client
from actors.clients.conformance import Report
from actors.clients.conformance import certify as play
from actors.clients.conformance_terms import Terms, read_terms
from actors.clients.conformance_trader import Provoke
from actors.clients.conformance_words import NotSupported
from actors.command_line import terminal
from actors.command_line.exits import DONE, FAILED, complain
from actors.command_line.ordering import known_exchange
from actors.command_line.questions import NoAnswer, Questions
from pipeline.attachment import ClientLinks
from pipeline.client import ExecutionClient
from pipeline.clock import Clock
from pipeline.control import Done, Failed, Hello, SetFault
from pipeline.deployment import SIMULATED, ConfigError, Deployment, Exchange
from pipeline.host import Host
from pipeline.naming import printable
from pipeline.sockets import Sockets

RUNS_WITHIN_S: Final = 0.5
ANSWER_WITHIN_S: Final = 5.0
_MARKS: Final = {"passed": "passed", "failed": "FAILED", "not supported": "not supported"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to certify, as it was typed."""

    exchange: str | None
    instrument: str
    price: str | None
    quantity: str | None
    partial_quantity: str | None
    patience_s: float


def check(deployment: Deployment, wanted: Wanted) -> list[tuple[Exchange, Terms]]:
    """The exchanges and what may be traded there. Raises click.UsageError before anything is done."""
    chosen = deployment.exchanges
    if wanted.exchange is not None:
        chosen = (known_exchange(deployment, wanted.exchange),)
    elif wanted.instrument or wanted.price or wanted.quantity or wanted.partial_quantity:
        raise click.UsageError("name the EXCHANGE that the instrument, price and quantities are of")
    try:
        return [
            (
                exchange,
                read_terms(
                    exchange,
                    wanted.instrument,
                    wanted.price,
                    wanted.quantity,
                    wanted.partial_quantity,
                    wanted.patience_s,
                ),
            )
            for exchange in chosen
        ]
    except ConfigError as error:
        raise click.UsageError(printable(f"--{error}", 300)) from None


async def certify(deployment: Deployment, chosen: list[tuple[Exchange, Terms]], as_json: bool) -> int:
    """Play the suite; 1 when a row failed or something could not be cleared away."""
    good = True
    for exchange, terms in chosen:
        async with _made(deployment, exchange) as (make, provoke):
            report = await play(exchange, make, provoke, terms)
        _show(report, as_json)
        good = good and not report.failed and not report.left
    return DONE if good else FAILED


@asynccontextmanager
async def _made(
    deployment: Deployment, exchange: Exchange
) -> AsyncIterator[tuple[Callable[[], ExecutionClient], Provoke | None]]:
    """How the exchange's clients are made, and how its faults are switched on, if they can be."""
    if exchange.client != SIMULATED:
        with _Clients(deployment, exchange) as make:
            yield make, None
        return
    async with _running(deployment, exchange) as there, Questions(there) as questions:

        async def provoke(name: str, *arguments: str) -> None:
            try:
                body = SetFault(name, list(arguments))
                answer = await questions.ask(f"exchange.{exchange.name}", body, ANSWER_WITHIN_S)
            except NoAnswer as silence:
                raise NotSupported(str(silence)) from None
            if not isinstance(answer, Done):
                words = answer.detail if isinstance(answer, Failed) else type(answer).__name__
                raise NotSupported(f"exchange.{exchange.name}: {words}")

        with _Clients(there, exchange) as make:
            yield make, provoke


class _Clients:
    """Makes attached clients, each as its own actor would have it; closes what they left connected."""

    def __init__(self, deployment: Deployment, exchange: Exchange) -> None:
        self._deployment = deployment
        self._exchange = exchange
        self._sockets = Sockets(deployment.run_dir)
        self._links: list[ClientLinks] = []
        self._clock = Clock()

    def __enter__(self) -> Callable[[], ExecutionClient]:
        return self._make

    def __exit__(self, *_: object) -> None:
        for links in self._links:
            links.close()
        self._sockets.close()

    def _make(self) -> ExecutionClient:
        client = make_client(self._exchange)
        attach = getattr(client, "attach", None)
        if attach is not None:
            loop = asyncio.get_running_loop()
            name = f"certify-{len(self._links)}"
            links = ClientLinks(self._deployment, self._sockets, loop, None, name, self._clock)
            self._links.append(links)
            attach(links)
        return client


@asynccontextmanager
async def _running(deployment: Deployment, exchange: Exchange) -> AsyncIterator[Deployment]:
    """The deployment if its exchange answers, else one made of that exchange alone."""
    actor = f"exchange.{exchange.name}"
    async with Questions(deployment) as questions:
        try:
            await questions.ask(actor, Hello("certify"), RUNS_WITHIN_S)
        except NoAnswer:
            runs = False
        else:
            runs = True
    if runs:
        yield deployment
        return
    with tempfile.TemporaryDirectory(prefix="orderwire-") as folder:
        alone = replace(
            deployment,
            run_dir=Path(folder) / "run",
            state_dir=Path(folder) / "state",
            processes={"certify": (actor,)},
            durability="none",
        )
        async with Host(alone, "certify", maker(alone)):
            yield alone


def _show(report: Report, as_json: bool) -> None:
    for left in report.left:
        complain(f"{report.exchange}: {printable(left, 300)}")
    if as_json:
        for row in report.as_objects():
            terminal.line(json.dumps(row), flush=True)
        return
    rows = [
        (row.name, row.seed_row or "", _MARKS[row.outcome], printable(row.reason, 300)) for row in report.rows
    ]
    title = f"{report.client} on {report.exchange}"
    terminal.console().print(terminal.table(title, ("row", "SEED #", "outcome", "reason"), rows))
    passed = len(report.rows) - len(report.failed) - len(report.not_supported)
    terminal.line(f"{passed} passed, {len(report.failed)} failed, {len(report.not_supported)} not supported")
