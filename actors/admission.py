"""What the feed takes of what its sources say: each answer once, each trade once, no order backwards.

An event is admitted as it is, admitted with its order part replaced by the order's present state (an
answer is never suppressed), or counted and left out. The parts of an account snapshot are held until the
last one.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from actors.merger_state import FeedState
from pipeline.actor import Journal
from pipeline.amounts import parse, text
from pipeline.codec import KINDS, decode, encode
from pipeline.control import PlacedBalance, PlacedOrder, StateChunk
from pipeline.identity import GENERATED_PREFIX, engine_of, rid_of
from pipeline.lifecycle import REPORTED, Verdict
from pipeline.messages import (
    AccountSnapshot,
    ActorStarted,
    Answers,
    Balance,
    BalanceSnapshot,
    Event,
    Halted,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Reconnecting,
    Resumed,
    Subscribed,
    Synced,
    Trade,
)
from pipeline.orders import Key, Known, OrderTable
from pipeline.rids import AnsweredRids
from pipeline.vocabulary import Evidence, OrderState

RECENT_TRADES = 8_192  # ids kept in memory; older ones are looked up
SESSIONS_LIMIT = 1_024
CHUNK_ENTRIES = 2_000  # orders or balances in one part of a state snapshot
PARTS_LIMIT = 1_000
RECONNECTOR = "reconnector."

TradeKey = tuple[int, int, int, str]
Admitted = tuple[int, bytes]  # kind and body, to be numbered and published


class Admission:
    """The one gate into the feed."""

    def __init__(
        self, state: FeedState, journal: Journal, tombstone_limit: int, count: Callable[[str], None]
    ) -> None:
        self.state = state
        self.orders = OrderTable(tombstone_limit, self._recall)
        self.balances: dict[tuple[int, int], Balance] = {}
        self._journal = journal
        self._count = count
        self._answered: OrderedDict[tuple[str, int], AnsweredRids] = OrderedDict()
        self._answered_changed: set[tuple[str, int]] = set()
        self._highest: dict[tuple[int, str], int] = {}  # by generated prefix, the highest rid ever told of
        self._highest_changed: set[tuple[int, str]] = set()
        self._trades: OrderedDict[TradeKey, None] = OrderedDict()
        self._parts: dict[int, list[AccountSnapshot]] = {}

    def restore(self, reset: bool) -> None:
        """Take up what the journal holds: active orders, balances. `reset`: the feed's numbers begin again,
        and those of the orders' last words mean nothing any more.
        """
        for row in self._journal.find("orders", "state < 8"):
            order, word = _order_of(row), 0 if reset else row[4]
            self.orders.restore((row[0], order.cid), Known(order, word))
            if reset:
                self._journal.put("orders", (*row[:4], 0, 0, *row[6:]))
        for exchange, asset, total, free, at_ns in self._journal.find("balances", "1"):
            self.balances[exchange, asset] = Balance(asset, parse(total), parse(free), at_ns)

    def admit(self, exchange: int, event: Event, kind: int, body: bytes) -> Iterable[Admitted]:
        """What of an event goes on the feed, in order: itself, itself amended, or nothing.

        `kind` and `body` are the event as it came, so that what is not amended is not written again.
        """
        if event.answers is not None and not self._is_news(event.answers):
            self._count("repeated_answers")
            event, kind = _without_answer(event, kind)
            if not isinstance(event, OrderSnapshot):
                return []
            body = encode(event)
        if isinstance(event, (OrderSnapshot, OrderCancelled)):
            return self._on_order(exchange, event, kind, body)
        if isinstance(event, Trade):
            return self._on_trade(exchange, event, kind, body)
        if isinstance(event, BalanceSnapshot):
            return self._on_balance(exchange, event, kind, body)
        if isinstance(event, AccountSnapshot):
            return self._on_part(exchange, event, kind)
        self._note(exchange, event)
        return [(kind, body)]

    # -------------------------------------------------------------------------------------- orders

    def _on_order(
        self, exchange: int, event: OrderSnapshot | OrderCancelled, kind: int, body: bytes
    ) -> list[Admitted]:
        said = event.order
        if said is None:
            assert isinstance(event, OrderCancelled)
            known = self.orders.known((exchange, event.cid)) if event.evidence in REPORTED else None
            if known is None:
                return [(kind, body)]
            # A stream that tells of a cancel knows the cid; what was ordered the table knows.
            said = replace(known.order, state=OrderState.Cancelled)
        verdict, order = self._weigh(exchange, said, event)
        if verdict is Verdict.STALE and (corrects := self._taken_back(exchange, said, event.evidence)):
            self._count("corrected_orders")
            event = replace(event, corrects=corrects, order=said)
            body = encode(event)
            verdict, order = self._weigh(exchange, said, event)
        if verdict is not Verdict.NEWS and event.answers is None:
            self._count("stale_orders" if verdict is Verdict.STALE else "unchanged_orders")
            return []
        if order is not said:
            body = encode(replace(event, order=order))
        if verdict is Verdict.NEWS:
            self._store(exchange, order, kind, body)
        return [(kind, body)]

    def _weigh(
        self, exchange: int, said: Order, event: OrderSnapshot | OrderCancelled
    ) -> tuple[Verdict, Order]:
        if not said.engine and (engine := engine_of(said.cid)):
            said = replace(said, engine=engine)
        key = (exchange, said.cid)
        word = self.state.exchanges[exchange].exchange_seq + 1
        if event.corrects:
            return Verdict.NEWS, self.orders.correct(key, said, word)
        return self.orders.admit(key, said, event.evidence, word, event.as_of, self.state.seq + 1)

    def _store(self, exchange: int, order: Order, kind: int, body: bytes) -> None:
        """The order's row holds the event that last told of it."""
        known = self.orders.known((exchange, order.cid))
        word = 0 if known is None else known.word
        row = (
            exchange,
            order.cid,
            int(order.state),
            text(order.filled),
            word,
            self.state.seq + 1,
            kind,
            body,
        )
        self._journal.put("orders", row)

    def _recall(self, key: Key) -> Known | None:
        """What the journal has of an order that memory has not. A cid generated after all others is new."""
        exchange, cid = key
        prefix, _, written = cid.rpartition(".")
        if cid.startswith(GENERATED_PREFIX) and (rid := rid_of(written)):
            place = (exchange, prefix)
            highest = self._highest.get(place)
            if highest is None:
                row = self._journal.get("cids", place)
                highest = row[2] if row else 0
                if len(self._highest) >= SESSIONS_LIMIT:
                    self.save()
                    self._highest.clear()
            if rid > highest:
                self._highest[place] = rid
                self._highest_changed.add(place)
                return None
        row = self._journal.get("orders", key)
        if row is None:
            return None
        event = decode(row[6], row[7], 0)
        return Known(event.order, row[4], row[5] if event.evidence is Evidence.ABSENCE else 0)

    # -------------------------------------------------------------------------------------- the account

    def _on_trade(self, exchange: int, event: Trade, kind: int, body: bytes) -> list[Admitted]:
        key = (exchange, event.instrument, int(event.side), event.id)
        if key in self._trades or self._journal.get("trades", key) is not None:
            self._count("repeated_trades")
            return []
        self._trades[key] = None
        if len(self._trades) > RECENT_TRADES:
            self._trades.popitem(last=False)
        self._journal.put("trades", (*key, self.state.seq + 1, event.exchange_at_ns))
        marks = self.state.exchanges[exchange]
        marks.newest_trade_at_ns = max(marks.newest_trade_at_ns, event.exchange_at_ns)
        if marks.synced:
            marks.last_trade_at_ns = max(marks.last_trade_at_ns, marks.newest_trade_at_ns)
        return [(kind, body)]

    def _on_balance(self, exchange: int, event: BalanceSnapshot, kind: int, body: bytes) -> list[Admitted]:
        if not self._take_balance(exchange, event.balance):
            self._count("stale_balances")
            return []
        return [(kind, body)]

    def _take_balance(self, exchange: int, balance: Balance) -> bool:
        key = (exchange, balance.asset)
        held = self.balances.get(key)
        if held is not None and (held == balance or balance.exchange_at_ns < held.exchange_at_ns):
            return False
        self.balances[key] = balance
        row = (*key, text(balance.total), text(balance.free), balance.exchange_at_ns)
        self._journal.put("balances", row)
        # The same amounts at a later time are nothing new to tell.
        return held is None or (held.total, held.free) != (balance.total, balance.free)

    def _on_part(self, exchange: int, event: AccountSnapshot, kind: int) -> Iterable[Admitted]:
        """A snapshot is in force at its last part: until then nobody sees any of it."""
        held = self._parts.setdefault(exchange, [])
        if event.part == 1 or (held and held[0].generation != event.generation):
            held.clear()
        if event.part != len(held) + 1 or event.parts > PARTS_LIMIT:
            self._count("broken_snapshots")
            del self._parts[exchange]
            return []
        held.append(event)
        if event.part < event.parts:
            return []
        del self._parts[exchange]
        return self._in_force(exchange, held, kind)

    def _in_force(self, exchange: int, parts: list[AccountSnapshot], kind: int) -> Iterator[Admitted]:
        """One after the other: a part's words get the number under which it is published."""
        for part in parts:
            for said in part.orders:
                if self._taken_back(exchange, said, part.evidence):
                    life = OrderSnapshot(
                        exchange_at_ns=part.exchange_at_ns,
                        received_at_ns=part.received_at_ns,
                        evidence=part.evidence,
                        order=said,
                    )
                    snapshot = KINDS[OrderSnapshot]
                    yield from self._on_order(exchange, life, snapshot, encode(life))
            yield kind, encode(self._weigh_part(exchange, part))

    def _taken_back(self, exchange: int, said: Order, evidence: Evidence) -> int:
        return self.orders.taken_back((exchange, said.cid), said, evidence)

    def holds(self, exchange: int) -> bool:
        """Whether parts of a snapshot of that exchange wait for the last."""
        return exchange in self._parts

    def _weigh_part(self, exchange: int, part: AccountSnapshot) -> Event:
        orders, balances = [], []
        for said in part.orders:
            word = OrderSnapshot(order=said, evidence=part.evidence)
            verdict, order = self._weigh(exchange, said, word)
            again = verdict is Verdict.SAME and not order.state.finished
            if again:
                # It is published with its part, so an executor that calls the order Unknown without having
                # read it must find it in its way.
                self.orders.hear((exchange, said.cid), self.state.exchanges[exchange].exchange_seq + 1)
            if again or verdict is Verdict.NEWS:
                self._store(exchange, order, KINDS[OrderSnapshot], encode(replace(word, order=order)))
            if not order.state.finished:
                orders.append(order)
            elif verdict is Verdict.STALE:
                self._count("stale_orders")
        for balance in part.balances:
            self._take_balance(exchange, balance)
            balances.append(self.balances[exchange, balance.asset])
        return replace(part, orders=orders, balances=balances)

    def _note(self, exchange: int, event: Event) -> None:
        marks = self.state.exchanges[exchange]
        if isinstance(event, Reconnecting):
            marks.synced = False
            self._parts.pop(exchange, None)
        elif isinstance(event, Subscribed):
            marks.generation, marks.synced = event.generation, False
            self._parts.pop(exchange, None)
        elif isinstance(event, Synced):
            marks.synced = True
            marks.last_trade_at_ns = max(marks.last_trade_at_ns, marks.newest_trade_at_ns)
        elif isinstance(event, ActorStarted) and event.actor.startswith(RECONNECTOR):
            marks.synced = False  # what its last life had connected is gone
        elif isinstance(event, Halted):
            marks.halted = True
        elif isinstance(event, Resumed):
            marks.halted = False

    # -------------------------------------------------------------------------------------- answers

    def _is_news(self, answers: Answers) -> bool:
        key = (answers.engine, answers.session)
        rids = self._answered.get(key)
        if rids is None:
            row = self._journal.get("answered", key)
            rids = self._answered[key] = AnsweredRids(row[2] if row else "")
            if len(self._answered) > SESSIONS_LIMIT:
                self.save()
                self._answered.popitem(last=False)
        self._answered_changed.add(key)
        return rids.add(answers.rid)

    def save(self) -> None:
        """Write what changed in this batch."""
        for key in self._answered_changed:
            if key in self._answered:
                self._journal.put("answered", (*key, str(self._answered[key])))
        self._answered_changed.clear()
        for place in self._highest_changed:
            if place in self._highest:
                self._journal.put("cids", (*place, self._highest[place]))
        self._highest_changed.clear()

    # -------------------------------------------------------------------------------------- state

    def state_chunks(self, exchange: int | None) -> Iterator[StateChunk]:
        """The present state in parts: streams, balances and active orders of one exchange or of all."""
        orders = [
            PlacedOrder(key[0], known.word, known.order)
            for key, known in self.orders.active.items()
            if exchange is None or key[0] == exchange
        ]
        balances = [
            PlacedBalance(of, balance)
            for (of, _), balance in self.balances.items()
            if exchange is None or of == exchange
        ]
        parts = max(1, -(-len(orders) // CHUNK_ENTRIES), -(-len(balances) // CHUNK_ENTRIES))
        for part in range(parts):
            window = slice(part * CHUNK_ENTRIES, (part + 1) * CHUNK_ENTRIES)
            yield StateChunk(
                feed_id=self.state.feed_id,
                seq=self.state.seq,
                part=part + 1,
                parts=parts,
                exchanges=self.state.exchange_states(exchange),
                orders=orders[window],
                balances=balances[window],
            )


def _without_answer(event: Event, kind: int) -> tuple[Event, int]:
    """What an event says beside the answer that was given before: what became of an order is still news."""
    if not isinstance(event, OrderCancelled) or event.order is None:
        return replace(event, answers=None), kind
    word = OrderSnapshot(
        exchange_at_ns=event.exchange_at_ns,
        received_at_ns=event.received_at_ns,
        evidence=event.evidence,
        order=event.order,
        as_of=event.as_of,
    )
    return word, KINDS[OrderSnapshot]


def _order_of(row: tuple[Any, ...]) -> Order:
    """The order that a row's event tells of."""
    event = decode(row[6], row[7], 0)
    order = event.order
    assert isinstance(order, Order)
    return order
