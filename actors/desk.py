"""An actor's control desk: the questions that every actor answers on its own control socket.

A question gets one reply with its token. What an actor has of its own (halt, resolve, faults) it adds in
`on_command`; bad bytes are counted and dropped, since nobody knows who could be told.
"""

from pipeline import headers
from pipeline.actor import Actor
from pipeline.codec import KINDS, BodyError, encode, read_control_body
from pipeline.control import Done, Failed, Health, HealthQuery, Hello, Shutdown, Welcome
from pipeline.deployment import Deployment
from pipeline.headers import ControlHeader, HeaderError
from pipeline.messages import NO_EXCHANGE, Message
from pipeline.naming import printable


class DeskActor(Actor):
    """An actor with a control desk, counters and a health of its own."""

    def __init__(self, name: str, deployment: Deployment) -> None:
        self.name = name
        self.deployment = deployment
        self.epoch = 0
        self.counters: dict[str, int] = {}

    def count(self, what: str, by: int = 1) -> None:
        self.counters[what] = self.counters.get(what, 0) + by

    def on_dropped(self, link: str, count: int) -> None:
        self.count(f"dropped_{link}", count)

    def on_question(self, link: str, peer: bytes, frame: bytes, now_ns: int) -> None:
        try:
            header = headers.read_control(frame)
            body = read_control_body(header.kind, frame)
        except HeaderError:
            self.count("bad_control_frames")
            return
        except BodyError as error:
            self.count("bad_control_frames")
            self.answer(link, peer, headers.read_control(frame), Failed(detail=str(error)))
            return
        self.on_control(link, peer, header, body, now_ns)

    def on_control(self, link: str, peer: bytes, header: ControlHeader, body: Message, now_ns: int) -> None:
        reply: Message
        if isinstance(body, Hello):
            reply = Welcome(
                actor=self.name,
                epoch=self.epoch,
                ready=self.ready(now_ns),
                fingerprint=self.deployment.fingerprint,
            )
        elif isinstance(body, HealthQuery):
            reply = self.health(now_ns)
        elif isinstance(body, Shutdown):
            self.on_shutdown(body, now_ns)
            reply = Done(detail=f"{self.name} is stopping")
        else:
            reply = self.on_command(header, body, now_ns)
        self.answer(link, peer, header, reply)

    def answer(self, link: str, peer: bytes, header: ControlHeader, body: Message) -> None:
        head = headers.control(NO_EXCHANGE, KINDS[type(body)], self.deployment.fingerprint, header.token)
        self.outbox.reply(link, peer, head + encode(body))

    def on_command(self, header: ControlHeader, body: Message, now_ns: int) -> Message:
        """What only some actors do."""
        return Failed(detail=f"{self.name} does not do {type(body).__name__}")

    def on_shutdown(self, body: Shutdown, now_ns: int) -> None:
        self.outbox.stop(f"asked by {printable(body.by)}", body.within_ms)

    def ready(self, now_ns: int) -> bool:
        """Whether it can do its work."""
        return True

    def gauges(self, now_ns: int) -> dict[str, int]:
        return {}

    def notes(self) -> list[str]:
        """What a person should know, one line each."""
        return []

    def health(self, now_ns: int) -> Health:
        return Health(
            actor=self.name,
            epoch=self.epoch,
            ready=self.ready(now_ns),
            counters=dict(self.counters),
            gauges=self.gauges(now_ns),
            notes=self.notes(),
        )
