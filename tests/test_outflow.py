from pipeline.actor import Send
from pipeline.outflow import Outflow
from pipeline.topology import Link


class FakeWire:
    """A wire with room for so many frames."""

    def __init__(self, name, pattern, room=1_000_000, hwm=1000):
        self.link = Link(name, pattern, "x", name, pattern == "pub", hwm, 1000)
        self.two_way = pattern in ("router", "dealer")
        self.room = room
        self.sent = []
        self.peers = {b"known"}

    def send(self, frame):
        if len(self.sent) >= self.room:
            return False
        self.sent.append(frame)
        return True

    def writable(self):
        return len(self.sent) < self.room

    def send_to(self, peer, frame):
        if peer not in self.peers:
            return False
        self.sent.append(frame)
        return True


def outflow_of(*wires, batch_limit=256):
    looked = []
    outflow = Outflow(batch_limit, looked.append)
    for wire in wires:
        outflow.add(wire)
    return outflow, looked


def numbered(link, count, start=0):
    return [Send(link, b"%d" % number) for number in range(start, start + count)]


def frames(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


def test_frames_leave_in_their_order():
    one, two = FakeWire("one", "push"), FakeWire("two", "push")
    outflow, _ = outflow_of(one, two)
    assert outflow.send([Send("one", b"1"), Send("two", b"2"), Send("one", b"3")]) == {}
    assert one.sent == [b"1", b"3"] and two.sent == [b"2"]


def test_after_the_first_that_a_link_does_not_take_all_later_ones_stay_for_that_link_alone():
    class Flickering(FakeWire):
        """Full at the third frame only: room comes back while the others are sent."""

        def send(self, frame):
            self.tries = getattr(self, "tries", 0) + 1
            return self.tries != 3 and super().send(frame)

    full, free = Flickering("full", "push"), FakeWire("free", "push")
    outflow, _ = outflow_of(full, free)
    mixed = [send for pair in zip(numbered("full", 6), numbered("free", 6), strict=True) for send in pair]
    assert outflow.send(mixed) == {"full": frames(4, start=2)}
    assert full.sent == frames(2) and free.sent == frames(6)


def test_a_reply_to_one_who_is_gone_is_dropped_and_counted():
    wire = FakeWire("control", "router")
    outflow, looked = outflow_of(wire)
    assert outflow.send([Send("control", b"a", b"gone"), Send("control", b"b", b"known")]) == {}
    assert wire.sent == [b"b"] and outflow.replies_dropped == 1
    assert looked == ["control"]


def test_a_two_way_link_is_looked_at_once_after_what_was_sent_on_it():
    outflow, looked = outflow_of(FakeWire("replay", "dealer"), FakeWire("events", "push"))
    outflow.send(numbered("replay", 3) + numbered("events", 3))
    assert looked == ["replay"]


def test_a_burst_is_published_a_quarter_of_the_mark_at_first_and_a_batch_at_a_time_then():
    wire = FakeWire("feed", "pub", hwm=1000)
    outflow, _ = outflow_of(wire, batch_limit=100)
    outflow.begin_turn()
    outflow.send(numbered("feed", 500))
    assert len(wire.sent) == 250 and outflow.left
    outflow.go_on()
    assert len(wire.sent) == 350
    outflow.begin_turn()
    outflow.send(numbered("feed", 10, start=500))  # behind what is left, not before it
    assert len(wire.sent) == 350
    while outflow.left:
        outflow.go_on()
    assert wire.sent == frames(510)


def test_a_turn_that_begins_with_nothing_left_has_its_whole_quarter_again():
    wire = FakeWire("feed", "pub", hwm=1000)
    outflow, _ = outflow_of(wire)
    for turn in range(3):
        outflow.begin_turn()
        outflow.send(numbered("feed", 250, start=250 * turn))
        assert not outflow.left
    assert wire.sent == frames(750)


def test_at_the_end_everything_leaves():
    wire = FakeWire("feed", "pub", hwm=40)
    outflow, _ = outflow_of(wire)
    outflow.begin_turn()
    outflow.send(numbered("feed", 100))
    outflow.finish()
    assert wire.sent == frames(100) and not outflow.left
