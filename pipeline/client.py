"""The contract of an exchange client, and the words it speaks: the venue's names, never the pipeline's
indices.

Executor and reconnector each make their own instance. A client never guesses: what it cannot tell it
raises as an `ExecutionError` that says whether anything may have left (`sent`).
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import ClassVar, Literal, Protocol

from msgspec import Struct, field

from pipeline.vocabulary import Error, Flags, Liquidity, OrderKind, OrderState, Side, TimeInForce


class Capability(Enum):
    """What a venue offers beyond the floor; what is not declared is never asked for."""

    FETCH_ORDER = "fetch_order"  # one order can be asked about, by cid or by the venue's id
    BALANCES = "balances"
    OPEN_ORDERS = "open_orders"
    TRADES = "trades"  # trades since a time can be fetched
    CANCEL_ALL = "cancel_all"
    DEAD_MAN = "dead_man"
    SINGLE_SESSION = "single_session"  # executor and reconnector must share one process and one session
    ANSWERS_INLINE = "answers_inline"  # its calls never wait


class ExecutionError(Exception):
    """A call that did not do as asked. `sent`: "no" (surely nothing left) or "maybe" (the default)."""

    def __init__(self, error: Error, detail: str = "", sent: Literal["no", "maybe"] = "maybe") -> None:
        super().__init__(f"{error.label}: {detail}")
        self.error = error
        self.detail = detail
        self.sent = sent


class OpenOrder(Struct, frozen=True):
    """Place an order: `instrument` is the venue's symbol, `cid` what the venue shall know it by."""

    instrument: str
    cid: str
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    flags: int
    price: Decimal | None
    quantity: Decimal
    expires_at_ns: int

    @property
    def post_only(self) -> bool:
        return bool(self.flags & Flags.POST_ONLY)


class CancelOrder(Struct, frozen=True):
    """Cancel an order by the venue's `id` where it is known, by `cid` otherwise."""

    instrument: str
    cid: str
    id: str | None


class Order(Struct):
    """An order as the venue tells it. `state` None: Open or FullyFilled, by what is left of it."""

    instrument: str
    cid: str  # "" where the venue knows none
    id: str | None
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    price: Decimal | None
    quantity: Decimal
    filled: Decimal
    state: OrderState | None = None
    flags: int = 0
    exchange_at_ns: int = 0
    failure: tuple[Error, str] | None = None  # why the venue ended it, where it says so


class OrderCancelled(Struct):
    """A cancel that the venue confirmed; `filled` None where it does not say."""

    instrument: str
    cid: str
    id: str | None
    filled: Decimal | None = None
    exchange_at_ns: int = 0


class Trade(Struct):
    """One fill. `id` must be unique with (instrument, side) for the account's life."""

    instrument: str
    side: Side
    id: str
    cid: str
    order_id: str | None
    price: Decimal
    quantity: Decimal
    fees: Sequence[tuple[str, Decimal]] = ()
    liquidity: Liquidity = Liquidity.UNKNOWN
    exchange_at_ns: int = 0


class TradeVoided(Struct):
    instrument: str
    side: Side
    id: str
    cid: str = ""
    exchange_at_ns: int = 0


class AssetBalance(Struct):
    asset: str
    total: Decimal
    free: Decimal
    exchange_at_ns: int = 0


class AccountSnapshot(Struct):
    """Balances of the assets asked for and the *open* orders of the instruments asked for."""

    balances: Sequence[AssetBalance] = field(default_factory=list)
    orders: Sequence[Order] = field(default_factory=list)
    exchange_at_ns: int = 0


class Alive(Struct):
    """A stream item that carries nothing but proof that the stream lives."""


class NotFound(Struct):
    """The venue does not know the order (now)."""


AccountEvent = Order | OrderCancelled | Trade | TradeVoided | AssetBalance | Alive


class Wire(Protocol):
    """A two-way edge of the deployment, as `Links.connect` gives it. Frames are bytes."""

    def send(self, frame: bytes) -> bool: ...  # False: full or not there
    def close(self) -> None: ...


class Links(Protocol):
    """The deployment's own edges, for a client of a simulated exchange."""

    fingerprint: int

    def connect(self, actor: str, edge: str, on_frame: Callable[[bytes], None]) -> Wire: ...
    def now_ns(self) -> int: ...


class ExecutionClient(Protocol):
    """The seven methods of the reference, what it takes to never guess, and `close`."""

    venue: ClassVar[str | None]  # None fits any
    capabilities: ClassVar[frozenset[Capability]]
    request_validity_ms: ClassVar[int | None]  # how late a sent request can still act; None: unbounded

    def __init__(self, exchange: str, options: Mapping[str, object]) -> None: ...

    async def account_snapshot(
        self, assets: Sequence[str], instruments: Sequence[str]
    ) -> AccountSnapshot: ...

    async def account_stream(
        self, assets: Sequence[str], instruments: Sequence[str]
    ) -> AsyncIterator[AccountEvent]: ...

    async def open_order(self, request: OpenOrder) -> Order | None: ...

    async def cancel_order(self, request: CancelOrder) -> OrderCancelled | None: ...

    async def fetch_balances(self, assets: Sequence[str]) -> Sequence[AssetBalance]: ...

    async def fetch_open_orders(self, instruments: Sequence[str]) -> Sequence[Order]: ...

    async def fetch_trades(
        self, instruments: Sequence[str], since_ns: int
    ) -> tuple[Sequence[Trade], bool]: ...

    async def fetch_order(self, instrument: str, cid: str, id: str | None) -> Order | NotFound: ...

    async def close(self) -> None: ...
