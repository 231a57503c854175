"""Reads a journal's events beside its owner: a second, read-only connection, in a thread of its own.

It sees what is committed. The merger's replay uses it as its "client", so that a reader who asks for a
million events never delays the inbox.
"""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.messages import ARRAY_LIMIT

CHUNK_BYTES: Final = 1024 * 1024


class Events(NamedTuple):
    """Frames with their numbers in (after, through]; the newest and the oldest number that there are."""

    frames: list[bytes]
    through: int
    last: int
    oldest: int


class JournalReader:
    """The events table of one journal, in chunks of at most about a mebibyte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="replay")

    async def events(self, after: int, limit: int, exchange: int | None) -> Events:
        """The frames after number `after`, of one exchange or of all. Raises sqlite3.Error."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self.read, after, limit, exchange)

    def read(self, after: int, limit: int, exchange: int | None) -> Events:
        """The same, at once, for whoever has a thread to spare."""
        if self._connection is None:
            self._connection = sqlite3.connect(
                f"file:{self._path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
            )
        # One view of the journal: its owner forgets meanwhile, and what is said to be kept must be given.
        self._connection.execute("BEGIN")
        try:
            return _read(self._connection, after, min(limit, ARRAY_LIMIT), exchange)
        finally:
            self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()


def _read(connection: sqlite3.Connection, after: int, limit: int, exchange: int | None) -> Events:
    oldest, last = connection.execute("SELECT min(seq), max(seq) FROM events").fetchone()
    if last is None or last <= after:
        # At durability "none" a reader may have heard of more than is committed yet.
        return Events([], after, max(last or 0, after), oldest or 1)
    rows = connection.execute(
        "SELECT seq, exchange, frame FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
    )
    frames: list[bytes] = []
    size, through = 0, after
    for seq, of, frame in rows:
        if size + len(frame) > CHUNK_BYTES and frames:
            break
        through = seq
        if exchange is None or of == exchange:
            frames.append(frame)
            size += len(frame)
    rows.close()
    return Events(frames, through, last, oldest)
