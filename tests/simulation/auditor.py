"""Three ledgers held against each other, as in tests/faults, and what only a simulation can see on the wires.

Each complaint begins with the number of the invariant that it breaks (I1 to I14).
"""

import zlib
from collections import Counter
from typing import TYPE_CHECKING

from actors.command_line.audit import Discrepancy, compare, ledger_path, read_ledger
from actors.exchange import wire
from pipeline import headers
from pipeline.headers import REQUEST_SIZE, HeaderError, Kind
from pipeline.messages import Answers, Event
from tests.faults.auditor import Auditor

if TYPE_CHECKING:
    from tests.simulation.world import World

_OPEN = int(wire.Wire.Open)


class SimAuditor:
    """Hears every frame and every event that an engine handled."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.asked: set[Answers] = set()
        self.requests: dict[Answers, bytes] = {}
        self.complaints: list[str] = []
        self.readers = {name: Auditor(world.deployment) for name in world.traders_named}
        self.digest = 0
        self.events = 0
        self._published: dict[tuple[int, int], int] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._handled: dict[int, int] = {}
        # With clocks that agree nothing acts at an exchange after the validity that its client declares.
        self._clocks_agree = not any(
            step.what == "step" or "clock_skew" in step.args for step in world.plan.steps
        )

    # ------------------------------------------------------------------ while it runs

    def heard(self, sender: str, address: str, frame: bytes) -> None:
        """A frame arrived somewhere."""
        stamp = f"{self.world.timeline.now_ns} {sender} {address}".encode()
        self.digest = zlib.crc32(frame, zlib.crc32(stamp, self.digest))
        if address == "router.requests":
            self._on_request(frame)
        elif address == "merger.feed":
            self._on_published(frame)
        elif address.startswith("exchange."):
            self._on_call(address, frame)

    def _on_request(self, frame: bytes) -> None:
        header = headers.read_request(frame)
        self.requests.setdefault(Answers(header.engine, header.session, header.rid), frame[REQUEST_SIZE:])

    def _on_published(self, frame: bytes) -> None:
        header = headers.read_feed(frame)
        if header.kind == Kind.Heartbeat:
            return
        check = zlib.crc32(frame)
        if self._published.setdefault((header.feed_id, header.seq), check) != check:
            self.complain(f"I3: number {header.seq} of the feed stands for two events")

    def _on_call(self, address: str, frame: bytes) -> None:
        try:
            header = headers.read_control(frame)
        except HeaderError:
            return
        if header.kind != _OPEN:
            return
        body = wire.body(header.kind, frame)
        exchange = address.split(".")[1]
        self._sent[exchange, body.cid] += 1
        if self._sent[exchange, body.cid] > 1:
            self.complain(f"I2: {body.cid} was sent to {exchange} {self._sent[exchange, body.cid]} times")
        rows = self.world.disk(f"executor.{exchange}").connection
        known = rows.execute("SELECT 1 FROM requests WHERE cid = ? AND kind = 1", (body.cid,)).fetchone()
        if known is None:
            self.complain(f"I11: {body.cid} was sent to {exchange} and is not in the journal")

    def handled(self, engine: str, event: Event) -> None:
        self.events += 1
        self.readers[engine].take(event)
        if not event.place.seq:
            self.complain(f"I3: {engine} was reset from feed to feed")
            return
        if getattr(event, "corrects", 0) and self._clocks_agree:
            self.complain(f"I4: event {event.seq} takes back an end by absence: it was called too early")
        check = zlib.crc32(repr(event).encode())
        if self._handled.setdefault(event.seq, check) != check:
            self.complain(f"I3: event {event.seq} is not the same for every engine")

    def complain(self, what: str) -> None:
        if what not in self.complaints:
            self.complaints.append(what)

    # ------------------------------------------------------------------ at rest

    def unanswered(self) -> set[Answers]:
        """Requests of the engines that live now which have no answer yet."""
        return {answers for trader in self.world.traders.values() for answers in trader.outstanding}

    def faults(self) -> list[str]:
        """What is wrong at rest; [] when nothing is."""
        found = list(self.complaints)
        for name, reader in self.readers.items():
            found += [_named(fault, name) for fault in reader.feed_faults(set(self.requests))]
        found += [f"I10: {answers} has no answer" for answers in sorted(self.unanswered())]
        if found:
            return found
        for exchange in self.world.deployment.exchanges:
            path = ledger_path(self.world.deployment, exchange)
            self.world.disk(f"exchange.{exchange.name}").save(path)
            ledger = read_ledger(path)
            for name, reader in self.readers.items():
                account = reader.record.accounts[exchange.index]
                found += [
                    f"I6: {name}: {each}"
                    for each in compare(exchange.name, account, ledger)
                    if not _ended_by_its_day(each)
                ]
            found += self._journal_faults(exchange.name)
        return found or self._leaks()

    def _journal_faults(self, exchange: str) -> list[str]:
        rows = self.world.disk(f"executor.{exchange}").connection.execute(
            "SELECT engine, session, rid, kind, status FROM requests"
        )
        found = []
        for *key, kind, status in rows:
            answers = Answers(*key)
            for name, reader in self.readers.items():
                if answers not in reader.answers:
                    found.append(f"I1: {answers} is in the journal of {exchange} and unanswered for {name}")
                elif kind == Kind.OpenOrder and (answers in reader.refused) != (status == 2):
                    # A cancel that the router refused may have been asked again before the refusal was read:
                    # it is done then, and its one answer is the refusal.
                    found.append(f"I1: {answers} is refused on one side and accepted on the other")
            if status == 0:
                found.append(f"I10: the journal of {exchange} owes {answers} an answer")
        return found

    def _leaks(self) -> list[str]:
        """What an actor still holds although nothing is under way."""
        found = []
        merger = self.world.actor("merger")
        for exchange in self.world.deployment.exchanges:
            name = f"executor.{exchange.name}"
            executor = self.world.actor(name)
            if executor is None or merger is None:
                found.append(f"I10: {name} or the merger does not run")
                continue
            active = {cid for index, cid in merger.admission.orders.active if index == exchange.index}
            counts = (
                ("I8", executor.flights.count, "flights"),
                ("I10", executor.unknowns.count, "unknown orders"),
                ("I7", executor.source.unacknowledged, "events that nobody acknowledged"),
                ("I8", len(active ^ set(executor.orders)), "active orders that it or the feed does not have"),
            )
            found += [f"{word}: {name} is left with {count} {what}" for word, count, what in counts if count]
        return found


def _named(fault: str, engine: str) -> str:
    """A complaint of the feed's auditor with the invariant it is about."""
    words = {
        "a second time": "I1", "answers": "I1", "never asked": "I1", "came after": "I3", "back": "I4",
        "ends Unknown": "I10", "again": "I5",
    }  # fmt: skip
    invariant = next((invariant for word, invariant in words.items() if word in fault), "I6")
    return f"{invariant}: {engine}: {fault}"


def _ended_by_its_day(found: Discrepancy) -> bool:
    """A cancel of an order that had expired is told that it is cancelled already: nobody has said how."""
    return found.feed.replace(" Cancelled ", " Expired ") == found.ledger
