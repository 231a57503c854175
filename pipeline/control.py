"""Control, replay and health: questions with one reply each, over DEALER/ROUTER edges beside the order path.

Every question carries a token in its header, which its reply repeats. `Done` and `Failed` answer commands.
"""

from typing import Annotated

import msgspec

from pipeline.messages import ARRAY_LIMIT, Balance, Many, Message, Order, Whole

Counts = Annotated[dict[str, int], msgspec.Meta(max_length=ARRAY_LIMIT)]


class Hello(Message):
    """Who asks; answered by `Welcome`. `fingerprint` is in the header."""

    name: str


class Welcome(Message):
    actor: str
    epoch: Whole
    ready: bool
    fingerprint: Whole


class Shutdown(Message):
    """Stop the actor's process: take no more opens, drain until `within_ms`, journal the rest."""

    by: str
    within_ms: Whole = 5000


class Halt(Message):
    by: str
    because: str = ""


class Resume(Message):
    by: str
    because: str = ""


class Resolve(Message):
    """A person's signed word on an Unknown order: `outcome` is cancelled, open-failed or filled."""

    cid: str
    outcome: str
    by: str
    because: str


class SetFault(Message):
    """Flip a fault of a simulated exchange; `arguments` are the fault's own, as text."""

    name: str
    arguments: Many[str] = msgspec.field(default_factory=list)


class Done(Message):
    detail: str = ""


class Failed(Message):
    detail: str


class HealthQuery(Message):
    pass


class Health(Message):
    """An actor's own account of itself: `counters` are monotone, `gauges` are now."""

    actor: str
    epoch: Whole
    ready: bool
    counters: Counts = msgspec.field(default_factory=dict)
    gauges: Counts = msgspec.field(default_factory=dict)
    notes: Many[str] = msgspec.field(default_factory=list)


class ReplayQuery(Message):
    """Feed frames after number `after`: of the whole feed, or only those of the header's exchange."""

    feed_id: Whole
    after: Whole
    limit: Whole = 1000


class ReplayChunk(Message):
    """Feed frames as they were published, in order: all there are in (after, through].

    `last` is the newest committed number: ask again after `through` until it is reached. `oldest` is the
    oldest number still kept; a question before it is answered from there, and the reader takes a state
    snapshot.
    """

    feed_id: Whole
    after: Whole
    through: Whole
    last: Whole
    oldest: Whole
    frames: Many[bytes]


class StateQuery(Message):
    """The present state of the header's exchange, or of all."""


class ExchangeState(Message):
    exchange: Whole
    exchange_seq: Whole
    generation: Whole
    synced: bool
    halted: bool


class PlacedOrder(Message):
    exchange: Whole
    exchange_seq: Whole  # the number, in its exchange's part of the feed, of its last word
    order: Order


class PlacedBalance(Message):
    exchange: Whole
    balance: Balance


class StateChunk(Message):
    """Part of the state at feed number `seq`: active orders, balances, streams. Replay goes on from seq +
    1.
    """

    feed_id: Whole
    seq: Whole
    part: Whole
    parts: Whole
    exchanges: Many[ExchangeState] = msgspec.field(default_factory=list)
    orders: Many[PlacedOrder] = msgspec.field(default_factory=list)
    balances: Many[PlacedBalance] = msgspec.field(default_factory=list)
