import os
import shutil
import sqlite3
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import journal as journal_file
from pipeline.deployment import ConfigError
from pipeline.journal import NONE_COMMIT_NS, SCHEMA_VERSION, SqliteJournal

TABLES = {
    "events": "seq INTEGER PRIMARY KEY, exchange INTEGER, frame BLOB",
    "orders": "exchange INTEGER, cid TEXT, state INTEGER, PRIMARY KEY (exchange, cid)",
    "state": "name TEXT PRIMARY KEY, value TEXT",
    "index order_states": "orders (state)",
}
LINES = ("exchange 0 alpha alpha_spot", "instrument 0 0 btc_usd XBTUSD", "asset 0 0 btc XBT")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "actor.db"


@pytest.fixture
def open_journal(path):
    """Open the journal; whatever is still open at the end is abandoned."""
    opened = []

    def opening(durability="process", lines=LINES, now_ns=77):
        opened.append(SqliteJournal(path, TABLES, durability, lines, now_ns))
        return opened[-1]

    yield opening
    for journal in opened:
        journal.abandon()


def committed(path, table="events"):
    """What another connection sees."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
    finally:
        connection.close()


# ------------------------------------------------------------------------------------ rows of a batch


def test_a_row_is_read_before_it_is_committed(open_journal, path):
    journal = open_journal()
    journal.put("events", (1, 0, b"one"))
    journal.put("orders", (0, "c", 1))
    assert journal.get("events", 1) == (1, 0, b"one")
    assert journal.get("orders", (0, "c")) == (0, "c", 1)
    assert journal.range("events", 1, 9, 10) == [(1, 0, b"one")]
    assert journal.find("orders", "state = ?", 1) == [(0, "c", 1)]
    assert committed(path) == []
    journal.commit()
    assert committed(path) == [(1, 0, b"one")]


def test_a_row_written_twice_in_a_batch_is_stored_once_and_as_it_was_last(open_journal, path):
    journal = open_journal()
    statements = []
    journal._connection.set_trace_callback(statements.append)
    for state in range(5):
        journal.put("orders", (0, "c", state))
    journal.commit()
    assert committed(path, "orders") == [(0, "c", 4)]
    assert sum(statement.startswith("INSERT") for statement in statements) == 1


def test_a_range_is_in_the_order_of_keys_and_within_its_limit(open_journal):
    journal = open_journal()
    for exchange, cid in ((1, "a"), (0, "b"), (0, "a"), (2, "a")):
        journal.put("orders", (exchange, cid, 0))
    assert [row[:2] for row in journal.range("orders", (0, "b"), (2, ""), 9)] == [(0, "b"), (1, "a")]
    assert [row[:2] for row in journal.range("orders", (0, ""), (9, ""), 2)] == [(0, "a"), (0, "b")]


def test_what_is_forgotten_is_gone_at_once_and_may_be_written_again(open_journal, path):
    journal = open_journal()
    for seq in range(1, 6):
        journal.put("events", (seq, 0, b""))
    journal.commit()
    journal.put("events", (6, 0, b""))
    journal.forget("events", 2, 6)
    assert journal.get("events", 3) is None and journal.get("events", 6) is None
    journal.forget("events", 1, 1)
    journal.put("events", (1, 0, b"again"))
    assert journal.get("events", 1) == (1, 0, b"again")
    journal.commit()
    assert committed(path) == [(1, 0, b"again")]


keys = st.integers(0, 6)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, keys),
        st.tuples(st.just("forget"), keys, keys),
        st.tuples(st.just("get"), keys, keys),
        st.tuples(st.just("range"), keys, keys),
        st.tuples(st.sampled_from(["find", "commit", "crash", "end"]), keys, keys),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(operations)
def test_it_is_a_dictionary_that_a_crash_takes_back_to_the_last_commit(tmp_path_factory, done):
    path = tmp_path_factory.mktemp("journal") / "actor.db"
    journal = SqliteJournal(path, TABLES, "process", LINES)
    rows, safe = {}, {}
    for what, a, b in done:
        if what == "put":
            journal.put("orders", (a % 2, str(a), b))
            rows[a % 2, str(a)] = (a % 2, str(a), b)
        elif what == "forget":
            low, high = (0, str(a)), (1, str(b))
            journal.forget("orders", low, high)
            rows = {key: row for key, row in rows.items() if not low <= key <= high}
        elif what == "get":
            assert journal.get("orders", (a % 2, str(a))) == rows.get((a % 2, str(a)))
        elif what == "range":
            inside = [row for key, row in sorted(rows.items()) if (0, str(a)) <= key <= (1, str(b))]
            assert journal.range("orders", (0, str(a)), (1, str(b)), 3) == inside[:3]
        elif what == "find":
            assert sorted(journal.find("orders", "state = ?", a)) == sorted(
                row for row in rows.values() if row[2] == a
            )
        elif what == "commit":
            journal.commit()
            safe = dict(rows)
        else:
            if what == "end":
                journal.close()
                safe = dict(rows)
            else:
                journal.abandon()
            journal = SqliteJournal(path, TABLES, "process", LINES)
            rows = dict(safe)
        assert committed(path, "orders") == sorted(safe.values())
    journal.abandon()


# ------------------------------------------------------------------------------------ commits


def test_a_commit_of_nothing_is_none(open_journal):
    journal = open_journal()
    journal.commit(1)
    assert journal.commits == 0


@pytest.mark.parametrize("durability", ["process", "power"])
def test_every_batch_is_committed_at_once(open_journal, path, durability):
    journal = open_journal(durability)
    for seq in (1, 2, 3):
        journal.put("events", (seq, 0, b""))
        assert journal.commit_due_ns() is None
        journal.commit(now_ns=seq)
        assert len(committed(path)) == seq
    assert journal.commits == 3


def test_without_durability_a_commit_waits_until_a_tenth_of_a_second_has_passed(open_journal, path):
    journal, start = open_journal("none"), 10 * NONE_COMMIT_NS
    assert journal.commit_due_ns() is None
    journal.put("events", (1, 0, b""))
    journal.commit(start)
    journal.put("events", (2, 0, b""))
    journal.commit(start + NONE_COMMIT_NS - 1)
    assert len(committed(path)) == 1
    assert journal.commit_due_ns() == start + NONE_COMMIT_NS
    journal.commit(start + NONE_COMMIT_NS)
    assert len(committed(path)) == 2 and journal.commit_due_ns() is None


@pytest.mark.parametrize(("durability", "setting"), [("none", 0), ("process", 1), ("power", 2)])
def test_the_durability_is_sqlites(open_journal, durability, setting):
    journal = open_journal(durability)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (setting,)
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_abandoning_loses_what_was_not_committed_and_nothing_else(open_journal):
    journal = open_journal()
    journal.put("events", (1, 0, b""))
    journal.commit()
    journal.put("events", (2, 0, b""))
    journal.range("events", 0, 9, 9)  # it is in SQLite's transaction by now
    journal.abandon()
    assert open_journal().range("events", 0, 9, 9) == [(1, 0, b"")]


def test_a_commit_that_fails_says_so_and_nothing_of_it_is_there(open_journal, path):
    journal = open_journal()
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    journal._connection.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    journal.put("events", (1, 0, b""))
    with pytest.raises(sqlite3.Error):
        journal.commit()
    journal.abandon()
    other.execute("ROLLBACK")
    other.close()
    assert open_journal().range("events", 0, 9, 9) == []


def test_closing_keeps_what_waited(open_journal):
    journal = open_journal("none")
    journal.put("events", (1, 0, b""))
    journal.close()
    assert open_journal("none").get("events", 1) == (1, 0, b"")


def test_a_reader_sees_what_is_committed_and_delays_nothing(open_journal, path):
    journal = open_journal()
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    count = "SELECT count(*) FROM events"
    assert reader.execute(count).fetchone() == (0,)
    journal.put("events", (1, 0, b""))
    journal.commit()
    assert reader.execute(count).fetchone() == (0,)
    reader.execute("COMMIT")
    assert reader.execute(count).fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM events")
    reader.close()


# ------------------------------------------------------------------------------------ the file


def test_its_files_are_private_whatever_the_umask_is(open_journal, path):
    before = os.umask(0)
    try:
        journal = open_journal()
        journal.put("events", (1, 0, b""))
        journal.commit()
    finally:
        os.umask(before)
    files = sorted(path.parent.iterdir())
    assert [file.suffix for file in files] == [".db", ".db-shm", ".db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_its_birth_is_noted_once(open_journal):
    open_journal(now_ns=77).close()
    assert open_journal(now_ns=99).birth_id == 77


def test_entries_may_be_added_at_the_end(open_journal):
    open_journal().close()
    journal = open_journal(lines=(*LINES, "asset 0 1 usd USD"))
    assert journal.meta("table").splitlines()[-1] == "asset 0 1 usd USD"


@pytest.mark.parametrize(
    "lines",
    [
        ("exchange 0 beta beta_spot", *LINES[1:]),
        (LINES[0], "instrument 0 1 btc_usd XBTUSD", LINES[2]),
        LINES[:1],
        (),
    ],
)
def test_an_entry_that_moved_or_went_is_named(open_journal, path, lines):
    open_journal().close()
    missing = next(line for line in LINES if line not in lines)
    with pytest.raises(ConfigError) as raised:
        open_journal(lines=lines)
    assert f"'{missing}'" in str(raised.value) and str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    open_journal().close()  # the refusal changed nothing


def test_a_newer_schema_is_refused(open_journal, path):
    journal = open_journal()
    journal._set("schema_version", SCHEMA_VERSION + 1)
    journal.close()
    with pytest.raises(ConfigError, match=f"schema version {SCHEMA_VERSION + 1}.*reads {SCHEMA_VERSION}"):
        open_journal()


def damage_everything(path):
    path.write_bytes(b"no database at all " * 500)


def damage_the_first_page(path):
    content = bytearray(path.read_bytes())
    content[100:600] = b"\xff" * 500
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("damage", [damage_everything, damage_the_first_page, cut_short])
def test_a_damaged_file_is_refused_in_one_line(open_journal, path, damage):
    open_journal().close()
    damage(path)
    with pytest.raises(ConfigError) as raised:
        open_journal()
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_place_where_no_file_can_be_is_refused_in_one_line(tmp_path):
    (tmp_path / "folder.db").mkdir()
    for path in (tmp_path / "folder.db", tmp_path / "nowhere" / "actor.db"):
        with pytest.raises(ConfigError, match=str(path)):
            SqliteJournal(path, TABLES, "process")


def test_a_refused_journal_is_let_go_of(open_journal, path):
    open_journal().close()
    with pytest.raises(ConfigError) as raised:
        open_journal(lines=())
    other = sqlite3.connect(path, timeout=0)
    other.execute("PRAGMA journal_mode = DELETE")  # only with no other connection
    other.close()
    assert "moved" in str(raised.value)


# ------------------------------------------------------------------------------------ the last life


@pytest.fixture
def boot(monkeypatch):
    """Say which boot of the machine this is."""

    def booted(name):
        monkeypatch.setattr(journal_file, "_boot_id", lambda: name)

    booted("monday")
    return booted


def test_a_new_journal_has_lost_nothing(open_journal, boot):
    assert not open_journal().tail_lost


@pytest.mark.parametrize("durability", ["none", "process", "power"])
def test_after_a_clean_end_nothing_is_lost(open_journal, boot, durability):
    open_journal(durability).close()
    boot("tuesday")
    assert not open_journal(durability).tail_lost


@pytest.mark.parametrize(
    ("durability", "killed", "power_cut"),
    [("none", True, True), ("process", False, True), ("power", False, False)],
)
def test_after_an_unclean_end_the_durability_it_ran_with_decides(
    open_journal, boot, durability, killed, power_cut
):
    open_journal(durability).abandon()
    journal = open_journal(durability)
    assert journal.tail_lost is killed
    journal.abandon()
    boot("tuesday")
    assert open_journal(durability).tail_lost is power_cut


@pytest.mark.parametrize("now", ["none", "process", "power"])
@pytest.mark.parametrize(("before", "lost"), [("none", True), ("process", True), ("power", False)])
def test_a_durability_chosen_later_says_nothing_of_the_life_before(open_journal, boot, before, lost, now):
    open_journal(before).abandon()
    boot("tuesday")
    assert open_journal(now).tail_lost is lost


def test_a_loss_is_told_until_a_life_has_kept_what_it_did_about_it(open_journal, boot):
    open_journal().abandon()
    boot("tuesday")
    assert open_journal().tail_lost  # and killed before its first commit
    journal = open_journal()
    assert journal.tail_lost
    journal.put("state", ("feed", "another"))
    journal.commit()
    journal.abandon()
    assert not open_journal().tail_lost


@pytest.mark.parametrize("durability", ["none", "process"])
def test_a_power_cut_that_takes_the_whole_log_does_not_look_like_a_clean_end(
    open_journal, boot, path, durability
):
    open_journal(durability).close()
    journal = open_journal(durability)
    journal.put("events", (1, 0, b""))
    journal.commit(NONE_COMMIT_NS)
    synced = path.with_name("synced.db")
    shutil.copyfile(path, synced)  # without the log, which nobody has synced
    journal.abandon()
    boot("tuesday")
    after = SqliteJournal(synced, TABLES, durability, LINES)
    assert after.get("events", 1) is None and after.tail_lost
    after.abandon()
