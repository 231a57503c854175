"""Folds a journal's log back into its file beside the owner's commits, so that no batch waits for it.

A thread with its own connection copies pages (PASSIVE never blocks the writer). Alone it would never
reach the end of a log that goes on growing, and the log would never begin anew: when few pages are left,
the owner runs one short PASSIVE between batches. Beyond a hard limit the owner does it however long it
takes.
"""

import sqlite3
import threading
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = 4_096
PAGES_WANTED: Final = 4_000  # of the log, before a copy is worth it
LOG_KEPT_BYTES: Final = 8 * 1024 * 1024  # what the log's file keeps of its size when it begins anew
PAGES_LEFT: Final = 128  # that the owner copies by itself in a moment
PAGES_LIMIT: Final = 65_536  # 256 MiB: the owner copies whatever is left
PAUSE_S: Final = 0.1


class Checkpoints:
    """The thread of one journal. `owed` tells the owner that its turn has come."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.owed = False
        self.copies = 0
        self.failures = 0
        self._path = path
        self._synchronous = synchronous
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"checkpoint {path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def done(self, log: int, copied: int) -> None:
        """What the owner's own checkpoint has reached."""
        self.owed = log > PAGES_LIMIT and copied < log

    def _run(self) -> None:
        try:
            connection = sqlite3.connect(self._path, isolation_level=None)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except sqlite3.Error:
            self.failures += 1
            return
        try:
            while not self._ended.wait(PAUSE_S):
                self._copy(connection)
        finally:
            connection.close()

    def _copy(self, connection: sqlite3.Connection) -> None:
        try:
            if _log_bytes(self._path) < PAGES_WANTED * PAGE_BYTES or self.owed:
                return
            _, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (sqlite3.Error, OSError):
            self.failures += 1
            return
        self.copies += 1
        if log >= PAGES_WANTED and (log - copied <= PAGES_LEFT or log > PAGES_LIMIT):
            self.owed = True


def _log_bytes(path: Path) -> int:
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0
