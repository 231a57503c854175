"""Plays seeds, says what they violate, and shrinks a plan to the steps that it takes to violate it."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.simulation.scenario import Plan, draw
from tests.simulation.world import World

MEMORY: Final = Path("/dev/shm")  # what an auditor opens is written there


class Report(NamedTuple):
    """What became of a run. `digest` is of every frame that arrived anywhere, with its time."""

    plan: Plan
    violations: list[str]
    digest: int
    events: int

    @property
    def line(self) -> str:
        what = self.violations[0] if self.violations else "nothing violated"
        return f"seed {self.plan.seed} ({self.plan.placement}, {len(self.plan.steps)} steps): {what}"

    @property
    def invariant(self) -> str:
        return self.violations[0].partition(":")[0] if self.violations else ""


def play(plan: Plan, log: Callable[[str], None] | None = None) -> Report:
    """One run of a plan."""
    with TemporaryDirectory(prefix="ow", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        world = World(plan, Path(folder), log)
        violations = world.run()
        return Report(plan, violations, world.auditor.digest, world.auditor.events)


def play_seed(seed: int) -> Report:
    return play(draw(seed))


def minimise(report: Report, say: Callable[[str], None]) -> Report:
    """The same violation with as few steps as leaving out parts, then single ones, leads to."""
    best = report
    size = max(1, len(best.plan.steps) // 2)
    while size:
        at = 0
        while at < len(best.plan.steps):
            steps = best.plan.steps
            tried = play(best.plan.keeping(steps[:at] + steps[at + size :]))
            if tried.invariant == report.invariant:
                best = tried
                say(f"{len(best.plan.steps)} steps left: {best.violations[0]}")
            else:
                at += size
        size //= 2
    return best


def seed_line(seed: int) -> tuple[str, int]:
    """For a pool of processes: what a seed violates ("" for nothing), and how many events were handled."""
    report = play_seed(seed)
    return (report.line if report.violations else ""), report.events
