"""Hypothesis strategies for everything that travels: any message of a class, from the types of its fields."""

import types
import typing
from enum import IntEnum

import msgspec
from hypothesis import strategies as st

from pipeline.amounts import Amount, parse
from pipeline.messages import Message

COUNT = st.integers(0, 2**63 - 1)

# Any form the grammar allows, the uncanonical ones too.
written_amounts = st.from_regex(r"\A-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?\Z").map(str)
amounts = written_amounts.map(parse)
_PLAIN = {
    int: COUNT,
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    bytes: st.binary(max_size=60),
    Amount: amounts,
}


def of_type(kind: typing.Any) -> st.SearchStrategy[typing.Any]:
    """Values of a field's type."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return of_type(args[0])
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if arg is type(None) else of_type(arg) for arg in args])
    if origin is list:
        return st.lists(of_type(args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(of_type(args[0]), of_type(args[1]), max_size=3)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if issubclass(kind, IntEnum):
        return st.sampled_from(list(kind))
    if issubclass(kind, tuple):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{name: of_type(hints[name]) for name in kind._fields})
    return messages_of(kind)


def messages_of(cls: type[Message]) -> st.SearchStrategy[typing.Any]:
    """Any message of a class."""
    return st.builds(cls, **{field.name: of_type(field.type) for field in msgspec.structs.fields(cls)})
