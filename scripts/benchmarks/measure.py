"""One measurement in a process of its own: `measure '{"what": ..., ...}'` prints its figures as JSON.

So none inherits another's memory, garbage or open files, and one that fails takes no other with it.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

from scripts.benchmarks import colocated, floor, memory, obvious, profile, recordings, split
from scripts.benchmarks.places import Places


def measurement(what: str, places: Places, **parameters: Any) -> Coroutine[Any, Any, dict[str, Any]]:
    if what == "floor":
        return floor.measure(places=places, **parameters)
    if what == "obvious":
        return obvious.measure(**parameters)
    if what == "colocated":
        return colocated.measure(places=places, **parameters)
    if what == "split":
        return split.measure(places=places, **parameters)
    if what == "in_flight":
        return memory.in_flight(places=places, **parameters)
    if what == "growth":
        return memory.growth(places=places, **parameters)
    if what == "profile":
        return profile.measure(places=places, **parameters)
    if what == "recordings":
        return recordings.measure(places=places, **parameters)
    raise ValueError(f"{what!r} is nothing that is measured here")


async def main(parameters: dict[str, Any]) -> dict[str, Any]:
    within_s: float = parameters.pop("within_s")
    with Places() as places:
        async with asyncio.timeout(within_s):
            return await measurement(places=places, **parameters)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))))
