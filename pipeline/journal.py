"""An actor's rows in SQLite: one file, one commit per batch, queryable by a person while it runs.

Writes wait in memory, keyed, until `commit`: what is written twice in a batch is stored once. Reads see them.
Durability: "none" commits every 100 ms, "process" before anything leaves (WAL, NORMAL), "power" with FULL.
A table's first columns are its key; the rows of one whose key is not a single integer are stored by key.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.checkpoints import LOG_KEPT_BYTES, Checkpoints
from pipeline.deployment import ConfigError, Durability

SCHEMA_VERSION: Final = 1
NONE_COMMIT_NS: Final = 100_000_000
_SYNCHRONOUS: Final = {"none": "OFF", "process": "NORMAL", "power": "FULL"}
_META: Final = "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID"

Row = tuple[Any, ...]


class _Table:
    """The statements of one table, and the rows that wait to be written to it."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        self.keys = sum(1 for column in columns if column[5])
        names = ", ".join(column[1] for column in columns[: self.keys])
        slots = ", ".join("?" * self.keys)
        key, low = (names, slots) if self.keys == 1 else (f"({names})", f"({slots})")
        self.insert = f"INSERT OR REPLACE INTO {name} VALUES ({', '.join('?' * len(columns))})"
        self.select = f"SELECT * FROM {name} WHERE {key} = {low}"
        self.between = f"SELECT * FROM {name} WHERE {key} BETWEEN {low} AND {low} ORDER BY {names} LIMIT ?"
        self.delete = f"DELETE FROM {name} WHERE {key} BETWEEN {low} AND {low}"
        self.where = f"SELECT * FROM {name} WHERE "
        self.rows: dict[Any, Row] = {}
        self.deletes: list[Row] = []

    def arguments(self, *keys: Any) -> Row:
        return keys if self.keys == 1 else tuple(part for key in keys for part in key)


class SqliteJournal:
    """The Journal port of actor.py on one SQLite file.

    `tables` maps a table's name to its column definitions; a name of the form "index <name>" makes an
    index. `lines` is the deployment's table: a journal begun with other entries is refused. Raises
    ConfigError when the file cannot be used, sqlite3.Error when a commit fails.
    """

    def __init__(
        self,
        path: Path,
        tables: Mapping[str, str],
        durability: Durability,
        lines: Iterable[str] = (),
        now_ns: int = 1,
    ) -> None:
        self.path = path
        self._durability = durability
        self._dirty = False
        self._in_transaction = False
        self._committed_at_ns = 0
        self.commits = 0
        try:
            self._connection = _open(path)
            try:
                self._make(tables, tuple(lines), now_ns)
                self._tables = {name: _Table(self._connection, name) for name in tables if " " not in name}
                self.birth_id = int(self.meta("birth_id"))
                self.tail_lost = self._begin_life()
                self._connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigError(
                f"{path}: the journal cannot be used: {error}; restore it from a copy, or move it away "
                "to begin anew"
            ) from None
        self._tail_told = not self.tail_lost
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
        self._checkpoints = Checkpoints(path, _SYNCHRONOUS[durability])

    def put(self, table: str, row: Row) -> None:
        held = self._tables[table]
        held.rows[row[0] if held.keys == 1 else row[: held.keys]] = row
        self._dirty = True

    def get(self, table: str, key: Any) -> Row | None:
        held = self._tables[table]
        row = held.rows.get(key)
        if row is not None:
            return row
        if held.deletes:
            self._write()
        found: Row | None = self._connection.execute(held.select, held.arguments(key)).fetchone()
        return found

    def range(self, table: str, low: Any, high: Any, limit: int) -> list[Row]:
        """Rows with low <= key <= high, in the order of their keys."""
        self._write()
        held = self._tables[table]
        return self._connection.execute(held.between, (*held.arguments(low, high), limit)).fetchall()

    def find(self, table: str, condition: str, *values: Any) -> list[Row]:
        """Rows for which an SQL condition holds (make an index where they are few among many)."""
        self._write()
        return self._connection.execute(self._tables[table].where + condition, values).fetchall()

    def forget(self, table: str, low: Any, high: Any) -> None:
        held = self._tables[table]
        for key in [key for key in held.rows if low <= key <= high]:
            del held.rows[key]
        held.deletes.append(held.arguments(low, high))
        self._dirty = True

    def meta(self, key: str) -> Any:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def commit(self, now_ns: int = 0) -> None:
        """Make the batch safe. At "none" it waits until 100 ms have passed since the last. Raises
        sqlite3.Error.
        """
        if not self._dirty:
            return
        if self._durability == "none" and now_ns - self._committed_at_ns < NONE_COMMIT_NS:
            return
        self._commit()
        self._committed_at_ns = now_ns
        self.commits += 1
        if self._checkpoints.owed:
            self._fold()

    def commit_due_ns(self) -> int | None:
        """When a commit that "none" put off must be made."""
        return self._committed_at_ns + NONE_COMMIT_NS if self._dirty and self._durability == "none" else None

    def close(self) -> None:
        """Commit what waits, fold the log into the file, close. Raises sqlite3.Error."""
        self._checkpoints.close()
        if self._dirty:
            self._commit()
        self._set("ended", "cleanly")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def abandon(self) -> None:
        """Close without a commit: what waits is gone, as after a crash."""
        self._checkpoints.close()
        self._connection.close()

    def _begin_life(self) -> bool:
        """Whether the last life may have lost rows that it had let out; notes that a new one runs."""
        boot = _boot_id()
        # Found before by a life that ended before it had kept anything of what it did about it.
        lost = bool(self.meta("tail_lost"))
        if self.meta("ended") == "running":
            before = self.meta("durability")
            # A killed process loses nothing that SQLite has handed to the system; a power cut may.
            lost = lost or before == "none" or (before == "process" and self.meta("boot_id") != boot)
        # This note is synced at any durability: lost with the log, it would make the end before look clean.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("BEGIN IMMEDIATE")
        noted = {"ended": "running", "boot_id": boot, "durability": self._durability, "tail_lost": int(lost)}
        for key, value in noted.items():
            self._set(key, value)
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return lost

    def _fold(self) -> None:
        """Copy the last pages of the log, so that the next write begins it anew."""
        _, log, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._checkpoints.done(log, copied)

    def _commit(self) -> None:
        self._write()
        if not self._tail_told:
            self._set("tail_lost", 0)
        self._connection.execute("COMMIT")
        self._tail_told = True
        self._dirty = self._in_transaction = False

    def _write(self) -> None:
        if not self._dirty:
            return
        if not self._in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
            self._in_transaction = True
        for held in self._tables.values():
            if held.deletes:
                self._connection.executemany(held.delete, held.deletes)
                held.deletes.clear()
            if held.rows:
                self._connection.executemany(held.insert, held.rows.values())
                held.rows.clear()

    def _make(self, tables: Mapping[str, str], lines: tuple[str, ...], now_ns: int) -> None:
        begun = self._connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[
            0
        ]
        if begun:
            self._check_age()
            self._check_lines(lines)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(_META)
        for name, columns in tables.items():
            if " " in name:
                self._connection.execute(
                    f"CREATE {name.replace('index', 'INDEX IF NOT EXISTS')} ON {columns}"
                )
                continue
            stored = "" if "INTEGER PRIMARY KEY" in columns else " WITHOUT ROWID"
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}){stored}")
        if not begun:
            self._set("schema_version", SCHEMA_VERSION)
            self._set("birth_id", now_ns)
        self._set("table", "\n".join(lines))
        self._connection.execute("COMMIT")

    def _set(self, key: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _check_age(self) -> None:
        version = self.meta("schema_version")
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"{self.path}: the journal has schema version {version}, this orderwire reads "
                f"{SCHEMA_VERSION}; run the version that wrote it, or a newer one"
            )

    def _check_lines(self, lines: tuple[str, ...]) -> None:
        present = set(lines)
        for line in str(self.meta("table") or "").splitlines():
            if line not in present:
                raise ConfigError(
                    f"{self.path}: the journal was begun with the entry '{line}', which the deployment "
                    "file moved or changed; put it back where it was (new entries go at the end), or give "
                    "the deployment a new state_dir"
                )


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _open(path: Path) -> sqlite3.Connection:
    made = not path.exists()
    if made:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
