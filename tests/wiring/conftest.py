"""A deployment under siege, one for each placement, shared by all that attack it."""

from collections.abc import Iterator

import pytest

from tests.wiring.siege import PLACEMENTS, Siege


@pytest.fixture(scope="session", params=PLACEMENTS)
def siege(request: pytest.FixtureRequest) -> Iterator[Siege]:
    with Siege(request.param) as siege:
        yield siege
