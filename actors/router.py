"""Carries each request to the executor of its exchange, or refuses it with a typed reason.

It checks what depends on a request's bytes and the deployment file alone, keeps no state that matters,
and never waits: a full executor's requests are refused `Overloaded`, and while its own refusals are not
taken it stops reading.
"""

from actors.desk import DeskActor
from pipeline import headers
from pipeline.actor import Outbox
from pipeline.checks import check_header, check_identity, check_request
from pipeline.codec import BodyError, decode_as, read_request_body
from pipeline.deployment import Deployment
from pipeline.headers import HeaderError, Kind, RequestHeader
from pipeline.identity import CID_GRAMMAR
from pipeline.messages import NO_EXCHANGE, ActorStarted, Answers, Heartbeat, OpenOrder, Refused
from pipeline.source import Source
from pipeline.topology import source_id
from pipeline.vocabulary import Refusal

_ROOM_KEPT = 512  # stop reading requests while fewer refusals than this could still be kept


class Router(DeskActor):
    """The way in: header, body and table are checked, then the frame goes on untouched."""

    def __init__(self, name: str, deployment: Deployment) -> None:
        super().__init__(name, deployment)
        self.outbox = Outbox()
        self._targets = [f"executor.{exchange.name}" for exchange in deployment.exchanges]
        self._paused = False
        self.source = Source(self.outbox, 0, 0, 1, 1)

    def on_start(self, now_ns: int, seed: int) -> None:
        self.epoch = now_ns
        edges = self.deployment.edges
        self.source = Source(
            self.outbox,
            source_id(self.deployment, self.name),
            now_ns,
            edges.outbox_limit,
            edges.resend_after_ms,
        )
        self._say(NO_EXCHANGE, ActorStarted(actor=self.name, epoch=now_ns, received_at_ns=now_ns), now_ns)

    def on_message(self, link: str, frame: bytes, now_ns: int) -> None:
        if link == "requests":
            self._on_request(frame, now_ns)
        elif link == "feed":
            self._on_feed(frame, now_ns)

    def _on_request(self, frame: bytes, now_ns: int) -> None:
        try:
            header = headers.read_request(frame)
        except HeaderError:
            self.count("bad_request_frames")
            return
        if check_identity(header) is not None:
            self.count("nameless_requests")  # nobody whom an answer could reach
            return
        refusal = self._check(header, frame)
        if refusal is None:
            self.outbox.send(self._targets[header.exchange], frame)
        else:
            self._refuse(header, *refusal, now_ns)

    def _check(self, header: RequestHeader, frame: bytes) -> tuple[Refusal, str, str] | None:
        """None for a request that may go on; else why not, in words, and the cid if it could be read."""
        verdict = check_header(self.deployment, header)
        if verdict is not None:
            return *verdict, ""
        try:
            body = read_request_body(header.kind, frame)
        except BodyError as error:
            return Refusal.InvalidRequest, f"body: {error}", ""
        verdict = check_request(self.deployment.exchanges[header.exchange], header, body)
        if verdict is None:
            return None
        cid = getattr(body, "cid", "")
        # What is no cid is told in the detail, escaped, and not repeated as it came.
        return *verdict, cid if CID_GRAMMAR.fullmatch(cid) else ""

    def _refuse(self, header: RequestHeader, reason: Refusal, detail: str, cid: str, now_ns: int) -> None:
        self.count(f"refused_{reason.name}")
        event = Refused(
            received_at_ns=now_ns,
            answers=Answers(header.engine, header.session, header.rid),
            reason=reason,
            detail=detail[:200],
            cid=cid,
        )
        known = header.exchange < len(self._targets)
        self._say(header.exchange if known else NO_EXCHANGE, event, now_ns)

    def _say(self, exchange: int, event: ActorStarted | Refused, now_ns: int) -> None:
        self.source.emit(exchange, event, now_ns)

    def on_unsent(self, link: str, frames: list[bytes], now_ns: int) -> None:
        if link == "events":
            self.source.on_unsent(frames, now_ns)
            return
        for frame in frames:
            header = headers.read_request(frame)
            if header.attempt:
                # A resend is a question about a request that may have been accepted: it is never
                # refused here.
                self.count("resends_dropped")
                continue
            cid = ""
            if header.kind == Kind.OpenOrder:
                body = read_request_body(header.kind, frame)
                assert isinstance(body, OpenOrder)
                cid = body.cid
            self._refuse(
                header, Refusal.Overloaded, f"the link to {link} is full: send more slowly", cid, now_ns
            )

    def on_batch_end(self, now_ns: int) -> None:
        full = self.source.room < min(_ROOM_KEPT, self.deployment.edges.outbox_limit // 2)
        if full != self._paused:
            self._paused = full
            self.outbox.pause("requests", full)

    def _on_feed(self, frame: bytes, now_ns: int) -> None:
        try:
            header = headers.read_feed(frame)
            if header.kind == Kind.Heartbeat:
                self.source.on_heartbeat(decode_as(Heartbeat, frame, headers.FEED_SIZE), now_ns)
                self._feed_heard_ns = now_ns
        except (HeaderError, BodyError):
            self.count("bad_feed_frames")

    def next_deadline_ns(self) -> int | None:
        return self.source.next_deadline_ns()

    def on_deadline(self, now_ns: int) -> None:
        self.source.on_deadline(now_ns)

    def gauges(self, now_ns: int) -> dict[str, int]:
        return {"unacknowledged": self.source.unacknowledged}
