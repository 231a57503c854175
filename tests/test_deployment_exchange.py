"""One exchange of a deployment file: instruments, assets, terms and client."""

import dataclasses
from pathlib import Path

import pytest

from pipeline.deployment import Backoff, ConfigError, Edges, Limits, Timing
from pipeline.deployment_exchange import BACKOFF_RANGES, LIMITS_RANGES, TIMING_RANGES
from pipeline.deployment_file import EDGES_RANGES, parse
from tests.deployment_text import PAPER, paper, refusal

REFUSALS = [
    (
        "[exchanges.alpha.timing]",
        "[exchanges.alpha.limits]\nin_flight = 0\n[exchanges.alpha.timing]",
        "exchanges.alpha.limits.in_flight: 0 is out of range; write a number from 1 to 1000000",
    ),
    (
        "expires_ms = 5_000",
        "trade_horizon_ms = 0",
        "exchanges.alpha.timing.trade_horizon_ms: 0 is out of range; write a number from 1000 to 31622400000",
    ),
    (
        'price_step = "0.01"',
        'price_step = "0.01"\ncontract_size = "10"',
        'exchanges.alpha.instruments.eth_usd.contract_size: 10 is not for a spot instrument; write "1"',
    ),
    (
        'name = "eth_usd"',
        'name = "btc_usd"',
        "exchanges.alpha.instruments.btc_usd.name: btc_usd is also the name of instrument #1; "
        "give each instrument of an exchange its own name",
    ),
    (
        'symbol = "ETHUSD"',
        'symbol = "XBTUSD"',
        "exchanges.alpha.instruments.eth_usd.symbol: 'XBTUSD' is also the symbol of btc_usd; list"
        " each instrument of the venue once",
    ),
    (
        'symbol = "ETHUSD"',
        'symbol = "A\\nB"',
        "exchanges.alpha.instruments.eth_usd.symbol: 'A\\nB' is no name; use 1 to 64 printable characters",
    ),
    (
        'btc = "XBT"',
        'btx = "XBT"',
        "exchanges.alpha.assets.btx: no instrument here has this asset; did you mean btc?",
    ),
    (
        'btc = "XBT"',
        'btc = "USD"',
        "exchanges.alpha.assets.usd: 'USD' is also the symbol of btc; give each asset its own symbol",
    ),
    (
        'base = "eth"',
        'base = "usd"',
        "exchanges.alpha.instruments.eth_usd.quote: 'usd' is the base as well; name the other asset",
    ),
    (
        "expires_ms = 5_000",
        "expires_ms = 70_000",
        "exchanges.alpha.timing.expires_ms: 70000 is beyond expires_limit_ms, which is 60000; "
        "lower it or raise the limit",
    ),
    (
        "initial_ms = 125",
        "max_ms = 100",
        "exchanges.alpha.backoff.max_ms: 100 is less than initial_ms, which is 125; raise it or "
        "lower initial_ms",
    ),
    (
        "initial_ms = 125",
        "multiplier = nan",
        "exchanges.alpha.backoff.multiplier: nan is out of range; write a number from 1.0 to 100.0",
    ),
    (
        'price_step = "0.01"',
        'price_step = "0.01"\nkind = "perpetual"',
        "exchanges.alpha.instruments.eth_usd.kind: 'perpetual' cannot be traded yet; write \"spot\"",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), REFUSALS)
def test_a_bad_exchange_is_refused_in_one_line(old, new, line):
    assert refusal(old, new) == f"desk.toml: {line}"


def test_assets_are_those_of_the_instruments_base_first_each_once():
    assets = paper().exchange("alpha").assets
    assert [(a.index, a.name, a.symbol) for a in assets] == [
        (0, "btc", "XBT"),
        (1, "usd", "USD"),
        (2, "eth", "ETH"),
    ]


def test_a_clients_options_cannot_be_changed_at_any_depth():
    options = paper().exchange("alpha").options
    assert options["region"] == ("eu", "us")
    with pytest.raises(TypeError):
        options["region"] = ()  # type: ignore[index]
    with pytest.raises(TypeError):
        options["account"]["desk"] = 8


def client_of(venue: str | None) -> type:
    return type("Client", (), {"venue": venue})


def test_a_client_of_another_venue_is_refused():
    with pytest.raises(ConfigError) as raised:
        parse(PAPER, Path("desk.toml"), Path("/srv"), lambda spec: client_of("beta_spot"))
    assert str(raised.value) == (
        "desk.toml: exchanges.alpha.client: simulated is a client of beta_spot, "
        "and the venue here is alpha_spot; "
        'set venue = "beta_spot", or name a client of alpha_spot'
    )


def test_a_client_without_a_venue_fits_any():
    assert parse(PAPER, Path("desk.toml"), Path("/srv"), lambda spec: client_of(None)).exchanges


def test_what_is_wrong_with_a_client_is_said_where_it_is_named():
    def check_client(spec: str) -> type:
        raise ConfigError(f"{spec} is no client; write another")

    with pytest.raises(ConfigError) as raised:
        parse(PAPER, Path("desk.toml"), Path("/srv"), check_client)
    assert str(raised.value) == "desk.toml: exchanges.alpha.client: simulated is no client; write another"


@pytest.mark.parametrize(
    ("cls", "ranges"),
    [(Timing, TIMING_RANGES), (Backoff, BACKOFF_RANGES), (Limits, LIMITS_RANGES), (Edges, EDGES_RANGES)],
)
def test_every_number_has_a_range_and_its_default_is_in_it(cls, ranges):
    numbers = {f.name: f.default for f in dataclasses.fields(cls) if not isinstance(f.default, str)}
    assert set(ranges) == set(numbers)
    assert [key for key, value in numbers.items() if not ranges[key][0] <= value <= ranges[key][1]] == []
