"""Finds what `--market-data FILE...` is a recording of: the instrument by its symbol, and its first price.

Recordings are gzipped lines, `<receive time, ns> <json>`, as actors/exchange/recordings.py plays them.
"""

import gzip
import re
import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from pipeline.amounts import parse
from pipeline.deployment import Deployment
from pipeline.naming import printable

LINES_LOOKED_AT: Final = 5_000
_LINE_LIMIT: Final = 4 * 1024 * 1024
_SYMBOL: Final = re.compile(r"[A-Za-z0-9]+")


class Recording(NamedTuple):
    exchange: str
    instrument: str
    path: Path
    price: Decimal


def find(deployment: Deployment, files: Sequence[Path]) -> list[Recording]:
    """What each file is a recording of. Raises click.UsageError that names file and what would be right."""
    found: list[Recording] = []
    for file in files:
        symbol, price = _first_price(file)
        place = _listed(deployment, symbol) or _listed_in_name(deployment, file)
        if place is None:
            known = ", ".join(i.symbol for e in deployment.exchanges for i in e.instruments)
            raise _unusable(file, f"is of {printable(symbol, 40) or 'no symbol'}", f"give one of {known}")
        if any(place == (each.exchange, each.instrument) for each in found):
            raise _unusable(file, f"is a second recording of {place[1]}", "give one for each instrument")
        found.append(Recording(*place, file.resolve(), price))
    return found


def _listed(deployment: Deployment, symbol: str) -> tuple[str, str] | None:
    for exchange in deployment.exchanges:
        for instrument in exchange.instruments:
            if instrument.symbol == symbol.upper():
                return exchange.name, instrument.name
    return None


def _listed_in_name(deployment: Deployment, file: Path) -> tuple[str, str] | None:
    places = (_listed(deployment, part) for part in _SYMBOL.findall(file.name))
    return next((place for place in places if place is not None), None)


def _first_price(file: Path) -> tuple[str, Decimal]:
    """The symbol that the frames name ("" if none do), and the first price of a best bid or a trade."""
    symbol = ""
    try:
        with gzip.open(file) as lines:
            for _ in range(LINES_LOOKED_AT):
                line = lines.readline(_LINE_LIMIT)
                if not line:
                    break
                frame = msgspec.json.decode(line.partition(b" ")[2])
                data = frame.get("data") if isinstance(frame, dict) else None
                if not isinstance(data, dict):
                    continue
                symbol = symbol or str(data.get("s", ""))
                price = _price(data)
                if price is not None:
                    return symbol, price
    except FileNotFoundError:
        raise _unusable(file, "there is no such file", "give a recording") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unusable(file, f"cannot be read ({error})", "give a recording in gzip") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        right = "each line is a time in nanoseconds, a space and a frame"
        raise _unusable(file, "is no recording", right) from None
    raise _unusable(file, f"has no price in its first {LINES_LOOKED_AT} lines", "give one with trades")


def _price(data: dict[str, Any]) -> Decimal | None:
    if data.get("e") == "trade":
        return parse(str(data["p"]).rstrip("0").rstrip("."))
    if isinstance(data.get("b"), str) and data.get("B"):
        return parse(str(data["b"]))
    return None


def _unusable(file: Path, what: str, right: str) -> click.UsageError:
    return click.UsageError(f"--market-data: {printable(str(file))}: {what}; {right}")
