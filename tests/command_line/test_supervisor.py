"""`orderwire run`: processes that start, live and end together."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from actors.command_line.supervisor import CHUNK, pump
from tests.command_line.commands import Running, deployment, gone, orderwire


@pytest.fixture
def running(tmp_path: Path):
    started = Running("run", deployment(tmp_path))
    yield started
    if started.process.poll() is None:
        started.signal(signal.SIGTERM)
        started.end()


def test_a_split_deployment_starts_says_so_and_stops_on_sigterm_leaving_no_process_and_no_file(
    running: Running, tmp_path: Path
):
    running.wait_for("orderwire: split ready")
    children = running.children()
    assert set(children) == {"front", "binance", "kraken", "binance_venue", "kraken_venue"}
    for name in children:
        assert any(
            line.startswith(name) and line.endswith(f"| orderwire: {name} ready")
            for line in running.text.splitlines()
        )
    assert running.stop() == 0
    assert gone(list(children.values()))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_killed_child_is_named_and_stops_the_others(running: Running):
    running.wait_for("orderwire: split ready")
    children = running.children()
    os.kill(children["kraken"], signal.SIGKILL)
    assert running.end() == 1
    assert "kraken was killed by SIGKILL" in running.text
    assert gone(list(children.values()))


def test_children_do_not_outlive_a_killed_supervisor(running: Running, tmp_path: Path):
    running.wait_for("orderwire: split ready")
    children = running.children()
    running.signal(signal.SIGKILL)
    assert gone(list(children.values()))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_second_run_of_a_deployment_says_who_holds_it_and_exits_2(running: Running, tmp_path: Path):
    running.wait_for("orderwire: split ready")
    second = orderwire("run", tmp_path / "split.toml")
    assert second.returncode == 2
    assert "is already running as pid" in second.stderr
    assert "orderwire: split ready" not in second.stdout  # it is the other one that would have answered
    assert running.process.poll() is None


def test_a_deployment_of_one_process_runs_in_the_process_itself(tmp_path: Path):
    running = Running("run", deployment(tmp_path, "colocated"))
    running.wait_for("orderwire: colocated ready")
    assert running.children() == {}
    running.signal(signal.SIGINT)
    assert running.end() == 0


def test_lines_longer_than_a_chunk_come_in_pieces_and_none_is_lost():
    async def pumped() -> list[bytes]:
        source, written = asyncio.StreamReader(limit=4 * CHUNK), []
        source.feed_data(b"first\n" + b"x" * (2 * CHUNK) + b"\nlast without end")
        source.feed_eof()
        await pump(source, written.append)
        return written

    written = asyncio.run(pumped())
    assert written[0] == b"first"
    assert written[-1] == b"last without end"
    assert b"".join(written[1:-1]) == b"x" * (2 * CHUNK)
