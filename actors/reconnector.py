"""Watches one account's private stream and reports it to the merger, across every disconnect.

Each connection is a generation: subscribe, say so (the fence), snapshot, the updates that came meanwhile, the
trades that were missed, `Synced`. One `Reconnecting` per outage. It reports; it never judges an order.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import ParamSpec, TypeVar

from actors.account_check import AccountCheck
from actors.desk import DeskActor
from pipeline import client, headers
from pipeline.actor import Outbox, Outcome
from pipeline.client import Capability, ExecutionError
from pipeline.codec import BodyError, decode_as
from pipeline.deployment import Deployment
from pipeline.headers import HeaderError, Kind
from pipeline.identity import ADOPTED_PREFIX
from pipeline.indexing import Indexer, Unindexed, failure
from pipeline.messages import (
    AccountSnapshot,
    ActorStarted,
    BalanceSnapshot,
    Event,
    Heartbeat,
    OrderCancelled,
    Reconnecting,
    Subscribed,
    Synced,
)
from pipeline.source import Source
from pipeline.topology import role, source_id
from pipeline.vocabulary import Error, Evidence

PART_ENTRIES = 1_000  # orders or balances in one part of a snapshot
_ROOM_KEPT = 4_096  # stop pulling the stream while fewer events than this could still be kept
_MILLI = 1_000_000

P = ParamSpec("P")
R = TypeVar("R")


class Reconnector(DeskActor):
    """One account stream, kept up."""

    def __init__(self, name: str, deployment: Deployment, capabilities: frozenset[Capability]) -> None:
        super().__init__(name, deployment)
        self.outbox = Outbox()
        self.exchange = deployment.exchange(role(name)[1])
        self.indexer = Indexer(self.exchange)
        self.generation = 0
        self.state = "down"  # down, subscribing, snapshot, trades, synced
        self.source = Source(self.outbox, 0, 0, 1, 1)
        self._capabilities = capabilities
        self.check = AccountCheck(self, capabilities)
        self._random = Random(0)
        self._attempt = 0
        self._outage_told = False
        self._connect_at_ns: int | None = None
        self._up_since_ns = 0
        self._heard_ns = 0
        self._token = 0
        self._stream_token = 0
        self._call_token = 0
        self._call_since_ns = 0
        self._buffer: list[Event] = []
        self.last_trade_at_ns: int | None = None  # what the merger has committed; None until it has said
        self._paused = False

    def on_start(self, now_ns: int, seed: int) -> None:
        self.epoch = now_ns
        self._random = Random(seed)
        edges = self.deployment.edges
        number = source_id(self.deployment, self.name)
        self.source = Source(self.outbox, number, now_ns, edges.outbox_limit, edges.resend_after_ms)
        # Generations go on rising across restarts without a journal: they begin at the start stamp, in
        # milliseconds, which rises faster than a stream can flap.
        self.generation = now_ns // _MILLI
        self.say(ActorStarted(actor=self.name, epoch=now_ns, received_at_ns=now_ns), now_ns)
        self._connect(now_ns)

    # ------------------------------------------------------------------------------------ connecting

    def _connect(self, now_ns: int) -> None:
        self._connect_at_ns = None
        self.state = "subscribing"
        self.generation += 1
        self._paused = False  # the new stream is read
        self._buffer.clear()
        self._stream_token = self.next_token()
        self._call_since_ns = now_ns
        self.outbox.stream(
            self._stream_token, "account_stream", self.indexer.asset_symbols, self.indexer.symbols
        )

    def next_token(self) -> int:
        self._token += 1
        return self._token

    def on_call_done(self, token: int, outcome: Outcome, now_ns: int) -> None:
        if token == self._stream_token and self.state == "subscribing":
            if outcome.error is not None:
                self._lost(outcome.error, now_ns)
                return
            self._heard_ns = self._up_since_ns = now_ns
            self.say(Subscribed(generation=self.generation, received_at_ns=now_ns), now_ns)
            self._ask(
                "snapshot", "account_snapshot", now_ns, self.indexer.asset_symbols, self.indexer.symbols
            )
        elif token == self._call_token:
            self._call_token = 0
            if outcome.error is not None:
                self._lost(outcome.error, now_ns)
            else:
                self._on_answer(outcome.value, now_ns)
        else:
            self.check.on_call_done(token, outcome, now_ns)

    def _on_answer(self, value: object, now_ns: int) -> None:
        if self.state == "snapshot" and isinstance(value, client.AccountSnapshot):
            self._on_snapshot(value, now_ns)
        elif self.state == "trades" and isinstance(value, tuple) and len(value) == 2:
            self._on_trades(*value, now_ns)
        else:
            self.count("client_bugs")
            words = f"the client answered with a {type(value).__name__} while {self.state}"
            self._lost(ExecutionError(Error.Socket, words), now_ns)

    def _ask(self, state: str, method: str, now_ns: int, *args: object) -> None:
        self.state = state
        self._call_token = self.next_token()
        self._call_since_ns = now_ns
        self.outbox.call(self._call_token, method, *args)

    def _on_snapshot(self, said: client.AccountSnapshot, now_ns: int) -> None:
        for part in self._parts(said, now_ns):
            self.say(part, now_ns)
        for event in self._buffer:
            self.say(event, now_ns)
        self._buffer.clear()
        self._fetch_trades(now_ns)

    def _parts(self, said: client.AccountSnapshot, now_ns: int) -> list[AccountSnapshot]:
        found = [self.indexed(self.indexer.order, each) for each in self.of(client.Order, said.orders)]
        orders = [order for order in found if order is not None]
        held = [self.indexed(self.indexer.balance, e) for e in self.of(client.AssetBalance, said.balances)]
        balances = [balance for balance in held if balance is not None]
        parts = max(1, -(-len(orders) // PART_ENTRIES), -(-len(balances) // PART_ENTRIES))
        return [
            AccountSnapshot(
                exchange_at_ns=said.exchange_at_ns,
                received_at_ns=now_ns,
                evidence=Evidence.SNAPSHOT,
                generation=self.generation,
                part=part + 1,
                parts=parts,
                balances=balances[part * PART_ENTRIES : (part + 1) * PART_ENTRIES],
                orders=orders[part * PART_ENTRIES : (part + 1) * PART_ENTRIES],
            )
            for part in range(parts)
        ]

    def _fetch_trades(self, now_ns: int) -> None:
        """Ask for what was traded since the last trade that the merger has; wait until it has said which
        that is.
        """
        self.state = "trades"
        if Capability.TRADES not in self._capabilities:
            self._synced(False, now_ns)
        elif self.last_trade_at_ns is not None:
            since_ns = self.check.since_ns(self.last_trade_at_ns, now_ns)
            self._ask("trades", "fetch_trades", now_ns, self.indexer.symbols, since_ns)

    def _on_trades(self, trades: Sequence[client.Trade], complete: bool, now_ns: int) -> None:
        self.tell_trades(trades, now_ns)
        self._synced(complete, now_ns)

    def tell_trades(self, trades: object, now_ns: int) -> None:
        """Trades that were fetched; the merger leaves out those it has."""
        for said in self.of(client.Trade, trades):
            event = self.indexed(self.indexer.trade, said, Evidence.BACKFILL, now_ns)
            if event is not None:
                self.say(event, now_ns)

    def _synced(self, complete: bool, now_ns: int) -> None:
        self.state = "synced"
        self._outage_told = False
        self.check.begin(now_ns)
        self.say(Synced(generation=self.generation, complete=complete, received_at_ns=now_ns), now_ns)

    # ------------------------------------------------------------------------------------ the stream

    def on_item(self, token: int, item: client.AccountEvent, now_ns: int) -> None:
        if token != self._stream_token:
            return
        self._heard_ns = now_ns
        if isinstance(item, client.AssetBalance):
            self.check.heard.add(item.asset)
        event = self._event(item, now_ns)
        if event is None:
            return
        if self.state in ("subscribing", "snapshot"):
            if len(self._buffer) >= self.exchange.limits.stream_buffer:
                self._lost(
                    ExecutionError(Error.Socket, "more updates than the buffer holds before the snapshot"),
                    now_ns,
                )
                return
            self._buffer.append(event)
        else:
            self.say(event, now_ns)

    def _event(self, item: object, now_ns: int) -> Event | None:
        if isinstance(item, client.Order):
            return self.indexed(self.indexer.snapshot_of, item, Evidence.STREAM, now_ns)
        if isinstance(item, client.Trade):
            return self.indexed(self.indexer.trade, item, Evidence.STREAM, now_ns)
        if isinstance(item, client.AssetBalance):
            balance = self.indexed(self.indexer.balance, item)
            if balance is None:
                return None
            return BalanceSnapshot(
                exchange_at_ns=item.exchange_at_ns,
                received_at_ns=now_ns,
                evidence=Evidence.STREAM,
                balance=balance,
            )
        if isinstance(item, client.TradeVoided):
            return self.indexed(self.indexer.trade_voided, item, Evidence.STREAM, now_ns)
        if isinstance(item, client.OrderCancelled):
            return self.indexed(self._cancelled, item, now_ns)
        if not isinstance(item, client.Alive):
            self.count("client_bugs")
        return None

    def _cancelled(self, said: client.OrderCancelled, now_ns: int) -> OrderCancelled:
        return OrderCancelled(
            exchange_at_ns=said.exchange_at_ns,
            received_at_ns=now_ns,
            evidence=Evidence.STREAM,
            instrument=self.indexer.instrument(said.instrument),
            cid=said.cid or f"{ADOPTED_PREFIX}{said.id}",
        )

    def of(self, cls: type[R], items: object) -> list[R]:
        """What of a client's list is what it should be; the rest is its bug."""
        if not isinstance(items, Sequence):
            self.count("client_bugs")
            return []
        good = [item for item in items if isinstance(item, cls)]
        self.count("client_bugs", len(items) - len(good))
        return good

    def indexed(self, translate: Callable[P, R], *args: P.args, **named: P.kwargs) -> R | None:
        """Translate what can be; what names something outside the deployment file is counted and left out."""
        try:
            return translate(*args, **named)
        except Unindexed as error:
            self.count("unindexed_items")
            self.last_unindexed = str(error)
            return None

    def on_stream_end(self, token: int, error: Exception | None, now_ns: int) -> None:
        if token == self._stream_token:
            self._lost(error or ExecutionError(Error.ExchangeOffline, "the stream ended"), now_ns)

    def _lost(self, error: Exception, now_ns: int) -> None:
        """The connection is over: say so once per outage, and try again after a while."""
        for token in (self._stream_token, self._call_token):
            if token:
                self.outbox.cancel(token)
        self._stream_token = self._call_token = 0
        self.check.stop()
        if self.state == "synced" and now_ns - self._up_since_ns >= self.exchange.backoff.healthy_ms * _MILLI:
            self._attempt = 0
        self.state = "down"
        self._buffer.clear()
        self.count("disconnects")
        if not self._outage_told:
            self._outage_told = True
            if isinstance(error, ExecutionError):
                why = failure(error.error, error.detail)
            else:
                why = failure(Error.Socket, f"{type(error).__name__}: {error}")
            self.say(Reconnecting(generation=self.generation, failure=why, received_at_ns=now_ns), now_ns)
        self._connect_at_ns = now_ns + self._wait_ns()

    def _wait_ns(self) -> int:
        """Full jitter: anything up to the backoff of this attempt."""
        backoff = self.exchange.backoff
        ceiling_ms = min(backoff.max_ms, backoff.initial_ms * backoff.multiplier ** min(self._attempt, 64))
        self._attempt += 1
        return int(self._random.uniform(0, ceiling_ms) * _MILLI)

    # ------------------------------------------------------------------------------------ the merger

    def say(self, event: Event, now_ns: int) -> None:
        self.source.emit(self.exchange.index, event, now_ns)

    def on_message(self, link: str, frame: bytes, now_ns: int) -> None:
        try:
            if headers.read_feed(frame).kind != Kind.Heartbeat:
                return
            heartbeat = decode_as(Heartbeat, frame, headers.FEED_SIZE)
        except (HeaderError, BodyError):
            self.count("bad_feed_frames")
            return
        self.source.on_heartbeat(heartbeat, now_ns)
        for mark in heartbeat.exchanges:
            if mark.exchange == self.exchange.index:
                first = self.last_trade_at_ns is None
                self.last_trade_at_ns = mark.last_trade_at_ns
                if first and self.state == "trades" and not self._call_token:
                    self._fetch_trades(now_ns)

    def on_unsent(self, link: str, frames: list[bytes], now_ns: int) -> None:
        self.source.on_unsent(frames, now_ns)

    def on_batch_end(self, now_ns: int) -> None:
        full = self.source.room < min(_ROOM_KEPT, self.deployment.edges.outbox_limit // 2)
        if full != self._paused and self._stream_token:
            self._paused = full
            self.outbox.pause(self._stream_token, full)

    # ------------------------------------------------------------------------------------ time

    def next_deadline_ns(self) -> int | None:
        times = [
            self.source.next_deadline_ns(),
            self._connect_at_ns,
            self._silent_at_ns(),
            self._late_at_ns(),
            self.check.next_deadline_ns(),
        ]
        return min((time for time in times if time is not None), default=None)

    def _silent_at_ns(self) -> int | None:
        silence_ms = self.exchange.timing.stream_silence_ms
        if not silence_ms or self.state in ("down", "subscribing") or self._paused:
            return None
        return self._heard_ns + silence_ms * _MILLI

    def _late_at_ns(self) -> int | None:
        """When a subscription, snapshot or fetch has taken too long."""
        if self.state == "subscribing" or self._call_token:
            return self._call_since_ns + self.exchange.timing.call_lifetime_ms * _MILLI
        return None

    def on_deadline(self, now_ns: int) -> None:
        self.source.on_deadline(now_ns)
        if self._connect_at_ns is not None and now_ns >= self._connect_at_ns:
            self._connect(now_ns)
            return
        silent, late = self._silent_at_ns(), self._late_at_ns()
        if silent is not None and now_ns >= silent:
            self.count("silent_streams")
            self._lost(ExecutionError(Error.Timeout, "the stream has been silent for too long"), now_ns)
        elif late is not None and now_ns >= late:
            self._lost(ExecutionError(Error.Timeout, f"no answer while {self.state}"), now_ns)
        else:
            self.check.on_deadline(now_ns)

    last_unindexed = ""

    def notes(self) -> list[str]:
        said = [f"stream of {self.exchange.name}: {self.state}, generation {self.generation}"]
        return said + ([f"left out: {self.last_unindexed}"] if self.last_unindexed else [])

    def ready(self, now_ns: int) -> bool:
        return self.state == "synced"

    def gauges(self, now_ns: int) -> dict[str, int]:
        return {
            "generation": self.generation,
            "unacknowledged": self.source.unacknowledged,
            "attempt": self._attempt,
        }
