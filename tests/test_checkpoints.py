"""The log of a busy journal is folded back, bounded, and never in the way of a commit."""

from pathlib import Path

from pipeline import checkpoints
from pipeline.checkpoints import Checkpoints
from pipeline.journal import SqliteJournal

TABLES = {"rows": "number INTEGER PRIMARY KEY, body BLOB"}


def journal(tmp_path: Path) -> SqliteJournal:
    return SqliteJournal(tmp_path / "busy.db", TABLES, "process", (), 1)


def write(kept: SqliteJournal, batches: int, first: int = 0) -> None:
    for batch in range(first, first + batches):
        for row in range(32):
            kept.put("rows", (batch * 32 + row, bytes(400)))
        kept.commit(batch)


def test_the_log_begins_anew_once_its_pages_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "PAGES_WANTED", 50)
    monkeypatch.setattr(checkpoints, "PAUSE_S", 0.001)
    kept = journal(tmp_path)
    largest, batch = 0, 0
    while kept._checkpoints.copies < 20:
        write(kept, 50, batch)
        batch += 50
        largest = max(largest, (tmp_path / "busy.db-wal").stat().st_size)
        assert batch < 50_000, "the thread never came to copy"
    assert largest < batch * 32 * 400, "the log holds less than all that was ever written"
    assert [row[0] for row in kept.range("rows", 0, 10**9, 10**9)] == list(range(batch * 32))
    kept.close()


def test_the_owner_folds_when_it_is_told_to(tmp_path):
    kept = journal(tmp_path)
    write(kept, 3)
    kept._checkpoints.owed = True
    write(kept, 1, 3)
    assert not kept._checkpoints.owed
    size = (tmp_path / "busy.db").stat().st_size
    assert size > 4 * 32 * 400, "the pages are in the file itself"
    kept.close()


def test_a_log_beyond_its_limit_stays_owed_until_all_is_copied(tmp_path):
    held = Checkpoints(tmp_path / "none.db", "OFF")
    held.done(log=checkpoints.PAGES_LIMIT + 1, copied=checkpoints.PAGES_LIMIT)
    assert held.owed
    held.done(log=checkpoints.PAGES_LIMIT + 1, copied=checkpoints.PAGES_LIMIT + 1)
    assert not held.owed
    held.close()


def test_nothing_is_lost_when_a_journal_is_abandoned_in_the_middle(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "PAGES_WANTED", 1)
    monkeypatch.setattr(checkpoints, "PAUSE_S", 0.001)
    kept = journal(tmp_path)
    write(kept, 200)
    kept.put("rows", (10**6, b"not committed"))
    kept.abandon()
    again = journal(tmp_path)
    assert [row[0] for row in again.range("rows", 0, 10**9, 10**9)] == list(range(200 * 32))
    again.close()
