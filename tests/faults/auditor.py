"""Three ledgers held against each other: what an engine read, the executors journaled, the exchange did.

I1 every accepted request has one answer, I2 one order per cid, I3 numbers without gap, I4 no order goes back,
I5 every trade once, I6 at rest the feed and the exchange agree. The comparison is the command line's own.
"""

import sqlite3
from collections import Counter
from urllib.parse import quote

from actors.command_line.audit import FeedRecord, compare, ledger_path, read_ledger
from pipeline.deployment import Deployment
from pipeline.messages import AccountSnapshot, Answers, Event, OrderCancelled, OrderSnapshot, Refused


class Auditor:
    """Reads along; says what is wrong, one line each."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.record = FeedRecord(deployment)
        self.answers: Counter[Answers] = Counter()
        self.refused: set[Answers] = set()
        self.unsupported: list[str] = []  # Unknown orders that were ended without evidence
        self._unknown: set[tuple[int, str]] = set()

    def take(self, event: Event) -> None:
        self.record.take(event)
        if event.answers is not None:
            self.answers[Answers(*event.answers)] += 1
            if isinstance(event, Refused):
                self.refused.add(Answers(*event.answers))
        if isinstance(event, (OrderSnapshot, OrderCancelled)) and event.order is not None:
            self._follow(event)
        elif isinstance(event, AccountSnapshot):
            known = {(event.exchange, o.cid) for o in event.orders if o.state.name != "Unknown"}
            self._unknown -= known

    def _follow(self, event: OrderSnapshot | OrderCancelled) -> None:
        assert event.order is not None
        key = (event.exchange, event.order.cid)
        if event.order.state.name == "Unknown":
            self._unknown.add(key)
            return
        # The answer to a cancel may only repeat what the feed said of the order before.
        if key in self._unknown and not event.evidence.settles:
            self.unsupported.append(f"event {event.seq} ends Unknown {key[1]} on {event.evidence.label}")
        self._unknown.discard(key)

    def feed_faults(self, asked: set[Answers]) -> list[str]:
        """What is wrong whenever one looks (I1 but for what is still under way, I3, I4, I5)."""
        found = [*self.record.problems, *self.unsupported]
        found += [f"{answers} was never asked" for answers in self.answers if answers not in asked]
        found += [f"{answers} has {n} answers" for answers, n in self.answers.items() if n != 1]
        return found

    def faults(self, asked: set[Answers]) -> list[str]:
        """What is wrong at rest."""
        found = self.feed_faults(asked)
        found += [f"{answers} has no answer" for answers in asked if answers not in self.answers]
        for exchange in self.deployment.exchanges:
            ledger = read_ledger(ledger_path(self.deployment, exchange))
            found += map(str, compare(exchange.name, self.record.accounts[exchange.index], ledger))
            found += self._journal_faults(exchange.name, asked)
        return found

    def _journal_faults(self, exchange: str, asked: set[Answers]) -> list[str]:
        path = self.deployment.state_dir / f"executor.{exchange}.db"
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT engine, session, rid, kind, status, cid, body IS NOT NULL FROM requests"
            ).fetchall()
        finally:
            connection.close()
        found = [f"the journal of {exchange} owes {row[:3]} an answer" for row in rows if row[4] == 0]
        sends = Counter(row[5] for row in rows if row[3] == 1 and row[6])
        found += [f"{cid} was accepted {n} times by {exchange}" for cid, n in sends.items() if n > 1]
        found += [
            f"{Answers(*row[:3])} is refused on the feed and accepted in the journal"
            for row in rows
            if Answers(*row[:3]) in self.refused and row[4] != 2
        ]
        return found
