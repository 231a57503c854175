from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import feed_reader, headers
from pipeline.codec import decode_as
from pipeline.control import ReplayQuery
from pipeline.feed_reader import FeedReader
from pipeline.headers import CONTROL_SIZE, Kind
from pipeline.messages import NO_EXCHANGE
from tests.lossy_link import LossyLink
from tests.small_feed import CheckingListener, SmallFeed

SECOND, MILLI = 1_000_000_000, 1_000_000
FINGERPRINT = 0xABCD


class Wired:
    """A reader of a small feed over a lossy SUB and a slow replay link."""

    def __init__(self, exchange=None, resume=None, seed=0, **feed):
        self.exchange = exchange
        self.feed = SmallFeed(**feed)
        self.link = LossyLink(Random(seed))
        self.questions, self.answers = [], []
        self.now_ns = 0
        began = None
        if resume is not None:
            began = (resume[0], resume[1] if exchange is None else resume[2])
        self.listener = CheckingListener(exchange, self.feed, began)
        self.reader = FeedReader(self.listener, self.questions.append, FINGERPRINT, exchange, resume)

    def publish(self, count, every=3):
        for _ in range(count):
            frame = self.feed.publish((self.feed.seq + 1) % every % self.feed.exchanges)
            self.send(frame)

    def send(self, frame):
        # A subscription lets through what begins with its exchange, and what is said of all.
        if self.exchange is None or headers.read_start(frame).exchange in (self.exchange, NO_EXCHANGE):
            self.link.send([frame])

    def beat(self):
        self.link.send([self.feed.heartbeat()])

    def deliver(self, limit=1_000_000):
        for frame in self.link.deliver(limit):
            self.reader.on_frame(frame, self.now_ns)

    def ask(self):
        """The merger answers what was asked so far; the answers are under way."""
        while self.questions:
            self.answers += self.feed.answer(self.questions.pop(0))

    def answer(self, limit=1_000_000):
        self.ask()
        for _ in range(min(limit, len(self.answers))):
            self.reader.on_answer(self.answers.pop(0), self.now_ns)

    def lose(self):
        self.ask()
        self.answers.clear()

    def wait(self, milliseconds):
        self.now_ns += milliseconds * MILLI
        self.reader.on_deadline(self.now_ns)

    def exchange_words(self):
        """A round trip in which nothing is held up."""
        self.beat()
        self.deliver()
        self.answer()

    def forget(self, keep):
        self.feed.forget(keep)

    def another(self):
        self.feed.become_another()

    @property
    def last(self):
        return self.feed.seq if self.exchange is None else self.feed.numbers[self.exchange]

    def settle(self):
        """Everything works again: until the reader has all that there is."""
        self.link.heal()
        for _ in range(100):
            self.beat()
            self.deliver()
            for _ in range(1_000):
                if not self.questions and not self.answers:
                    break
                self.answer()
            if self.reader.joined and self.listener.number == self.last:
                return
            self.wait(1_000)
        raise AssertionError("it never joined")


def joined(**options):
    wired = Wired(**options)
    wired.settle()
    return wired


publish = st.tuples(st.just("publish"), st.integers(1, 12))
deliver = st.tuples(st.just("deliver"), st.integers(1, 40))
answer = st.tuples(st.just("answer"), st.integers(1, 3))
beat = st.tuples(st.just("beat"), st.none())
trouble = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([10, 400, 1_100])),
    st.tuples(st.just("forget"), st.sampled_from([0, 1, 5, 30])),
    st.tuples(st.just("mode"), st.sampled_from(["good", "drop", "double"])),
    st.tuples(st.sampled_from(["lose", "another", "cut"]), st.none()),
)
steps = st.lists(
    st.one_of(publish, deliver, answer, beat, st.tuples(st.just("exchange_words"), st.none()), trouble),
    min_size=30,
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(
    steps,
    st.sampled_from([None, 0, 1]),
    st.integers(1, 3),
    st.sampled_from([2, 5, 1_000]),
    st.integers(0, 99),
)
def test_every_number_comes_once_and_in_order_whatever_is_lost(done, exchange, parts, chunk_limit, seed):
    wired = Wired(exchange, seed=seed, parts=parts, chunk_limit=chunk_limit)
    held, feed_reader._HELD_LIMIT = feed_reader._HELD_LIMIT, 8
    try:
        for what, argument in done:
            if what == "mode":
                wired.link.mode = argument
            elif what == "cut":
                wired.link.cut()
            elif argument is None:
                getattr(wired, what)()
            else:
                getattr(wired, what)(argument)
            assert len(wired.reader._held) <= 8_192
        wired.settle()
    finally:
        feed_reader._HELD_LIMIT = held
    wired.publish(5)
    wired.deliver()
    assert wired.listener.number == wired.last


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([None, 1]), st.integers(0, 20), st.integers(0, 99))
def test_a_reader_that_resumes_gets_what_follows_or_is_told_that_it_cannot(done, exchange, before, seed):
    wired = Wired(exchange, seed=seed)
    wired.publish(before)
    resume = (wired.feed.feed_id, wired.feed.seq, wired.feed.numbers[exchange or 0])
    again = Wired(exchange, resume, seed)
    again.feed = again.listener.feed = wired.feed
    for what, argument in done:
        if what == "mode":
            again.link.mode = argument
        elif what == "cut":
            again.link.cut()
        elif argument is None:
            getattr(again, what)()
        else:
            getattr(again, what)(argument)
    again.settle()
    first = resume[1] if exchange is None else resume[2]
    assert again.listener.resets or again.listener.heard == list(range(first + 1, again.last + 1))


@pytest.mark.parametrize("exchange", [None, 1])
def test_it_begins_with_the_state_and_goes_on_from_there(exchange):
    wired = Wired(exchange, parts=3)
    wired.publish(10)
    wired.link.cut()
    wired.beat()
    wired.deliver()
    wired.publish(6)
    wired.deliver()
    assert not wired.reader.joined
    wired.answer()
    wired.publish(6)
    wired.deliver()
    wired.answer()
    assert wired.reader.joined and wired.listener.number == wired.last
    assert wired.listener.heard and wired.listener.heard[0] > 1


def test_nothing_is_asked_before_a_heartbeat_was_heard():
    wired = Wired()
    wired.publish(3)
    wired.deliver()
    assert wired.questions == [] and wired.reader.next_deadline_ns() is None


@pytest.mark.parametrize("exchange", [None, 0])
def test_a_gap_is_replayed_at_the_next_frame(exchange):
    wired = joined(exchange=exchange)
    wired.publish(3)
    wired.link.cut()
    wired.publish(3)
    wired.deliver()
    assert wired.reader.gaps == 1 and not wired.reader.joined
    wired.answer()
    assert wired.reader.joined and wired.listener.number == wired.last
    assert wired.reader.replayed > 0 and wired.listener.resets == []


@pytest.mark.parametrize("exchange", [None, 0])
def test_a_lost_tail_is_noticed_by_the_heartbeat(exchange):
    wired = joined(exchange=exchange)
    wired.publish(3)
    wired.link.cut()
    wired.beat()
    wired.deliver()
    wired.answer()
    assert wired.reader.joined and wired.listener.number == wired.last > 0


def test_what_other_exchanges_lose_is_no_gap_of_ours():
    wired = joined(exchange=1)
    for _ in range(5):
        wired.feed.publish(0)
    wired.beat()
    wired.deliver()
    assert wired.reader.gaps == 0 and wired.reader.joined
    assert wired.questions == []


def test_what_is_said_of_the_deployment_is_not_counted_by_a_reader_of_one_exchange():
    wired = joined(exchange=1)
    wired.send(wired.feed.publish(NO_EXCHANGE))
    wired.send(wired.feed.publish(1))
    wired.deliver()
    assert wired.listener.heard == [1] and wired.reader.gaps == 0


@pytest.mark.parametrize("exchange", [None, 1])
def test_it_joins_while_traffic_never_stops(exchange):
    wired = Wired(exchange)
    wired.publish(6_000)
    wired.link.cut()
    resume = (wired.feed.feed_id, 0, 0)
    again = Wired(exchange, resume)
    again.feed = wired.feed
    again.beat()
    for _ in range(10):
        again.publish(300)
        again.deliver()
        again.answer()
    assert again.reader.joined
    again.publish(300)
    again.deliver()
    assert again.listener.number == again.last and again.listener.heard[0] == 1


@pytest.mark.parametrize("exchange", [None, 1])
def test_a_long_replay_is_asked_for_chunk_by_chunk(exchange):
    wired = Wired(exchange, (1_000, 0, 0), chunk_limit=10)
    wired.publish(25)
    wired.link.cut()
    wired.beat()
    wired.deliver()
    for _ in range(3):
        wired.answer()
    assert wired.reader.joined and wired.listener.number == wired.last
    assert wired.questions == [] and wired.reader.gaps == 0


def test_a_state_with_a_part_missing_is_asked_for_again():
    wired = Wired(parts=3)
    wired.publish(5)
    wired.beat()
    wired.deliver()
    wired.ask()
    del wired.answers[1]
    wired.answer()
    assert len(wired.questions) == 1 and not wired.reader.joined
    wired.settle()


def test_what_arrived_during_a_replay_is_not_asked_for_again():
    wired = joined()
    wired.publish(3)
    wired.link.cut()
    wired.publish(3)
    wired.deliver()
    wired.ask()
    wired.publish(3)
    wired.deliver()
    wired.answer()
    assert wired.listener.number == 9 and wired.reader.joined and wired.reader.gaps == 1


def test_a_burst_beyond_what_may_wait_is_replayed(monkeypatch):
    monkeypatch.setattr(feed_reader, "_HELD_LIMIT", 50)
    wired = Wired()
    wired.beat()
    wired.deliver()
    wired.publish(500)
    wired.deliver()
    assert len(wired.reader._held) == 50
    wired.settle()
    assert wired.listener.number == 500


@pytest.mark.parametrize("exchange", [None, 1])
def test_a_question_without_an_answer_is_put_again_after_a_second(exchange):
    wired = Wired(exchange)
    wired.beat()
    wired.deliver()
    first = wired.questions.pop()
    assert wired.reader.next_deadline_ns() == SECOND
    wired.wait(999)
    assert wired.questions == []
    wired.wait(1)
    assert len(wired.questions) == 1
    for late in wired.feed.answer(first):
        wired.reader.on_answer(late, wired.now_ns)
    assert wired.listener.parts == 0, "an answer to a question that was given up"
    wired.settle()


@pytest.mark.parametrize("exchange", [None, 1])
def test_what_is_no_longer_kept_is_told_as_a_reset_and_the_state_follows(exchange):
    wired = joined(exchange=exchange)
    wired.publish(20)
    wired.link.cut()
    wired.feed.forget(5)
    wired.settle()
    assert wired.listener.resets == [wired.feed.feed_id]
    assert wired.listener.heard == []


@pytest.mark.parametrize("published", [0, 1, 9])
@pytest.mark.parametrize("exchange", [None, 1])
def test_another_feed_is_told_at_its_first_heartbeat_and_the_state_is_asked_for(exchange, published):
    wired = joined(exchange=exchange)
    wired.publish(6)
    wired.deliver()
    wired.feed.become_another()
    wired.publish(published)
    wired.beat()
    wired.deliver()
    assert wired.listener.resets == [wired.feed.feed_id]
    assert not wired.reader.joined and wired.reader.stale(wired.now_ns, 2_000)
    assert [headers.read_control(question).kind for question in wired.questions] == [Kind.StateQuery]
    wired.settle()


def test_a_frame_of_another_feed_is_never_taken_under_the_old_numbers():
    wired = joined()
    wired.publish(2)
    wired.deliver()
    wired.feed.become_another()
    wired.publish(3)
    wired.deliver()
    assert wired.listener.heard == [1, 2]


def test_a_resume_asks_for_what_follows():
    wired = Wired(resume=(1_000, 4, 0))
    wired.publish(9)
    wired.link.cut()
    wired.beat()
    wired.deliver()
    query = decode_as(ReplayQuery, wired.questions[0], CONTROL_SIZE)
    assert (query.feed_id, query.after) == (1_000, 4)
    wired.settle()
    assert wired.listener.heard == [5, 6, 7, 8, 9]


def test_a_resume_by_number_alone_takes_the_feed_that_is_there():
    wired = Wired()
    wired.publish(9)
    wired.link.cut()
    wired.listener.feed_id, wired.listener.number = wired.feed.feed_id, 4
    wired.reader = FeedReader(wired.listener, wired.questions.append, FINGERPRINT, None, (0, 4, 0))
    wired.settle()
    assert wired.listener.heard == [5, 6, 7, 8, 9] and wired.listener.resets == []


def test_a_resume_by_a_number_that_the_feed_has_not_reached_is_a_reset():
    wired = Wired(resume=(0, 40, 0))
    wired.listener.feed_id = 0
    wired.publish(9)
    wired.settle()
    assert wired.listener.resets == [wired.feed.feed_id]


def test_a_resume_after_a_number_that_was_never_given_is_a_reset():
    wired = Wired(resume=(1_000, 40, 0))
    wired.publish(9)
    wired.settle()
    assert wired.listener.resets == [1_000]


def test_a_replay_with_a_hole_is_not_taken_for_whole():
    wired = joined()
    wired.publish(9)
    wired.link.cut()
    del wired.feed.frames[3]
    wired.beat()
    wired.deliver()
    wired.answer(1)
    assert wired.listener.heard == [1, 2, 3] and wired.listener.resets == [wired.feed.feed_id]
    wired.settle()


@pytest.mark.parametrize(
    "frame",
    [b"", b"\xff\xff", b"\xff\xffXX" + bytes(60), headers.feed(NO_EXCHANGE, 63, 3, 1, 1, 0, 0) + b"\xc1"],
)
def test_bytes_that_are_no_frame_are_counted_and_change_nothing(frame):
    wired = joined()
    wired.reader.on_frame(frame, 0)
    wired.reader.on_answer(frame[:6], 0)
    assert wired.reader.refused_frames >= 1
    wired.publish(3)
    wired.deliver()
    assert wired.listener.heard == [1, 2, 3]


def test_a_feed_is_stale_when_silent_when_unwritable_and_when_a_gap_stays_open():
    wired = joined()
    heard_ns = wired.now_ns
    assert not wired.reader.stale(heard_ns + 2_000 * MILLI, 2_000)
    assert wired.reader.stale(heard_ns + 2_000 * MILLI + 1, 2_000)
    wired.feed.unwritable = True
    wired.beat()
    wired.deliver()
    assert wired.reader.stale(wired.now_ns, 2_000)
    wired.feed.unwritable = False
    wired.settle()
    assert not wired.reader.stale(wired.now_ns, 2_000)
    wired.publish(1)
    wired.link.cut()
    for _ in range(3):
        assert not wired.reader.stale(wired.now_ns, 2_000)
        wired.beat()
        wired.deliver()
        wired.wait(1_000)
    assert not wired.reader.joined and wired.reader.stale(wired.now_ns, 2_000)
    wired.settle()
    assert not wired.reader.stale(wired.now_ns, 2_000)
