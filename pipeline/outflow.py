"""The frames of one actor on their way out, in order, through links that may be full.

What a link does not take goes back to the actor, with everything after it for that link. A PUB link is never
full: it loses a burst beyond its high-water mark for everybody, without an error. So at most a quarter of the
mark leaves in one turn; the rest follows in the next turns, no faster than a reader on the same loop drains.
"""

from collections import deque
from collections.abc import Callable, Iterable

from pipeline.actor import Send
from pipeline.sockets import Wire


class Publisher:
    """Frames on their way to one PUB wire."""

    def __init__(self, wire: Wire, batch_limit: int) -> None:
        self._wire = wire
        self._turn_limit = max(1, wire.link.hwm // 4)
        self._next_limit = min(self._turn_limit, batch_limit)
        self._room = self._turn_limit
        self.left: deque[bytes] = deque()

    def begin_turn(self) -> None:
        self._room = 0 if self.left else self._turn_limit

    def send(self, frame: bytes) -> None:
        if self._room > 0:
            self._room -= 1
            self._wire.send(frame)
        else:
            self.left.append(frame)

    def go_on(self) -> None:
        """Send a further turn's worth of what is left."""
        # A send looks only once a millisecond for the word that readers have made room; this looks now.
        self._wire.writable()
        for _ in range(min(self._next_limit, len(self.left))):
            self._wire.send(self.left.popleft())

    def finish(self) -> None:
        """Send all that is left: the last turn is over."""
        while self.left:
            self._wire.send(self.left.popleft())


class Outflow:
    """Every link of one actor, as far as it sends. `sent_on(link)` is called for two-way links."""

    def __init__(self, batch_limit: int, sent_on: Callable[[str], None]) -> None:
        self.publishes = False  # whether one of the links is a PUB
        self.replies_dropped = 0  # to peers that were gone, or whose queue was full
        self._batch_limit = batch_limit
        self._sent_on = sent_on
        self._wires: dict[str, Wire] = {}
        self._publishers: dict[str, Publisher] = {}

    def add(self, wire: Wire) -> None:
        name = wire.link.name
        self._wires[name] = wire
        if wire.link.pattern == "pub":
            self.publishes = True
            self._publishers[name] = Publisher(wire, self._batch_limit)

    def begin_turn(self) -> None:
        for publisher in self._publishers.values():
            publisher.begin_turn()

    def send(self, frames: Iterable[Send]) -> dict[str, list[bytes]]:
        """Returns, per link that was full, the frames that it did not take. KeyError: no such link."""
        unsent: dict[str, list[bytes]] = {}
        wires, publishers = self._wires, self._publishers
        two_way: set[str] = set()
        for link, frame, peer in frames:
            if peer is not None:
                two_way.add(link)
                if not wires[link].send_to(peer, frame):
                    self.replies_dropped += 1
            elif link in unsent:
                unsent[link].append(frame)
            elif link in publishers:
                publishers[link].send(frame)
            else:
                wire = wires[link]
                if not wire.send(frame):
                    unsent[link] = [frame]
                if wire.two_way:
                    two_way.add(link)
        for link in two_way:
            self._sent_on(link)
        return unsent

    @property
    def left(self) -> bool:
        """Whether published frames wait for their turn."""
        return any(publisher.left for publisher in self._publishers.values())

    def go_on(self) -> None:
        for publisher in self._publishers.values():
            publisher.go_on()

    def finish(self) -> None:
        for publisher in self._publishers.values():
            publisher.finish()
