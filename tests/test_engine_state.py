"""An engine's state file: what a killed strategy finds again, and what keeps two from sharing it."""

import asyncio
import gc
import os
import stat
import sys
from pathlib import Path

import pytest

from orderwire import ConfigError, Engine, EngineError, Host
from pipeline.engine_state import EngineState, Kept
from tests.deployment_text import paper
from tests.dying_strategy import ORDERS
from tests.instant_venues import instant_venues
from tests.test_engine import TERMS, answers, run, until

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENT = paper()


def opened(path, name="mm", now_ns=7):
    return EngineState(path, DEPLOYMENT, name, now_ns)


def test_a_later_life_goes_on_with_session_count_cursor_and_what_was_not_answered(tmp_path):
    path = tmp_path / "mm.db"
    first = opened(path)
    first.handled((3, 10), [])
    for rid in (1, 2, 3):
        first.sending(Kept(rid, 0, 1, 99, b"body"))
    first.handled((3, 12), [2])
    first.close()
    later = opened(path, now_ns=8)
    assert (later.session, later.rid, later.cursor) == (7, 3, (3, 12))
    assert [kept.rid for kept in later.outstanding()] == [1, 3]
    later.close()


def test_a_number_that_was_not_sent_is_used_again(tmp_path):
    path = tmp_path / "mm.db"
    first = opened(path)
    first.sending(Kept(1, 0, 1, 99, b"not sent"))
    first.not_sent(1)
    first.sending(Kept(1, 0, 1, 99, b"sent"))
    first.close()
    later = opened(path)
    assert [kept.body for kept in later.outstanding()] == [b"sent"]
    later.close()


def test_it_is_private_one_engines_and_one_process_at_a_time(tmp_path):
    path = tmp_path / "mm.db"
    first = opened(path)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="already running with this state"):
        opened(path)
    first.close()
    with pytest.raises(ConfigError, match="of the engine 'mm', not of 'other'"):
        opened(path, "other")
    opened(path).close()


def test_a_file_that_is_no_state_is_refused_and_let_go(tmp_path):
    path = tmp_path / "mm.db"
    path.write_text("this is no database, and long enough that nobody takes it for an empty one" * 9)
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError):
        opened(path)
    assert set(os.listdir("/proc/self/fd")) <= before, "what others left open may go meanwhile"


def test_an_engine_that_closed_and_began_again_hears_nothing_twice_and_misses_nothing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("e")

    async def body():
        async with Host(instant_venues(folder, durability="process")) as host:
            options = {"state": folder / "mm.db"}
            async with Engine(host.deployment, "mm", **options) as engine:
                await engine.ready()
                for _ in range(3):
                    engine.open("alpha", "btc_usd", **TERMS)
                heard = await until(engine, answers(2))
                session = engine.session
            with pytest.raises(EngineError, match="closed"):
                engine.connect()
            async with Engine(host.deployment, "mm", **options) as engine:
                await engine.ready()
                assert (engine.session, engine.requests) == (session, 3)
                heard += await until(engine, answers(3))
                assert engine.outstanding == 0
            rids = [event.answers.rid for event in heard if event.answers is not None]
            assert rids == [1, 2, 3]
            assert [event.seq for event in heard] == sorted({event.seq for event in heard})

    run(body)


def test_what_was_being_handled_when_an_exception_came_comes_again(tmp_path_factory):
    folder = tmp_path_factory.mktemp("e")

    async def body():
        async with Host(instant_venues(folder, durability="process")) as host:
            with pytest.raises(ZeroDivisionError):
                async with Engine(host.deployment, "mm", state=folder / "mm.db") as engine:
                    await engine.ready()
                    engine.open("alpha", "btc_usd", **TERMS)
                    await until(engine, answers(1))
                    raise ZeroDivisionError
            async with Engine(host.deployment, "mm", state=folder / "mm.db") as engine:
                assert engine.waits == 1
                assert (await until(engine, answers(1)))[-1].order.engine == "mm"

    run(body)


@pytest.mark.parametrize("where", ["sent:1", "sent:5", f"sent:{ORDERS}", "heard:1", "heard:7"])
def test_a_killed_strategy_resumes_its_session_and_hears_each_answer_once(tmp_path_factory, where):
    folder = tmp_path_factory.mktemp("e")

    async def life(*arguments):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.dying_strategy", *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        said, _ = await process.communicate()
        return process.returncode, [line.split() for line in said.decode().splitlines()]

    async def body():
        async with Host(instant_venues(folder, transport="ipc", durability="process")) as host:
            config = (host.deployment.path, folder / "mm.db")
            code, first = await life(*config, where)
            assert code == -9
            code, second = await life(*config, "never")
            assert code == 0
            assert first[0] == second[0]  # the session
            rids = [int(words[1]) for words in first + second if words[0] == "answered"]
            assert sorted(rids) == list(range(1, ORDERS + 1))

    run(body)
