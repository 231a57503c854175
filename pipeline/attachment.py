"""Wires for those that are no actors: an engine beside the actors or in a process apart, simulated clients.

They live on the same loop under the same drain discipline, need no lock and bind nothing. An attachment
reaches an actor over inproc when it runs in the same process with the same sockets, over ipc otherwise.
"""

from collections.abc import Callable, Iterable

from pipeline.clock import Clock
from pipeline.deployment import Deployment
from pipeline.lane import attempt_now
from pipeline.reader import Loop, Reader
from pipeline.report import Say, tell, to_stderr
from pipeline.sockets import Sockets, Wire
from pipeline.topology import CHUNK_SIZE_LIMIT, CONTROL_HWM, Link, connect_endpoint

OnFrame = Callable[[str, bytes], None]  # link, frame


class Attachment:
    """Connected links: a callback per frame, another per batch. `process` None: a process apart."""

    def __init__(
        self,
        deployment: Deployment,
        sockets: Sockets,
        loop: Loop,
        process: str | None,
        on_frame: OnFrame,
        on_drained: Callable[[], None] | None = None,
        name: str = "engine",
    ) -> None:
        self.name = name
        self._deployment = deployment
        self._sockets = sockets
        self._loop = loop
        self._process = process
        self._on_frame = on_frame
        self._on_drained = on_drained
        self._wires: dict[str, Wire] = {}
        self._readers: dict[str, Reader] = {}

    def connect(self, links: Iterable[Link]) -> None:
        for link in links:
            endpoint = connect_endpoint(self._deployment, link, self._process)
            wire = self._sockets.connect(link, endpoint, self._sockets.identity(self.name))
            self._wires[link.name] = wire
            if link.pattern != "push":
                limit = self._deployment.edges.batch_limit
                reader = Reader(self._loop, wire, limit, self._hearer(link.name))
                self._readers[link.name] = reader
                reader.resume()

    def send(self, link: str, frame: bytes) -> bool:
        """False: the link is full, or nobody is there yet."""
        wire = self._wires[link]
        sent = wire.send(frame)
        if wire.two_way:
            self._readers[link].nudge()
        return sent

    def writable(self, link: str) -> bool:
        """Whether a send would be taken now."""
        return self._wires[link].writable()

    def drain(self) -> bool:
        """One batch of every link now, without waiting for the loop; whether one of them has more."""
        more = [reader.drain() for reader in self._readers.values()]
        return any(more)

    def pause(self, link: str, paused: bool = True) -> None:
        if paused:
            self._readers[link].pause()
        else:
            self._readers[link].resume()

    def close(self) -> None:
        """Safe to repeat."""
        for reader in self._readers.values():
            reader.pause()
        for wire in self._wires.values():
            self._sockets.forget(wire)
        self._readers.clear()
        self._wires.clear()

    def _hearer(self, link: str) -> Callable[[list[bytes]], None]:
        def on_batch(frames: list[bytes]) -> None:
            for frame in frames:
                self._on_frame(link, frame)
            if self._on_drained is not None:
                self._on_drained()

        return on_batch


class ClientWire:
    """The two-way edge that a client gets: see client.Wire."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._open = True

    def send(self, frame: bytes) -> bool:
        return self._open and self._attachment.send("edge", frame)

    def close(self) -> None:
        self._open = False
        self._attachment.close()


class ClientLinks:
    """The deployment's own edges for the client of one actor: see client.Links."""

    def __init__(
        self,
        deployment: Deployment,
        sockets: Sockets,
        loop: Loop,
        process: str | None,
        actor: str,
        clock: Clock,
        say: Say = to_stderr,
    ) -> None:
        self.fingerprint = deployment.fingerprint
        self._deployment = deployment
        self._sockets = sockets
        self._loop = loop
        self._process = process
        self._actor = actor
        self._clock = clock
        self._say = say
        self._wires: list[ClientWire] = []

    def connect(self, actor: str, edge: str, on_frame: Callable[[bytes], None]) -> ClientWire:
        """A DEALER to an actor's ROUTER edge."""

        def heard(_: str, frame: bytes) -> None:
            outcome = attempt_now(on_frame, frame)
            if outcome.error is not None:
                tell(self._say, f"{self._actor}: its client could not take a frame", outcome.error)

        attachment = Attachment(
            self._deployment, self._sockets, self._loop, self._process, heard, name=self._actor
        )
        hwm = max(CONTROL_HWM, self._deployment.edges.events_hwm)
        attachment.connect([Link("edge", "dealer", actor, edge, False, hwm, CHUNK_SIZE_LIMIT)])
        wire = ClientWire(attachment)
        self._wires.append(wire)
        return wire

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def close(self) -> None:
        """Close what the client left open."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()
