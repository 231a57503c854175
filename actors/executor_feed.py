"""What an executor reads on the feed of its own exchange, and what follows for its orders.

The reconnector reports and the executor judges: an order is suspect only if the exchange's last word on it is
older than the fence of a snapshot that does not show it. Its own events are skipped. The cursor is journaled
with what was done about it.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.executor_state import SHOWN_OPEN, Record, adopted
from pipeline import client
from pipeline.actor import Outbox
from pipeline.codec import BodyError, read_feed_body
from pipeline.control import StateChunk
from pipeline.feed_reader import FeedReader
from pipeline.headers import FeedHeader
from pipeline.indexing import Unindexed, failure
from pipeline.lifecycle import Verdict, judge
from pipeline.messages import (
    AccountSnapshot,
    ActorStarted,
    Heartbeat,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Subscribed,
    Synced,
)
from pipeline.vocabulary import Error, Evidence, OrderState, Role

if TYPE_CHECKING:
    from actors.executor import Executor


class ExecutorFeed:
    """The feed as its executor hears it: a listener of FeedReader."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor
        self._index = executor.exchange.index
        self._outbox: Outbox = executor.outbox
        self.reader = self._reader(None)
        self.synced = False
        self.last_unindexed = ""
        self.words = 0  # of the exchange, heard in this life
        self._fence = 0
        self._fence_at_ns = 0
        self._shown: set[str] = set()
        self._moved = False

    def _reader(self, resume: tuple[int, int, int] | None) -> FeedReader:
        fingerprint = self._executor.deployment.fingerprint
        return FeedReader(
            self, lambda frame: self._outbox.send("replay", frame), fingerprint, self._index, resume
        )

    def begin(self, now_ns: int) -> None:
        """Go on from the journaled cursor, if there is one."""
        cursor = self._executor.rows.state("cursor").split()
        if cursor:
            feed_id, seq, exchange_seq, fence, synced = map(int, cursor)
            self.reader = self._reader((feed_id, seq, exchange_seq))
            self._fence, self.synced = fence, bool(synced)

    def save(self) -> None:
        """Journal the cursor, in the commit of what was done about the events before it."""
        if self._moved:
            self._moved = False
            reader = self.reader
            numbers = (reader.feed_id, reader.seq, reader.exchange_seq, self._fence, int(self.synced))
            self._executor.rows.set_state("cursor", " ".join(map(str, numbers)))

    @property
    def read(self) -> int:
        """The exchange's feed number up to which everything was read."""
        return self.reader.exchange_seq

    # ------------------------------------------------------------------------------------ listening

    def on_event(self, header: FeedHeader, frame: bytes, now_ns: int) -> None:
        if header.role != Role.RECONNECTOR:
            return
        self._moved = True
        try:
            event = read_feed_body(header.kind, frame)
        except BodyError:
            self._executor.count("bad_feed_frames")
            return
        if isinstance(event, (OrderSnapshot, OrderCancelled)):
            if event.order is not None and event.corrects:
                self._on_corrected(event.order, now_ns)
            elif event.order is not None:
                self._on_order(event.order, event.evidence, now_ns)
        elif isinstance(event, AccountSnapshot):
            self._on_snapshot(event, now_ns)
        elif isinstance(event, Subscribed):
            self._fence, self._fence_at_ns = header.exchange_seq, event.received_at_ns
            self.synced = False
        elif isinstance(event, Synced):
            self.synced = True
        elif isinstance(event, (Reconnecting, ActorStarted)):
            self.synced = False

    def on_heartbeat(self, heartbeat: Heartbeat, now_ns: int) -> None:
        executor = self._executor
        before = executor.source.acknowledged
        after = executor.source.on_heartbeat(heartbeat, now_ns)
        if after > before:
            executor.rows.set_state("acknowledged", str(after))
            # The newest row stays: it is where the next life counts on from.
            executor.journal.forget("outbox", before, min(after, executor.source.number - 1))

    def on_state(self, chunk: StateChunk, now_ns: int) -> None:
        self._moved = True
        for state in chunk.exchanges:
            if state.exchange == self._index:
                self.synced = state.synced
        for placed in chunk.orders:
            if placed.exchange == self._index:
                self._on_order(placed.order, Evidence.NONE, now_ns)

    def on_reset(self, feed_id: int, previous_feed_id: int, now_ns: int) -> None:
        self._moved = True
        self.synced = False
        self._fence = 0
        for record in self._executor.orders.values():
            record.word = 0

    # ------------------------------------------------------------------------------------ orders

    def _on_order(self, said: Order, evidence: Evidence, now_ns: int) -> None:
        record = self._executor.orders.get(said.cid)
        if record is None:
            self._adopt(said, now_ns)
            return
        if not evidence.settles:
            return
        if self.weigh(record, said, evidence):
            self._executor.rows.save(record)
        self._executor.after_word(record, now_ns)

    def _adopt(self, order: Order, now_ns: int) -> None:
        """Take over an order that stands at the exchange and in no journal: it can be cancelled, and it is
        asked about like any other.
        """
        executor = self._executor
        if order.state.finished or executor.rows.by_cid(order.cid) is not None:
            return
        if len(executor.orders) >= executor.exchange.limits.open_orders:
            executor.count("orders_not_adopted")
            return
        executor.count("adopted_orders")
        record = executor.orders[order.cid] = adopted(order, now_ns)
        self._note_word(record)
        if order.state is OrderState.Unknown:
            executor.unknowns.begin(record, now_ns)

    def _on_corrected(self, said: Order, now_ns: int) -> None:
        """A sign of life of an order that was ended by absence: it is back, with all that goes with it."""
        executor = self._executor
        record = executor.orders.get(said.cid) or executor.rows.by_cid(said.cid)
        if record is None:
            return
        record.order = replace(
            record.order, state=said.state, filled=said.filled, id=said.id or record.order.id
        )
        self._note_word(record)
        record.seen = True
        executor.count("corrected_orders")
        executor.orders[said.cid] = record
        executor.rows.save(record)
        executor.after_word(record, now_ns)

    def _note_word(self, record: Record) -> None:
        record.word = self.read
        self.words += 1
        record.heard = self.words

    def weigh(self, record: Record, said: Order, evidence: Evidence) -> bool:
        """Take a word into an order's record; whether that changed it."""
        if evidence.settles:
            self._note_word(record)
            record.seen = record.seen or said.state is not OrderState.OpenFailed
        verdict, order = judge(record.order, said, evidence)
        if verdict is not Verdict.NEWS:
            return False
        if order.state.finished:
            record.wish = False
        record.order = order
        return True

    def order_said(self, value: object, order: Order) -> Order | None:
        """A client's answer about one order in the pipeline's words; None when it is not about that order."""
        try:
            if not isinstance(value, client.Order):
                raise Unindexed(f"a {type(value).__name__} instead of an Order")
            said = self._executor.indexer.order(value)
            # A venue that knows no client order ids answers without one.
            known_by = ("", order.cid, order.venue_cid)
            if said.instrument != order.instrument or value.cid not in known_by:
                raise Unindexed(
                    f"order {said.cid[:64]!r} of {value.instrument[:40]!r} instead of {order.cid!r}"
                )
        except Unindexed as error:
            self.last_unindexed = str(error)
            self._executor.count("unindexed_answers")
            return None
        return replace(
            said, cid=order.cid, engine=order.engine, pending=order.pending, venue_cid=order.venue_cid
        )

    def _on_snapshot(self, part: AccountSnapshot, now_ns: int) -> None:
        if part.part == 1:
            self._shown.clear()
        for said in part.orders:
            self._shown.add(said.cid)
            self._on_order(said, part.evidence, now_ns)
        if part.part == part.parts:
            self._judge_absent(now_ns)

    def _judge_absent(self, now_ns: int) -> None:
        executor = self._executor
        why = failure(Error.OrderNotFound, "not among the open orders of the account snapshot")
        for record in list(executor.orders.values()):
            # What a call told us since the subscription is newer than the fence, wherever we had read to.
            older = record.word < self._fence and record.told_at_ns <= self._fence_at_ns
            shown_open = record.order.state in SHOWN_OPEN and older
            if shown_open and not record.in_flight and record.order.cid not in self._shown:
                executor.count("suspect_orders")
                executor.become_unknown(record, Evidence.SUSPECT, now_ns, why)
        self._shown.clear()
