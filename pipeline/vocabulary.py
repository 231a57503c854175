"""The words of the trade, as small integers on the wire and lower-case names for people.

Numbers here are part of the protocol: they are only ever added to. PROTOCOL.md lists them.
"""

from enum import IntEnum, IntFlag


class Word(IntEnum):
    """An enumeration that prints as people write it: `Side.BUY` is "buy"."""

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


class Side(Word):
    BUY = 0
    SELL = 1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderKind(Word):
    MARKET = 0
    LIMIT = 1


class TimeInForce(Word):
    GTC = 0
    DAY = 1
    IOC = 2
    FOK = 3


class Flags(IntFlag):
    NONE = 0
    POST_ONLY = 1
    REDUCE_ONLY = 2


class Named(IntEnum):
    """An enumeration whose names people and programs read in CamelCase: `Refusal.TooLate`."""

    @property
    def label(self) -> str:
        return self.name


class OrderState(Named):
    """The four active states, then the four finished ones (lifecycle.py has the transitions)."""

    OpenInFlight = 0
    Open = 1
    CancelInFlight = 2
    Unknown = 3
    Cancelled = 8
    FullyFilled = 9
    OpenFailed = 10
    Expired = 11

    @property
    def finished(self) -> bool:
        return self >= 8


class Pending(Word):
    NONE = 0
    CANCEL = 1
    REPLACE = 2


class Evidence(Word):
    """Whose word an event rests on. From CALL on it is the exchange's own."""

    NONE = 0  # the pipeline speaks of itself
    DEADLINE = 1  # a request's time ran out: nobody knows
    RESTART = 2  # found `sending` in the journal after a restart: nobody knows
    SUSPECT = 3  # a snapshot or an error leaves it open: nobody knows
    OPERATOR = 8  # a person's signed word
    CALL = 16  # the answer to the request's own call
    LATE_CALL = 17  # the same, after the deadline
    STREAM = 18
    SNAPSHOT = 19
    QUERY = 20
    BACKFILL = 21
    ABSENCE = 22  # asked about after its validity had passed, and not there

    @property
    def settles(self) -> bool:
        """Whether it may take an order out of Unknown."""
        return self >= 8


class Liquidity(Word):
    UNKNOWN = 0
    MAKER = 1
    TAKER = 2


class CancelScope(Word):
    SESSION = 0
    ENGINE = 1
    ALL = 2


class Error(Named):
    """Why an exchange (or the way to it) did not do as asked: `Connectivity` then `Rejected`."""

    ExchangeOffline = 0
    Timeout = 1
    Socket = 2
    AssetInvalid = 16
    InstrumentInvalid = 17
    RateLimit = 18
    BalanceInsufficient = 19
    OrderRejected = 20
    OrderAlreadyCancelled = 21
    OrderAlreadyFullyFilled = 22
    OrderNotFound = 23

    @property
    def rejected(self) -> bool:
        """The exchange itself said no: final. The others are Connectivity: nobody knows."""
        return self >= 16

    @property
    def label(self) -> str:
        return f"{'Rejected' if self.rejected else 'Connectivity'}.{self.name}"


class Refusal(Named):
    """Why the pipeline did not accept a request: nothing of it ever left for the exchange."""

    UnknownExchange = 0
    UnknownInstrument = 1
    UnknownKind = 2
    WrongVersion = 3
    FingerprintMismatch = 4
    InvalidRequest = 5
    DuplicateCid = 6
    TooLate = 7
    Overloaded = 8
    NotReady = 9
    NotSent = 10
    CancelledUnsent = 11
    Halted = 12
    RiskLimit = 13
    RateLimit = 14
    Unsupported = 15
    InstrumentClosed = 16
    JournalUnavailable = 17


class Role(Word):
    """What a source of frames is; with an exchange index it names the source."""

    ROUTER = 0
    EXECUTOR = 1
    RECONNECTOR = 2
    MERGER = 3
    EXCHANGE = 4
    MONITOR = 5
