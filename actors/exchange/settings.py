"""What `[exchanges.<name>.simulation]` of a deployment file may say, checked once and then immutable.

Every key has a default, so an empty table is a working exchange: a million of every asset, every instrument
starting at 100, no fees, no latency. Amounts are text or whole numbers, as everywhere in a deployment file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import msgspec
from msgspec import Struct, field

from pipeline.amounts import ZERO, amount
from pipeline.deployment import ConfigError, Deployment, Exchange

SPACE: Final = "simulation"
_FEE_LIMIT: Final = Decimal("0.1")
_PLACES_LIMIT: Final = 18
_LATENCY_MS_LIMIT: Final = 1_000  # an order is refused a second after it was sent (calls.py)
_DEFAULT_BALANCE: Final = Decimal(1_000_000)
_DEFAULT_PRICE: Final = Decimal(100)
_TIME_OF_DAY: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
Written = str | int


class Range(Struct, frozen=True, forbid_unknown_fields=True):
    """A latency drawn evenly between two bounds, in milliseconds."""

    min: float
    max: float


class Synthetic(Struct, frozen=True, forbid_unknown_fields=True, tag_field="model", tag="synthetic"):
    """A seeded walk of each price. `volatility`: a step's standard deviation, as a fraction of the price."""

    step_ms: int = 100
    volatility: float = 0.0002
    depth: int = 10  # levels shown on each side
    spread_steps: int = 2  # best ask less best bid, in price steps
    level_notional: Written = 10_000  # about how much stands on one level, in the quote asset
    trade_every_ms: int = 250  # the mean pause between two trades of the market; 0: none
    prices: dict[str, Written] = field(default_factory=dict)


class Recordings(Struct, frozen=True, forbid_unknown_fields=True, tag_field="model", tag="recordings"):
    """Raw Binance frames, one file per instrument. `speed` 2.0 plays twice as fast as recorded."""

    files: dict[str, str]
    loop: bool = True
    speed: float = 1.0


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    seed: int | None = None
    balances: dict[str, Written] = field(default_factory=dict)
    maker_fee: Written = 0
    taker_fee: Written = 0
    latency_ms: float | Range = 0
    stream_latency_ms: float | Range = 0
    day_ends: str = "00:00"
    self_trade: Literal["cancel_newest"] = "cancel_newest"
    open_orders_limit: int = 20_000
    faults: list[str] = field(default_factory=list)
    market: Synthetic | Recordings = field(default_factory=Synthetic)


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked table. Balances are by the venue's asset symbol; prices and files by instrument symbol."""

    seed: int | None
    balances: Mapping[str, Decimal]
    maker_fee: Decimal
    taker_fee: Decimal
    latency_ms: Range
    stream_latency_ms: Range
    day_ends_minute: int  # of the UTC day
    open_orders_limit: int
    faults: tuple[tuple[str, list[str]], ...]
    market: Synthetic | Recordings
    prices: Mapping[str, Decimal]
    level_notional: Decimal
    files: Mapping[str, Path]


def read(deployment: Deployment, exchange: Exchange) -> Settings:
    """The settings of one simulated exchange. Raises ConfigError: one line that names file and key."""
    return _Reader(deployment, exchange).read()


class _Reader:
    def __init__(self, deployment: Deployment, exchange: Exchange) -> None:
        self.deployment = deployment
        self.exchange = exchange

    def refuse(self, key: str, what: str, right: str) -> NoReturn:
        place = f"exchanges.{self.exchange.name}.{SPACE}" + (f".{key}" if key else "")
        raise ConfigError(f"{self.deployment.path}: {place}: {what}; {right}")

    def read(self) -> Settings:
        try:
            table = msgspec.convert(_plain(self.exchange.simulation), _Table, strict=True)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$")
            key = where.strip("`").lstrip(".")
            self.refuse(key, what, "actors/exchange/settings.py lists every key with its type")
        maker, taker = self.fee("maker_fee", table.maker_fee), self.fee("taker_fee", table.taker_fee)
        self.check_places(maker, taker)
        market = table.market
        synthetic = market if isinstance(market, Synthetic) else Synthetic()
        self.check_market(market)
        if not 1 <= table.open_orders_limit <= 20_000:
            self.refuse("open_orders_limit", f"{table.open_orders_limit} is out of range", "give 1 to 20000")
        return Settings(
            seed=table.seed,
            balances=self.balances(table.balances),
            maker_fee=maker,
            taker_fee=taker,
            latency_ms=self.latency("latency_ms", table.latency_ms),
            stream_latency_ms=self.latency("stream_latency_ms", table.stream_latency_ms),
            day_ends_minute=self.minute(table.day_ends),
            open_orders_limit=table.open_orders_limit,
            faults=tuple((words[0], words[1:]) for words in (line.split() for line in table.faults) if words),
            market=market,
            prices=self.prices(synthetic.prices),
            level_notional=self.positive("market.level_notional", synthetic.level_notional),
            files=self.files(market.files) if isinstance(market, Recordings) else {},
        )

    def decimal(self, key: str, written: Written) -> Decimal:
        try:
            return amount(written)
        except (ValueError, TypeError) as error:
            self.refuse(key, str(error), 'write it as text, for example "0.001"')

    def positive(self, key: str, written: Written) -> Decimal:
        number = self.decimal(key, written)
        if number <= 0:
            self.refuse(key, f"{number} is not above zero", "give an amount above zero")
        return number

    def fee(self, key: str, written: Written) -> Decimal:
        fee = self.decimal(key, written)
        if abs(fee) > _FEE_LIMIT:
            self.refuse(
                key,
                f"{fee} is out of range",
                f'a fraction of the notional, -{_FEE_LIMIT} to {_FEE_LIMIT}, as "0.001"',
            )
        return fee

    def check_places(self, *fees: Decimal) -> None:
        """No fee is ever rounded: price × quantity × fee must have its place in an amount."""
        fee_places = max(_places(fee) for fee in fees)
        for instrument in self.exchange.instruments:
            places = _places(instrument.price_step) + _places(instrument.quantity_step) + fee_places
            if places > _PLACES_LIMIT:
                self.refuse(
                    "taker_fee",
                    f"price step × quantity step × fee of {instrument.name} has {places} places",
                    f"use coarser steps or fees: at most {_PLACES_LIMIT} places together",
                )

    def check_market(self, market: Synthetic | Recordings) -> None:
        if isinstance(market, Recordings):
            if not 0 < market.speed <= 10_000:
                self.refuse(
                    "market.speed", f"{market.speed} is out of range", "give a number above 0, as 1.0"
                )
            return
        ranges = {
            "step_ms": (market.step_ms, 1, 60_000),
            "depth": (market.depth, 1, 1_000),
            "spread_steps": (market.spread_steps, 1, 1_000_000),
            "trade_every_ms": (market.trade_every_ms, 0, 3_600_000),
            "volatility": (market.volatility, 0, 0.1),
        }
        for key, (value, low, high) in ranges.items():
            if not low <= value <= high:
                self.refuse(f"market.{key}", f"{value} is out of range", f"give {low} to {high}")

    def balances(self, written: Mapping[str, Written]) -> dict[str, Decimal]:
        names = [asset.name for asset in self.exchange.assets]
        for name in written:
            if name not in names:
                self.refuse(f"balances.{name}", "no such asset", f"one of {', '.join(names)}")
        found = {}
        for asset in self.exchange.assets:
            default = ZERO if written else _DEFAULT_BALANCE
            found[asset.symbol] = self.decimal(
                f"balances.{asset.name}", written.get(asset.name, str(default))
            )
            if found[asset.symbol] < 0:
                self.refuse(f"balances.{asset.name}", "a balance below zero", "give zero or more")
        return found

    def prices(self, written: Mapping[str, Written]) -> dict[str, Decimal]:
        self.check_names("market.prices", written)
        return {
            i.symbol: self.positive(f"market.prices.{i.name}", written.get(i.name, str(_DEFAULT_PRICE)))
            for i in self.exchange.instruments
        }

    def files(self, written: Mapping[str, str]) -> dict[str, Path]:
        self.check_names("market.files", written)
        found = {}
        for instrument in self.exchange.instruments:
            if instrument.name not in written:
                continue  # without a recording it has no market: orders only rest
            path = self.deployment.path.parent / Path(written[instrument.name]).expanduser()
            if not path.is_file():
                self.refuse(
                    f"market.files.{instrument.name}", f"{path} is no file", "give a recording that is there"
                )
            found[instrument.symbol] = path
        return found

    def check_names(self, key: str, written: Mapping[str, object]) -> None:
        names = [instrument.name for instrument in self.exchange.instruments]
        for name in written:
            if name not in names:
                self.refuse(f"{key}.{name}", "no such instrument", f"one of {', '.join(names)}")

    def latency(self, key: str, written: float | Range) -> Range:
        found = written if isinstance(written, Range) else Range(written, written)
        if not 0 <= found.min <= found.max <= _LATENCY_MS_LIMIT:
            self.refuse(
                key,
                f"{found.min} to {found.max} is no range of milliseconds",
                "give 5, or { min = 1, max = 9 }",
            )
        return found

    def minute(self, written: str) -> int:
        match = _TIME_OF_DAY.fullmatch(written)
        if match is None:
            self.refuse(
                "day_ends", f"{written!r} is no time of day", 'give UTC hours and minutes, as "00:00"'
            )
        return int(match[1]) * 60 + int(match[2])


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "amounts are finite"
    return max(0, -exponent)


def _plain(value: Any) -> Any:
    """Mappings of any make as dicts: msgspec converts those."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
