"""Seeds played in the suites, the same run twice, and the plans that once found something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.found import FOUND
from tests.simulation.runs import minimise, play, play_seed
from tests.simulation.scenario import Plan, draw
from tests.simulation.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
DIGEST = "from tests.simulation.runs import play_seed; print(*(play_seed(seed).digest for seed in (3, 29)))"
QUICK, LONG = 60, 500


@pytest.mark.parametrize("first", range(0, QUICK, 10))
def test_nothing_is_lost_doubled_or_guessed(first: int) -> None:
    failed = [report.line for seed in range(first, first + 10) if (report := play_seed(seed)).violations]
    assert not failed, "\n".join(failed)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_nothing_is_lost_doubled_or_guessed_in_many_runs() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(LONG), "--from", str(QUICK)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]


@pytest.mark.parametrize(("plan", "what"), FOUND, ids=[f"seed-{plan.seed}" for plan, _ in FOUND])
def test_what_was_found_once_stays_mended(plan: Plan, what: str) -> None:
    assert play(plan).violations == [], what


def test_a_seed_gives_the_same_run_whatever_the_order_of_sets() -> None:
    found = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", DIGEST]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        found.add(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1


def test_a_violation_is_found_and_shrunk_to_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_a_trade(world: World, exchange: str) -> None:
        world.disk(f"exchange.{exchange}").connection.execute("DELETE FROM trades")

    calm = World._calm
    monkeypatch.setattr(World, "_calm", lambda world: (calm(world), forget_a_trade(world, "alpha"))[0])
    report = next(
        found for seed in range(20) if (found := play(draw(seed, ()))).invariant and found.plan.exchanges
    )
    assert report.invariant == "I6"
    best = minimise(report, lambda line: None)
    assert best.invariant == "I6"
    assert len(best.plan.steps) == 1  # the one open that is filled
