"""A message type with text in place of its decimals: what a large body is held against before it is decoded.

A decoder looks at a decimal only after it has built whatever stands in its place, be it four million empty
lists. Against the outline the same bytes are refused where they stop being the type, and nothing is built.
"""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from pipeline.amounts import DIGITS_LIMIT, Amount
from pipeline.messages import Message

_WRITTEN = Annotated[str, msgspec.Meta(max_length=DIGITS_LIMIT)]


def outline(kind: Any) -> Any:
    """The type that accepts what `kind` accepts, except that any short text passes for a decimal."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Amount:
        return _WRITTEN
    if origin is Annotated:
        return Annotated[(outline(args[0]), *args[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(outline(arg) for arg in args)]  # noqa: UP007
    if origin is list:
        return list[outline(args[0])]  # type: ignore[misc]
    if isinstance(kind, type) and issubclass(kind, Message):
        fields = [_field(field) for field in msgspec.structs.fields(kind)]
        return msgspec.defstruct(kind.__name__, fields, array_like=True, kw_only=True)
    return kind


def _field(field: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.default is field.default_factory is msgspec.NODEFAULT:
        return field.name, outline(field.type)
    return field.name, outline(field.type), None
