"""scripts/bench: every measurement of the plan in one run, and its figures beside each other.

Figures go to stdout, progress to stderr. It exits with 1 when a measurement failed; a target that was not
reached is a result, not a failure.
"""

import json
import os
import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scripts.benchmarks import plan, report
from scripts.benchmarks.figures import medians
from scripts.benchmarks.obvious import versions
from scripts.benchmarks.places import ROOT
from scripts.benchmarks.plan import Sizes, Step
from scripts.benchmarks.targets import verdicts

NO_RECORDINGS = "set ORDERWIRE_MARKET_DATA to the folder that has the recordings"
Say = Callable[[str], None]


class Failed(Exception):
    """A measurement that ended without figures; the text is the last that it said."""


class Bench:
    """Collects the figures of one run: a list of runs per key."""

    def __init__(self, sizes: Sizes, say: Say) -> None:
        self.sizes = sizes
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._say = say
        self._started_s = time.monotonic()

    def run(self, sections: tuple[str, ...]) -> None:
        for section in sections:
            if section == "recordings":
                self._recordings()
                continue
            steps = list(plan.SECTIONS[section](self.sizes))
            rounds = 1 if section in plan.ONCE else self.sizes.rounds
            for number in range(rounds):
                if number and time.monotonic() - self._started_s > self.sizes.budget_s:
                    self.skipped[f"{section}, round {number + 1}"] = "the time was over"
                    break
                for step in steps:
                    self._measure(step)

    def _recordings(self) -> None:
        folder = os.environ.get("ORDERWIRE_MARKET_DATA", "")
        if not folder or not Path(folder).is_dir():
            self.skipped["recordings"] = NO_RECORDINGS
            return
        for step in plan.recordings(self.sizes, str(Path(folder).resolve())):
            self._measure(step)
            if not self.runs.get(step.key, [{}])[-1].get("kept_up"):
                return

    def _measure(self, step: Step) -> None:
        self._say(step.key)
        try:
            self.runs.setdefault(step.key, []).append(measure(step))
        except Failed as error:
            self.failed[step.key] = str(error)
            if not self.runs[step.key]:
                del self.runs[step.key]

    def report(self) -> dict[str, Any]:
        results = {key: runs[0] if len(runs) == 1 else medians(runs) for key, runs in self.runs.items()}
        return {
            "machine": machine(),
            "seconds": round(time.monotonic() - self._started_s, 1),
            "results": results,
            "targets": [verdict.plain() for verdict in verdicts(results)],
            "skipped": self.skipped,
            "failed": self.failed,
        }


def measure(step: Step) -> dict[str, Any]:
    """Run one measurement in its own process. Raises Failed."""
    parameters = json.dumps({"within_s": step.within_s, **step.parameters})
    command = [sys.executable, "-m", "scripts.benchmarks.measure", parameters]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=step.within_s + 30)
    except subprocess.TimeoutExpired:
        raise Failed(f"no figures within {step.within_s + 30:g} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise Failed(said[-1] if said else f"exit {done.returncode}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **versions(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def steps_of(sizes: Sizes, sections: tuple[str, ...]) -> int:
    """How many measurements there will be; the recordings may need fewer."""
    count = 0
    for section in sections:
        if section == "recordings":
            count += len(sizes.speeds)
        else:
            rounds = 1 if section in plan.ONCE else sizes.rounds
            count += rounds * sum(1 for _ in plan.SECTIONS[section](sizes))
    return count


@contextmanager
def progress(total: int) -> Iterator[Say]:
    """A bar on a terminal, a line per measurement elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        numbers = iter(range(1, total + 1))
        yield lambda text: click.echo(f"[{next(numbers)}/{total}] {text}", err=True)
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)

        def say(text: str) -> None:
            bar.update(task, description=text)
            bar.advance(task)

        yield say


@click.command()
@click.option("--quick", is_flag=True, help="Small counts, under a minute: a look, not a result.")
@click.option(
    "--only", multiple=True, type=click.Choice(plan.EVERY), help="Only this section; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the tables.")
def main(quick: bool, only: tuple[str, ...], as_json: bool) -> None:
    """Measure orderwire on this machine, beside the floor and the obvious way. Takes some eight minutes."""
    sizes = plan.QUICK if quick else plan.FULL
    sections = tuple(section for section in plan.EVERY if not only or section in only)
    with progress(steps_of(sizes, sections)) as say:
        bench = Bench(sizes, say)
        bench.run(sections)
    found = bench.report()
    if as_json:
        click.echo(json.dumps(found))
    else:
        console = Console()
        report.show(console if console.is_terminal else Console(width=120), found)
    sys.exit(1 if found["failed"] else 0)


if __name__ == "__main__":
    main()
