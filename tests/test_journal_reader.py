import asyncio
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.merger_state import TABLES
from pipeline.codec import ARRAY_LIMIT
from pipeline.journal import SqliteJournal
from pipeline.journal_reader import CHUNK_BYTES, Events, JournalReader


class Owner:
    """The merger's part: appends events, forgets the oldest."""

    def __init__(self, path):
        self.journal = SqliteJournal(path, TABLES, "process")
        self.seq = 0
        self.oldest = 1

    def append(self, exchange=0, frame=None):
        self.seq += 1
        frame = f"frame {self.seq}".encode() if frame is None else frame
        self.journal.put("events", (self.seq, exchange, 0, 0, 0, frame))

    def fill(self, count, exchanges=1):
        for _ in range(count):
            self.append((self.seq + 1) % exchanges)
        self.journal.commit()

    def forget(self, upto):
        self.journal.forget("events", 0, upto)
        self.journal.commit()
        self.oldest = upto + 1


@pytest.fixture
def owner(tmp_path):
    made = Owner(tmp_path / "merger.db")
    yield made
    made.journal.abandon()


@pytest.fixture
def reader(owner):
    made = JournalReader(owner.journal.path)
    yield made
    asyncio.run(made.close())


def frames(*numbers):
    return [f"frame {number}".encode() for number in numbers]


def test_it_reads_what_is_committed_and_no_more(owner, reader):
    assert reader.read(0, 10, None) == Events([], 0, 0, 1)
    owner.append()
    assert reader.read(0, 10, None) == Events([], 0, 0, 1)
    owner.journal.commit()
    assert reader.read(0, 10, None) == Events(frames(1), 1, 1, 1)


def test_it_writes_nothing(owner, reader):
    owner.fill(1)
    reader.read(0, 1, None)
    with pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("DELETE FROM events")


def test_a_question_is_answered_up_to_its_limit_and_says_how_far(owner, reader):
    owner.fill(10)
    assert reader.read(2, 3, None) == Events(frames(3, 4, 5), 5, 10, 1)
    assert reader.read(8, 99, None) == Events(frames(9, 10), 10, 10, 1)
    assert reader.read(10, 99, None) == Events([], 10, 10, 1)


def test_one_exchanges_frames_are_given_and_the_others_are_passed(owner, reader):
    owner.fill(6, exchanges=2)
    assert reader.read(0, 99, 1) == Events(frames(1, 3, 5), 6, 6, 1)
    assert reader.read(0, 3, 0) == Events(frames(2), 3, 6, 1)
    assert reader.read(0, 99, 7) == Events([], 6, 6, 1)


def test_a_chunk_is_about_a_mebibyte(owner, reader):
    for _ in range(6):
        owner.append(frame=bytes(CHUNK_BYTES // 4))
    owner.journal.commit()
    assert len(reader.read(0, 99, None).frames) == 4
    assert reader.read(4, 99, None).through == 6


def test_a_frame_larger_than_a_chunk_still_goes(owner, reader):
    owner.append(frame=bytes(CHUNK_BYTES + 1))
    owner.append()
    owner.journal.commit()
    first = reader.read(0, 99, None)
    assert (len(first.frames), first.through, first.last) == (1, 1, 2)
    assert reader.read(1, 99, None).frames == frames(2)


def test_a_chunk_has_no_more_frames_than_a_body_may_have(owner, reader):
    for _ in range(ARRAY_LIMIT + 5):
        owner.append(frame=b"")
    owner.journal.commit()
    first = reader.read(0, 10_000, None)
    assert (len(first.frames), first.through) == (ARRAY_LIMIT, ARRAY_LIMIT)


def test_it_says_what_is_no_longer_kept(owner, reader):
    owner.fill(10)
    owner.forget(6)
    assert reader.read(2, 99, None) == Events(frames(7, 8, 9, 10), 10, 10, 7)


def test_a_reader_who_heard_more_than_is_committed_misses_nothing_yet(owner, reader):
    owner.fill(3)
    assert reader.read(8, 99, None) == Events([], 8, 8, 1)


class PrunedBetween:
    """A connection whose owner forgets events just before the frames are read."""

    def __init__(self, connection, owner):
        self.connection, self.owner = connection, owner

    def execute(self, statement, *arguments):
        if "frame" in statement:
            self.owner.forget(6)
        return self.connection.execute(statement, *arguments)

    def close(self):
        self.connection.close()


def test_what_it_says_is_kept_is_what_it_gives_though_the_owner_forgets_meanwhile(owner, reader):
    owner.fill(10)
    reader.read(0, 1, None)
    reader._connection = PrunedBetween(reader._connection, owner)
    assert reader.read(2, 99, None) == Events(frames(3, 4, 5, 6, 7, 8, 9, 10), 10, 10, 1)
    assert reader.read(2, 99, None).oldest == 7


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=60),
    st.integers(1, 9),
    st.sampled_from([None, 0, 1, 2]),
)
def test_chunk_by_chunk_every_frame_comes_once_in_order(tmp_path_factory, written, limit, exchange):
    owner = Owner(tmp_path_factory.mktemp("events") / "merger.db")
    reader = JournalReader(owner.journal.path)
    for of, size in written:
        owner.append(of, bytes([of, size]))
    owner.journal.commit()
    got, after = [], 0
    while True:
        events = reader.read(after, limit, exchange)
        got += events.frames
        if events.through == events.last:
            break
        assert events.through > after
        after = events.through
    assert got == [bytes(pair) for pair in written if exchange in (None, pair[0])]
    asyncio.run(reader.close())
    owner.journal.abandon()


def test_it_can_be_asked_from_a_loop(owner):
    owner.fill(3)

    async def ask():
        reader = JournalReader(owner.journal.path)
        try:
            return await asyncio.gather(reader.events(0, 2, None), reader.events(2, 2, None))
        finally:
            await reader.close()

    first, second = asyncio.run(ask())
    assert first.frames + second.frames == frames(1, 2, 3)


def test_a_journal_that_is_not_there_is_an_error_of_the_question(tmp_path):
    reader = JournalReader(tmp_path / "merger.db")
    with pytest.raises(sqlite3.Error):
        reader.read(0, 1, None)
    assert not (tmp_path / "merger.db").exists()
    asyncio.run(reader.close())
