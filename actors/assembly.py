"""Makes the actors of a process: each with its journal and its client, as its host wants them.

The one place that knows which role is which class.
"""

from collections.abc import Callable, Mapping

from actors import executor, merger
from actors.clients import make_client
from actors.exchange import ledger
from actors.exchange.actor import SimulatedExchange
from actors.executor import Executor
from actors.merger import Merger
from actors.reconnector import Reconnector
from actors.router import Router
from pipeline.actor import Actor
from pipeline.clock import Clock
from pipeline.deployment import Deployment
from pipeline.host import Made
from pipeline.journal import SqliteJournal
from pipeline.journal_reader import JournalReader
from pipeline.topology import role
from pipeline.vocabulary import Role


def maker(deployment: Deployment) -> Callable[[str], Made]:
    """`make_actor` for a Host of this deployment."""
    return lambda name: _make(deployment, name)


def _make(deployment: Deployment, name: str) -> Made:
    kind, exchange_name = role(name)
    if kind is Role.ROUTER:
        return Router(name, deployment), None, None
    if kind is Role.MERGER:
        journal = _journal(deployment, name, merger.TABLES)
        return Merger(name, deployment, journal), journal, JournalReader(journal.path)
    if kind is Role.EXCHANGE:
        journal = _journal(deployment, name, ledger.TABLES)
        made: Actor = SimulatedExchange(name, deployment, journal)
        return made, journal, None
    client = make_client(deployment.exchange(exchange_name))
    if kind is Role.RECONNECTOR:
        return Reconnector(name, deployment, client.capabilities), None, client
    journal = _journal(deployment, name, executor.TABLES)
    made = Executor(name, deployment, journal, client.capabilities, client.request_validity_ms)
    return made, journal, client


def _journal(deployment: Deployment, name: str, tables: Mapping[str, str]) -> SqliteJournal:
    path = deployment.state_dir / f"{name}.db"
    return SqliteJournal(path, tables, deployment.durability, deployment.table, Clock().now_ns())
