"""The results for people: one table of speeds, one of targets, one of where the time goes."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.plan import DURABILITIES
from scripts.benchmarks.profile import KINDS, STAGES

WHY_LIMIT = 160
NAMES = {
    "floor": "(a) floor: drained sockets alone",
    "obvious": "(b) obvious: zmq.asyncio + msgpack",
    "colocated": "(c) orderwire colocated",
    "simulated": "    with the simulated exchange",
    "raw ipc": "    raw ipc, the same processes",
    "split": "(d) orderwire split",
    "exchanges": "    exchanges in one process",
}
SEVERAL_PROCESSES = ("raw ipc", "split")  # of which only the engine's time is known


def show(console: Console, report: Mapping[str, Any]) -> None:
    machine = report["machine"]
    console.print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")
    console.print(", ".join(f"{name} {machine[name]}" for name in ("python", "pyzmq", "libzmq", "sqlite")))
    results = report["results"]
    for table in (_speeds(results), _profile(results), _targets(report["targets"])):
        if table.row_count:
            console.print(table)
    if "growth" in results:
        console.print(_growth(results["growth"]))
    for key, result in results.items():
        if key.startswith("recordings "):
            console.print(_recording(key, result))
    for key, why in {**report["skipped"], **report["failed"]}.items():
        console.print(f"{key}: {why[:WHY_LIMIT]}", markup=False)


def _speeds(results: Mapping[str, Any]) -> Table:
    table = Table(title="open → OrderSnapshot(Open) on the feed", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("at once", "orders/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs", "× (b)"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = sorted((_place(key), key) for key, result in results.items() if "p50_us" in result)
    before = rows[0][0][:2] if rows else None
    for place, key in rows:
        if place[:2] != before:
            table.add_section()
            before = place[:2]
        result = results[key]
        name, outstanding = _name(key)
        base = results.get(f"obvious {outstanding}", {}).get("orders_s")
        table.add_row(
            name,
            outstanding,
            f"{result['orders_s']:,.0f}",
            *(f"{result[figure]:,.0f}" for figure in ("p50_us", "p99_us", "p999_us")),
            f"{result['cpu_us']:.0f}" if kind_of(key) not in SEVERAL_PROCESSES else "",
            f"{result['orders_s'] / base:.2f}" if base else "",
        )
    return table


def _place(key: str) -> tuple[bool, int, int, int, int]:
    """Where a row stands: those with as much outstanding together, floor before obvious before ours."""
    name, outstanding = _name(key)
    kind = list(NAMES).index(kind_of(key))
    durability = next((number for number, word in enumerate(DURABILITIES) if name.endswith(word)), 0)
    last = int(key.split()[-1])
    return kind == len(NAMES) - 1, int(outstanding), kind, durability, last


def kind_of(key: str) -> str:
    return next(kind for kind in NAMES if key.startswith(kind))


def _name(key: str) -> tuple[str, str]:
    """A row's name and how many were outstanding, from a result's key."""
    *words, number = key.split()
    kind = kind_of(key)
    rest = words[len(kind.split()) :]
    if kind == "exchanges":
        return f"{NAMES[kind]}: {number}, {rest[0]}", "64"
    return ", ".join([NAMES[kind], *rest]), number


def _targets(targets: list[dict[str, Any]]) -> Table:
    table = Table(title="to reach", title_justify="left")
    for name in ("figure", "wanted", "found", ""):
        table.add_column(name, no_wrap=True)
    words = {True: "reached", False: "not reached", None: "not measured"}
    for target in targets:
        found = "" if target["found"] is None else f"{target['found']:.2f}"
        table.add_row(target["figure"], target["wanted"], found, words[target["reached"]])
    return table


def _profile(results: Mapping[str, Any]) -> Table:
    table = Table(
        title="where the time of an order goes (CPU µs, 64 outstanding, sampled)", title_justify="left"
    )
    table.add_column("", no_wrap=True)
    for name in ("all", *KINDS):
        table.add_column(name, justify="right", no_wrap=True)
    for key, result in results.items():
        if not key.startswith("profile "):
            continue
        whole = result["us_per_order"]
        table.add_row(
            key.removeprefix("profile "),
            f"{whole:.1f}",
            *(f"{share * whole:.1f} ({share:.0%})" for share in result["kinds"].values()),
        )
        for stage in STAGES:
            if result["stages"][stage]:
                parts = [result["by_stage"].get(f"{stage} {kind}", 0.0) * whole for kind in KINDS]
                table.add_row(f"  {stage}", f"{sum(parts):.1f}", *(f"{p:.1f}" if p else "" for p in parts))
    return table


def _growth(growth: Mapping[str, Any]) -> str:
    return (
        f"memory: {growth['orders']:,.0f} orders in one run grew it by {growth['grown_mib']:.1f} MiB "
        f"({growth['highest_mib']:.1f} at most)"
    )


def _recording(key: str, result: Mapping[str, Any]) -> str:
    kept = "kept up" if result["kept_up"] else f"fell behind at {result['multiple']:.1f}"
    return (
        f"{key} × real time: {kept}; {result['orders_s']:,.0f} orders/s over "
        f"{result['market_minutes']:.1f} minutes of the market, memory {result['grown_mib']:+.1f} MiB"
    )
