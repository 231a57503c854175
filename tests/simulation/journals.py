"""A journal that a simulated crash treats as a crash does SQLite: what was committed stays, the rest is gone.

The rows are in SQLite's memory, on a `Disk` that outlives the actor. `faults` makes the next commits fail,
before or after they took effect, as a full disk and an unheeded one do. test_journals.py holds it against
SqliteJournal.
"""

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]


class Disk:
    """One actor's file."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self.birth_id = 0

    def save(self, path: Path) -> None:
        """Write what is committed where an auditor can open it."""
        path.unlink(missing_ok=True)
        self.connection.execute("VACUUM INTO ?", (str(path),))


class SimJournal:
    """The Journal port of actor.py, and what a host does with it. `step` is told of every operation."""

    def __init__(
        self,
        disk: Disk,
        tables: Mapping[str, str],
        now_ns: int,
        faults: list[str] | None = None,
        step: Callable[[], None] = lambda: None,
    ) -> None:
        self.disk = disk
        self.tail_lost = False
        self._connection = disk.connection
        self._faults = [] if faults is None else faults
        self._step = step
        self._keys: dict[str, list[str]] = {}
        self._statements: dict[str, tuple[str, str, str, str]] = {}
        if not disk.birth_id:
            disk.birth_id = now_ns
            self._make(tables)
        self.birth_id = disk.birth_id
        for name in tables:
            if " " not in name:
                self._prepare(name)

    def _make(self, tables: Mapping[str, str]) -> None:
        for name, columns in tables.items():
            if " " in name:
                self._connection.execute(f"CREATE {name} ON {columns}")
            else:
                stored = "" if "INTEGER PRIMARY KEY" in columns else " WITHOUT ROWID"
                self._connection.execute(f"CREATE TABLE {name} ({columns}){stored}")

    def _prepare(self, name: str) -> None:
        columns = self._connection.execute(f"PRAGMA table_info({name})").fetchall()
        keys = [column[1] for column in columns if column[5]]
        self._keys[name] = keys
        names, slots = ", ".join(keys), ", ".join("?" * len(keys))
        self._statements[name] = (
            f"INSERT OR REPLACE INTO {name} VALUES ({', '.join('?' * len(columns))})",
            f"SELECT * FROM {name} WHERE ({names}) = ({slots})",
            f"SELECT * FROM {name} WHERE ({names}) BETWEEN ({slots}) AND ({slots}) ORDER BY {names} LIMIT ?",
            f"DELETE FROM {name} WHERE ({names}) BETWEEN ({slots}) AND ({slots})",
        )

    def _arguments(self, table: str, *keys: Any) -> Row:
        if len(self._keys[table]) == 1:
            return keys
        return tuple(part for key in keys for part in key)

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")

    # ------------------------------------------------------------------ the port

    def put(self, table: str, row: Row) -> None:
        self._begin()
        self._connection.execute(self._statements[table][0], row)

    def get(self, table: str, key: Any) -> Row | None:
        found: Row | None = self._connection.execute(
            self._statements[table][1], self._arguments(table, key)
        ).fetchone()
        return found

    def range(self, table: str, low: Any, high: Any, limit: int) -> list[Row]:
        arguments = (*self._arguments(table, low, high), limit)
        return self._connection.execute(self._statements[table][2], arguments).fetchall()

    def find(self, table: str, condition: str, *values: Any) -> list[Row]:
        return self._connection.execute(f"SELECT * FROM {table} WHERE {condition}", values).fetchall()

    def forget(self, table: str, low: Any, high: Any) -> None:
        self._begin()
        self._connection.execute(self._statements[table][3], self._arguments(table, low, high))

    # ------------------------------------------------------------------ the host

    def commit(self, now_ns: int = 0) -> None:
        if not self._connection.in_transaction:
            return
        self._step()
        fault = self._faults.pop(0) if self._faults else ""
        if fault == "full":
            raise sqlite3.OperationalError("database or disk is full")
        self._connection.execute("COMMIT")
        if fault == "unheeded":
            raise sqlite3.OperationalError("disk I/O error")
        self._step()

    def commit_due_ns(self) -> int | None:
        return None

    def close(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def abandon(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
