"""Where the feed stands: its id, its numbers, each source's mark, each exchange's stream. All of it
journaled.

What is changed in a batch is written in that batch's commit, one row each however often it changed.
"""

from dataclasses import dataclass
from typing import Final

from pipeline.actor import Journal
from pipeline.control import ExchangeState
from pipeline.deployment import Deployment
from pipeline.messages import NO_EXCHANGE

TABLES: Final = {
    "events": "seq INTEGER PRIMARY KEY, exchange INTEGER, exchange_seq INTEGER, at_ns INTEGER, "
    "kind INTEGER, frame BLOB",
    "orders": "exchange INTEGER, cid TEXT, state INTEGER, filled TEXT, word INTEGER, seq INTEGER, "
    "kind INTEGER, body BLOB, PRIMARY KEY (exchange, cid)",
    "cids": "exchange INTEGER, prefix TEXT, rid INTEGER, PRIMARY KEY (exchange, prefix)",
    "trades": "exchange INTEGER, instrument INTEGER, side INTEGER, id TEXT, seq INTEGER, at_ns INTEGER, "
    "PRIMARY KEY (exchange, instrument, side, id)",
    "balances": "exchange INTEGER, asset INTEGER, total TEXT, free TEXT, at_ns INTEGER, "
    "PRIMARY KEY (exchange, asset)",
    "answered": "engine TEXT, session INTEGER, rids TEXT, PRIMARY KEY (engine, session)",
    "sources": "source INTEGER PRIMARY KEY, epoch INTEGER, number INTEGER",
    "exchanges": "exchange INTEGER PRIMARY KEY, exchange_seq INTEGER, last_trade_at_ns INTEGER, "
    "generation INTEGER, synced INTEGER, halted INTEGER",
    "feed": "one INTEGER PRIMARY KEY, feed_id INTEGER",
}


class Sources:
    """How far each source's frames were taken: (epoch, number), and of which epoch only the next number
    is taken.
    """

    def __init__(self) -> None:
        self.marks: dict[int, tuple[int, int]] = {}
        self.changed: set[int] = set()
        self.held: dict[int, tuple[int, int]] = {}

    @property
    def safe(self) -> dict[int, tuple[int, int]]:
        """The marks that may be journaled and acknowledged."""
        return self.marks | self.held if self.held else self.marks

    def hold(self, source: int, held: bool) -> None:
        """While what a source said is only in memory, its mark stays before the first such frame."""
        if not held:
            if self.held.pop(source, None) is not None:
                self.changed.add(source)
        elif source not in self.held:
            epoch, number = self.marks[source]
            self.held[source] = (epoch, number - 1)

    def is_next(self, source: int, epoch: int, number: int, first: bool = False) -> bool:
        """Whether this frame is the one to take; if so it is marked taken.

        `first`: the source keeps none before it, so that no gap before it will ever be filled (this merger
        acknowledged those frames in a life whose journal is lost).
        """
        held_epoch, held_number = self.marks.get(source, (0, 0))
        if epoch == held_epoch:
            if number != held_number + 1 and not (first and number > held_number):
                return False  # a repeat, or a gap that the source will fill since it is not acknowledged
        elif epoch < held_epoch or not (first or number == 1):
            return False
        if epoch != held_epoch:
            self.held.pop(source, None)  # what an earlier life had begun to say is not finished any more
        self.marks[source] = (epoch, number)
        self.changed.add(source)
        return True


@dataclass(slots=True)
class ExchangeMarks:
    """One exchange's part of the feed."""

    exchange_seq: int = 0
    last_trade_at_ns: int = 0  # up to here every trade is on the feed
    generation: int = 0
    synced: bool = False
    halted: bool = False
    newest_trade_at_ns: int = 0  # becomes last_trade_at_ns when the stream is in step: then none is missing


class FeedState:
    """The feed's id and numbers, in memory and in the journal."""

    def __init__(self, journal: Journal, deployment: Deployment) -> None:
        self._journal = journal
        self.feed_id = 0
        self.seq = 0
        self.now_ns = 0
        self.sources = Sources()
        self.exchanges = {
            index: ExchangeMarks() for index in (*range(len(deployment.exchanges)), NO_EXCHANGE)
        }
        self.changed: set[int] = set()

    def begin(self, now_ns: int, tail_lost: bool) -> int | None:
        """Take up the journal. Returns the previous feed's id when this must be another one."""
        self.now_ns = now_ns
        last = self._journal.find("events", "seq = (SELECT max(seq) FROM events)")
        self.seq = last[0][0] if last else 0
        for exchange, *marks in self._journal.range("exchanges", 0, NO_EXCHANGE, NO_EXCHANGE + 1):
            if exchange in self.exchanges:
                number, trade_at, generation, synced, halted = marks
                self.exchanges[exchange] = ExchangeMarks(
                    number, trade_at, generation, bool(synced), bool(halted)
                )
        for source, epoch, number in self._journal.find("sources", "1"):
            self.sources.marks[source] = (epoch, number)
        row = self._journal.get("feed", 1)
        if row is not None and not tail_lost:
            self.feed_id = row[1]
            return None
        self.feed_id = now_ns
        self._journal.put("feed", (1, self.feed_id))
        if row is None:
            return None
        # Another feed: its numbers begin again, and what the old one had published stays in nobody's way.
        self._journal.forget("events", 0, self.seq)
        self.seq = 0
        for index, held in self.exchanges.items():
            held.exchange_seq = 0
            self.changed.add(index)
        previous: int = row[1]
        return previous

    def next_numbers(self, exchange: int) -> tuple[int, int]:
        self.seq += 1
        marks = self.exchanges[exchange]
        marks.exchange_seq += 1
        self.changed.add(exchange)
        return self.seq, marks.exchange_seq

    def save(self) -> None:
        safe = self.sources.safe
        for source in self.sources.changed:
            self._journal.put("sources", (source, *safe[source]))
        self.sources.changed.clear()
        for index in self.changed:
            held = self.exchanges[index]
            self._journal.put(
                "exchanges",
                (
                    index,
                    held.exchange_seq,
                    held.last_trade_at_ns,
                    held.generation,
                    int(held.synced),
                    int(held.halted),
                ),
            )
        self.changed.clear()

    def exchange_states(self, exchange: int | None) -> list[ExchangeState]:
        return [
            ExchangeState(index, held.exchange_seq, held.generation, held.synced, held.halted)
            for index, held in self.exchanges.items()
            if exchange is None or index == exchange
        ]
