"""Gives every event its place in the one feed, once.

Takes only the next frame of each source, lets nothing take an order back, never suppresses an answer, and
publishes what is committed. The journal is the buffer: a reader who lost frames asks for them again.
"""

from actors.admission import Admission
from actors.desk import DeskActor
from actors.merger_state import TABLES, FeedState
from pipeline import headers
from pipeline.actor import Journal, Outbox, Outcome
from pipeline.codec import KINDS, BodyError, encode, read_source_body
from pipeline.control import Failed, ReplayChunk, ReplayQuery, StateQuery
from pipeline.deployment import Deployment
from pipeline.headers import SOURCE_SIZE, ControlHeader, HeaderError, Kind
from pipeline.identity import COUNT_LIMIT
from pipeline.messages import (
    ARRAY_LIMIT,
    NO_EXCHANGE,
    ActorStarted,
    Event,
    ExchangeMark,
    FeedReset,
    Heartbeat,
    Message,
    SourceMark,
)
from pipeline.topology import source_id
from pipeline.vocabulary import Role

__all__ = ["TABLES", "Merger"]

AFTER_A_BURST_NS = 20_000_000
_REPLAYS_LIMIT = 64  # replays under way at once; more are not answered, and asked again


class Merger(DeskActor):
    """Number, de-duplicate, journal, publish, acknowledge; replay and state for those who ask."""

    def __init__(self, name: str, deployment: Deployment, journal: Journal) -> None:
        super().__init__(name, deployment)
        self.outbox = Outbox()
        self.journal = journal
        self.state = FeedState(journal, deployment)
        self.admission = Admission(self.state, journal, deployment.edges.tombstone_limit, self.count)
        self._heartbeat_due_ns = 0
        self._fresh = False  # something was appended since the last heartbeat
        self._replays: dict[int, tuple[str, bytes, ControlHeader, ReplayQuery]] = {}
        self._token = 0
        self._pruned_to = 0
        self._known_sources = {source_id(deployment, actor) for actor in deployment.actors}

    def on_start(self, now_ns: int, seed: int) -> None:
        self.epoch = now_ns
        previous = self.state.begin(now_ns, self.journal.tail_lost)
        self.admission.restore(previous is not None)
        if previous is not None:
            self._append(
                NO_EXCHANGE, Role.MERGER, FeedReset(previous_feed_id=previous, reason="the tail may be lost")
            )
        self._append(
            NO_EXCHANGE, Role.MERGER, ActorStarted(actor=self.name, epoch=now_ns, received_at_ns=now_ns)
        )
        self._heartbeat_due_ns = now_ns

    # ------------------------------------------------------------------------------------ events in

    def on_message(self, link: str, frame: bytes, now_ns: int) -> None:
        try:
            header = headers.read_source(frame)
        except HeaderError:
            self.count("bad_source_frames")
            return
        known = header.exchange in self.state.exchanges and header.source in self._known_sources
        if not known or max(header.epoch, header.number) > COUNT_LIMIT:
            self.count("bad_source_frames")
            return
        if not self.state.sources.is_next(header.source, header.epoch, header.number, header.first):
            self.count("repeated_frames")
            return
        try:
            event = read_source_body(header.kind, frame)
            if not isinstance(event, Event):
                raise BodyError(f"kind {header.kind} is no event")
        except BodyError:
            # Ours or not, it has a number that its source waits on; a body nobody can read is
            # counted, not waited for.
            self.count("bad_source_bodies")
            return
        exchange, role = header.exchange, header.source >> 16
        self.state.now_ns = now_ns
        for kind, body in self.admission.admit(exchange, event, header.kind, frame[SOURCE_SIZE:]):
            self._publish(exchange, role, kind, body)
        if header.kind == Kind.AccountSnapshot or header.source in self.state.sources.held:
            self.state.sources.hold(header.source, self.admission.holds(exchange))

    def _append(self, exchange: int, role: int, event: Event) -> None:
        self._publish(exchange, role, KINDS[type(event)], encode(event))

    def _publish(self, exchange: int, role: int, kind: int, body: bytes) -> None:
        state = self.state
        seq, exchange_seq = state.next_numbers(exchange)
        frame = headers.feed(exchange, kind, role, state.feed_id, seq, exchange_seq, state.now_ns) + body
        self.journal.put("events", (seq, exchange, exchange_seq, state.now_ns, kind, frame))
        self.outbox.send("feed", frame)
        self._fresh = True

    # ------------------------------------------------------------------------------------ the pulse

    def on_batch_end(self, now_ns: int) -> None:
        self.state.now_ns = now_ns
        self.state.save()
        self.admission.save()
        if self._fresh:
            self._fresh = False
            self._heartbeat_due_ns = min(self._heartbeat_due_ns, now_ns + AFTER_A_BURST_NS)

    def next_deadline_ns(self) -> int | None:
        return self._heartbeat_due_ns

    def on_deadline(self, now_ns: int) -> None:
        if now_ns < self._heartbeat_due_ns:
            return
        self._heartbeat_due_ns = now_ns + self.deployment.edges.heartbeat_ms * 1_000_000
        self.outbox.send("feed", self._heartbeat(now_ns))
        self._prune()

    def _heartbeat(self, now_ns: int) -> bytes:
        state = self.state
        body = Heartbeat(
            last_seq=state.seq,
            exchanges=[
                ExchangeMark(exchange, mark.exchange_seq, mark.last_trade_at_ns)
                for exchange, mark in state.exchanges.items()
            ],
            acknowledged=[SourceMark(source, *mark) for source, mark in state.sources.safe.items()],
        )
        head = headers.feed(NO_EXCHANGE, Kind.Heartbeat, Role.MERGER, state.feed_id, state.seq, 0, now_ns)
        return head + encode(body)

    def _prune(self) -> None:
        """Forget events beyond retention, a few at a time so that no batch waits for it."""
        limit = self.state.seq - self.deployment.edges.event_retention
        if limit > self._pruned_to:
            upto = min(limit, self._pruned_to + 5_000)
            self.journal.forget("events", self._pruned_to, upto)
            self._pruned_to = upto

    # ------------------------------------------------------------------------------------ questions

    def on_control(self, link: str, peer: bytes, header: ControlHeader, body: Message, now_ns: int) -> None:
        if link == "replay" and not isinstance(body, (ReplayQuery, StateQuery)):
            # Engines reach this edge: commands travel on the control edge only.
            self.count("bad_control_frames")
            words = f"the replay edge does not do {type(body).__name__}"
            self.answer(link, peer, header, Failed(detail=words))
        elif isinstance(body, ReplayQuery):
            self._on_replay_query(link, peer, header, body)
        elif isinstance(body, StateQuery):
            for chunk in self.admission.state_chunks(
                None if header.exchange == NO_EXCHANGE else header.exchange
            ):
                self.answer(link, peer, header, chunk)
        else:
            super().on_control(link, peer, header, body, now_ns)

    def _on_replay_query(self, link: str, peer: bytes, header: ControlHeader, query: ReplayQuery) -> None:
        if len(self._replays) >= _REPLAYS_LIMIT:
            self.count("replays_put_off")
            return
        self._token += 1
        self._replays[self._token] = (link, peer, header, query)
        exchange = None if header.exchange == NO_EXCHANGE else header.exchange
        self.outbox.call(self._token, "events", query.after, max(1, min(query.limit, ARRAY_LIMIT)), exchange)

    def on_call_done(self, token: int, outcome: Outcome, now_ns: int) -> None:
        link, peer, header, query = self._replays.pop(token)
        if outcome.error is not None:
            self.count("replays_failed")
            return
        frames, through, last, oldest = outcome.value
        if query.after > self.state.seq:
            last = self.state.seq  # a number that was never given: the reader learns it from this
        if query.feed_id != self.state.feed_id:
            frames, through = (
                [],
                query.after,
            )  # the reader learns from the id that its numbers mean nothing here
        chunk = ReplayChunk(
            feed_id=self.state.feed_id,
            after=query.after,
            through=through,
            last=last,
            oldest=oldest,
            frames=frames,
        )
        self.count("replayed_events", len(frames))
        self.answer(link, peer, header, chunk)

    def on_unsent(self, link: str, frames: list[bytes], now_ns: int) -> None:
        self.count(f"unsent_{link}", len(frames))

    def gauges(self, now_ns: int) -> dict[str, int]:
        return {
            "feed_id": self.state.feed_id,
            "seq": self.state.seq,
            "orders_active": len(self.admission.orders.active),
        }

    def ready(self, now_ns: int) -> bool:
        return True
