"""`orderwire check`: a deployment as it would run, without running it.

Everything is validated that `run` would validate, and shown: actors and where they are, every link and its
endpoint, what each exchange's client can do, how the journals are. Nothing is written.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from actors.clients import client_class, make_client
from actors.command_line import terminal
from actors.command_line.exits import DONE, FAILED, complain
from actors.exchange import settings
from pipeline.client import Capability
from pipeline.deployment import SIMULATED, ConfigError, Deployment, Exchange
from pipeline.journal import SCHEMA_VERSION
from pipeline.topology import bind_endpoints, connect_endpoint, links

JOURNALED: Final = ("merger", "executor", "exchange")


def check(deployment: Deployment) -> int:
    """Print the deployment. 1: a journal is damaged. Raises ConfigError."""
    for exchange in deployment.exchanges:
        check_exchange(deployment, exchange)
    journals = [journal_health(deployment, actor) for actor in deployment.actors if _is_journaled(actor)]
    _show(deployment, journals)
    damaged = [journal for journal in journals if journal.damage]
    for journal in damaged:
        complain(f"{journal.path}: {journal.damage}")
    if damaged:
        return FAILED
    terminal.line(f"{deployment.path}: {deployment.name} is good")
    return DONE


def check_exchange(deployment: Deployment, exchange: Exchange) -> None:
    """What needs the client's own word. Raises ConfigError."""
    client = client_class(exchange.client)
    if exchange.client == SIMULATED:
        settings.read(deployment, exchange)
    try:
        make_client(exchange)
    except ConfigError as error:
        raise ConfigError(f"{deployment.path}: {error}") from None
    places = [deployment.process_of[f"{role}.{exchange.name}"] for role in ("executor", "reconnector")]
    if Capability.SINGLE_SESSION in client.capabilities and places[0] != places[1]:
        raise ConfigError(
            f"{deployment.path}: processes: {exchange.client} has one session for calls and account stream, "
            f"but executor.{exchange.name} is in {places[0]} and reconnector.{exchange.name} in {places[1]}; "
            "place both in one process"
        )


# ---------------------------------------------------------------------------------------------- journals


@dataclass
class JournalHealth:
    """What one journal file is like. `damage` "" when it is good (or not there yet)."""

    actor: str
    path: Path
    present: bool = False
    size: int = 0
    ended: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    damage: str = ""


def _is_journaled(actor: str) -> bool:
    return actor.partition(".")[0] in JOURNALED


def journal_health(deployment: Deployment, actor: str) -> JournalHealth:
    """Raises ConfigError when the journal does not belong to this deployment file or this version."""
    health = JournalHealth(actor, deployment.state_dir / f"{actor}.db")
    if not health.path.exists():
        return health
    health.present = True
    health.size = sum(part.stat().st_size for part in _parts(health.path))
    try:
        connection = sqlite3.connect(f"file:{quote(str(health.path))}?mode=ro", uri=True)
        try:
            _examine(connection, deployment, health)
        finally:
            connection.close()
    except sqlite3.Error as error:
        health.damage = (
            f"the journal cannot be read: {error}; restore it from a copy, or move it away to begin anew"
        )
    return health


def _parts(path: Path) -> Iterator[Path]:
    for part in (path, path.with_name(f"{path.name}-wal")):
        if part.exists():
            yield part


def _examine(connection: sqlite3.Connection, deployment: Deployment, health: JournalHealth) -> None:
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    version = meta.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{health.path}: the journal has schema version {version}, this orderwire reads "
            f"{SCHEMA_VERSION}; run the version that wrote it, or a newer one"
        )
    for entry in str(meta.get("table") or "").splitlines():
        if entry not in deployment.table:
            raise ConfigError(
                f"{deployment.path}: the journal {health.path} was begun with the entry '{entry}', "
                "which was moved or changed; put it back where it was (new entries go at the end), "
                "or give a new state_dir"
            )
    health.ended = str(meta.get("ended", ""))
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        health.damage = (
            f"the journal is damaged: {found}; restore it from a copy, or move it away to begin anew"
        )
        return
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'meta' AND name NOT LIKE 'sqlite_%'"
    )
    for (table,) in tables.fetchall():
        health.counts[table] = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]


# ------------------------------------------------------------------------------------------------- tables


def _show(deployment: Deployment, journals: list[JournalHealth]) -> None:
    console = terminal.console()
    terminal.line(
        f"{deployment.name}: run_dir {deployment.run_dir}, state_dir {deployment.state_dir}, "
        f"durability {deployment.durability}"
    )
    places = [(process, ", ".join(actors)) for process, actors in deployment.processes.items()]
    exchanges = [_exchange_row(deployment, exchange) for exchange in deployment.exchanges]
    columns = ("exchange", "venue", "client", "capabilities", "executor", "reconnector", "instruments")
    terminal.flush()
    console.print(terminal.table("processes", ("process", "actors, in start order"), places))
    console.print(terminal.table("exchanges", columns, exchanges))
    link_columns = ("actor", "link", "pattern", "end", "with", "endpoint")
    console.print(terminal.table("links", link_columns, _link_rows(deployment)))
    journal_columns = ("journal", "state", "size #", "last life", "rows")
    console.print(terminal.table("journals", journal_columns, map(_journal_row, journals)))


def _exchange_row(deployment: Deployment, exchange: Exchange) -> tuple[str, ...]:
    can = sorted(capability.value for capability in client_class(exchange.client).capabilities)
    return (
        exchange.name,
        exchange.venue,
        exchange.client,
        ", ".join(can) or "-",
        deployment.process_of[f"executor.{exchange.name}"],
        deployment.process_of[f"reconnector.{exchange.name}"],
        ", ".join(instrument.name for instrument in exchange.instruments),
    )


def _link_rows(deployment: Deployment) -> Iterator[tuple[str, ...]]:
    for actor in (*deployment.actors, "engine"):
        process = deployment.process_of.get(actor)
        for link in links(deployment, actor):
            if link.bound:
                ends = bind_endpoints(deployment, link)
                yield actor, link.name, link.pattern, "binds", "", ", ".join(ends)
            else:
                end = connect_endpoint(deployment, link, process)
                yield actor, link.name, link.pattern, "connects", link.binder, end
        kind, _, exchange = actor.partition(".")
        if kind in ("executor", "reconnector") and deployment.exchange(exchange).client == SIMULATED:
            yield actor, "(client)", "dealer", "connects", f"exchange.{exchange}", "its calls"


def _journal_row(journal: JournalHealth) -> tuple[str, ...]:
    if not journal.present:
        return journal.path.name, "not there yet", "", "", ""
    rows = ", ".join(f"{table} {count}" for table, count in journal.counts.items())
    state = "damaged" if journal.damage else "good"
    return journal.path.name, state, f"{journal.size:,}", journal.ended, rows
