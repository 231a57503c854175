"""One table of a deployment file, read into its type; what is wrong with it becomes one line to act on.

The line names the file, the key, what is wrong and what would be right. No key is ever ignored and no
value guessed.
"""

import dataclasses
import difflib
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from pipeline.amounts import Amount, amount
from pipeline.deployment import ConfigError

T = TypeVar("T")

NAME_GRAMMAR: Final = re.compile(r"[a-z0-9_]{1,32}")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_.#*\[\]-]{1,64}")
_QUOTED_LIMIT: Final = 60  # characters of a value that an error repeats
_LISTED_LIMIT: Final = 16  # names that an error lists
_MISMATCH: Final = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_PLACE: Final = re.compile(r" - at `\$\.?(.*)`\Z")
_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
}


class Section(NamedTuple):
    """A table of the file and where it stands in it."""

    file: str
    place: str  # "" for the file's own level
    table: Mapping[str, Any]

    def wrong(self, key: str, what: str, right: str) -> ConfigError:
        """The one line, ready to raise. `key` "" speaks of the table itself."""
        at = ".".join(part for part in (self.place, _key(key) if key else "") if part)
        line = f"{self.file}: {at}: {what}; {right}" if at else f"{self.file}: {what}; {right}"
        return ConfigError(" ".join(line.split()))

    def below(self, key: str) -> "Section":
        """The table under a key; an absent one is empty. Raises ConfigError when it is no table."""
        table = self.table.get(key, {})
        if not isinstance(table, dict):
            raise self.wrong(key, f"is {_kind(table)}", "write it as a table of keys")
        return self.at(key, table)

    def at(self, key: str, table: Mapping[str, Any]) -> "Section":
        return Section(self.file, f"{self.place}.{_key(key)}" if self.place else _key(key), table)

    def into(self, cls: type[T]) -> T:
        """The table as a struct or dataclass. Raises ConfigError for unknown, missing and mistyped keys."""
        known = field_names(cls)
        for key in self.table:
            if key not in known:
                raise self.wrong(key, "is no key of this table", nearest(key, known, "the keys are"))
        try:
            return msgspec.convert(self.table, cls)
        except msgspec.ValidationError as error:
            raise self._mistyped(cls, str(error)) from None

    def name(self, key: str, value: str) -> str:
        """A name that fits the grammar of names, as it came."""
        if not NAME_GRAMMAR.fullmatch(value):
            raise self.wrong(
                key, f"{quoted(value)} is no name", "use 1 to 32 small letters, digits and underscores"
            )
        return value

    def text(self, key: str, value: str) -> str:
        """A venue's name for something: not empty, printable, without spaces at its ends."""
        if not value or len(value) > 64 or not value.isprintable() or value != value.strip():
            raise self.wrong(key, f"{quoted(value)} is no name", "use 1 to 64 printable characters")
        return value

    def decimal(self, key: str, value: object, above_zero: bool) -> Amount:
        """A decimal of the pipeline's grammar, not negative."""
        if isinstance(value, float):
            # A float has already lost what was written: 0.1 is not a tenth.
            raise self.wrong(key, f"{value!r} is a float", f'write the decimal in quotes: "{value!r}"')
        try:
            number = amount(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            right = 'write digits with at most one point, in quotes, such as "0.01"'
            raise self.wrong(key, f"{quoted(value)} is no decimal", right) from None
        if number < 0 or (above_zero and number == 0):
            wanted = "more than 0" if above_zero else "0 or more"
            raise self.wrong(key, f"{number} is out of range", f"write a decimal of {wanted}")
        return number

    def within(self, values: object, ranges: Mapping[str, tuple[float, float]]) -> None:
        """Check number fields of a value made by `into` against their ranges, ends included."""
        for key, (low, high) in ranges.items():
            value = getattr(values, key)
            if not low <= value <= high:  # also true of a float that is no number
                raise self.wrong(
                    key, f"{quoted(value)} is out of range", f"write a number from {low} to {high}"
                )

    def _mistyped(self, cls: type, text: str) -> ConfigError:
        place = _PLACE.search(text)
        key = place.group(1) if place else ""
        if mismatch := _MISMATCH.search(text):
            expected, got = ((_WORDS.get(word, word)) for word in mismatch.groups())
            return self.wrong(key, f"is {got}", f"write {expected}")
        if missing := re.search(r"missing required field `(.*)`", text):
            return self.wrong(missing.group(1), "is missing", f"add it: {_wanted(cls, missing.group(1))}")
        choices = _choices(cls, key)
        if choices:
            value = quoted(self.table.get(key))
            return self.wrong(
                key, f"{value} is not one of its words", nearest(value, choices, "write one of")
            )
        return self.wrong(key, text.partition(" - at ")[0], "write a value of its type")


def field_names(cls: type) -> tuple[str, ...]:
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    return tuple(cls.__dataclass_fields__) if dataclasses.is_dataclass(cls) else ()


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """The advice after a word that is not known: the one that was probably meant, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    listed = ", ".join(known[:_LISTED_LIMIT])
    return f"{otherwise} {listed}{', ...' if len(known) > _LISTED_LIMIT else ''}"


def quoted(value: object) -> str:
    """A value as an error repeats it: short, and on one line whatever it holds."""
    try:
        written = repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        written = "a number of thousands of digits"
    return written if len(written) <= _QUOTED_LIMIT else written[:_QUOTED_LIMIT] + "..."


def frozen(value: Any) -> Any:
    """The same value with every table read-only and every list a tuple."""
    if isinstance(value, dict):
        return types.MappingProxyType({key: frozen(inner) for key, inner in value.items()})
    return tuple(frozen(inner) for inner in value) if isinstance(value, list) else value


def _wanted(cls: type, key: str) -> str:
    hint = get_type_hints(cls)[key]
    words = {str: "str", int: "int", list: "array", dict: "object"}
    return _WORDS.get(words.get(get_origin(hint) or hint, ""), "a decimal in quotes")


def _choices(cls: type, key: str) -> tuple[str, ...]:
    hint = get_type_hints(cls).get(key)
    return get_args(hint) if get_origin(hint) is Literal else ()


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else quoted(key)


def _kind(value: object) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "str", dict: "object", list: "array"}
    return _WORDS.get(names.get(type(value), ""), "a date or time")
