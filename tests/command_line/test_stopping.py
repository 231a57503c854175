"""`orderwire run` is told to stop while a request is on its way."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from actors.command_line.questions import Questions
from orderwire import load
from pipeline.control import Health, HealthQuery
from tests.command_line.commands import WITHIN_S, Running, deployment, orderwire


async def gauge(config: Path, name: str, wanted: int) -> None:
    """Until the executor counts so many of these."""
    async with asyncio.timeout(WITHIN_S), Questions(load(config)) as questions:
        while True:
            health = await questions.ask("executor.binance_spot", HealthQuery(), 5.0)
            if isinstance(health, Health) and health.gauges[name] == wanted:
                return


def stopped_in_flight(
    config: Path, fault: tuple[str, ...], signals: tuple[int, ...]
) -> tuple[int, str, Running]:
    running = Running("run", config)
    running.wait_for(f"orderwire: {config.stem} ready")
    assert orderwire("fault", config, "binance_spot", *fault).returncode == 0
    opening = Running("open", config, "binance_spot", "btc_usdt", "buy", "0.01", "--price", "1000", "--json")
    asyncio.run(gauge(config, "in_flight", 1))
    for number in signals:  # two of one number at once would be one
        running.signal(number)
    return running.end(), running.text, opening


@pytest.mark.parametrize("name", ["split", "colocated"])
def test_a_request_on_its_way_is_answered_before_the_stop(tmp_path: Path, name: str):
    config = deployment(tmp_path, name)
    code, said, opening = stopped_in_flight(config, ("delay", "1000"), (signal.SIGTERM,))
    assert code == 0, said
    assert "executor.binance_spot: 1 settled, 1 left open, 0 unknown" in said
    assert opening.end() == 0 and '"state": "Open"' in opening.text


@pytest.mark.parametrize("name", ["split", "colocated"])
def test_a_second_signal_stops_at_once_and_what_is_left_is_unknown_until_the_next_start(
    tmp_path: Path, name: str
):
    config = deployment(tmp_path, name)
    began_s = time.monotonic()
    # Lost on the way in: nothing that the stream could show in time.
    lost = ("drop_before_accept", "1", "open")
    code, said, opening = stopped_in_flight(config, lost, (signal.SIGTERM, signal.SIGINT))
    assert code == 1, said
    assert "executor.binance_spot: 0 settled, 0 left open, 1 unknown" in said
    assert "left unknown, to be asked about at the next start: orders of executor.binance_spot" in said
    assert time.monotonic() - began_s < WITHIN_S
    opening.signal(signal.SIGTERM)
    opening.end()
    again = Running("run", config)
    again.wait_for(f"orderwire: {name} ready")
    asyncio.run(gauge(config, "unknown", 0))  # it was asked about, and is there or is not
    assert again.stop() == 0, again.text
    assert "0 unknown" in again.text
