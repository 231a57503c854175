"""The frames between a simulated exchange and its client: kinds 96 to 127, each with a control header.

A question's token is drawn by the client and repeated by every frame of its answer. Subscribe's token
names the subscription: its items carry it, and are numbered from 1 without gap. Bodies are MessagePack
arrays as everywhere; instruments and assets go by the venue's symbols, amounts as text. An exchange's
answer is one frame, but for a snapshot, which comes in `parts`.
"""

from decimal import Decimal
from enum import IntEnum
from typing import Any, Final

import msgspec

from pipeline import client, headers
from pipeline.amounts import Amount, parse, text
from pipeline.codec import BodyError, encode
from pipeline.messages import Many, Message, Whole
from pipeline.vocabulary import Error, Liquidity, OrderKind, OrderState, Side, TimeInForce

SIZE_LIMIT: Final = 4 * 1024 * 1024
QUESTION_LIMIT: Final = 256 * 1024  # a question carries names at most
PART_SIZE: Final = 1_000  # orders and balances in one part of a snapshot
TRADES_SIZE: Final = 5_000  # trades in one answer


class Wire(IntEnum):
    """Every kind between client and exchange: questions below 112, answers and stream items from there."""

    Open = 96
    Cancel = 97
    CancelAll = 98
    AskSnapshot = 99
    AskBalances = 100
    AskOpenOrders = 101
    AskTrades = 102
    AskOrder = 103
    Subscribe = 104
    Renew = 105  # a subscription that is not renewed is dropped
    Unsubscribe = 106

    OrderLine = 112
    CancelledLine = 113
    CancelledCount = 114
    SnapshotPart = 115
    Balances = 116
    Orders = 117
    Trades = 118
    NoSuchOrder = 119
    Refusal = 120
    Subscribed = 121
    Disconnected = 122

    OrderItem = 124
    TradeItem = 125
    BalanceItem = 126
    AliveItem = 127


QUESTIONS: Final = frozenset(kind for kind in Wire if kind < Wire.OrderLine)

# ------------------------------------------------------------------------------------------ questions


class Open(Message):
    """`sent_at_ns` is the client's clock: the exchange takes the order only near that time (see actor.py)."""

    instrument: str
    cid: str
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    flags: Whole
    price: Amount | None
    quantity: Amount
    expires_at_ns: Whole
    sent_at_ns: Whole


class Cancel(Message):
    instrument: str
    cid: str
    id: str | None


class CancelAll(Message):
    instruments: Many[str]


class AskSnapshot(Message):
    assets: Many[str]
    instruments: Many[str]


class AskBalances(Message):
    assets: Many[str]


class AskOpenOrders(Message):
    instruments: Many[str]


class AskTrades(Message):
    """Trades from `since_ns` on with a number above `after`; the next page is asked for after the last
    one's.
    """

    instruments: Many[str]
    since_ns: Whole
    after: Whole


class AskOrder(Message):
    instrument: str
    cid: str
    id: str | None


class Subscribe(Message):
    assets: Many[str]
    instruments: Many[str]


class Renew(Message):
    pass


class Unsubscribe(Message):
    pass


# ------------------------------------------------------------------------------------------ answers


class OrderLine(Message):
    instrument: str
    cid: str
    id: str | None
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    price: Amount | None
    quantity: Amount
    filled: Amount
    state: OrderState | None
    flags: Whole
    exchange_at_ns: Whole
    failure: tuple[Error, str] | None


class TradeLine(Message):
    instrument: str
    side: Side
    id: str
    cid: str
    order_id: str | None
    price: Amount
    quantity: Amount
    fees: list[tuple[str, Amount]]
    liquidity: Liquidity
    exchange_at_ns: Whole


class BalanceLine(Message):
    asset: str
    total: Amount
    free: Amount
    exchange_at_ns: Whole


class CancelledLine(Message):
    instrument: str
    cid: str
    id: str | None
    filled: Amount
    exchange_at_ns: Whole


class CancelledCount(Message):
    count: Whole


class SnapshotPart(Message):
    part: Whole  # from 1
    parts: Whole
    exchange_at_ns: Whole
    balances: list[BalanceLine]
    orders: list[OrderLine]


class Balances(Message):
    balances: list[BalanceLine]


class Orders(Message):
    orders: list[OrderLine]


class Trades(Message):
    """`last` is the number to ask on after; `more`: there is another page."""

    trades: list[TradeLine]
    last: Whole
    more: bool


class NoSuchOrder(Message):
    pass


class Refusal(Message):
    """The call failed. `maybe`: the exchange may have acted on it all the same."""

    error: Error
    detail: str
    maybe: bool


class Subscribed(Message):
    pass


class Disconnected(Message):
    """The subscription (or the answer in parts) of this token is over."""

    detail: str


class OrderItem(Message):
    number: Whole
    line: OrderLine


class TradeItem(Message):
    number: Whole
    line: TradeLine


class BalanceItem(Message):
    number: Whole
    line: BalanceLine


class AliveItem(Message):
    number: Whole


Line = OrderLine | TradeLine | BalanceLine

# ------------------------------------------------------------------------------------------ bytes


def _decode_other(kind: type, value: object) -> Amount:
    if kind is not Amount or type(value) is not str:
        raise TypeError(f"a decimal travels as text, not as {type(value).__name__}")
    return parse(value)


_CLASSES: Final[dict[int, type[Message]]] = {kind: globals()[kind.name] for kind in Wire}
_KINDS: Final = {cls: kind for kind, cls in _CLASSES.items()}
_DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(cls, dec_hook=_decode_other) for kind, cls in _CLASSES.items()
}


def frame(exchange: int, fingerprint: int, token: int, body: Message) -> bytes:
    """A whole frame: the control header of the body's kind, and the body."""
    return headers.control(exchange, _KINDS[type(body)], fingerprint, token) + encode(body)


def body(kind: int, frame: bytes) -> Any:
    """The body of a frame as the class of its kind. Raises BodyError."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise BodyError(f"kind {kind} is none between an exchange and its client")
    limit = QUESTION_LIMIT if kind in QUESTIONS else SIZE_LIMIT
    if len(frame) > limit:
        raise BodyError(f"{len(frame)} bytes are over the limit of {limit} for kind {kind}")
    try:
        return decoder.decode(memoryview(frame)[headers.CONTROL_SIZE :])
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise BodyError(str(error)[:200]) from None


# ------------------------------------------------------------------------------- to and from client.py


def _amount(number: Decimal) -> Amount:
    return Amount(text(number))  # our own arithmetic needs no second look at the grammar


def order_line(o: client.Order) -> OrderLine:
    return OrderLine(
        o.instrument, o.cid, o.id, o.side, o.kind, o.time_in_force,
        None if o.price is None else _amount(o.price), _amount(o.quantity), _amount(o.filled), o.state,
        o.flags, o.exchange_at_ns, o.failure,
    )  # fmt: skip


def order(line: OrderLine) -> client.Order:
    return client.Order(*msgspec.structs.astuple(line))


def trade_line(t: client.Trade) -> TradeLine:
    fees = [(asset, _amount(fee)) for asset, fee in t.fees]
    return TradeLine(
        t.instrument, t.side, t.id, t.cid, t.order_id, _amount(t.price), _amount(t.quantity), fees,
        t.liquidity, t.exchange_at_ns,
    )  # fmt: skip


def trade(line: TradeLine) -> client.Trade:
    return client.Trade(*msgspec.structs.astuple(line))


def balance_line(b: client.AssetBalance) -> BalanceLine:
    return BalanceLine(b.asset, _amount(b.total), _amount(b.free), b.exchange_at_ns)


def balance(line: BalanceLine) -> client.AssetBalance:
    return client.AssetBalance(*msgspec.structs.astuple(line))


def cancelled_line(o: client.Order) -> CancelledLine:
    return CancelledLine(o.instrument, o.cid, o.id, _amount(o.filled), o.exchange_at_ns)


def cancelled(line: CancelledLine) -> client.OrderCancelled:
    return client.OrderCancelled(*msgspec.structs.astuple(line))
