import pytest

from pipeline.reader import Reader
from pipeline.sockets import Sockets
from pipeline.topology import Link

ENDPOINT = "inproc://test/x.edge"


class FakeLoop:
    """A loop whose descriptors never signal: what is drained was scheduled."""

    def __init__(self):
        self.soon = []
        self.readers = {}

    def call_soon(self, callback, *args):
        self.soon.append((callback, args))

    def add_reader(self, fd, callback, *args):
        self.readers[fd] = callback

    def remove_reader(self, fd):
        return self.readers.pop(fd, None) is not None

    def turn(self):
        soon, self.soon = self.soon, []
        for callback, args in soon:
            callback(*args)


@pytest.fixture
def sockets(tmp_path):
    owner = Sockets(tmp_path)
    yield owner
    owner.close()


def pull_and_push(sockets):
    pull = sockets.bind(Link("edge", "pull", "x", "edge", True, 100, 1000), (ENDPOINT,))
    push = sockets.connect(Link("edge", "push", "x", "edge", False, 100, 1000), ENDPOINT)
    return pull, push


def test_what_came_before_the_reader_was_added_is_read_without_a_signal(sockets):
    pull, push = pull_and_push(sockets)
    loop, batches = FakeLoop(), []
    push.send(b"early")
    reader = Reader(loop, pull, 10, batches.append)
    reader.resume()
    loop.turn()
    assert batches == [[b"early"]]


def test_a_batch_that_ends_by_its_limit_is_followed_by_another_without_a_signal(sockets):
    pull, push = pull_and_push(sockets)
    loop, batches = FakeLoop(), []
    for number in range(5):
        push.send(b"%d" % number)
    Reader(loop, pull, 2, batches.append).resume()
    while loop.soon:
        loop.turn()
    assert batches == [[b"0", b"1"], [b"2", b"3"], [b"4"]]


def test_paused_it_reads_nothing_whatever_was_scheduled(sockets):
    pull, push = pull_and_push(sockets)
    loop, batches = FakeLoop(), []
    reader = Reader(loop, pull, 2, batches.append)
    reader.resume()
    reader.pause()
    reader.pause()
    push.send(b"waits")
    loop.turn()
    assert batches == [] and loop.readers == {} and not reader.drain()
    reader.resume()
    reader.resume()
    loop.turn()
    assert batches == [[b"waits"]] and len(loop.readers) == 1


def test_a_pause_in_the_middle_of_a_batch_holds_after_it(sockets):
    pull, push = pull_and_push(sockets)
    loop, batches = FakeLoop(), []

    def handle(frames):
        batches.append(frames)
        reader.pause()

    reader = Reader(loop, pull, 2, handle)
    for number in range(5):
        push.send(b"%d" % number)
    reader.resume()
    for _ in range(5):
        loop.turn()
    assert batches == [[b"0", b"1"]]


def test_a_nudge_drains_what_a_send_may_have_hidden(sockets):
    router = sockets.bind(Link("edge", "router", "x", "edge", True, 100, 1000), (ENDPOINT,))
    dealer = sockets.connect(Link("edge", "dealer", "x", "edge", False, 100, 1000), ENDPOINT, b"d")
    loop, batches = FakeLoop(), []
    reader = Reader(loop, router, 10, batches.append)
    reader.resume()
    loop.turn()
    reader.nudge()
    assert loop.soon == []  # nothing is there
    dealer.send(b"question")
    reader.nudge()
    reader.nudge()
    loop.turn()
    assert batches == [[(b"d", b"question")]]
