"""The faults of a simulated exchange: switches by name, flipped by `SetFault` or in the deployment file.

A fault with a count wears off by itself; `NAME off` takes it back, `clear` takes all back. Arguments are
text: whole numbers or a word of a list. A switch that is not in the table, or is given something else, is
refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

NUMBER_LIMIT: Final = 1_000_000_000
FOREVER: Final = NUMBER_LIMIT


class FaultError(Exception):
    """A switch that is not there, or arguments that it does not take; the text says what would be right."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A fault: what it does, and its arguments as (name, default or None when it must be given, words or
    ()).
    """

    does: str
    arguments: tuple[tuple[str, str | None, tuple[str, ...]], ...] = ()

    def usage(self, name: str) -> str:
        words = [f"<{a}>" if default is None else f"[{a}={default}]" for a, default, _ in self.arguments]
        return " ".join((name, *words))


_COUNT: Final = ("count", "1", ())
_CALLS: Final = ("call", "any", ("any", "open", "cancel"))
_ITEMS: Final = ("kind", "trade", ("trade", "order", "balance", "any"))

SWITCHES: Final[dict[str, Switch]] = {
    "accept_then_no_reply": Switch("opens and cancels are done and never answered", (_COUNT, _CALLS)),
    "delay": Switch("every answer leaves late", (("ms", None, ()), ("count", str(FOREVER), ()))),
    "disconnect": Switch("every account stream ends now"),
    "duplicate_reply": Switch("answers are sent twice", (_COUNT,)),
    "late_reply": Switch(
        "opens and cancels are done, their answers leave late", (("ms", None, ()), _COUNT, _CALLS)
    ),
    "error_after_accept": Switch("opens and cancels are done and answered with an error", (_COUNT, _CALLS)),
    "drop_before_accept": Switch("opens and cancels are lost on the way in", (_COUNT, _CALLS)),
    "drop_stream_frame": Switch("items are left out of the stream, unseen", (_ITEMS, _COUNT)),
    "cut_snapshot": Switch(
        "the next snapshot ends after so many elements, with the stream", (("after", "0", ()),)
    ),
    "stale_snapshot": Switch("snapshots show the account as it was", (("age_ms", None, ()),)),
    "reorder": Switch("pairs of stream items change places", (_COUNT,)),
    "replay_trades": Switch("each new stream begins with the last trades again", (("trades", "100", ()),)),
    "flap": Switch("every account stream ends so long after it began", (("period_ms", None, ()),)),
    "rate_limit": Switch("calls beyond so many a second are refused", (("per_s", None, ()),)),
    "clock_skew": Switch("the exchange's clock is ahead (or, negative, behind)", (("ms", None, ()),)),
    "silence": Switch(
        "streams carry nothing for so long, and what happened then is lost", (("ms", None, ()),)
    ),
    "end_day": Switch("the trading day ends now: DAY orders expire"),
}
AT_ONCE: Final = frozenset({"disconnect", "end_day"})  # done when flipped; never stay on
COUNTED: Final = frozenset(
    name for name, switch in SWITCHES.items() if any(argument[0] == "count" for argument in switch.arguments)
)


@dataclass(slots=True)
class Faults:
    """Which switches are on, with their arguments by name."""

    on: dict[str, dict[str, int | str]] = field(default_factory=dict)
    since_ns: dict[str, int] = field(default_factory=dict)

    def flip(self, name: str, arguments: Sequence[str], now_ns: int) -> str:
        """Switch a fault on, or off; says what is so now. Raises FaultError, and nothing has changed."""
        if name == "clear" and not arguments:
            self.on.clear()
            return "every fault is off"
        switch = SWITCHES.get(name)
        if switch is None:
            raise FaultError(f"no fault {name[:40]!r}; one of {', '.join(SWITCHES)}, clear")
        if list(arguments) == ["off"]:
            self.on.pop(name, None)
            return f"{name} is off"
        values = _read(name, switch, arguments)
        if name not in AT_ONCE:
            self.on[name] = values
            self.since_ns[name] = now_ns
        said = " ".join(f"{key}={value}" for key, value in values.items())
        return f"{name} {said}".rstrip() + f": {switch.does}"

    def number(self, name: str, argument: str) -> int | None:
        """An argument of a switch that is on; None when it is off."""
        values = self.on.get(name)
        return None if values is None else int(values[argument])

    def strikes(self, name: str, word: str = "") -> bool:
        """Whether a counted fault strikes this one (a call or an item, by its word); uses up one of its
        count.
        """
        values = self.on.get(name)
        if values is None:
            return False
        wanted = values.get("call", values.get("kind", "any"))
        if wanted not in ("any", word):
            return False
        left = int(values["count"]) - 1
        if int(values["count"]) != FOREVER:
            values["count"] = left
        if left <= 0:
            del self.on[name]
        return True


def _read(name: str, switch: Switch, arguments: Sequence[str]) -> dict[str, int | str]:
    if len(arguments) > len(switch.arguments):
        raise FaultError(
            f"{name} takes {len(switch.arguments)} arguments, not {len(arguments)}: {switch.usage(name)}"
        )
    values: dict[str, int | str] = {}
    for at, (argument, default, words) in enumerate(switch.arguments):
        written = arguments[at] if at < len(arguments) else default
        if written is None:
            raise FaultError(f"{name} needs {argument}: {switch.usage(name)}")
        values[argument] = (
            _word(name, argument, written, words) if words else _number(name, argument, written)
        )
    return values


def _word(name: str, argument: str, written: str, words: tuple[str, ...]) -> str:
    if written not in words:
        raise FaultError(f"{name}: {argument} is {written[:40]!r}; one of {', '.join(words)}")
    return written


def _number(name: str, argument: str, written: str) -> int:
    digits = written.removeprefix("-") if name == "clock_skew" else written
    low = 0 if argument in ("after", "ms", "trades") else 1
    if (
        not (digits.isascii() and digits.isdigit() and len(digits) <= 10)
        or not low <= int(digits) <= NUMBER_LIMIT
    ):
        raise FaultError(
            f"{name}: {argument} is {written[:40]!r}; give a whole number, {low} to {NUMBER_LIMIT}"
        )
    return int(written)
