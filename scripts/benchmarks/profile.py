"""Where the time of an order goes: samples of a colocated run, by who was at work and what was being done.

A timer interrupts a thousand times a second. What is done is read off the expression that was being
evaluated: a call into SQLite, into a socket, into a codec; everything else is Python.
"""

import linecache
import signal
from collections import Counter
from functools import cache
from types import CodeType, FrameType
from typing import Any

from orderwire import Host, OrderState, load
from scripts.benchmarks.colocated import INSTRUMENT
from scripts.benchmarks.load import Load
from scripts.benchmarks.places import ROOT, Places, exchange_name

EVERY_S = 0.001
KINDS = ("codec", "sqlite", "sockets", "python", "loop")
STAGES = ("engine", "router", "executor", "merger", "client", "host", "strategy", "loop")
CODEC_FILES = ("pipeline/codec.py", "pipeline/headers.py", "pipeline/amounts.py", "pipeline/outline.py")
CODEC_CALLS = ("encode", "decode", "pack", "unpack", "unpack_from", "crc32", "read_request", "read_feed")
# An actor is known by its class: the files below are shared by several.
ACTORS = {"Router": "router", "Executor": "executor", "Merger": "merger", "Reconnector": "executor"}


class Sampler:
    """Counts (stage, kind) while it runs."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.places: Counter[str] = Counter()

    def __enter__(self) -> "Sampler":
        signal.signal(signal.SIGALRM, self._sample)
        signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            kind = kind_of(frame.f_code, frame.f_lasti)
            self.counts[stage_of(frame), kind] += 1
            self.places[f"{path_of(frame.f_code)}:{frame.f_code.co_qualname}"] += 1


@cache
def path_of(code: CodeType) -> str:
    """A file's path in the repository, or its whole path."""
    return code.co_filename.removeprefix(f"{ROOT}/")


@cache
def kind_of(code: CodeType, instruction: int) -> str:
    """What an instruction does: by its file, else by the name of what it calls."""
    path = path_of(code)
    if path in CODEC_FILES:
        return "codec"
    if path.startswith("pipeline/journal"):
        return "sqlite"
    if path in ("pipeline/sockets.py", "pipeline/reader.py"):
        return "sockets"
    if path.endswith("asyncio/runners.py"):
        return "loop"  # uvloop itself, which has no frames of Python
    called = _expression(code, instruction).partition("(")[0].rpartition(".")[2].strip()
    return "codec" if called in CODEC_CALLS else "python"


def _expression(code: CodeType, instruction: int) -> str:
    positions = list(code.co_positions())
    line, end_line, start, end = positions[instruction // 2]
    if line is None or line != end_line or start is None:
        return ""
    return linecache.getline(code.co_filename, line).encode()[start:end].decode(errors="replace")


def stage_of(frame: FrameType) -> str:
    """Who is at work: the innermost caller that belongs to somebody."""
    found = "loop"
    walker: FrameType | None = frame
    while walker is not None:
        path = path_of(walker.f_code)
        if path.startswith("pipeline/engine"):
            return "engine"
        if path.startswith("actors/clients/"):
            return "client"
        if path.startswith("scripts/"):
            return "strategy" if found == "loop" else found
        actor = getattr(walker.f_locals.get("self"), "actor", None) if "station" in path else None
        if actor is not None:
            return ACTORS.get(type(actor).__name__, "host")
        if path.startswith("pipeline/"):
            found = "host"
        walker = walker.f_back
    return found


async def measure(seconds: float, outstanding: int, durability: str, places: Places) -> dict[str, Any]:
    """Shares of the time by kind and by stage, and microseconds an order as sampled."""
    async with Host(load(places.deployment(durability=durability, answer="filled"))) as host:
        engine = host.engine("mm-1")
        await engine.ready()
        work = Load(engine, [(exchange_name(0), INSTRUMENT)], OrderState.FullyFilled)
        await work.run(outstanding, seconds / 4)
        with Sampler() as sampler:
            result = await work.run(outstanding, seconds)
        engine.close()
    total = sum(sampler.counts.values()) or 1
    kinds, stages = Counter[str](), Counter[str]()
    for (stage, kind), count in sampler.counts.items():
        kinds[kind] += count
        stages[stage] += count
    return {
        "samples": total,
        "us_per_order": result["cpu_us"],  # of the processor: others on the machine do not count
        "kinds": {kind: kinds[kind] / total for kind in KINDS},
        "stages": {stage: stages[stage] / total for stage in STAGES},
        "by_stage": {f"{s} {k}": n / total for (s, k), n in sampler.counts.most_common()},
        "places": {place: n / total for place, n in sampler.places.most_common(40)},
    }
