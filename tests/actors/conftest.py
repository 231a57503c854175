"""A pipeline in memory for each test that asks for one; its promises are checked when the test is over."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.actors.engine_desk import Desk
from tests.actors.merger_bench import Bench, alone
from tests.actors.pipeline import Pipeline

MEMORY = Path("/dev/shm")  # journals are many here, and nobody cuts the power in a test


@pytest.fixture
def make() -> Iterator[Callable[..., Pipeline]]:
    """Makes and starts pipelines (one folder each) on terms of the test's own."""
    made: list[Pipeline] = []
    with TemporaryDirectory(prefix="ow", dir=MEMORY if MEMORY.is_dir() else None) as folder:

        def build(**terms: Any) -> Pipeline:
            made.append(Pipeline(Path(folder) / f"desk{len(made)}", **terms).start())
            return made[-1]

        yield build
        for pipeline in made:
            pipeline.close()
    for pipeline in made:
        pipeline.check_promises()


@pytest.fixture
def desk(make: Callable[..., Pipeline]) -> Pipeline:
    """A pipeline of one exchange, in step."""
    pipeline = make()
    pipeline.sync()
    return pipeline


@pytest.fixture
def mm(desk: Pipeline) -> Desk:
    """An engine at that desk."""
    return desk.engine("mm")


@pytest.fixture
def bench(make: Callable[..., Pipeline]) -> Bench:
    """A merger that hears nobody but the test."""
    return Bench(alone(make()))
