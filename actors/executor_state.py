"""What an executor keeps: the requests of one account, the orders they opened, and its rows in the
journal.

An open and its order are one row, found by (engine, session, rid), which a generated cid spells out;
explicit cids have an index; the row has the request's body as it came. What is finished and answered
leaves memory; the row stays for the journal's retention.
"""

from enum import IntEnum
from typing import Any, Final

from msgspec import Struct

from pipeline.actor import Journal
from pipeline.amounts import ZERO, parse, text
from pipeline.codec import decode_as
from pipeline.headers import RequestHeader
from pipeline.identity import request_of
from pipeline.messages import Answers, OpenOrder, Order
from pipeline.vocabulary import OrderState, Pending

TABLES: Final = {
    "requests": "engine TEXT, session INTEGER, rid INTEGER, kind INTEGER, status INTEGER, digest INTEGER, "
    "cid TEXT, at_ns INTEGER, state INTEGER, filled TEXT, wish INTEGER, word INTEGER, seen INTEGER, id TEXT, "
    "body BLOB, PRIMARY KEY (engine, session, rid)",
    "index explicit_cids": "requests (cid) WHERE kind = 1 AND substr(cid, 1, 3) <> 'ow.'",
    "sessions": "engine TEXT PRIMARY KEY, session INTEGER, rid INTEGER",
    "outbox": "number INTEGER PRIMARY KEY, frame BLOB",
    "state": "name TEXT PRIMARY KEY, value TEXT",
}
_EXPLICIT: Final = "cid = ? AND kind = 1 AND substr(cid, 1, 3) <> 'ow.'"
OPEN: Final = 1
_LOOK: Final = 2  # in the column of wishes: none is left, see Record.look
SHOWN_OPEN: Final = (OrderState.Open, OrderState.CancelInFlight)


class Status(IntEnum):
    SENDING = 0  # accepted: something may have left, one answer is owed
    ANSWERED = 1
    REFUSED = 2


class Flight(Struct, eq=False):
    """One request on its way: over when its call has ended, answered when its one answer is on the way
    out.
    """

    answers: Answers | None  # None: the pipeline's own wish, or part of a CancelAll
    record: "Record | None"
    cancel: bool
    instrument: int
    cid: str
    tag: str | None
    token: int = 0  # of the call, 0 while it has not been made
    over: bool = False
    answered: bool = False
    group: "Group | None" = None
    digest: int = 0
    at_ns: int = 0


class Record(Struct, eq=False):
    """One order of this account, with the open that it came from."""

    order: Order
    request: Answers
    tag: str | None
    digest: int
    at_ns: int  # received, and sent right after
    body: bytes  # the request's, as it came
    answered: bool = False
    wish: bool = False  # somebody wants it cancelled
    look: bool = False  # it has ended, and how much of it was filled is still to be asked
    word: int = 0  # the feed number read when the exchange last spoke of it
    adopted: bool = False  # found at the exchange: no request of ours opened it, and no row keeps it
    told_at_ns: int = 0  # when a call last told us something of it
    heard: int = 0  # the executor's count of words when the exchange last spoke of it
    seen: bool = False  # the exchange has acknowledged it once
    open_flight: Flight | None = None
    flights: list[Flight] = []  # cancels not yet both over and answered
    waiting: list[Flight] = []  # cancels that wait for the open's answer
    unknown_since_ns: int = 0
    query_at_ns: int = 0
    query_pause_ns: int = 0
    stuck_told: bool = False
    cancel_at_ns: int = 0  # when a wish is to be sent again
    cancel_pause_ns: int = 0

    @property
    def in_flight(self) -> bool:
        """Whether a call about it is on its way: then no list of open orders judges it."""
        open_flight = self.open_flight
        return (open_flight is not None and not open_flight.over) or any(not f.over for f in self.flights)


class Group(Struct, eq=False):
    """One CancelAll: the orders it covers and what became of them."""

    flight: Flight
    waiting: set[str]
    cancelled: int = 0
    failed: int = 0
    unknown: int = 0


class ExecutorRows:
    """The journal's rows of one executor, read and written as what they mean."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def save(self, record: Record) -> None:
        """The open and its order, as they are now. What was adopted is found again where it was found."""
        if record.adopted:
            return
        order, request = record.order, record.request
        self.journal.put(
            "requests",
            (
                request.engine,
                request.session,
                request.rid,
                OPEN,
                1 if record.answered else 0,
                record.digest,
                order.cid,
                record.at_ns,
                int(order.state),
                text(order.filled),
                _LOOK if record.look else int(record.wish),
                record.word,
                1 if record.seen else 0,
                order.id,
                record.body,
            ),
        )

    def save_other(
        self, answers: Answers, kind: int, status: Status, digest: int, cid: str, at_ns: int
    ) -> None:
        """A request that opened no order: a cancel, a cancel-all, a refused open."""
        row = (*answers, kind, int(status), digest, cid, at_ns, None, None, 0, 0, 0, None, None)
        self.journal.put("requests", row)

    def digest_of(self, header: RequestHeader) -> int | None:
        """The digest under which a request is known, None if it is not."""
        row = self.journal.get("requests", (header.engine, header.session, header.rid))
        return None if row is None else int(row[5])

    def by_cid(self, cid: str) -> Record | None:
        """The order that this executor once opened under a cid."""
        request = request_of(cid)
        if request is not None:
            row = self.journal.get("requests", request)
            return record_of(row) if row is not None and row[3] == OPEN and row[-1] is not None else None
        rows = [row for row in self.journal.find("requests", _EXPLICIT, cid) if row[-1] is not None]
        return record_of(rows[0]) if rows else None

    def active(self) -> list[Record]:
        return [record_of(row) for row in self.journal.find("requests", "kind = 1 AND state < 8")]

    def looks(self) -> list[Record]:
        """Orders that have ended and of which the exchange is to say how much was filled."""
        return [record_of(row) for row in self.journal.find("requests", f"wish = {_LOOK}")]

    def unanswered(self) -> list[tuple[Any, ...]]:
        """Rows of requests that are owed an answer, oldest first."""
        return sorted(self.journal.find("requests", "status = 0"), key=lambda row: row[7])

    def state(self, name: str) -> str:
        row = self.journal.get("state", name)
        return "" if row is None else str(row[1])

    def set_state(self, name: str, value: str) -> None:
        self.journal.put("state", (name, value))


def new_order(body: OpenOrder, engine: str) -> Order:
    """An order as its open asks for it, before anything is known of it."""
    return Order(
        body.instrument,
        body.cid,
        engine,
        body.cid,
        None,
        body.side,
        body.kind,
        body.time_in_force,
        body.flags,
        body.price,
        body.quantity,
        ZERO,
        OrderState.OpenInFlight,
    )


def record_of(row: tuple[Any, ...]) -> Record:
    """A record as its row has it."""
    engine, session, rid, _, status, digest, _, at_ns, state, filled, wish, word, seen, id, body = row
    request = decode_as(OpenOrder, body)
    order = new_order(request, engine)
    order.state, order.filled, order.id = OrderState(state), parse(filled), id
    order.pending = Pending.CANCEL if wish == 1 else Pending.NONE
    return Record(
        order=order,
        request=Answers(engine, session, rid),
        tag=request.tag,
        digest=digest,
        at_ns=at_ns,
        body=body,
        answered=status != Status.SENDING,
        wish=wish == 1,
        look=wish == _LOOK,
        word=word,
        seen=bool(seen),
    )


def adopted(order: Order, now_ns: int) -> Record:
    """A record for an order that no request of this executor opened."""
    nobody = Answers(order.engine, 0, 0)
    return Record(order, nobody, None, 0, now_ns, b"", answered=True, seen=True, adopted=True)
