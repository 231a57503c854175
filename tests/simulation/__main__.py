"""scripts/simulate: many seeds on all cores, or one of them shrunk; see --help.

Exit code 0 when nothing is violated, 1 when something is, each failing seed on a line of its own.
"""

import multiprocessing
import os

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.simulation.runs import minimise, play, play_seed, seed_line
from tests.simulation.scenario import draw


@click.command()
@click.option("--seeds", default=1_000, show_default=True, help="How many to play.")
@click.option("--from", "first", default=0, show_default=True, help="The first of them.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes at once.")
@click.option("--minimise", "shrink", type=int, help="Shrink this seed's plan to what violates the same.")
@click.option("--trace", type=int, help="Play this seed and say everything that happens.")
def main(seeds: int, first: int, jobs: int, shrink: int | None, trace: int | None) -> None:
    """Play the whole deployment on virtual time, with faults, one run per seed."""
    if shrink is not None:
        raise SystemExit(_shrink(shrink))
    if trace is not None:
        report = play(draw(trace), print)
        print(report.line)
        raise SystemExit(bool(report.violations))
    raise SystemExit(_play(range(first, first + seeds), jobs))


def _play(seeds: range, jobs: int) -> int:
    failed = events = 0
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    context = multiprocessing.get_context("spawn")
    with Progress(*columns) as progress, context.Pool(jobs) as pool:
        task = progress.add_task("", total=len(seeds))
        for line, count in pool.imap_unordered(seed_line, seeds, chunksize=8):
            progress.advance(task)
            events += count
            if line:
                failed += 1
                progress.console.print(line, soft_wrap=True, markup=False, highlight=False)
    print(f"{len(seeds)} seeds, {events} events of the feed handled, {failed} seeds with a violation")
    return 1 if failed else 0


def _shrink(seed: int) -> int:
    report = play_seed(seed)
    print(report.line)
    if not report.violations:
        return 0
    best = minimise(report, print)
    print(f"\nThe plan, for tests/simulation/found.py:\n\n{best.plan}\n")
    for violation in best.violations:
        print(violation)
    return 1


if __name__ == "__main__":
    main()
