"""Wires as ZeroMQ has them, on virtual time: what libzmq 4.3.5 was measured to do.

A connection keeps its frames in order and repeats none. It is full beyond its high-water mark; a PUB drops
what does not fit. What is on its way to a process that dies is lost; of what a dying process sent, a suffix.
A reset loses a suffix both ways with both ends alive, and what is left arrives between the frames of the
next connection. Nothing queues for a peer that is not there.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from pipeline.headers import prefix
from pipeline.topology import Link
from tests.simulation.loop import ProcessLoop
from tests.simulation.timeline import MS, Timeline

Heard = Callable[[str, str, bytes], None]  # sender, address of the link, frame


class Pipe:
    """One direction of one connection."""

    def __init__(
        self, network: "Network", sender: "SimWire", receiver: "SimWire", same_process: bool
    ) -> None:
        self.network = network
        self.sender = sender
        self.receiver = receiver
        self.peer = b""  # what a ROUTER at the far end knows the sender by
        self.queued = 0  # on its way, or not yet taken
        self.held: deque[bytes] = deque()  # on its way
        self.open = True
        self._limit = sender.link.hwm + receiver.link.hwm
        self._same_process = same_process
        self._last_ns = 0
        self._late_ms = 0.0

    @property
    def full(self) -> bool:
        return self.queued >= self._limit

    def send(self, frame: bytes) -> None:
        network = self.network
        wait_ms = 0.001 if self._same_process else network.random.uniform(0.02, network.latency_ms)
        at_ns = max(network.timeline.now_ns + int((wait_ms + self._late_ms) * MS), self._last_ns)
        self._last_ns = at_ns
        self.queued += 1
        self.held.append(frame)
        network.timeline.at(at_ns, self._arrive)

    def _arrive(self) -> None:
        if not self.held:
            return  # it was lost
        frame = self.held.popleft()
        if self.receiver.closed:
            self.queued -= 1
            return
        self.network.heard(self.sender.owner, self.receiver.link.address, frame)
        self.receiver.arrive(self, frame)

    def lose_suffix(self) -> None:
        """From here on nothing more enters, and only a part of what is on its way arrives."""
        self.open = False
        keep = self.network.random.randint(0, len(self.held))
        while len(self.held) > keep:
            self.held.pop()
            self.queued -= 1
        self._late_ms = 0.0

    def linger(self, late_ms: float) -> None:
        """What is left comes later, after newer frames of the next connection perhaps."""
        left, self.held = list(self.held), deque()
        self.queued -= len(left)
        self._late_ms = late_ms
        for frame in left:
            self.send(frame)


class SimWire:
    """One end of a link, as sockets.Wire has it."""

    def __init__(
        self, network: "Network", link: Link, owner: str, loop: ProcessLoop, trip: Callable[[], None]
    ):
        self.link = link
        self.owner = owner
        self.fd = network.next_fd()
        self.dropped = 0
        self.drained = True
        self.replies = link.pattern == "router"
        self.two_way = link.pattern in ("router", "dealer")
        self.closed = False
        self.identity = b""
        self.inproc = False
        self.network = network
        self.inbox: deque[tuple[Pipe, bytes]] = deque()
        self.ways: dict[object, Pipe] = {}  # out: by peer identity on a ROUTER, by wire elsewhere
        self.lost = 0  # what a PUB had no room for
        self._loop = loop
        self._trip = trip

    def send(self, frame: bytes) -> bool:
        self._trip()
        if self.link.pattern == "pub":
            for pipe in self.ways.values():
                wanted = pipe.receiver.wanted
                if wanted and not frame.startswith(wanted):
                    continue
                if pipe.full:
                    self.lost += 1
                else:
                    pipe.send(frame)
            return True
        for pipe in self.ways.values():
            if pipe.full:
                return False
            pipe.send(frame)
            return True
        return False

    @property
    def wanted(self) -> tuple[bytes, ...]:
        return tuple(prefix(index) for index in self.link.exchanges)

    def send_to(self, peer: bytes, frame: bytes) -> bool:
        self._trip()
        pipe = self.ways.get(peer)
        if pipe is None or pipe.full:
            return False
        pipe.send(frame)
        return True

    def arrive(self, pipe: Pipe, frame: bytes) -> None:
        self.inbox.append((pipe, frame))
        self._loop.readable(self.fd)

    def take(self, limit: int) -> list[bytes]:
        return [frame for _, frame in self.take_from(limit)]

    def take_from(self, limit: int) -> list[tuple[bytes, bytes]]:
        taken = []
        while self.inbox and len(taken) < limit:
            pipe, frame = self.inbox.popleft()
            pipe.queued -= 1
            taken.append((pipe.peer, frame))
        self.drained = not self.inbox
        return taken

    def readable(self) -> bool:
        return bool(self.inbox)

    def writable(self) -> bool:
        return any(not pipe.full for pipe in self.ways.values())

    def close(self) -> None:
        self.network.close(self, hard=False)


class Network:
    """Every wire there is, and which of them are connected."""

    def __init__(self, timeline: Timeline, random: Random, heard: Heard, latency_ms: float) -> None:
        self.timeline = timeline
        self.random = random
        self.heard = heard
        self.latency_ms = latency_ms
        self._fds = 0
        self._bound: dict[str, SimWire] = {}
        self._waiting: dict[str, list[SimWire]] = {}

    def next_fd(self) -> int:
        self._fds += 1
        return self._fds

    def bind(self, wire: SimWire) -> None:
        address = wire.link.address
        self._bound[address] = wire
        for waiting in self._waiting.pop(address, []):
            self._connect_later(waiting)

    def connect(self, wire: SimWire) -> None:
        if wire.inproc and wire.link.address in self._bound:
            self._join(wire)
        else:
            self._connect_later(wire)

    def _connect_later(self, wire: SimWire) -> None:
        self.timeline.after(self.random.uniform(0.1, 60.0), lambda: self._join(wire))

    def _join(self, wire: SimWire) -> None:
        address = wire.link.address
        bound = self._bound.get(address)
        if wire.closed or wire.ways or (bound is not None and wire.fd in bound.ways):
            return
        if bound is None:
            if wire not in self._waiting.setdefault(address, []):
                self._waiting[address].append(wire)
            return
        out = Pipe(self, wire, bound, wire.inproc)
        back = Pipe(self, bound, wire, wire.inproc)
        out.peer = wire.identity
        key: object = wire.identity if bound.replies else wire.fd
        wire.ways[bound.fd] = out
        bound.ways[key] = back

    def close(self, wire: SimWire, hard: bool) -> None:
        """A wire is closed: at once (its process died), or after what it sent has left."""
        if wire.closed:
            return
        wire.closed = True
        wire.inbox.clear()
        if wire.link.bound and self._bound.get(wire.link.address) is wire:
            del self._bound[wire.link.address]
        keeps = not hard and wire.link.pattern in ("pub", "router")
        for pipe in list(wire.ways.values()):
            pipe.open = False
            if not keeps:
                pipe.lose_suffix()
            self._part(pipe.receiver, wire)
        wire.ways.clear()

    def _part(self, other: SimWire, gone: SimWire) -> None:
        """The other end notices."""
        for key, pipe in list(other.ways.items()):
            if pipe.receiver is gone:
                pipe.open = False
                pipe.held.clear()
                del other.ways[key]
        if not other.link.bound and not other.closed:
            self._connect_later(other)

    def reset(self, wire: SimWire) -> None:
        """The connection of a connecting wire breaks with both ends alive."""
        for pipe in list(wire.ways.values()):
            bound = pipe.receiver
            backs = [(key, back) for key, back in bound.ways.items() if back.receiver is wire]
            del wire.ways[bound.fd]
            for key, _ in backs:
                del bound.ways[key]
            for cut in (pipe, *(back for _, back in backs)):
                cut.lose_suffix()
                cut.linger(self.random.choice((0.0, 5.0, 150.0)))
            self._connect_later(wire)
