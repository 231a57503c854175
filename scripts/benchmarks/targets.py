"""What is to be reached, as ratios wherever the machine would otherwise be what is measured."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

GROWTH_ORDERS = 1_000_000
GROWN_MIB = 64
Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """`found` reads the figure off the results; KeyError when what it needs was not measured."""

    figure: str
    wanted: str
    found: Callable[[Results], float]
    reached: Callable[[float], bool]


@dataclass(frozen=True)
class Verdict:
    figure: str
    wanted: str
    found: float | None
    reached: bool | None  # None: not measured

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def ratio(figure: str, of: str, to: str) -> Callable[[Results], float]:
    return lambda results: float(results[of][figure]) / float(results[to][figure])


def at_least(least: float) -> Callable[[float], bool]:
    return lambda found: found >= least


def at_most(most: float) -> Callable[[float], bool]:
    return lambda found: found <= most


def grown(results: Results) -> float:
    growth = results["growth"]
    found = float(growth["highest_mib"])
    if growth["orders"] < GROWTH_ORDERS and found <= GROWN_MIB:
        raise KeyError("a run that was cut short says nothing yet about a million orders")
    return found


def fastest(results: Results) -> float:
    multiples = [float(r["multiple"]) for key, r in results.items() if key.startswith("recordings ")]
    if not multiples:
        raise KeyError("recordings")
    return max(multiples)


def speed_of(label: str, of: str, least: float) -> Target:
    return Target(label, f"≥ {least:g} × (b)", ratio("orders_s", of, "obvious 64"), at_least(least))


def latency_of(label: str, of: str, to: str, most: float, other: str) -> Target:
    return Target(label, f"≤ {most:g} × {other}", ratio("p50_us", of, to), at_most(most))


TARGETS = (
    speed_of("colocated, none, 64 outstanding, orders/s", "colocated none 64", 3.5),
    speed_of("colocated, process, 64 outstanding, orders/s", "colocated process 64", 2.2),
    latency_of("colocated, none, 1 outstanding, p50", "colocated none 1", "obvious 1", 0.5, "(b)"),
    latency_of("colocated, process, 1 outstanding, p50", "colocated process 1", "obvious 1", 0.9, "(b)"),
    latency_of("split, process, 1 outstanding, p50", "split process 1", "raw ipc 1", 2.5, "raw ipc"),
    Target(
        "16 exchanges, none, orders/s",
        "≥ 0.8 × one exchange",
        ratio("orders_s", "exchanges none 16", "exchanges none 1"),
        at_least(0.8),
    ),
    Target(
        "16 exchanges, process, orders/s",
        "≥ 0.6 × one exchange",
        ratio("orders_s", "exchanges process 16", "exchanges process 1"),
        at_least(0.6),
    ),
    Target(
        "memory of an order in flight, KiB",
        "≤ 4",
        lambda r: float(r["in flight"]["kib_per_order"]),
        at_most(4),
    ),
    Target("memory grown by 1,000,000 orders, MiB", "≤ 64", grown, at_most(GROWN_MIB)),
    Target("recordings, multiple of real time", "≥ 20", fastest, at_least(20)),
)


def verdicts(results: Results) -> list[Verdict]:
    return [_verdict(target, results) for target in TARGETS]


def _verdict(target: Target, results: Results) -> Verdict:
    try:
        found = target.found(results)
    except KeyError:
        return Verdict(target.figure, target.wanted, None, None)
    return Verdict(target.figure, target.wanted, round(found, 3), target.reached(found))
