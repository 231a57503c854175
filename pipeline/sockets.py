"""Every socket of orderwire, made in one place with every option set on purpose. Only here is zmq imported.

All sends and receives are non-blocking. A frame is a whole message: on a ROUTER, messages of another shape
are dropped whole and counted; elsewhere, where looking costs more than receiving, each part of one comes
alone and is judged as a frame. Descriptors are edge-triggered: see reader.py for what that asks of the loop.
"""

import os
from pathlib import Path
from typing import Any, Final

import zmq

from pipeline.directories import make_way
from pipeline.headers import prefix
from pipeline.topology import Link

NOBLOCK: Final = int(zmq.NOBLOCK)
EVENTS: Final = int(zmq.EVENTS)
READABLE: Final = int(zmq.POLLIN)
WRITABLE: Final = int(zmq.POLLOUT)
FIRST_OF_TWO: Final = int(zmq.NOBLOCK | zmq.SNDMORE)

PATTERNS: Final = {
    "push": zmq.PUSH,
    "pull": zmq.PULL,
    "pub": zmq.PUB,
    "sub": zmq.SUB,
    "dealer": zmq.DEALER,
    "router": zmq.ROUTER,
}
# How long what was sent may take to leave after close. Requests are asked again; the last frames of the feed
# and the last replies are worth half a second.
LINGER_MS: Final = {"push": 0, "pull": 0, "pub": 500, "sub": 0, "dealer": 0, "router": 500}

EVERY_SOCKET: Final[dict[zmq.SocketOption, int]] = {
    zmq.HANDSHAKE_IVL: 2_000,  # ms; an idle half-open connection does not stay
    zmq.RECONNECT_IVL: 50,  # ms
    # Without a maximum the wait does not grow. A short one: on one machine the other end is back at once, and
    # until it is found a router refuses what it could carry.
    zmq.RECONNECT_IVL_MAX: 200,  # ms
    zmq.BACKLOG: 128,
}
# Nothing queues for a peer that is not there. Not on SUB, where it delays the subscription.
WHERE_CONNECTING: Final[dict[str, dict[zmq.SocketOption, int]]] = {
    "push": {zmq.IMMEDIATE: 1},
    "dealer": {zmq.IMMEDIATE: 1},
}
BY_PATTERN: Final[dict[str, dict[zmq.SocketOption, int]]] = {
    "router": {zmq.ROUTER_MANDATORY: 1, zmq.ROUTER_HANDOVER: 0},  # no silent drop, no theft of an identity
}


class Wire:
    """One end of a link."""

    def __init__(self, link: Link, socket: "zmq.Socket[bytes]") -> None:
        self.link = link
        self.fd: int = socket.getsockopt(zmq.FD)  # type: ignore[assignment]
        self.dropped = 0  # what came and was no message: too large, or of the wrong number of parts
        self.drained = True  # the last take() ended because nothing was left, not by its limit
        self.replies = link.pattern == "router"
        self.two_way = link.pattern in ("router", "dealer")
        self._socket = socket
        self._size_limit = link.size_limit
        # The compiled methods, without the Python layer over them: they run once per message.
        compiled: Any = super(zmq.Socket, socket)
        self._send = compiled.send
        self._recv = compiled.recv
        self._get = compiled.get
        self._files: list[tuple[str, int]] = []  # (path, inode) of what binding made

    def send(self, frame: bytes) -> bool:
        """False: the link is full, or nobody is there."""
        try:
            self._send(frame, NOBLOCK)
        except zmq.Again:
            # `Again` is also said for up to a millisecond after the peer has made room; EVENTS looks anew.
            if not self.writable():
                return False
            try:
                self._send(frame, NOBLOCK)
            except zmq.Again:
                return False
        return True

    def send_to(self, peer: bytes, frame: bytes) -> bool:
        """ROUTER only. False: that peer's queue is full, or it is gone."""
        try:
            self._send(peer, FIRST_OF_TWO)
        except zmq.Again:
            self.writable()
            try:
                self._send(peer, FIRST_OF_TWO)
            except zmq.ZMQError:
                return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        self._send(frame, NOBLOCK)
        return True

    def take(self, limit: int) -> list[bytes]:
        """Up to `limit` frames that are there now; `drained` says whether that was all."""
        frames: list[bytes] = []
        recv, size_limit = self._recv, self._size_limit
        try:
            for count in range(limit):
                frame = recv(NOBLOCK)
                if len(frame) > size_limit:  # inproc knows no MAXMSGSIZE
                    self.dropped += 1
                else:
                    frames.append(frame)
                # One frame alone is the common case of a quiet link, and asking costs a third of `Again`.
                if count == 0 and not self._get(EVENTS) & READABLE:
                    self.drained = True
                    return frames
        except zmq.Again:
            self.drained = True
        else:
            self.drained = False
        return frames

    def take_from(self, limit: int) -> list[tuple[bytes, bytes]]:
        """As `take` for a ROUTER: (peer, frame)."""
        questions: list[tuple[bytes, bytes]] = []
        recv, socket = self._recv, self._socket
        try:
            for count in range(limit):
                peer = recv(NOBLOCK)
                parts, frame = 1, b""
                while socket.rcvmore:
                    frame = recv(NOBLOCK)
                    parts += 1
                if parts == 2 and len(frame) <= self._size_limit:
                    questions.append((peer, frame))
                else:
                    self.dropped += 1
                if count == 0 and not self._get(EVENTS) & READABLE:
                    self.drained = True
                    return questions
        except zmq.Again:
            self.drained = True
        else:
            self.drained = False
        return questions

    def receive(self) -> bytes | None:
        """The next frame, or None when there is none now."""
        while True:
            frames = self.take(1)
            if frames:
                return frames[0]
            if self.drained:
                return None

    def receive_from(self) -> tuple[bytes, bytes] | None:
        """ROUTER only: the next (peer, frame), or None when there is none now."""
        while True:
            questions = self.take_from(1)
            if questions:
                return questions[0]
            if self.drained:
                return None

    def readable(self) -> bool:
        return bool(self._get(EVENTS) & READABLE)

    def writable(self) -> bool:
        return bool(self._get(EVENTS) & WRITABLE)

    def close(self) -> None:
        """Close, and remove the socket files that binding made, unless somebody put others in their place."""
        self._socket.close()
        for path, inode in self._files:
            try:
                if os.lstat(path).st_ino == inode:
                    os.unlink(path)
            except FileNotFoundError:
                pass
        self._files.clear()

    def listen(self, endpoint: str) -> None:
        """Bind, and remember the file that it makes. For Sockets only."""
        self._socket.bind(endpoint)
        if endpoint.startswith("ipc://"):
            path = endpoint.removeprefix("ipc://")
            self._files.append((path, os.lstat(path).st_ino))


class Sockets:
    """The sockets of one process. Wires on inproc meet only within one of these."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._context.set(zmq.BLOCKY, 0)
        self._wires: list[Wire] = []
        self._boot = os.urandom(8).hex()
        self._identities = 0

    def bind(self, link: Link, endpoints: tuple[str, ...]) -> Wire:
        """Listen; the caller holds the lock of the link's binder. ConfigError: a path is not ours."""
        wire = self._make(link, {zmq.IPC_FILTER_UID: os.getuid()})
        for endpoint in endpoints:
            if endpoint.startswith("ipc://"):
                make_way(Path(endpoint.removeprefix("ipc://")), self._run_dir)
            umask = os.umask(0o177)
            try:
                wire.listen(endpoint)
            finally:
                os.umask(umask)
        return wire

    def connect(self, link: Link, endpoint: str, identity: bytes = b"") -> Wire:
        """Connect, now or when the other end appears. `identity` is what a ROUTER will know a DEALER by."""
        wire = self._make(link, WHERE_CONNECTING.get(link.pattern, {}))
        socket = wire._socket
        if link.pattern == "dealer":
            socket.setsockopt(zmq.ROUTING_ID, identity or self.identity("anonymous"))
        elif link.pattern == "sub":
            for wanted in [prefix(index) for index in link.exchanges] or [b""]:
                socket.setsockopt(zmq.SUBSCRIBE, wanted)
        socket.connect(endpoint)
        return wire

    def identity(self, actor: str) -> bytes:
        """A name that no other connection has: the actor, this run of the process, a count."""
        self._identities += 1
        return f"{actor}#{self._boot}.{self._identities}".encode()

    def close(self) -> None:
        """Close every wire and end the context; returns within the longest linger."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()
        self._context.term()

    def forget(self, wire: Wire) -> None:
        """Close one wire that is no longer needed."""
        wire.close()
        if wire in self._wires:
            self._wires.remove(wire)

    def _make(self, link: Link, more: dict[zmq.SocketOption, int]) -> Wire:
        socket = self._context.socket(PATTERNS[link.pattern])
        options: dict[zmq.SocketOption, int] = {
            **EVERY_SOCKET,
            **BY_PATTERN.get(link.pattern, {}),
            zmq.LINGER: LINGER_MS[link.pattern],
            zmq.SNDHWM: link.hwm,
            zmq.RCVHWM: link.hwm,
            zmq.MAXMSGSIZE: link.size_limit,
            **more,
        }
        for option, value in options.items():
            socket.setsockopt(option, value)
        if link.bound:
            # Any domain makes the handshake refuse peers of ZMTP 1.0, which has no security to speak of.
            socket.setsockopt(zmq.ZAP_DOMAIN, f"orderwire.{link.binder}".encode())
        wire = Wire(link, socket)
        self._wires.append(wire)
        return wire
