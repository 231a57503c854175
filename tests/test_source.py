from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.merger_state import Sources
from pipeline import headers
from pipeline.actor import Outbox
from pipeline.codec import read_source_body
from pipeline.headers import SOURCE_SIZE
from pipeline.messages import Heartbeat, SourceMark, Stuck
from pipeline.source import Source
from tests.lossy_link import LossyLink

ID, EPOCH, LIMIT, RESEND_MS = 7, 1_000, 5_000, 500
MILLI = 1_000_000


def event(number):
    return Stuck(instrument=0, cid=str(number), since_ns=0)


def heartbeat(number, epoch=EPOCH, source=ID):
    return Heartbeat(last_seq=0, exchanges=[], acknowledged=[SourceMark(source, epoch, number)])


class Wired:
    """A source, a link, and the part of a merger that takes its frames."""

    def __init__(self, seed=0):
        self.now_ns = 0
        self.outbox = Outbox()
        self.source = Source(self.outbox, ID, EPOCH, LIMIT, RESEND_MS)
        self.link = LossyLink(Random(seed))
        self.marks = Sources()
        self.heard = []
        self.rows = {}  # what an executor's journal keeps: every frame not acknowledged
        self.emitted = 0

    def emit(self, count):
        for _ in range(min(count, self.source.room)):
            self.emitted += 1
            number, frame = self.source.emit(0, event(self.emitted), self.now_ns)
            self.rows[number] = frame
        self.flush()

    def flush(self):
        """What the host does after a turn: send, and let the actor answer that the link was full."""
        for _ in range(2):
            frames, self.outbox.frames = [send.frame for send in self.outbox.frames], []
            unsent = self.link.send(frames)
            if unsent:
                self.source.on_unsent(unsent, self.now_ns)

    def deliver(self, limit=1_000_000):
        for frame in self.link.deliver(limit):
            header = headers.read_source(frame)
            if self.marks.is_next(header.source, header.epoch, header.number, header.first):
                self.heard.append(int(read_source_body(header.kind, frame).cid))

    def acknowledge(self):
        _, number = self.marks.marks.get(ID, (EPOCH, 0))
        acknowledged = self.source.on_heartbeat(heartbeat(number), self.now_ns)
        self.rows = {number: frame for number, frame in self.rows.items() if number > acknowledged}

    def wait(self, milliseconds):
        self.now_ns += milliseconds * MILLI
        self.source.on_deadline(self.now_ns)
        self.flush()

    def restart(self):
        """The source's process dies; its next life has its journal."""
        number = self.source.number
        self.outbox.frames.clear()
        self.source = Source(self.outbox, ID, EPOCH, LIMIT, RESEND_MS)
        self.source.restore(sorted(self.rows.items()), number, self.now_ns)

    def settle(self):
        """The link is good again: how many times the source woke until all was acknowledged."""
        self.link.heal()
        for woken in range(200):
            self.deliver()
            self.acknowledge()
            if not self.source.unacknowledged:
                return woken
            due_ns = self.source.next_deadline_ns()
            assert due_ns is not None, "frames are kept and nothing will ever send them"
            self.now_ns = max(self.now_ns, due_ns)
            self.source.on_deadline(self.now_ns)
            self.flush()
        raise AssertionError("it never settled")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.sampled_from([1, 2, 5, 700])),
        st.tuples(st.just("deliver"), st.sampled_from([1, 5, 100, 10_000])),
        st.tuples(st.just("wait"), st.sampled_from([1, 2, 3, 250, 500])),
        st.tuples(st.just("mode"), st.sampled_from(["good", "drop", "double", "mix"])),
        st.tuples(st.just("room"), st.sampled_from([None, 0, 3, 300])),
        st.tuples(st.sampled_from(["acknowledge", "cut", "restart"]), st.none()),
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=120, deadline=None)
@given(steps, st.integers(0, 999))
def test_every_event_arrives_once_and_in_order_whatever_the_link_did(done, seed):
    wired = Wired(seed)
    for what, argument in done:
        if what == "mode":
            wired.link.mode = argument
        elif what == "room":
            wired.link.room = argument
        elif what == "cut":
            wired.link.cut()
        elif argument is None:
            getattr(wired, what)()
        else:
            getattr(wired, what)(argument)
        assert wired.heard == list(range(1, len(wired.heard) + 1))
        assert wired.source.unacknowledged == LIMIT - wired.source.room <= LIMIT
    wired.settle()
    assert wired.heard == list(range(1, wired.emitted + 1))
    assert wired.source.next_deadline_ns() is None


def test_a_frame_carries_its_source_epoch_number_exchange_and_event():
    wired = Wired()
    number, frame = wired.source.emit(3, event(1), 0)
    header = headers.read_source(frame)
    assert (
        (header.exchange, header.source, header.epoch, header.number)
        == (3, ID, EPOCH, number)
        == (3, 7, 1000, 1)
    )
    assert read_source_body(header.kind, frame) == event(1)
    assert len(frame) > SOURCE_SIZE and wired.outbox.frames == [("events", frame, None)]


def test_nothing_is_sent_again_while_acknowledgements_move():
    wired = Wired()
    for _ in range(20):
        wired.emit(3)
        wired.deliver()
        wired.acknowledge()
        wired.wait(RESEND_MS - 1)
    assert wired.source.resends == 0


def test_what_is_not_acknowledged_is_sent_again_from_the_oldest():
    wired = Wired()
    wired.emit(3)
    wired.deliver(1)
    wired.acknowledge()
    wired.link.cut()
    wired.wait(RESEND_MS - 1)
    assert wired.link.under_way == [] and wired.source.resends == 0
    wired.wait(1)
    assert [headers.read_source(frame).number for frame in wired.link.under_way] == [2, 3]
    assert wired.source.resends == 1


def test_a_full_link_is_tried_again_soon_and_nothing_overtakes():
    wired = Wired()
    wired.link.room = 2
    wired.emit(5)
    wired.link.room = None
    wired.emit(1)
    assert len(wired.link.under_way) == 2
    wired.wait(2)
    assert [headers.read_source(frame).number for frame in wired.link.under_way] == [1, 2, 3, 4, 5, 6]
    assert wired.source.resends == 0


def test_a_link_that_stays_full_costs_no_memory():
    wired = Wired()
    wired.link.room = 0
    wired.emit(100)
    for _ in range(50):
        wired.wait(2)
        assert wired.outbox.frames == []
    assert wired.source.unacknowledged == 100
    wired.settle()
    assert len(wired.heard) == 100


def test_a_long_outbox_is_sent_again_in_portions():
    wired = Wired()
    wired.emit(LIMIT)
    wired.link.cut()
    wired.wait(RESEND_MS)
    assert 0 < len(wired.link.under_way) < 1_000
    wired.settle()
    assert len(wired.heard) == LIMIT


def test_an_acknowledgement_of_another_epoch_or_source_or_of_the_past_drops_nothing():
    wired = Wired()
    wired.emit(5)
    assert wired.source.on_heartbeat(heartbeat(3), 0) == 3
    for stale in (heartbeat(2), heartbeat(5, epoch=EPOCH - 1), heartbeat(5, source=ID + 1)):
        assert wired.source.on_heartbeat(stale, 0) == 3
    assert wired.source.unacknowledged == 2


def test_the_next_life_goes_on_counting_where_the_last_one_ended():
    wired = Wired()
    wired.emit(3)
    wired.deliver()
    wired.acknowledge()
    wired.restart()
    assert (wired.source.number, wired.source.unacknowledged, wired.source.next_deadline_ns()) == (3, 0, None)
    wired.emit(2)
    wired.settle()
    assert wired.heard == [1, 2, 3, 4, 5]


def test_the_next_life_sends_at_once_what_the_last_one_left():
    wired = Wired()
    wired.emit(3)
    wired.link.cut()
    wired.restart()
    wired.wait(0)
    wired.deliver()
    assert wired.heard == [1, 2, 3]


def test_what_a_link_gives_back_when_all_is_acknowledged_does_not_hold_up_the_next_event():
    wired = Wired()
    wired.emit(1)
    wired.deliver()
    wired.wait(RESEND_MS)
    again = wired.link.deliver()
    wired.acknowledge()
    wired.source.on_unsent(again, wired.now_ns)
    wired.emit(1)
    wired.wait(2)
    wired.deliver()
    assert wired.heard == [1, 2]


def test_an_older_epoch_is_dropped_once_a_newer_was_seen():
    marks = Sources()
    assert [marks.is_next(ID, 5, number) for number in (1, 2, 2, 4, 3)] == [True, True, False, False, True]
    assert not marks.is_next(ID, 6, 2), "a newer epoch begins at its first frame"
    assert marks.is_next(ID, 6, 1)
    assert not marks.is_next(ID, 5, 4) and not marks.is_next(ID, 5, 1)
    assert marks.marks == {ID: (6, 1)}


def test_what_is_only_in_memory_is_not_acknowledged():
    marks = Sources()
    for number in (1, 2, 3):
        marks.is_next(ID, 5, number)
        marks.hold(ID, number > 1)
    assert marks.safe == {ID: (5, 1)}
    marks.hold(ID, False)
    assert marks.safe == {ID: (5, 3)}


def test_a_merger_that_lost_its_journal_takes_up_a_source_where_it_stands():
    wired = Wired()
    wired.emit(3)
    wired.deliver()
    wired.acknowledge()
    wired.marks = Sources()
    wired.emit(1)
    wired.settle()
    assert wired.heard == [1, 2, 3, 4]


def test_a_source_with_an_older_stamp_than_its_life_before_says_all_again_under_a_newer_one():
    wired = Wired()
    wired.marks.marks[ID] = (EPOCH + 7, 40)  # the clock was stepped back since
    wired.emit(3)
    wired.deliver()
    assert wired.heard == []
    wired.source.on_heartbeat(heartbeat(40, EPOCH + 7), wired.now_ns)
    wired.source.on_deadline(wired.now_ns)
    wired.flush()
    wired.deliver()
    assert wired.heard == [1, 2, 3]
    assert wired.marks.marks[ID] == (EPOCH + 8, 3)
