"""Deployment files: what a good one becomes, and the one line that says what is wrong with a bad one."""

import subprocess
import sys
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.clients import BUILT_IN
from pipeline.deployment import ConfigError, Timing
from pipeline.deployment_file import load, parse
from tests.deployment_text import PAPER, paper, refusal

ROOT = Path(__file__).resolve().parent.parent


# ---- what a good file becomes


def test_a_good_file_becomes_its_deployment():
    deployment = paper()
    alpha, beta = deployment.exchanges
    assert (deployment.name, deployment.durability, deployment.testing) == ("paper", "process", False)
    assert [(e.index, e.name, e.venue, e.client) for e in deployment.exchanges] == [
        (0, "alpha", "alpha_spot", "simulated"),
        (1, "beta", "beta_spot", "instant"),
    ]
    assert [(i.index, i.name, i.symbol) for i in alpha.instruments] == [
        (0, "btc_usd", "XBTUSD"),
        (1, "eth_usd", "ETHUSD"),
    ]
    assert alpha.instrument("btc_usd").price_step == Decimal("0.1")
    assert beta.instrument("btc_usd").price_step == Decimal("1")
    assert alpha.timing == Timing(expires_ms=5_000)
    assert deployment.source == PAPER


def test_directories_are_absolute_and_begin_where_the_file_is(tmp_path):
    file = tmp_path / "desk.toml"
    file.write_text(PAPER.replace('"state"', '"../journals"'))
    deployment = load(file)
    assert deployment.run_dir == tmp_path / "run"
    assert deployment.state_dir == tmp_path.parent / "journals"


def test_directories_left_out_are_named_after_the_deployment():
    deployment = paper('run_dir = "run"\nstate_dir = "state"\n')
    assert (deployment.run_dir, deployment.state_dir) == (
        Path("/srv/desk/run/paper"),
        Path("/srv/desk/state/paper"),
    )


def test_the_same_text_has_the_same_fingerprint_and_another_order_another():
    swapped = paper('name = "btc_usd"\nsymbol = "XBTUSD"', 'name = "xbt_usd"\nsymbol = "XBTUSD"')
    assert paper().fingerprint == paper().fingerprint
    assert paper().fingerprint != swapped.fingerprint
    assert paper().fingerprint == paper("heartbeat_ms = 100", "heartbeat_ms = 50").fingerprint


def test_a_file_saved_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path):
    file = tmp_path / "desk.toml"
    file.write_bytes(b"\xef\xbb\xbf" + PAPER.replace("\n", "\r\n").encode())
    assert load(file).name == "paper"


# ---- what orderwire ships


def test_every_shipped_file_loads_with_the_real_clients(shipped):
    deployment = load(shipped, lambda spec: type(spec, (), {"venue": None}) if spec in BUILT_IN else None)
    assert [len(e.instruments) for e in deployment.exchanges] == [3, 3]
    assert len({e.venue for e in deployment.exchanges}) == 2
    assert shipped.stem == deployment.name


def test_the_shipped_layouts_differ_in_placement_only():
    colocated, split = (load(ROOT / "config" / f"{name}.toml") for name in ("colocated", "split"))
    assert colocated.exchanges == split.exchanges
    assert colocated.fingerprint == split.fingerprint
    assert len(colocated.processes) == 1
    assert sorted(split.processes.values()) == [
        ("exchange.binance_spot",),
        ("exchange.kraken_spot",),
        ("executor.binance_spot", "reconnector.binance_spot"),
        ("executor.kraken_spot", "reconnector.kraken_spot"),
        ("merger", "router"),
    ]


def test_the_embedded_default_needs_no_file(tmp_path):
    text = files("actors.command_line").joinpath("embedded.toml").read_text()
    deployment = parse(text, Path("embedded.toml"), tmp_path)
    assert [e.client for e in deployment.exchanges] == ["simulated", "simulated"]
    assert list(deployment.processes) == ["all"]


# ---- what is wrong with a bad one: the whole line, since people read it and scripts may

REFUSALS = [
    (
        'name = "paper"',
        'name = "paper',
        "is not TOML: Illegal character '\\n' (at line 2, column 14); mend the syntax there",
    ),
    (
        "[exchanges.beta]",
        "[exchanges.alpha]",
        "is not TOML: Cannot declare ('exchanges', 'alpha') twice (at line 44, column 17); mend "
        "the syntax there",
    ),
    (
        "heartbeat_ms = 100",
        "heartbeat_ms = 0",
        "edges.heartbeat_ms: 0 is out of range; write a number from 1 to 60000",
    ),
    (
        "heartbeat_ms = 100",
        "heartbeat_ms = 1500",
        "edges.feed_stale_ms: 2000 is less than two heartbeats of 1500 ms; raise it or lower heartbeat_ms",
    ),
    (
        '"state"',
        '"run/journals"',
        "state_dir: /srv/desk/run/journals lies in run_dir, which may be emptied at any stop; "
        "keep journals apart from sockets",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), REFUSALS)
def test_a_bad_file_is_refused_in_one_line(old, new, line):
    assert refusal(old, new) == f"desk.toml: {line}"


@pytest.mark.parametrize(
    ("exchanges", "line"),
    [
        ("", "exchanges: is missing; add it: a table"),
        ("[exchanges]", "exchanges: has 0 exchanges; write from 1 to 1024 [exchanges.<name>] tables"),
        ("exchanges = 3", "exchanges: is a whole number; write a table"),
        ("exchanges.x = 3", "exchanges.x: is a whole number; write it as a table of keys"),
        (
            '[exchanges.x]\nvenue="x"\nclient="instant"\ninstruments=[]',
            "exchanges.x.instruments: has 0 instruments; list from 1 to 4096",
        ),
        (
            '[exchanges.x]\nvenue="x"\nclient="instant"\ninstruments=[1]',
            "exchanges.x.instruments[0]: is a whole number; write a table",
        ),
    ],
)
def test_a_deployment_has_exchanges_and_they_have_instruments(exchanges, line):
    text = 'name = "x"\n' + (exchanges if "[" not in exchanges else "") + '\n[processes]\nall = ["*"]\n'
    with pytest.raises(ConfigError) as raised:
        parse(text + (exchanges if "[" in exchanges else ""), Path("desk.toml"), Path("/srv"))
    assert str(raised.value) == f"desk.toml: {line}"


def test_a_socket_path_beyond_the_systems_limit_is_refused():
    line = refusal('run_dir = "run"', f'run_dir = "{"r" * 90}"')
    assert line.startswith("desk.toml: run_dir: the socket path /srv/desk/rrr")
    assert line.endswith("over the system's limit of 107; choose a shorter run_dir")


@pytest.mark.parametrize(
    "extreme", ["1" * 5000, "[" * 5000, "0x" + "f" * 5000, "1e999999", "1979-05-27", "{}"]
)
@pytest.mark.parametrize("key", ["name", "heartbeat_ms", "initial_ms", "price_step"])
def test_no_value_however_odd_ends_in_a_traceback(key, extreme):
    lines = [f"{key} = {extreme}" if line.startswith(f"{key} = ") else line for line in PAPER.splitlines()]
    with pytest.raises(ConfigError) as raised:
        parse("\n".join(lines), Path("desk.toml"), Path("/srv"))
    assert str(raised.value).startswith("desk.toml: ")
    assert len(str(raised.value)) < 300


@given(st.data())
def test_any_damage_gives_a_deployment_or_one_line(data):
    start = data.draw(st.integers(0, len(PAPER)))
    end = data.draw(st.integers(start, min(len(PAPER), start + 40)))
    text = PAPER[:start] + data.draw(st.text(max_size=8)) + PAPER[end:]
    try:
        assert parse(text, Path("desk.toml"), Path("/srv")).exchanges
    except ConfigError as error:
        assert str(error).startswith("desk.toml: ")
        assert len(str(error).splitlines()) == 1


# ---- files that cannot be read


def test_a_missing_file_a_folder_and_a_path_with_a_nul_are_refused_in_one_line(tmp_path):
    for path, what in [
        (tmp_path / "none.toml", "there is no such file; give the path of a deployment file"),
        (tmp_path, "cannot be read (Is a directory); give a readable deployment file"),
        ("a\0b", "cannot be read (embedded null byte); give a readable deployment file"),
    ]:
        with pytest.raises(ConfigError, match="give") as raised:
            load(path)
        assert str(raised.value).endswith(what)


def test_a_file_that_is_not_utf8_is_refused_with_the_place(tmp_path):
    file = tmp_path / "desk.toml"
    file.write_bytes(b'name = "caf\xe9"')
    with pytest.raises(ConfigError, match=r"desk.toml: is not UTF-8 at byte 12; save it as UTF-8 text"):
        load(file)


def test_a_file_too_large_to_be_a_deployment_is_not_read_to_its_end():
    with pytest.raises(ConfigError, match="is larger than 4194304 bytes; give a deployment file"):
        load("/dev/zero")


def test_reading_a_file_brings_in_no_actor():
    code = "import sys, pipeline.deployment_file; print([m for m in sys.modules if m.startswith('actors')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]"
