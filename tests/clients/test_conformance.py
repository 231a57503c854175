"""The suite itself: good clients pass, and each faulty one fails the rows that its fault is about."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest

from actors.clients.conformance import DIRECT, STAGED, UNBLOCKED, Report, certify
from actors.clients.conformance_terms import read_terms
from actors.clients.instant import InstantClient
from actors.command_line import certify as command
from pipeline.deployment import ConfigError, Deployment, Exchange
from tests.clients import faulty
from tests.clients.example_client import ExampleClient
from tests.exchange import bench

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = [*(row[0] for row in DIRECT), *(row[0] for row in STAGED), UNBLOCKED]
# What only an exchange with fault switches can be made to do.
PROVOKED = {
    "account stream ends on a disconnect",
    "error after the exchange acted",
    "pipeline: the exchange never answers",
    "pipeline: the exchange answers late",
    "pipeline: an order lost on the way",
    "pipeline: the exchange disconnects",
}


def exchange(client: str) -> Exchange:
    return replace(bench.deployment({}).exchanges[0], client=client)


def certified(made: Callable[[str, dict[str, Any]], Any], patience_s: float = 1.0, **options: Any) -> Report:
    ExampleClient.venues.clear()
    of = exchange("tests.clients.example_client:ExampleClient")
    terms = read_terms(of, partial_quantity="15", patience_s=patience_s)
    return asyncio.run(certify(of, lambda: made("alpha", options), None, terms))


def reasons(report: Report) -> str:
    return "\n".join(f"{row.name}: {row.outcome}: {row.reason}" for row in report.rows)


def test_the_example_client_passes_every_row_that_needs_no_fault_switch() -> None:
    report = certified(ExampleClient)
    assert report.failed == [], reasons(report)
    assert set(report.not_supported) == PROVOKED
    assert [row.name for row in report.rows] == NAMES
    assert report.left == []
    orders = ExampleClient.venues["alpha"].orders.values()
    assert orders and all(order.state.finished for order in orders), "it clears away what it opened"


def test_the_page_shows_the_example_that_passes_and_it_is_short() -> None:
    text = (ROOT / "tests/clients/example_client.py").read_text()
    page = (ROOT / "WRITING_A_CLIENT.md").read_text()
    shown = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "class ExampleClient" in block
    ]
    assert shown == [text]
    assert len(text.splitlines()) < 100


def test_the_instant_client_fails_nothing_and_says_what_it_has_not() -> None:
    report = certified(InstantClient)
    assert report.failed == [], reasons(report)
    assert all(row.reason for row in report.rows if row.outcome == "not supported")
    assert {"open", "cancel", "pipeline: timeout", "pipeline: late answer"}.isdisjoint(report.not_supported)


class TellsCancelsAsCancels(ExampleClient):
    """Its stream has an OrderCancelled where the example's has the order; its calls leave it to that."""

    async def cancel_order(self, request: Any) -> None:
        streams, self.at.streams = self.at.streams, []
        try:
            said = await super().cancel_order(request)
        finally:
            self.at.streams = streams
        self.at.tell(said)

    async def open_order(self, request: Any) -> None:
        await super().open_order(request)


def test_a_client_that_leaves_its_answers_to_the_stream_passes_too() -> None:
    report = certified(TellsCancelsAsCancels)
    assert report.failed == [], reasons(report)
    assert set(report.not_supported) == PROVOKED | {"pipeline: late answer"}


STREAM = {
    "account stream begins when it returns",
    "cancel",
    "orders never go back on the stream",
    "account stream ends on a disconnect",
}
FAULTS: dict[type[ExampleClient], set[str]] = {
    faulty.AnswersAnotherCid: {
        "open",
        "several orders at once",
        "fill",
        "pipeline: open, fill, cancel",
        "pipeline: several in flight",
        "pipeline: late answer",
    },
    faulty.RepeatsATradeUnderANewId: {
        "fetch_trades since a time",
        "trade identity",
        "pipeline: trades appear once",
    },
    faulty.LosesFillsInTheGap: {
        "fetch_trades since a time",
        "trade identity",
        "pipeline: reconnect with fills in the gap",
        "pipeline: trades appear once",
    },
    faulty.GivesFloats: {"account snapshot", "balances", "pipeline: the feed agrees with the exchange"},
    faulty.RaisesKeyError: {"cancel of an unknown order"},
    faulty.CannotFetchOrdersAfterAll: {
        "fetch_order tells three things apart",
        "pipeline: timeout",
        "pipeline: reconnect with fills in the gap",
        "pipeline: the feed agrees with the exchange",
    },
    faulty.DoesNotFindLiveOrders: {"fetch_order tells three things apart", "pipeline: timeout"},
    faulty.SubscribesTooLate: {"account stream begins when it returns", "pipeline: snapshot fences"},
    faulty.BlocksTheLoop: {UNBLOCKED},
    faulty.ShrinksFilled: {"orders never go back on the stream"},
    faulty.SwallowsRejections: {"reject"},
    faulty.SaysTimeoutWhenRejected: {"reject"},
    faulty.ShowsNoOrdersInSnapshots: {
        "account snapshot",
        "pipeline: snapshot fences",
        "pipeline: the feed agrees with the exchange",
    },
    faulty.IsNoCoroutine: STREAM
    | {row[0] for row in STAGED} - PROVOKED
    | {"pipeline: the exchange disconnects"},
}


@pytest.mark.parametrize("client", FAULTS, ids=lambda client: client.__name__)
def test_a_faulty_client_fails_the_rows_that_its_fault_is_about(client: type[ExampleClient]) -> None:
    # A blocked loop delays everything; nothing else waits for what will not come for long.
    report = certified(client, patience_s=3.0 if client is faulty.BlocksTheLoop else 0.5)
    assert set(report.failed) == FAULTS[client], reasons(report)
    assert all(row.reason for row in report.rows if row.outcome == "failed")


def test_every_faulty_client_has_its_rows() -> None:
    written = {
        value
        for value in vars(faulty).values()
        if isinstance(value, type) and issubclass(value, ExampleClient) and value is not ExampleClient
    }
    assert written == set(FAULTS)


def test_a_client_that_cannot_be_made_fails_the_first_row_with_its_own_words() -> None:
    def made(name: str, options: dict[str, Any]) -> Any:
        raise OSError("no such region")

    report = certified(made)
    assert report.failed == [NAMES[0]]
    assert "no such region" in report.rows[0].reason


def test_what_could_not_be_cleared_away_is_said() -> None:
    class WillNotCancel(ExampleClient):
        async def cancel_order(self, request: Any) -> Any:
            raise RuntimeError("not today")

    report = certified(WillNotCancel, patience_s=0.2)
    assert any("could not be cancelled" in left for left in report.left)


def test_terms_are_the_least_that_the_instrument_allows() -> None:
    terms = read_terms(exchange("simulated"))
    lot = terms.lot(Decimal(100))
    assert lot % terms.instrument.quantity_step == 0
    assert lot * Decimal(70) >= terms.instrument.notional_min > (lot - Decimal("0.01")) * Decimal(70)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"instrument": "gold"}, "'gold' is not of alpha; one of btc_usdt"),
        ({"price": "1e5"}, "price: '1e5' is no decimal"),
        ({"price": "100.005"}, "price: 100.005 is no multiple above zero of 0.01"),
        ({"quantity": "0"}, "quantity: 0 is no multiple above zero"),
        ({"partial_quantity": "-1"}, "partial_quantity: -1 is no multiple above zero"),
    ],
)
def test_terms_that_cannot_be_traded_are_refused_in_one_line(terms: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_terms(exchange("simulated"), **terms)  # type: ignore[arg-type]
    assert words in str(raised.value)


# ------------------------------------------------------------------------------------------ the command


def deployment(folder: Path, client: str = "simulated") -> Deployment:
    made = bench.deployment({"seed": 1}, folder / "bench.toml")
    return replace(made, exchanges=(replace(made.exchanges[0], client=client),), testing=True)


def wanted(exchange: str | None = None, **changes: Any) -> command.Wanted:
    asked = command.Wanted(exchange, "", None, None, None, 2.0)
    return replace(asked, **changes)


def run(of: Deployment, asked: command.Wanted) -> int:
    return asyncio.run(command.certify(of, command.check(of, asked), as_json=True))


def test_the_simulated_client_passes_every_row_against_an_exchange_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(deployment(tmp_path), wanted()) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["name"] for row in rows] == NAMES
    assert {row["outcome"] for row in rows} == {"passed"}, rows
    assert said.err == ""
    assert list(tmp_path.iterdir()) == [], "nothing is left in the deployment's own folders"


def test_a_failed_row_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(deployment(tmp_path, "tests.clients.faulty:RaisesKeyError"), wanted("alpha")) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows if row["outcome"] == "failed"] == ["cancel of an unknown order"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (wanted("nowhere"), "nowhere"),
        (wanted(None, quantity="1"), "name the EXCHANGE"),
        (wanted("alpha", price="cheap"), "--price: 'cheap' is no decimal"),
    ],
)
def test_bad_usage_is_said_before_anything_is_traded(
    tmp_path: Path, asked: command.Wanted, words: str
) -> None:
    with pytest.raises(click.UsageError) as raised:
        command.check(deployment(tmp_path), asked)
    assert words in raised.value.format_message()
