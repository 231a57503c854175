"""Deployment files: TOML text in, one validated and immutable `Deployment` out, or one line saying why not.

Nothing here looks at the machine but to read the file: the same text makes the same deployment anywhere.
What only the actors know (which clients there are) comes in as a function.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from pipeline.deployment import ConfigError, Deployment, Durability, Edges
from pipeline.deployment_exchange import DAY_MS, CheckClient, read_exchange
from pipeline.deployment_table import Section, quoted
from pipeline.placement import placed
from pipeline.topology import ipc, links

FILE_SIZE_LIMIT: Final = 4 * 1024 * 1024
EXCHANGES_LIMIT: Final = 1_024

EDGES_RANGES: Final = {
    "requests_hwm": (1, 1_000_000),
    "events_hwm": (1, 1_000_000),
    "feed_hwm": (4, 1_000_000),  # a turn publishes at most a quarter of it
    "batch_limit": (1, 65_536),
    "heartbeat_ms": (1, 60_000),
    "feed_stale_ms": (1, 600_000),
    "resend_after_ms": (1, 600_000),
    "outbox_limit": (1, 10_000_000),
    "event_retention": (1, 1_000_000_000),
    "tombstone_limit": (1, 10_000_000),
    "stop_within_ms": (1, DAY_MS),
}


class FileEntry(Struct, frozen=True):
    name: str
    processes: dict[str, Any]
    exchanges: dict[str, Any]
    run_dir: str = ""
    state_dir: str = ""
    durability: Durability = "process"
    testing: bool = False
    edges: dict[str, Any] = {}


def load(path: str | Path, check_client: CheckClient | None = None) -> Deployment:
    """The deployment of a file. Raises ConfigError."""
    path = Path(path)
    return parse(_text(path), path, path.parent, check_client)


def parse(text: str, path: Path, base_dir: Path, check_client: CheckClient | None = None) -> Deployment:
    """The deployment of a text: `path` is what errors call it, `base_dir` where its directories begin.

    Raises ConfigError.
    """
    section = Section(str(path), "", _toml(text, path))
    entry = section.into(FileEntry)
    name = section.name("name", entry.name)
    if not 1 <= len(entry.exchanges) <= EXCHANGES_LIMIT:
        what = f"has {len(entry.exchanges)} exchanges"
        raise section.wrong("exchanges", what, f"write from 1 to {EXCHANGES_LIMIT} [exchanges.<name>] tables")
    tables = section.below("exchanges")
    exchanges = tuple(
        read_exchange(tables.below(exchange), index, exchange, check_client)
        for index, exchange in enumerate(tables.table)
    )
    run_dir, state_dir = _directories(section, entry, base_dir)
    deployment = Deployment(
        path=path,
        name=name,
        run_dir=run_dir,
        state_dir=state_dir,
        exchanges=exchanges,
        processes=placed(section.below("processes"), exchanges),
        durability=entry.durability,
        edges=_edges(section.below("edges")),
        testing=entry.testing,
        source=text,
    )
    _check_socket_paths(deployment)
    return deployment


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", "give the path of a deployment file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, f"cannot be read ({reason})", "give a readable deployment file") from None
    if len(content) > FILE_SIZE_LIMIT:
        raise _unreadable(path, f"is larger than {FILE_SIZE_LIMIT} bytes", "give a deployment file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 at byte {error.start + 1}"
        raise _unreadable(path, what, "save it as UTF-8 text") from None


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, f"is not TOML: {error}", "mend the syntax there") from None
    except ValueError:  # Python's own limit, which tomllib lets through
        raise _unreadable(
            path, "is not TOML: a number of thousands of digits", "write a shorter one"
        ) from None
    except RecursionError:
        raise _unreadable(path, "is not TOML: nested too deeply", "write flat tables") from None


def _unreadable(path: Path, what: str, right: str) -> ConfigError:
    return Section(str(path), "", {}).wrong("", what, right)


def _directories(section: Section, entry: FileEntry, base_dir: Path) -> tuple[Path, Path]:
    found = []
    for key, written in (("run_dir", entry.run_dir), ("state_dir", entry.state_dir)):
        if not written.isprintable():
            raise section.wrong(key, f"{quoted(written)} is no path", "use printable characters")
        # Made absolute here, so that the deployment means the same wherever a process of it starts.
        default = f"{key.removesuffix('_dir')}/{entry.name}"
        found.append(Path(os.path.abspath(base_dir / (written or default))))
    run_dir, state_dir = found
    if state_dir.is_relative_to(run_dir):
        # Systemd and people empty runtime directories; journals must outlive that.
        what = f"{state_dir} lies in run_dir, which may be emptied at any stop"
        raise section.wrong("state_dir", what, "keep journals apart from sockets")
    return run_dir, state_dir


def _edges(section: Section) -> Edges:
    edges = section.into(Edges)
    section.within(edges, EDGES_RANGES)
    if edges.feed_stale_ms < 2 * edges.heartbeat_ms:
        what = f"{edges.feed_stale_ms} is less than two heartbeats of {edges.heartbeat_ms} ms"
        raise section.wrong("feed_stale_ms", what, "raise it or lower heartbeat_ms")
    return edges


def _check_socket_paths(deployment: Deployment) -> None:
    for actor in deployment.actors:
        for link in links(deployment, actor):
            if link.bound:
                ipc(deployment, link.address)
