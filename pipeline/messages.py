"""Requests and feed events: everything that an engine sends and reads.

Each is a MessagePack array in the field order below, behind the header of its link (headers.py).
Fields are only ever added at the end, with a default, so that older readers go on. Times are integer
nanoseconds UTC, amounts are decimal text on the wire, and instruments and assets are indices into the
deployment's table of that exchange (names are for people: see naming.py).
"""

from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec

from pipeline.amounts import Amount
from pipeline.vocabulary import (
    CancelScope,
    Error,
    Evidence,
    Flags,
    Liquidity,
    OrderKind,
    OrderState,
    Pending,
    Refusal,
    Side,
    TimeInForce,
)

NO_EXCHANGE = 0xFFFF
ARRAY_LIMIT: Final = 4096  # elements of a list in a body: what is longer travels in parts

T = TypeVar("T")
Many = Annotated[list[T], msgspec.Meta(max_length=ARRAY_LIMIT)]
# A journal's column holds no more, and MessagePack would carry 2^64 - 1.
Whole = Annotated[int, msgspec.Meta(le=2**63 - 1)]


class Answers(NamedTuple):
    """The request that an event settles."""

    engine: str
    session: Whole
    rid: Whole


class Place(msgspec.Struct, gc=False):
    """Where an event stands in the feed: its header (published_at_ns is the merger's clock)."""

    exchange: Whole
    feed_id: Whole
    seq: Whole
    exchange_seq: Whole
    published_at_ns: Whole


class Message(msgspec.Struct, array_like=True):
    """A body. Its kind travels in the header."""


# ------------------------------------------------------------------------------------------ requests


class OpenOrder(Message):
    """Place one order. `price` is None for a market order; `flags` is a bit field of `Flags`."""

    instrument: Whole
    cid: str
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    flags: Whole
    price: Amount | None
    quantity: Amount
    tag: str | None = None

    @property
    def post_only(self) -> bool:
        return bool(self.flags & Flags.POST_ONLY)


class CancelOrder(Message):
    """Cancel one order by its cid. Never expires: it is a wish kept until the order is finished."""

    instrument: Whole
    cid: str
    tag: str | None = None


class CancelAll(Message):
    """Cancel every order of one exchange in the scope that was received before this; `external`: adopted
    ones too.
    """

    scope: CancelScope
    external: bool = False
    tag: str | None = None


Request = OpenOrder | CancelOrder | CancelAll

# ------------------------------------------------------------------------------------------ parts


class Failure(Message):
    """What went wrong, in the taxonomy, and the exchange's own words (at most 200 characters, printable)."""

    error: Error
    detail: str = ""


class Order(Message):
    """One order as the feed knows it. `engine` owns it ("" when adopted); `filled` only ever grows."""

    instrument: Whole
    cid: str
    engine: str
    venue_cid: str | None
    id: str | None
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    flags: Whole
    price: Amount | None
    quantity: Amount
    filled: Amount
    state: OrderState
    pending: Pending = Pending.NONE


class Balance(Message):
    """One asset of the account: `total` and what of it is `free`, in units of the asset."""

    asset: Whole
    total: Amount
    free: Amount
    exchange_at_ns: Whole = 0


class Fee(Message):
    """A fee by the asset's *name*: an asset outside the table never costs us the trade."""

    asset: str
    amount: Amount


# ------------------------------------------------------------------------------------------ events


class Event(Message, dict=True, kw_only=True):
    """What happened. `answers` names the one request that it settles, if any."""

    exchange_at_ns: Whole = 0
    received_at_ns: Whole = 0
    evidence: Evidence = Evidence.NONE
    answers: Answers | None = None
    tag: str | None = None

    @property
    def place(self) -> Place:
        """Its place in the feed; set on events that were read from it (KeyError before that)."""
        place: Place = self.__dict__["place"]
        return place

    @property
    def seq(self) -> int:
        return self.place.seq

    @property
    def exchange(self) -> int:
        return self.place.exchange

    def at(self, place: Place) -> "Event":
        """Say where in the feed it stands."""
        self.__dict__["place"] = place
        return self


class OrderSnapshot(Event, kw_only=True):
    """An order as it is now. `failure` says why an open failed or what its request's answer is (Timeout)."""

    order: Order
    failure: Failure | None = None
    as_of: Whole = 0  # for Unknown: the feed number (of its exchange) that the executor had read
    corrects: Whole = 0  # the seq of the event that this one takes back


class OrderCancelled(Event, kw_only=True):
    """The answer to a cancel: done (`failure` None) or not. `order` is None when nobody knows the cid."""

    instrument: Whole
    cid: str
    order: Order | None = None
    failure: Failure | None = None
    as_of: Whole = 0
    corrects: Whole = 0


class Trade(Event, kw_only=True):
    """One fill. (exchange, instrument, side, id) is unique for the account's life."""

    instrument: Whole
    side: Side
    id: str
    cid: str
    order_id: str | None
    price: Amount
    quantity: Amount
    fees: Many[Fee] = msgspec.field(default_factory=list)
    liquidity: Liquidity = Liquidity.UNKNOWN


class TradeVoided(Event, kw_only=True):
    """The venue took a trade back (a bust). `corrects` is the trade's seq, 0 if it was never on the feed."""

    instrument: Whole
    side: Side
    id: str
    cid: str = ""
    corrects: Whole = 0


class BalanceSnapshot(Event, kw_only=True):
    balance: Balance


class AccountSnapshot(Event, kw_only=True):
    """The account at one moment, in `parts` parts (1-based `part`); in force at its last part."""

    generation: Whole
    part: Whole
    parts: Whole
    balances: Many[Balance] = msgspec.field(default_factory=list)
    orders: Many[Order] = msgspec.field(default_factory=list)


class Reconnecting(Event, kw_only=True):
    """The account stream of `generation` ended (or never began); once per outage."""

    generation: Whole
    failure: Failure | None = None


class Subscribed(Event, kw_only=True):
    """Stream `generation` is up. Its number is the fence: what it shows is newer than all before."""

    generation: Whole


class Synced(Event, kw_only=True):
    """Snapshot, buffered updates and missed trades of `generation` are all on the feed (`complete`:
    surely all).
    """

    generation: Whole
    complete: bool


class Refused(Event, kw_only=True):
    """A request that was not accepted, and why. `detail` names what to mend."""

    reason: Refusal
    detail: str = ""
    cid: str = ""


class CancelAllDone(Event, kw_only=True):
    """The one answer to a CancelAll: how many orders ended, did not, or are not known."""

    cancelled: Whole
    failed: Whole
    unknown: Whole


class Stuck(Event, kw_only=True):
    """An order nobody has been able to speak for since `since_ns`."""

    instrument: Whole
    cid: str
    since_ns: Whole


class ActorStarted(Event, kw_only=True):
    actor: str
    epoch: Whole


class ActorLost(Event, kw_only=True):
    actor: str
    last_heard_ns: Whole


class Halted(Event, kw_only=True):
    """Opens are refused on this exchange from here on; `by` and `because` are the operator's words."""

    by: str = ""
    because: str = ""


class Resumed(Event, kw_only=True):
    by: str = ""
    because: str = ""


class FeedReset(Event, kw_only=True):
    """The numbers before this one belong to another feed: take the state snapshot, do not resume."""

    previous_feed_id: Whole
    reason: str = ""


class SourceMark(Message):
    """How far the merger has committed one source's frames."""

    source: Whole
    epoch: Whole
    number: Whole


class ExchangeMark(Message):
    """One exchange's last feed number, and the exchange time of its last committed trade."""

    exchange: Whole
    exchange_seq: Whole
    last_trade_at_ns: Whole


class Heartbeat(Message):
    """The feed's pulse, unnumbered: how far it has come, and what of each source is safely kept.

    Its header carries exchange 0xFFFF, the feed id, and `seq` = `last_seq`.
    """

    last_seq: Whole
    exchanges: Many[ExchangeMark]
    acknowledged: Many[SourceMark]
    unwritable: bool = False
