"""`orderwire run`: processes that start, live and end together."""

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.command_line.child import CHUNK, pump
from actors.command_line.questions import Questions
from orderwire import load
from pipeline.control import Done, Shutdown
from pipeline.messages import Message
from tests.command_line.commands import Running, deployment, gone, orderwire


@contextmanager
def held(folder: Path, actor: str) -> Iterator[None]:
    """Somebody else runs this actor."""
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder / f"{actor}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def tell(config: Path, actor: str, body: Message) -> Message:
    """A command on an actor's control socket, and its answer."""

    async def asked() -> Message:
        async with Questions(load(config)) as questions:
            return await questions.ask(actor, body, 5.0)

    return asyncio.run(asked())


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


def test_a_killed_child_is_named_and_started_again_and_the_others_go_on(running: Running):
    running.wait_for("orderwire: split ready")
    before = running.children()
    os.kill(before["kraken"], signal.SIGKILL)
    running.wait_for("kraken was killed by SIGKILL; starting it again in 0.25 s")
    running.forget()
    running.wait_for("| orderwire: kraken ready")
    after = running.children()
    assert {name for name in before if before[name] != after[name]} == {"kraken"}
    assert running.stop() == 0
    assert "orderwire: executor.kraken_spot: 0 settled, 0 left open, 0 unknown" in running.text


def test_a_child_that_dies_again_and_again_ends_them_all(running: Running):
    running.wait_for("orderwire: split ready")
    children = running.children()
    for pause in ("0.25", "0.5", "1", "2"):
        os.kill(running.children()["front"], signal.SIGKILL)
        running.wait_for(f"front was killed by SIGKILL; starting it again in {pause} s")
        running.forget()
        running.wait_for("| orderwire: front ready")
    os.kill(running.children()["front"], signal.SIGKILL)
    assert running.end() == 1
    assert "front was killed by SIGKILL for the 5th time within 60 s; stopping the others" in running.text
    assert gone(list(children.values()))


def test_a_child_that_finds_the_deployment_wrong_is_not_started_again(tmp_path: Path):
    config = deployment(tmp_path)
    with held(tmp_path / "run", "merger"):
        running = Running("run", config)
        assert running.end() == 2
    assert "merger is already running" in running.text and "front ended with code 2" in running.text
    assert "starting it again" not in running.text


def test_a_process_that_was_asked_to_stop_stays_stopped(running: Running, tmp_path: Path):
    running.wait_for("orderwire: split ready")
    asked = tell(tmp_path / "split.toml", "executor.kraken_spot", Shutdown(by="ann"))
    assert asked == Done(detail="executor.kraken_spot is stopping")
    running.wait_for("kraken has stopped, asked by ann; it is not started again")
    assert "kraken" not in running.children()
    assert running.stop() == 0


def test_json_ends_with_what_each_executor_left(tmp_path: Path):
    running = Running("run", deployment(tmp_path), "--json")
    running.wait_for("orderwire: split ready")
    assert running.stop() == 0
    nothing = {"settled": 0, "left_open": 0, "unknown": 0}
    assert json.loads(running.text.splitlines()[-1]) == {
        "kind": "HandOver",
        "executors": [{"exchange": name, **nothing} for name in ("binance_spot", "kraken_spot")],
        "missing": [],
    }


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
