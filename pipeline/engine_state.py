"""What an engine keeps in a file of its own, so that a killed strategy goes on where it was.

Its session and how far it has counted, the requests that are not answered, and how far the feed was handled.
A request is committed before it is sent; the cursor, and that requests were answered, when the strategy asks
for what comes next. So whatever it is killed at, no request is forgotten and no number is used twice.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.deployment import ConfigError, Deployment, Durability
from pipeline.journal import SqliteJournal

TABLES: Final = {
    "engine": "name TEXT PRIMARY KEY, session INTEGER, rid INTEGER, feed_id INTEGER, seq INTEGER",
    "requests": "rid INTEGER PRIMARY KEY, exchange INTEGER, kind INTEGER, expires_at_ns INTEGER, body BLOB",
}


class Kept(NamedTuple):
    """A request without its answer."""

    rid: int
    exchange: int
    kind: int
    expires_at_ns: int
    body: bytes


class StateError(Exception):
    """The file cannot be written."""


class EngineState:
    """One engine's file. Raises ConfigError when it is another's, in use, or cannot be read."""

    def __init__(self, path: Path, deployment: Deployment, name: str, now_ns: int) -> None:
        self.path = path
        self.name = name
        self._lock = _locked(path.with_name(path.name + ".lock"), name)
        try:
            durability: Durability = "power" if deployment.durability == "power" else "process"
            self._journal = SqliteJournal(path, TABLES, durability, deployment.table, now_ns)
            try:
                self._take_up(now_ns)
            except BaseException:
                self._journal.abandon()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def _take_up(self, now_ns: int) -> None:
        rows = self._journal.find("engine", "1")
        if rows and rows[0][0] != self.name:
            raise ConfigError(
                f"{self.path}: the state of the engine {rows[0][0]!r}, not of {self.name!r}: give each "
                "engine a file of its own"
            )
        _, self.session, self.rid, feed_id, seq = rows[0] if rows else (self.name, now_ns, 0, 0, 0)
        self.cursor: tuple[int, int] | None = (feed_id, seq) if feed_id else None
        if self._journal.tail_lost:
            # After a power cut it may have counted further than the file says: it counts anew.
            self.session, self.rid = max(now_ns, self.session + 1), 0
            self._journal.forget("requests", 0, 2**62)
        self.unhandled = {kept.rid for kept in self.outstanding()}
        self._save()
        self._commit()

    def outstanding(self) -> Iterator[Kept]:
        """The requests of this session that were not answered as far as the feed was handled."""
        return (Kept(*row) for row in self._journal.range("requests", 0, 2**62, 2**31))

    def sending(self, request: Kept) -> None:
        """Keep a request that is about to be sent. Raises StateError: it must not be sent then."""
        self.rid = request.rid
        self.unhandled.add(request.rid)
        self._journal.put("requests", tuple(request))
        self._save()
        self._commit()

    def not_sent(self, rid: int) -> None:
        """It was not sent after all, and its number is free again (the next commit says so)."""
        self.rid = rid - 1
        self.unhandled.discard(rid)
        self._journal.forget("requests", rid, rid)
        self._save()

    def handled(self, cursor: tuple[int, int] | None, answered: Iterable[int]) -> None:
        """The strategy has handled the feed up to here, and the answers of these requests."""
        for rid in answered:
            self._journal.forget("requests", rid, rid)
            self.unhandled.discard(rid)
        if cursor is not None:
            self.cursor = cursor
        self._save()
        self._commit()

    def close(self) -> None:
        """Let go of the file; safe to repeat."""
        if self._lock < 0:
            return
        try:
            self._journal.close()
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: {error}") from None
        finally:
            os.close(self._lock)
            self._lock = -1

    @property
    def closed(self) -> bool:
        return self._lock < 0

    def _save(self) -> None:
        self._journal.put("engine", (self.name, self.session, self.rid, *(self.cursor or (0, 0))))

    def _commit(self) -> None:
        try:
            self._journal.commit()
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: {error}") from None


def _locked(path: Path, name: str) -> int:
    """The descriptor that holds the lock; it ends with the process. Raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the engine's state cannot be kept there: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(
            f"{path}: the engine {name} is already running with this state; stop it first"
        ) from None
    return descriptor
