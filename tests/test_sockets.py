import os
import select
import socket
import stat
import threading

import pytest
import zmq

from pipeline import headers
from pipeline.deployment import ConfigError
from pipeline.sockets import BY_PATTERN, LINGER_MS, PATTERNS, WHERE_CONNECTING, Sockets, Wire
from pipeline.topology import Link

SIZE_LIMIT = 64 * 1024


@pytest.fixture
def sockets(tmp_path):
    owner = Sockets(tmp_path)
    yield owner
    owner.close()


@pytest.fixture(params=["inproc", "ipc"])
def endpoint(request, tmp_path):
    return "inproc://test/x.edge" if request.param == "inproc" else f"ipc://{tmp_path}/x.edge"


def link(pattern, bound, hwm=1000, size_limit=SIZE_LIMIT, exchanges=()):
    return Link("edge", pattern, "x", "edge", bound, hwm, size_limit, exchanges)


def pair(sockets, endpoint, binding, connecting, **more):
    """A bound and a connected wire of two patterns, with the connection up."""
    bound = sockets.bind(link(binding, True, **more), (endpoint,))
    connected = sockets.connect(link(connecting, False, **more), endpoint, sockets.identity("peer"))
    if connecting in ("push", "dealer"):
        expect_soon(connected.writable, connected)
    return bound, connected


def expect_soon(condition, wire, within_s=5.0):
    """Wait on the wire's descriptor until the condition holds."""
    poll = select.poll()
    poll.register(wire.fd, select.POLLIN)
    for _ in range(int(within_s * 100)):
        if condition():
            return
        poll.poll(10)
    raise AssertionError("it did not come to pass")


def receive(wire):
    """The next frame (or question), when it has come."""
    found = []

    def came():
        frame = wire.receive_from() if wire.replies else wire.receive()
        if frame is not None:
            found.append(frame)
        return bool(found)

    expect_soon(came, wire)
    return found[0]


def test_every_pattern_has_a_linger_and_every_option_a_known_pattern():
    assert set(LINGER_MS) == set(PATTERNS)
    assert set(BY_PATTERN) | set(WHERE_CONNECTING) <= set(PATTERNS)


def test_a_frame_goes_through_unchanged(sockets, endpoint):
    pull, push = pair(sockets, endpoint, "pull", "push")
    for frame in (b"", b"one", bytes(range(256)) * 200):
        assert push.send(frame)
        assert receive(pull) == frame
    assert pull.receive() is None and pull.dropped == 0


def test_a_full_link_says_so_and_takes_again_when_there_is_room(sockets):
    pull, push = pair(sockets, "inproc://test/x.edge", "pull", "push", hwm=10)
    sent = 0
    while push.send(b"%d" % sent):
        sent += 1
        assert sent <= 20
    assert sent == 20  # both ends' high-water marks
    assert not push.send(b"no")
    taken = pull.take(100)
    assert taken == [b"%d" % number for number in range(20)] and pull.drained
    # Straight after the peer has made room, without a pause: this is what EVENTS is read for.
    assert push.send(b"again")


def test_nothing_queues_for_a_peer_that_is_not_there(sockets, tmp_path):
    push = sockets.connect(link("push", False), f"ipc://{tmp_path}/nobody")
    dealer = sockets.connect(link("dealer", False), f"ipc://{tmp_path}/nobody")
    assert not push.send(b"request") and not dealer.send(b"question")


def test_a_batch_ends_at_its_limit_and_says_that_there_is_more(sockets, endpoint):
    pull, push = pair(sockets, endpoint, "pull", "push")
    for number in range(5):
        push.send(b"%d" % number)
    expect_soon(pull.readable, pull)
    taken = pull.take(2)
    assert len(taken) == 2 and not pull.drained
    while len(taken) < 5:
        taken += pull.take(2)
    assert taken == [b"0", b"1", b"2", b"3", b"4"]
    assert pull.take(2) == [] and pull.drained


def test_a_question_is_answered_to_the_one_who_asked(sockets, endpoint):
    router, one = pair(sockets, endpoint, "router", "dealer")
    other = sockets.connect(link("dealer", False), endpoint, sockets.identity("other"))
    expect_soon(other.writable, other)
    assert one.send(b"from one")
    peer, frame = receive(router)
    assert frame == b"from one" and peer.startswith(b"peer#")
    assert other.send(b"from other")
    other_peer, _ = receive(router)
    assert router.send_to(other_peer, b"to other") and router.send_to(peer, b"to one")
    assert receive(one) == b"to one" and receive(other) == b"to other"


def test_a_reply_to_nobody_is_refused_and_not_queued(sockets, endpoint):
    router, _ = pair(sockets, endpoint, "router", "dealer")
    assert not router.send_to(b"nobody", b"reply")


def test_a_peer_that_does_not_read_fills_only_its_own_queue(sockets):
    router, slow = pair(sockets, "inproc://test/x.edge", "router", "dealer", hwm=10)
    quick = sockets.connect(link("dealer", False, hwm=10), "inproc://test/x.edge", sockets.identity("quick"))
    slow.send(b"s")
    quick.send(b"q")
    peers = {frame: peer for peer, frame in (receive(router), receive(router))}
    sent = 0
    while router.send_to(peers[b"s"], b"reply"):
        sent += 1
        assert sent <= 20
    assert sent == 20
    assert router.send_to(peers[b"q"], b"reply") and receive(quick) == b"reply"


def test_two_connections_of_one_actor_have_two_identities(sockets):
    assert sockets.identity("executor.x") != sockets.identity("executor.x")


def test_a_second_peer_of_the_same_identity_does_not_take_over_the_first(sockets, endpoint):
    router = sockets.bind(link("router", True), (endpoint,))
    first = sockets.connect(link("dealer", False), endpoint, b"name")
    expect_soon(first.writable, first)
    first.send(b"mine")
    peer, _ = receive(router)
    thief = sockets.connect(link("dealer", False), endpoint, b"name")
    thief.send(b"mine too")
    assert router.send_to(peer, b"reply")
    assert receive(first) == b"reply" and thief.receive() is None


@pytest.fixture
def rude():
    """Raw sockets of a foreign context, which obey no rule of ours."""
    context = zmq.Context()

    def connect(pattern, endpoint):
        raw = context.socket(pattern)
        raw.setsockopt(zmq.LINGER, 0)
        raw.connect(endpoint)
        return raw

    yield connect
    context.destroy(linger=0)


def test_questions_of_the_wrong_number_of_parts_are_dropped_whole_and_counted(sockets, tmp_path, rude):
    endpoint = f"ipc://{tmp_path}/x.edge"
    router = sockets.bind(link("router", True), (endpoint,))
    raw = rude(zmq.DEALER, endpoint)
    raw.send_multipart([b"one", b"two"])
    raw.send_multipart([b""] * 10_000)
    raw.send_multipart([b"a question"])
    assert receive(router)[1] == b"a question"
    assert router.dropped == 2


def test_a_frame_over_the_limit_is_dropped_and_counted_on_inproc_too(sockets):
    pull, push = pair(sockets, "inproc://test/x.edge", "pull", "push", size_limit=100)
    push.send(b"x" * 101)
    push.send(b"x" * 100)
    assert receive(pull) == b"x" * 100 and pull.dropped == 1
    router, dealer = pair(sockets, "inproc://test/x.calls", "router", "dealer", size_limit=100)
    dealer.send(b"x" * 101)
    dealer.send(b"x" * 100)
    assert receive(router)[1] == b"x" * 100 and router.dropped == 1


def test_a_frame_over_the_limit_never_arrives_over_ipc_and_others_go_on(sockets, tmp_path, rude):
    endpoint = f"ipc://{tmp_path}/x.edge"
    pull, push = pair(sockets, endpoint, "pull", "push", size_limit=100)
    raw = rude(zmq.PUSH, endpoint)
    cut = raw.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    raw.send(b"x" * 5_000_000)
    assert cut.poll(5_000)  # it was cut off at the header, not read to the end and dropped here
    raw.disable_monitor()
    assert push.send(b"small")
    assert receive(pull) == b"small" and pull.receive() is None and pull.dropped == 0


def published(sockets, pub, sub, frames):
    """What a subscriber gets of these frames, once its subscription is known to have arrived."""
    probe = headers.feed(headers.NO_EXCHANGE, headers.Kind.Heartbeat, 0, 1, 0, 0, 0)

    def subscribed():
        pub.send(probe)
        return sub.receive() is not None

    expect_soon(subscribed, sub)
    end = probe + b"end"
    for frame in (*frames, end):
        pub.send(frame)
    got = []
    while not got or got[-1] != end:
        got.append(receive(sub))
    return [frame for frame in got if not frame.startswith(probe)]


def test_a_subscriber_reads_its_exchanges_only(sockets, endpoint):
    pub = sockets.bind(link("pub", True), (endpoint,))
    sub = sockets.connect(link("sub", False, exchanges=(3, headers.NO_EXCHANGE)), endpoint)
    frames = [headers.feed(exchange, 33, 1, 1, exchange, exchange, 0) for exchange in (0, 3, 259, 768, 3)]
    assert published(sockets, pub, sub, frames) == [frames[1], frames[4]]


def test_a_subscriber_without_exchanges_reads_everything(sockets, endpoint):
    pub = sockets.bind(link("pub", True), (endpoint,))
    sub = sockets.connect(link("sub", False), endpoint)
    frames = [headers.feed(exchange, 33, 1, 1, exchange, exchange, 0) for exchange in (0, 3, 259)]
    assert published(sockets, pub, sub, frames) == frames


def test_a_bound_socket_is_readable_by_its_owner_alone_and_goes_with_its_wire(sockets, tmp_path):
    umask = os.umask(0)
    try:
        wire = sockets.bind(link("pull", True), ("inproc://test/x.edge", f"ipc://{tmp_path}/x.edge"))
        assert os.umask(0) == 0  # put back as it was
    finally:
        os.umask(umask)
    mode = (tmp_path / "x.edge").stat().st_mode
    assert stat.S_ISSOCK(mode) and mode & 0o777 == 0o600
    sockets.forget(wire)
    assert not (tmp_path / "x.edge").exists()


def test_a_file_that_somebody_put_in_our_sockets_place_is_left(sockets, tmp_path):
    wire = sockets.bind(link("pull", True), (f"ipc://{tmp_path}/x.edge",))
    (tmp_path / "x.edge").rename(tmp_path / "away")
    (tmp_path / "x.edge").write_text("theirs")
    sockets.forget(wire)
    assert (tmp_path / "x.edge").read_text() == "theirs"


def test_a_stale_socket_file_is_no_obstacle(sockets, tmp_path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "x.edge"))
    pull, push = pair(sockets, f"ipc://{tmp_path}/x.edge", "pull", "push")
    push.send(b"through")
    assert receive(pull) == b"through"


def test_binding_over_a_regular_file_is_refused_and_the_file_kept(sockets, tmp_path):
    (tmp_path / "x.edge").write_text("precious")
    with pytest.raises(ConfigError, match="no socket"):
        sockets.bind(link("pull", True), (f"ipc://{tmp_path}/x.edge",))
    assert (tmp_path / "x.edge").read_text() == "precious"


@pytest.mark.parametrize(
    "opening",
    [
        b"\x01\x00" + b"\x05\x00hello",  # ZMTP 1.0: an anonymous greeting, then a frame
        b"\x09\x00peername" + b"\x06\x00hello",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00" + b"JUNK" * 20,
    ],
    ids=["zmtp-1.0", "zmtp-1.0-named", "http", "junk"],
)
def test_a_peer_that_speaks_no_zmtp_3_is_not_heard_and_others_are(sockets, tmp_path, opening):
    pull, push = pair(sockets, f"ipc://{tmp_path}/x.edge", "pull", "push")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(tmp_path / "x.edge"))
        raw.sendall(opening)
        for number in range(20):
            assert push.send(b"%d" % number)
            assert receive(pull) == b"%d" % number
        assert pull.receive() is None


def test_closing_everything_does_not_hang_on_frames_that_nobody_took(tmp_path):
    owner = Sockets(tmp_path)
    push = owner.connect(link("push", False), "inproc://test/late")
    pull = owner.bind(link("pull", True), ("inproc://test/late",))
    pub = owner.bind(link("pub", True), (f"ipc://{tmp_path}/x.feed",))
    for _ in range(10):
        push.send(b"unread")
        pub.send(b"unread")
    assert isinstance(pull, Wire)
    closing = threading.Thread(target=owner.close, daemon=True)
    closing.start()
    closing.join(timeout=10)
    assert not closing.is_alive()
    assert list(tmp_path.iterdir()) == []
