"""What every test may ask for: fixtures only, no behaviour of its own."""

import os
from pathlib import Path

import pytest

CONFIG = Path(__file__).resolve().parent.parent / "config"


@pytest.fixture
def market_data() -> Path:
    """The folder of recorded market data, which is too big for the repository."""
    folder = os.environ.get("ORDERWIRE_MARKET_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no recordings: set ORDERWIRE_MARKET_DATA to the folder that has them")
    return Path(folder)


@pytest.fixture(params=["colocated", "split"])
def shipped(request: pytest.FixtureRequest) -> Path:
    """Each deployment file that orderwire ships."""
    return CONFIG / f"{request.param}.toml"
