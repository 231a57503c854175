"""Which actor runs in which process: the patterns of a deployment file, resolved to every actor once.

Within a process actors start in the order of `START_ORDER`: those that are talked to before those that talk.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

import msgspec

from pipeline.deployment import SIMULATED, Exchange, actors_of
from pipeline.deployment_table import Section, nearest, quoted

START_ORDER: Final = ("exchange", "merger", "executor", "reconnector", "router")


def placed(section: Section, exchanges: Sequence[Exchange]) -> Mapping[str, tuple[str, ...]]:
    """The actors of each process of the [processes] table, in start order.

    Raises ConfigError for an actor placed twice or nowhere, and for a pattern that matches none.
    """
    actors = ["router", "merger", *(actor for exchange in exchanges for actor in actors_of(exchange))]
    places: dict[str, str] = {}  # actor -> process
    processes: dict[str, tuple[str, ...]] = {}
    for process in section.table:
        section.name(process, process)
        for pattern in _patterns(section, process):
            found = [actor for actor in actors if fnmatchcase(actor, pattern)]
            if not found:
                raise section.wrong(process, *_no_such_actor(pattern, actors, exchanges))
            for actor in found:
                if actor in places:
                    raise section.wrong(process, *_placed_twice(actor, places[actor], process))
                places[actor] = process
        processes[process] = tuple(sorted((a for a in actors if places.get(a) == process), key=_start_rank))
    nowhere = [actor for actor in actors if actor not in places]
    if nowhere:
        what = f"{', '.join(nowhere[:5])} {'is' if len(nowhere) == 1 else 'are'} placed nowhere"
        right = f"add {'it' if len(nowhere) == 1 else 'them'} to one of: {', '.join(processes)}"
        raise section.wrong("", what, right if processes else 'add a process, such as all = ["*"]')
    return MappingProxyType(processes)


def _patterns(section: Section, process: str) -> list[str]:
    try:
        patterns = msgspec.convert(section.table[process], list[str])
    except msgspec.ValidationError:
        patterns = []
    if not patterns:
        raise section.wrong(
            process, "is no list of actors", 'write names or patterns in quotes, such as ["executor.*"]'
        )
    return patterns


def _start_rank(actor: str) -> int:
    return START_ORDER.index(actor.partition(".")[0])


def _placed_twice(actor: str, first: str, second: str) -> tuple[str, str]:
    if first == second:
        return f"{actor} is placed twice in process {first}", "name it once, or keep only one of the patterns"
    return f"{actor} is placed twice, in processes {first} and {second}", "take it out of one of them"


def _no_such_actor(pattern: str, actors: Sequence[str], exchanges: Sequence[Exchange]) -> tuple[str, str]:
    for exchange in exchanges:
        if pattern == f"exchange.{exchange.name}":
            what = f"{pattern} is no actor: the client of {exchange.name} is {exchange.client}"
            return what, f'take it out, or set client = "{SIMULATED}"'
    return f"{quoted(pattern)} matches no actor", nearest(pattern, actors, "the actors are")
