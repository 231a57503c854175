"""Client order ids: how the pipeline makes its own, and which names nobody else may take.

A generated cid says whose request it is, so that an order found anywhere leads back to the engine, its run
and its request. What begins with a reserved prefix means what the pipeline says it means.
"""

import re
from functools import lru_cache
from typing import Final

GENERATED_PREFIX: Final = "ow."  # made by an engine: ow.<engine>.<session>.<rid>
ADOPTED_PREFIX: Final = "ext-"  # found at the venue and in no journal: ext-<the venue's id>
CID_LIMIT: Final = 64
ENGINE_GRAMMAR: Final = re.compile(r"[A-Za-z0-9._-]{1,24}")
CID_GRAMMAR: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
COUNT_LIMIT: Final = 2**63 - 1  # of a session and of a rid: what journals hold in one column

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)


def base36(number: int) -> str:
    """A number from 0 on in digits and small letters, without leading zeros."""
    if number < 0:
        raise ValueError(f"{number} is negative")
    written = ""
    while number >= 1296:
        number, rest = divmod(number, 1296)
        written = _PAIRS[rest] + written
    return (_PAIRS[number] if number >= 36 else _DIGITS[number]) + written


def generated_cid(engine: str, session: int, rid: int) -> str:
    """The cid of the order that a request opens when its engine names none. At most 55 characters."""
    return generated_prefix(engine, session) + base36(rid)


@lru_cache(1024)
def generated_prefix(engine: str, session: int) -> str:
    """What all generated cids of one run of an engine begin with."""
    return f"{GENERATED_PREFIX}{engine}.{base36(session)}."


@lru_cache(1024)
def is_engine_name(name: str) -> bool:
    return ENGINE_GRAMMAR.fullmatch(name) is not None


def engine_of(cid: str) -> str:
    """The engine whose request a generated cid is, "" for any other."""
    if not cid.startswith(GENERATED_PREFIX):
        return ""
    parts = cid[len(GENERATED_PREFIX) :].rsplit(".", 2)
    return parts[0] if len(parts) == 3 else ""


def request_of(cid: str) -> tuple[str, int, int] | None:
    """The (engine, session, rid) that a generated cid was made of; None for any other."""
    if not cid.startswith(GENERATED_PREFIX):
        return None
    parts = cid[len(GENERATED_PREFIX) :].rsplit(".", 2)
    try:
        engine, session, rid = parts[0], int(parts[1], 36), int(parts[2], 36)
    except (IndexError, ValueError):
        return None
    return (engine, session, rid) if generated_cid(engine, session, rid) == cid else None


def rid_of(written: str) -> int:
    """The rid that a generated cid ends with; 0 for what is none."""
    try:
        return int(written, 36) if written.isalnum() else 0
    except ValueError:
        return 0
