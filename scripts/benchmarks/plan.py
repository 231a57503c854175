"""What is measured, in which sizes, in which order. Each line of it runs in a process of its own.

Within a section the whole list is gone through several times and medians are taken: so what is compared runs
side by side, and a machine that others use as well disturbs all of it alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DURABILITIES = ("none", "process", "power")


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Times are seconds of load, after a quarter of that which is not counted."""

    seconds: float
    rounds: int
    outstanding: tuple[int, ...]
    exchanges: tuple[int, ...]
    in_flight_orders: int
    growth_orders: int
    growth_seconds: float  # it ends then, wherever it is
    profile_seconds: float
    recordings_seconds: float
    speeds: tuple[int, ...]  # multiples of real time, tried until one is too fast
    budget_s: float  # further rounds begin only within it


FULL = Sizes(1.5, 3, (1, 64, 1_000), (1, 4, 16), 20_000, 1_000_000, 130, 4, 5, (20, 30, 40, 60, 80), 540)
QUICK = Sizes(0.3, 1, (1, 64, 1_000), (1, 4, 16), 5_000, 20_000, 4, 1, 2, (20,), 50)
TINY = Sizes(0.02, 1, (1, 64), (1, 16), 200, 400, 5, 0.05, 0.2, (1,), 30)


@dataclass(frozen=True)
class Step:
    """One measurement: its key in the results, and what the process is told."""

    key: str
    parameters: dict[str, Any]
    within_s: float = 60.0


def colocated(sizes: Sizes) -> Iterator[Step]:
    for outstanding in sizes.outstanding:
        load = {"outstanding": outstanding, "seconds": sizes.seconds}
        one = {"what": "colocated", "exchanges": 1, **load}
        yield Step(f"floor {outstanding}", {"what": "floor", "ipc": False, **load})
        yield Step(f"obvious {outstanding}", {"what": "obvious", **load})
        for durability in DURABILITIES:
            key = f"colocated {durability} {outstanding}"
            yield Step(key, {"durability": durability, "client": "instant", **one})
        key = f"simulated process {outstanding}"
        yield Step(key, {"durability": "process", "client": "simulated", **one})


def split(sizes: Sizes) -> Iterator[Step]:
    for outstanding in sizes.outstanding:
        load = {"outstanding": outstanding, "seconds": sizes.seconds}
        yield Step(f"raw ipc {outstanding}", {"what": "floor", "ipc": True, **load})
        yield Step(f"split process {outstanding}", {"what": "split", "durability": "process", **load})


def exchanges(sizes: Sizes) -> Iterator[Step]:
    load = {"what": "colocated", "client": "instant", "outstanding": 64, "seconds": sizes.seconds}
    for durability in ("none", "process"):
        for count in sizes.exchanges:
            key = f"exchanges {durability} {count}"
            yield Step(key, {"durability": durability, "exchanges": count, **load})


def memory(sizes: Sizes) -> Iterator[Step]:
    yield Step("in flight", {"what": "in_flight", "orders": sizes.in_flight_orders})
    yield Step(
        "growth",
        {"what": "growth", "orders": sizes.growth_orders, "seconds": sizes.growth_seconds},
        within_s=sizes.growth_seconds + 60,
    )


def profile(sizes: Sizes) -> Iterator[Step]:
    for durability in ("none", "process"):
        load = {"outstanding": 64, "seconds": sizes.profile_seconds, "durability": durability}
        yield Step(f"profile {durability}", {"what": "profile", **load})


def recordings(sizes: Sizes, folder: str) -> Iterator[Step]:
    """From slow to fast: the first that does not keep up is the last."""
    for speed in sizes.speeds:
        load = {"folder": folder, "speed": speed, "seconds": sizes.recordings_seconds}
        yield Step(f"recordings {speed}", {"what": "recordings", **load})


SECTIONS = {
    "colocated": colocated,
    "split": split,
    "exchanges": exchanges,
    "memory": memory,
    "profile": profile,
}
EVERY = (*SECTIONS, "recordings")
ONCE = ("memory", "profile", "recordings")  # long, or a share of itself: no medians
