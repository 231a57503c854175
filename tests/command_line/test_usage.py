"""Whatever is typed wrongly: exit code 2, one line on stderr, nothing on stdout, nothing started."""

from pathlib import Path

import pytest

from actors.command_line import main
from tests.command_line.commands import deployment, one_complaint, orderwire

OPEN = ("open", "CONFIG", "binance_spot", "btc_usdt", "buy", "0.01")
WRONG = [
    (("nonsense",), "nonsense"),
    (("run",), "CONFIG"),
    (("run", "nosuch.toml"), "there is no such file"),
    (("run", "CONFIG", "nosuch"), "name one of front"),
    (("check", "/"), "/: cannot be read"),
    (("check", "CONFIG", "--json"), "--json"),
    (("feed", "CONFIG", "--from", "0"), "--from"),
    (("feed", "CONFIG", "--from", "x"), "--from"),
    (("open", "CONFIG", "mars", "btc_usdt", "buy", "1"), "EXCHANGE: 'mars' must be one of binance_spot"),
    (("open", "CONFIG", "binance_spot", "btc_eur", "buy", "1"), "INSTRUMENT: 'btc_eur' must be one of"),
    (("open", "CONFIG", "binance_spot", "btc_usdt", "hold", "1"), "hold"),
    (("open", "CONFIG", "binance_spot", "btc_usdt", "buy"), "QUANTITY"),
    (("open", "CONFIG", "binance_spot", "btc_usdt", "buy", "NaN"), "NaN"),
    (("open", "CONFIG", "binance_spot", "btc_usdt", "buy", "1e3"), "1e3"),
    (("open", "CONFIG", "binance_spot", "btc_usdt", "buy", "0"), "quantity: 0 must be more than 0"),
    (("open", "CONFIG", "binance_spot", "btc_usdt", "buy", "0.000001"), "a multiple of 0.00001"),
    ((*OPEN, "--price", "50000.001"), "a multiple of 0.01"),
    ((*OPEN, "--price", "-1"), "price"),
    ((*OPEN, "--kind", "limit"), "price"),
    ((*OPEN, "--kind", "market", "--price", "5"), "price"),
    ((*OPEN, "--price", "5", "--tif", "ioc", "--post-only"), "flags"),
    ((*OPEN, "--price", "50000", "--tif", "never"), "never"),
    ((*OPEN, "--price", "50000", "--cid", "a b"), "cid"),
    ((*OPEN, "--price", "50000", "--cid", "x" * 65), "cid"),
    ((*OPEN, "--price", "50000", "--cid", "ext-1"), "ext-"),
    ((*OPEN, "--price", "50000", "--wait", "-1"), "--wait"),
    (("cancel", "CONFIG", "bad cid"), "cid"),
    (("cancel", "CONFIG", "c-1", "--exchange", "mars"), "mars"),
    (("cancel-all", "CONFIG", "--exchange", "mars"), "mars"),
    (("fault", "CONFIG", "mars", "delay", "5"), "mars"),
    (("fault", "CONFIG", "binance_spot", "nosuch"), "no fault 'nosuch'"),
    (("fault", "CONFIG", "binance_spot", "delay"), "delay needs ms"),
    (("fault", "CONFIG", "binance_spot", "--json"), "--json"),
    (("halt", "CONFIG", "--exchange", "mars"), "mars"),
    (("resolve", "CONFIG", "c-1", "gone", "--because", "x"), "gone"),
    (("resolve", "CONFIG", "c-1", "cancelled"), "--because"),
    (("resolve", "CONFIG", "c-1", "cancelled", "--because", " "), "--because"),
    (("demo", "--seconds", "0"), "--seconds"),
    (("demo", "--rate", "many"), "--rate"),
    (("demo", "more"), "more"),
    (("demo", "--market-data", "nosuch.gz"), "nosuch.gz: there is no such file"),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=lambda value: " ".join(value)[:60])
def test_bad_usage_is_one_line_and_exit_code_2(arguments, named, tmp_path, capsys):
    config = str(deployment(tmp_path))
    code = main([config if argument == "CONFIG" else argument for argument in arguments])
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert named in one_complaint(said.err)


@pytest.mark.parametrize(
    "command",
    [("status",), ("feed",), ("halt",), ("resolve", "c-1", "filled", "--because", "x")],
    ids=lambda command: command[0],
)
def test_what_needs_a_running_deployment_exits_1_without_one(command, tmp_path, capsys):
    name, *more = command
    assert main([name, str(deployment(tmp_path)), *more]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("orderwire: ")
    assert "Traceback" not in said.err


def test_help_and_nothing_at_all_show_the_commands(capsys):
    assert main(["--help"]) == 0
    assert main([]) == 2
    assert capsys.readouterr().out.count("cancel-all") == 2


def test_an_unexpected_error_is_one_line_unless_debugging(tmp_path: Path):
    path = deployment(tmp_path)
    (tmp_path / "state").write_text("in the way")
    result = orderwire("run", path, "front")
    assert result.returncode == 2
    assert "state" in one_complaint(result.stderr)
