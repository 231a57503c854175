"""The simulation's journal against the real one: the same rows whatever is put, committed or lost."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.journal import SqliteJournal
from tests.simulation.journals import Disk, SimJournal

TABLES = {
    "single": "number INTEGER PRIMARY KEY, value TEXT",
    "double": "name TEXT, number INTEGER, value TEXT, PRIMARY KEY (name, number)",
    "index few": "double (value) WHERE number > 2",
}
keys = st.integers(0, 5)
names = st.sampled_from("abc")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, names),
        st.tuples(st.just("forget"), keys, keys),
        st.tuples(st.sampled_from(("commit", "crash", "restart")), st.none(), st.none()),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ow") as name:
        yield Path(name)


def rows(journal: Any) -> list[Any]:
    found: list[Any] = [journal.get("single", key) for key in range(6)]
    found += [journal.get("double", (name, key)) for name in "abc" for key in range(6)]
    found.append(journal.range("single", 1, 4, 3))
    found.append(journal.range("double", ("a", 2), ("b", 4), 10))
    found.append(sorted(journal.find("double", "number > ? AND value = ?", 2, "a")))
    return found


def act(journal: Any, step: tuple[str, Any, Any]) -> None:
    what, one, other = step
    if what == "put":
        journal.put("single", (one, other))
        journal.put("double", (other, one, other))
    elif what == "forget":
        journal.forget("single", one, other)
        journal.forget("double", ("a", one), ("b", other))
    elif what == "commit":
        journal.commit()


@given(steps)
def test_a_simulated_journal_keeps_and_loses_what_the_real_one_does(folder: Path, story: Any) -> None:
    path, disk = folder / "journal.db", Disk()
    path.unlink(missing_ok=True)
    real: Any = SqliteJournal(path, TABLES, "process", (), 7)
    simulated: Any = SimJournal(disk, TABLES, 7)
    for step in story:
        if step[0] in ("crash", "restart"):
            for journal in (real, simulated):
                journal.abandon() if step[0] == "crash" else journal.close()
            real = SqliteJournal(path, TABLES, "process", (), 8)
            simulated = SimJournal(disk, TABLES, 8)
        act(real, step)
        act(simulated, step)
        assert rows(simulated) == rows(real)
        assert simulated.birth_id == real.birth_id
    real.close()
