"""One `[exchanges.<name>]` table of a deployment file: an account at a venue, its instruments and its terms.

Indices come from file order. An exchange's assets are those of its instruments: base, then quote, each once.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from pipeline.deployment import Asset, Backoff, ConfigError, Exchange, Instrument, Limits, Timing
from pipeline.deployment_table import Section, frozen, nearest, quoted

CheckClient = Callable[[str], type]
"""Finds the class of a client by its spec. Raises ConfigError: "<what is wrong>; <what would be right>"."""

INSTRUMENTS_LIMIT: Final = 4_096
DAY_MS: Final = 86_400_000

# Ends included. What has a floor of 1 must happen at all; what has 0 can be switched off.
TIMING_RANGES: Final = {
    "request_timeout_ms": (1, 600_000),
    "expires_ms": (1, DAY_MS),
    "expires_limit_ms": (1, DAY_MS),
    "call_lifetime_ms": (1, 3_600_000),
    "query_every_ms": (1, 3_600_000),
    "reconcile_every_ms": (1, DAY_MS),
    "stuck_after_ms": (1, DAY_MS),
    "stream_silence_ms": (0, DAY_MS),
    "trade_overlap_ms": (0, DAY_MS),
    "trade_horizon_ms": (1_000, 366 * DAY_MS),
}
BACKOFF_RANGES: Final = {
    "initial_ms": (1, 3_600_000),
    "multiplier": (1.0, 100.0),
    "max_ms": (1, DAY_MS),
    "healthy_ms": (0, DAY_MS),
}
LIMITS_RANGES: Final = {
    "in_flight": (1, 1_000_000),
    "open_orders": (1, 1_000_000),
    "stream_buffer": (1, 1_000_000),
}


class InstrumentEntry(Struct, frozen=True):
    name: str
    symbol: str
    base: str
    quote: str
    price_step: Any  # decimals are read by the pipeline's own grammar, from text or a whole number
    quantity_step: Any
    quantity_min: Any = "0"
    notional_min: Any = "0"
    kind: str = "spot"
    contract_size: Any = "1"


class ExchangeEntry(Struct, frozen=True):
    venue: str
    client: str
    instruments: list[dict[str, Any]]
    timing: dict[str, Any] = {}
    backoff: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    options: dict[str, Any] = {}
    simulation: dict[str, Any] = {}
    assets: dict[str, Any] = {}


def read_exchange(section: Section, index: int, name: str, check_client: CheckClient | None) -> Exchange:
    """Raises ConfigError for anything in the table that cannot be traded on."""
    section.name("", name)
    entry = section.into(ExchangeEntry)
    section.name("venue", entry.venue)
    instruments = _instruments(section, entry.instruments)
    exchange = Exchange(
        index=index,
        name=name,
        venue=entry.venue,
        client=entry.client,
        instruments=instruments,
        assets=_assets(section.below("assets"), instruments),
        timing=_timing(section.below("timing")),
        backoff=_backoff(section.below("backoff")),
        limits=_limits(section.below("limits")),
        options=frozen(entry.options),
        simulation=frozen(entry.simulation),
    )
    if check_client is not None:
        _check_client(section, exchange, check_client)
    return exchange


def _check_client(section: Section, exchange: Exchange, check_client: CheckClient) -> None:
    try:
        client = check_client(exchange.client)
    except ConfigError as error:
        what, _, right = str(error).partition("; ")
        raise section.wrong("client", what, right) from None
    venue = getattr(client, "venue", None)
    if venue is not None and venue != exchange.venue:
        raise section.wrong(
            "client",
            f"{exchange.client} is a client of {venue}, and the venue here is {exchange.venue}",
            f'set venue = "{venue}", or name a client of {exchange.venue}',
        )


def _instruments(section: Section, tables: list[dict[str, Any]]) -> tuple[Instrument, ...]:
    if not 1 <= len(tables) <= INSTRUMENTS_LIMIT:
        what = f"has {len(tables)} instruments"
        raise section.wrong("instruments", what, f"list from 1 to {INSTRUMENTS_LIMIT}")
    found: list[Instrument] = []
    names: dict[str, int] = {}
    symbols: dict[str, str] = {}
    for index, table in enumerate(tables):
        place = section.at(f"instruments.{_called(index, table)}", table)
        instrument = _instrument(place, index)
        if instrument.name in names:
            what = f"{instrument.name} is also the name of instrument #{names[instrument.name] + 1}"
            raise place.wrong("name", what, "give each instrument of an exchange its own name")
        if instrument.symbol in symbols:
            what = f"{quoted(instrument.symbol)} is also the symbol of {symbols[instrument.symbol]}"
            raise place.wrong("symbol", what, "list each instrument of the venue once")
        names[instrument.name] = index
        symbols[instrument.symbol] = instrument.name
        found.append(instrument)
    return tuple(found)


def _called(index: int, table: Mapping[str, Any]) -> str:
    """How errors speak of an instrument: by its name, or by its place, counted from 1."""
    name = table.get("name")
    return name if isinstance(name, str) and name.isidentifier() else f"#{index + 1}"


def _instrument(section: Section, index: int) -> Instrument:
    entry = section.into(InstrumentEntry)
    if entry.kind != "spot":
        raise section.wrong("kind", f"{quoted(entry.kind)} cannot be traded yet", 'write "spot"')
    contract_size = section.decimal("contract_size", entry.contract_size, above_zero=True)
    if contract_size != 1:
        raise section.wrong("contract_size", f"{contract_size} is not for a spot instrument", 'write "1"')
    if entry.base == entry.quote:
        raise section.wrong("quote", f"{quoted(entry.quote)} is the base as well", "name the other asset")
    return Instrument(
        index=index,
        name=section.name("name", entry.name),
        symbol=section.text("symbol", entry.symbol),
        base=section.name("base", entry.base),
        quote=section.name("quote", entry.quote),
        price_step=section.decimal("price_step", entry.price_step, above_zero=True),
        quantity_step=section.decimal("quantity_step", entry.quantity_step, above_zero=True),
        quantity_min=section.decimal("quantity_min", entry.quantity_min, above_zero=False),
        notional_min=section.decimal("notional_min", entry.notional_min, above_zero=False),
        kind=entry.kind,
        contract_size=contract_size,
    )


def _assets(section: Section, instruments: tuple[Instrument, ...]) -> tuple[Asset, ...]:
    names = list(dict.fromkeys(name for i in instruments for name in (i.base, i.quote)))
    for name in section.table:
        if name not in names:
            raise section.wrong(name, "no instrument here has this asset", nearest(name, names, "they have"))
    found: dict[str, Asset] = {}
    for index, name in enumerate(names):
        symbol = section.table.get(name, name.upper())
        if not isinstance(symbol, str):
            raise section.wrong(name, "is no text", "write the venue's name of the asset in quotes")
        if symbol in found:
            what = f"{quoted(symbol)} is also the symbol of {found[symbol].name}"
            raise section.wrong(name, what, "give each asset its own symbol")
        found[symbol] = Asset(index, name, section.text(name, symbol))
    return tuple(found.values())


def _timing(section: Section) -> Timing:
    timing = section.into(Timing)
    section.within(timing, TIMING_RANGES)
    if timing.expires_ms > timing.expires_limit_ms:
        what = f"{timing.expires_ms} is beyond expires_limit_ms, which is {timing.expires_limit_ms}"
        raise section.wrong("expires_ms", what, "lower it or raise the limit")
    return timing


def _backoff(section: Section) -> Backoff:
    backoff = section.into(Backoff)
    section.within(backoff, BACKOFF_RANGES)
    if backoff.max_ms < backoff.initial_ms:
        what = f"{backoff.max_ms} is less than initial_ms, which is {backoff.initial_ms}"
        raise section.wrong("max_ms", what, "raise it or lower initial_ms")
    return backoff


def _limits(section: Section) -> Limits:
    limits = section.into(Limits)
    section.within(limits, LIMITS_RANGES)
    return limits
