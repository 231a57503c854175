import asyncio

import pytest
import uvloop

import orderwire
from orderwire import ConfigError, Host, OrderState, load
from tests.deployment_text import PAPER
from tests.instant_venues import instant_venues


def test_everything_that_is_promised_is_there_and_in_order():
    assert all(hasattr(orderwire, name) for name in orderwire.__all__)
    assert sorted(orderwire.__all__) == orderwire.__all__


@pytest.fixture
def several(tmp_path):
    path = tmp_path / "desk.toml"
    path.write_text(PAPER)
    return load(path)


@pytest.mark.parametrize("process", [None, "backoffice"])
def test_a_host_of_several_processes_wants_one_of_them_named(several, process):
    with pytest.raises(ConfigError, match=r"processes: .*name one of front, desk, venues") as raised:
        Host(several, process)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path):
    missing, broken = tmp_path / "missing.toml", tmp_path / "broken.toml"
    broken.write_text("name = ")
    for path in (missing, broken):
        with pytest.raises(ConfigError) as raised:
            load(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_client_that_cannot_be_found_is_told_when_the_file_is_read(tmp_path):
    path = tmp_path / "desk.toml"
    path.write_text(PAPER.replace('client = "instant"', 'client = "no.such.module:Client"'))
    with pytest.raises(ConfigError, match=r"exchanges\.beta"):
        load(path)


def test_actors_and_strategy_run_in_one_process_and_leave_nothing_running(tmp_path_factory):
    deployment = instant_venues(tmp_path_factory.mktemp("o"), durability="process")

    async def trade():
        async with Host(deployment) as host:
            engine = host.engine("mm-1")
            await engine.ready("alpha", "beta")
            cid = engine.open("beta", "btc_usd", side="buy", quantity="0.010", price="50000")
            async for event in engine:
                if event.answers is not None:
                    return cid, event.order

    async def twice():
        async with asyncio.timeout(20):
            return [await trade(), await trade()]

    (first, filled), (second, again) = uvloop.run(twice())
    assert filled.state is again.state is OrderState.FullyFilled
    assert first == filled.cid != second == again.cid
    assert not [path for path in deployment.run_dir.iterdir() if path.is_socket() or path.suffix == ".lock"]
