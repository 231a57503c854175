"""The commands on a running deployment of several processes, as a script uses them."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line.commands import Running, deployment, events, one_complaint, orderwire

FAR = "30000"  # a bid that nobody takes


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = deployment(tmp_path_factory.mktemp("ow"))
    path.write_text(path.read_text().replace("request_timeout_ms = 3_000", "request_timeout_ms = 500"))
    running = Running("run", path)
    running.wait_for("orderwire: split ready")
    yield path
    assert running.stop() == 0, running.text


def bid(config: Path, *more: object):
    return orderwire(
        "open", config, "binance_spot", "btc_usdt", "buy", "0.01", "--price", FAR, "--json", *more
    )


def test_an_open_ends_with_the_line_of_its_answer(config: Path):
    result = bid(config, "--cid", "answered-1")
    last = events(result)[-1]
    assert (result.returncode, result.stderr) == (0, "")
    assert (last["state"], last["cid"], last["exchange"]) == ("Open", "answered-1", "binance_spot")
    assert last["answers"] is not None


def test_a_market_order_watched_until_finished_ends_filled_after_its_trades(config: Path):
    result = orderwire(
        "open", config, "kraken_spot", "btc_usd", "buy", "0.01", "--until", "finished", "--json"
    )
    kinds = [event["kind"] for event in events(result)]
    assert result.returncode == 0
    assert events(result)[-1]["state"] == "FullyFilled"
    assert "Trade" in kinds[:-1]


def test_an_order_that_rests_is_not_finished_in_time_and_exits_1(config: Path):
    result = bid(config, "--until", "finished", "--wait", "0.3")
    assert result.returncode == 1
    assert events(result)[-1]["state"] == "Open"
    assert "not finished within 0.3 s" in one_complaint(result.stderr)


def test_a_cid_used_twice_is_refused_with_its_reason_in_the_last_line(config: Path):
    assert bid(config, "--cid", "twice-1").returncode == 0
    result = bid(config, "--cid", "twice-1")
    assert result.returncode == 1
    assert events(result)[-1]["reason"] == "DuplicateCid"


def test_a_cancel_is_answered_and_a_second_one_fails(config: Path):
    assert bid(config, "--cid", "cancel-1").returncode == 0
    first = orderwire("cancel", config, "cancel-1", "--json")
    assert first.returncode == 0
    assert events(first)[-1]["state"] == "Cancelled"
    second = orderwire("cancel", config, "cancel-1", "--exchange", "binance_spot", "--json")
    assert second.returncode == 1
    assert events(second)[-1]["error"] == "Rejected.OrderAlreadyCancelled"
    unknown = orderwire("cancel", config, "cancel-1")
    assert unknown.returncode == 1
    assert "name its exchange" in one_complaint(unknown.stderr)


def test_cancel_all_asks_every_exchange_and_sums_up(config: Path):
    bid(config)
    result = orderwire("cancel-all", config)
    assert result.returncode == 0
    assert result.stdout.count("CancelAllDone") == 2
    assert "together: cancelled" in result.stdout
    again = orderwire("cancel-all", config, "--json", "--exchange", "binance_spot")
    assert [event["cancelled"] for event in events(again)] == [0]


def test_status_names_every_actor_of_the_deployment(config: Path):
    result = orderwire("status", config, "--json")
    said = {line["actor"]: line for line in events(result)}
    assert result.returncode == 0
    assert len(said) == 8
    assert said["executor.kraken_spot"]["process"] == "kraken"
    assert all(line["ready"] for line in said.values())
    table = orderwire("status", config)
    assert all(actor in table.stdout for actor in said)


def test_halt_is_on_the_feed_when_it_returns_and_opens_are_refused_until_resume(config: Path):
    halted = orderwire("halt", config, "--because", "lunch")
    assert (halted.returncode, halted.stdout) == (0, "binance_spot: halted\nkraken_spot: halted\n")
    feed = events(orderwire("feed", config, "--json"))
    assert [(e["exchange"], e["because"]) for e in feed if e["kind"] == "Halted"][-2:] != []
    refused = bid(config)
    assert refused.returncode == 1
    assert events(refused)[-1]["reason"] == "Halted"
    assert orderwire("resume", config).returncode == 0
    assert bid(config).returncode == 0


def test_a_lost_request_is_answered_timeout_and_its_order_left_unknown_exits_1(config: Path):
    told = orderwire("fault", config, "kraken_spot", "drop_before_accept", "1", "open")
    assert told.returncode == 0
    result = orderwire(
        "open", config, "kraken_spot", "btc_usd", "buy", "0.01", "--price", FAR, "--cid", "lost-1", "--json"
    )
    last = events(result)[-1]
    assert result.returncode == 1
    assert (last["state"], last["error"]) == ("Unknown", "Connectivity.Timeout")
    resolved = orderwire("resolve", config, "lost-1", "open-failed", "--because", "the venue told us")
    assert (resolved.returncode, resolved.stderr) == (0, "")
    feed = events(orderwire("feed", config, "--json"))
    word = [event for event in feed if event["evidence"] == "operator"][-1]
    assert (word["cid"], word["state"]) == ("lost-1", "OpenFailed")
    again = orderwire("resolve", config, "lost-1", "open-failed", "--because", "again")
    assert again.returncode == 1
    assert "no unknown order" in one_complaint(again.stderr)


def test_the_feed_is_numbered_without_gap_from_the_number_asked_for(config: Path):
    whole = [event["seq"] for event in events(orderwire("feed", config, "--json"))]
    assert whole == list(range(1, len(whole) + 1))
    tail = [event["seq"] for event in events(orderwire("feed", config, "--json", "--from", whole[-3]))]
    assert tail[:3] == whole[-3:]
    assert orderwire("feed", config, "--from", 10_000_000).stdout == ""


def test_a_feed_that_is_followed_goes_on_with_what_comes(config: Path):
    following = Running("feed", config, "--follow", "--json")
    following.wait_for('"seq": 1,')
    bid(config, "--cid", "followed-1")
    following.wait_for('"cid": "followed-1"')
    following.signal(signal.SIGTERM)
    following.end()
    seqs = [json.loads(line)["seq"] for line in following.text.splitlines()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_reader_that_goes_away_is_no_error_to_speak_of(config: Path):
    following = Running("feed", config, "--follow")
    following.wait_for("ActorStarted")
    assert following.process.stdout is not None
    following.process.stdout.close()
    bid(config)
    assert following.process.wait(10) == 1


def test_the_journal_is_read_when_nothing_runs_and_check_finds_it_good(tmp_path: Path):
    path = deployment(tmp_path)
    running = Running("run", path)
    running.wait_for("orderwire: split ready")
    assert bid(path).returncode == 0
    live = orderwire("feed", path, "--json").stdout
    assert running.stop() == 0
    result = orderwire("feed", path, "--json")
    assert result.returncode == 0
    assert result.stdout.startswith(live)
    assert "reading its journal" in one_complaint(result.stderr)
    assert orderwire("feed", path, "--follow").returncode == 1
    checked = orderwire("check", path)
    assert (checked.returncode, checked.stdout.count(" good ")) == (0, 5)
