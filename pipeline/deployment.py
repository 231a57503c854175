"""What runs, where, and on which terms: one immutable value that every part reads, made by
deployment_file.py.

Indices come from file order: an exchange's in the file, an instrument's and an asset's within its
exchange. The fingerprint covers just what gives the indices their meaning, and travels in every request.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pipeline.amounts import ZERO, Amount, amount

Durability = Literal["none", "process", "power"]
SIMULATED = "simulated"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


class ConfigError(Exception):
    """A deployment that cannot run: the text is one line that names file, key, what is wrong, what would
    be right.
    """


@dataclass(frozen=True, slots=True)
class Asset:
    index: int
    name: str
    symbol: str  # the venue's name for it


@dataclass(frozen=True, slots=True)
class Instrument:
    """`price_step` and `quantity_step` are the venue's grid; minimums are in base and in quote units."""

    index: int
    name: str
    symbol: str  # the venue's name for it
    base: str
    quote: str
    price_step: Amount
    quantity_step: Amount
    quantity_min: Amount = ZERO
    notional_min: Amount = ZERO
    kind: str = "spot"  # reserved: perpetual, future, option
    contract_size: Amount = field(default_factory=lambda: amount(1))  # reserved


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts to connect: full jitter over initial × multiplier^n up to max; the count starts
    again only after a stream has been healthy for `healthy_ms`."""

    initial_ms: int = 125
    multiplier: float = 2.0
    max_ms: int = 60_000
    healthy_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    in_flight: int = 1_000  # requests sent and not yet over, per exchange
    open_orders: int = 10_000  # orders not finished, per exchange
    stream_buffer: int = 10_000  # updates held while a snapshot is fetched


@dataclass(frozen=True, slots=True)
class Timing:
    """Per exchange. A request expires `expires_ms` after it was made unless the engine says otherwise."""

    request_timeout_ms: int = 2_000
    expires_ms: int = 5_000
    expires_limit_ms: int = 60_000
    call_lifetime_ms: int = 10_000
    query_every_ms: int = 500  # the pause between two questions about one unknown order, before backoff
    reconcile_every_ms: int = 30_000  # the periodic check of open orders and balances
    stuck_after_ms: int = 60_000
    stream_silence_ms: int = 0  # 0: a silent stream is never renewed
    trade_overlap_ms: int = 5_000
    trade_horizon_ms: int = 86_400_000


@dataclass(frozen=True, slots=True)
class Exchange:
    index: int
    name: str
    venue: str
    client: str  # "simulated", "instant", or "package.module:Class"
    instruments: tuple[Instrument, ...]
    assets: tuple[Asset, ...]
    timing: Timing = Timing()
    backoff: Backoff = Backoff()
    limits: Limits = Limits()
    options: Mapping[str, Any] = field(default_factory=dict)  # the client's own
    simulation: Mapping[str, Any] = field(
        default_factory=dict
    )  # the simulated exchange's own, see actors/exchange

    def instrument(self, name: str) -> Instrument:
        """Raises KeyError."""
        return _named(self.instruments, name)

    def asset(self, name: str) -> Asset:
        """Raises KeyError."""
        return _named(self.assets, name)


@dataclass(frozen=True, slots=True)
class Edges:
    """High-water marks (frames), batches (frames a turn) and the feed's timing, the same for the whole
    deployment.
    """

    transport: Literal["auto", "ipc"] = "auto"  # ipc: also between actors of one process
    requests_hwm: int = 4_096
    events_hwm: int = 8_192
    feed_hwm: int = 8_192
    batch_limit: int = 256
    heartbeat_ms: int = 100
    feed_stale_ms: int = 2_000
    resend_after_ms: int = 500
    outbox_limit: int = 50_000  # source frames not yet acknowledged
    event_retention: int = 2_000_000  # feed events kept for replay
    tombstone_limit: int = 16_384  # finished orders kept in memory
    stop_within_ms: int = 5_000


@dataclass(frozen=True)
class Deployment:
    path: Path  # the file, or where the embedded default would be
    name: str
    run_dir: Path
    state_dir: Path
    exchanges: tuple[Exchange, ...]
    processes: Mapping[str, tuple[str, ...]]  # process -> its actors, in start order
    durability: Durability = "process"
    edges: Edges = Edges()
    testing: bool = False  # fail points and faults may be switched on
    source: str = ""  # the text it was made from, for child processes of an embedded default

    def exchange(self, name: str) -> Exchange:
        """Raises KeyError."""
        return _named(self.exchanges, name)

    @cached_property
    def actors(self) -> tuple[str, ...]:
        """Every actor of the deployment: router, merger, then those of each exchange."""
        return ("router", "merger", *(a for e in self.exchanges for a in actors_of(e)))

    @cached_property
    def process_of(self) -> Mapping[str, str]:
        """actor -> process."""
        return {actor: process for process, actors in self.processes.items() for actor in actors}

    @cached_property
    def table(self) -> tuple[str, ...]:
        """One line per exchange, instrument and asset: what gives the indices their meaning. Only ever
        extended.
        """
        lines = []
        for e in self.exchanges:
            lines.append(f"exchange {e.index} {e.name} {e.venue}")
            lines.extend(
                f"instrument {e.index} {i.index} {i.name} {i.symbol} {i.base}/{i.quote} {i.kind} "
                f"{i.contract_size}"
                for i in e.instruments
            )
            lines.extend(f"asset {e.index} {a.index} {a.name} {a.symbol}" for a in e.assets)
        return tuple(lines)

    @cached_property
    def fingerprint(self) -> int:
        """CRC-32 of the table: two programs with the same one mean the same by every index."""
        return zlib.crc32("\n".join(self.table).encode())


def actors_of(exchange: Exchange) -> tuple[str, ...]:
    """The actors that one exchange entry brings; a simulated client brings its exchange."""
    own = (f"executor.{exchange.name}", f"reconnector.{exchange.name}")
    return (f"exchange.{exchange.name}", *own) if exchange.client == SIMULATED else own


def _named(entries: tuple[T, ...], name: str) -> T:
    for entry in entries:
        if entry.name == name:
            return entry
    raise KeyError(name)
