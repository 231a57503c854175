"""`orderwire demo` from start to end, and what it must notice."""

import re
import signal
import tempfile
from pathlib import Path

from actors.command_line import demo_report
from actors.command_line.audit import Account, Discrepancy, FeedRecord, Funds
from actors.command_line.demo import Plan, embedded
from actors.command_line.tally import Tally
from pipeline.amounts import amount
from tests.command_line.commands import Running, orderwire


def test_three_seconds_of_trading_equal_the_exchanges_ledgers():
    result = orderwire("demo", "--seconds", "3", "--rate", "100", "--seed", "5")
    assert (result.returncode, result.stderr) == (0, "")
    assert "the feed equals the exchanges' ledgers" in result.stdout
    assert "DIFFERS" not in result.stdout
    summary = re.search(
        r"([\d,]+) orders, ([\d,]+) fills, .* (\d+) reconnects, (\d+) timeouts", result.stdout
    )
    assert summary is not None
    assert all(int(number.replace(",", "")) > 0 for number in summary.groups())
    plain = [line for line in result.stdout.splitlines() if re.match(r" +\d s  orders ", line)]
    assert len(plain) == 3
    assert "\x1b" not in result.stdout


def test_a_demo_on_recordings_trades_at_recorded_prices(market_data: Path):
    result = orderwire("demo", "--seconds", "2", "--market-data", *sorted(market_data.glob("*.gz")))
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"binance_spot +trades +([1-9]\d*) ", result.stdout)


def test_an_interrupted_demo_leaves_nothing_behind():
    with tempfile.TemporaryDirectory() as folder:  # a short path: the sockets stand in it
        running = Running("demo", "--seconds", "60", TMPDIR=folder)
        running.wait_for("1 s  orders")
        assert len(list(Path(folder).iterdir())) == 1
        running.signal(signal.SIGINT)
        assert running.end() == 130
        assert list(Path(folder).iterdir()) == []
    assert "Traceback" not in running.text


def test_the_same_seed_makes_the_same_deployment_and_another_seed_another(tmp_path: Path):
    seeds = [
        [exchange.simulation["seed"] for exchange in embedded(tmp_path, Plan(seed=seed))[0].exchanges]
        for seed in (3, 3, 4)
    ]
    assert seeds[0] == seeds[1] != seeds[2]
    assert len(set(seeds[0])) == 2


def test_a_difference_is_shown_beside_the_total(tmp_path: Path, monkeypatch, capsys):
    deployment, _ = embedded(tmp_path, Plan())
    truth = {exchange.index: Account() for exchange in deployment.exchanges}
    truth[0].balances["BTC"] = Funds(amount(1), amount(1))
    record = FeedRecord(deployment)
    record.accounts[0].balances["BTC"] = Funds(amount(2), amount(2))
    monkeypatch.setattr(demo_report, "ledgers", lambda _: truth)
    found = demo_report.audit(deployment, record)
    assert found == [Discrepancy("binance_spot", "balance BTC", "total 2 free 2", "total 1 free 1")]
    demo_report.show(deployment, record, Tally(), found)
    assert "DIFFERS" in capsys.readouterr().out
