"""How one table is read: unknown, missing and mistyped keys, names and decimals, each refused in one line."""

import types

import pytest

from pipeline.deployment_table import frozen, nearest, quoted
from tests.deployment_text import refusal

REFUSALS = [
    (
        'name = "paper"',
        'name = "paper"\ndurabilty = "power"',
        "durabilty: is no key of this table; did you mean durability?",
    ),
    (
        "expires_ms",
        "request_timout_ms",
        "exchanges.alpha.timing.request_timout_ms: is no key of this table; did you mean request_timeout_ms?",
    ),
    (
        'price_step = "0.01"',
        'tick = "0.01"',
        "exchanges.alpha.instruments.eth_usd.tick: is no key of this table; the keys are name, "
        "symbol, base, quote, price_step, quantity_step, quantity_min, notional_min, kind, "
        "contract_size",
    ),
    (
        'venue = "alpha_spot"\n',
        "",
        "exchanges.alpha.venue: is missing; add it: text in quotes",
    ),
    (
        'price_step = "0.01"\n',
        "",
        "exchanges.alpha.instruments.eth_usd.price_step: is missing; add it: a decimal in quotes",
    ),
    (
        'name = "eth_usd"\n',
        "",
        "exchanges.alpha.instruments.#2.name: is missing; add it: text in quotes",
    ),
    (
        'name = "paper"',
        "name = 3",
        "name: is a whole number; write text in quotes",
    ),
    (
        "heartbeat_ms = 100",
        'heartbeat_ms = "100"',
        "edges.heartbeat_ms: is text in quotes; write a whole number",
    ),
    (
        "heartbeat_ms = 100",
        "heartbeat_ms = 1.5",
        "edges.heartbeat_ms: is a number; write a whole number",
    ),
    (
        "heartbeat_ms = 100",
        'transport = "tcp"',
        "edges.transport: 'tcp' is not one of its words; write one of auto, ipc",
    ),
    (
        'name = "paper"',
        'name = "paper"\ndurability = "powr"',
        "durability: 'powr' is not one of its words; did you mean power?",
    ),
    (
        'name = "paper"',
        'name = "paper"\ntesting = 1',
        "testing: is a whole number; write true or false",
    ),
    (
        'name = "paper"',
        'name = "Paper"',
        "name: 'Paper' is no name; use 1 to 32 small letters, digits and underscores",
    ),
    (
        'name = "paper"',
        'name = "paper\\n"',
        "name: 'paper\\n' is no name; use 1 to 32 small letters, digits and underscores",
    ),
    (
        "exchanges.beta",
        "exchanges.Beta",
        "exchanges.Beta: 'Beta' is no name; use 1 to 32 small letters, digits and underscores",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), REFUSALS)
def test_a_bad_table_is_refused_in_one_line(old, new, line):
    assert refusal(old, new) == f"desk.toml: {line}"


@pytest.mark.parametrize(
    "written",
    ['"1e-5"', '"NaN"', '"Infinity"', '" 0.1"', '"0.1\\n"', '"1_000"', '"."', '""', '"１"', "true", "[1]"],
)
def test_what_the_grammar_does_not_know_is_no_decimal(written):
    line = refusal('price_step = "0.1"', f"price_step = {written}")
    assert line.startswith("desk.toml: exchanges.alpha.instruments.btc_usd.price_step: ")
    assert line.endswith('is no decimal; write digits with at most one point, in quotes, such as "0.01"')


def test_a_decimal_written_as_a_float_is_refused_with_how_to_write_it():
    line = refusal('price_step = "0.1"', "price_step = 0.1")
    assert line.endswith('price_step: 0.1 is a float; write the decimal in quotes: "0.1"')


@pytest.mark.parametrize("written", ['"0"', '"-0.1"', "0", "-1"])
def test_a_step_is_more_than_zero(written):
    assert refusal('price_step = "0.1"', f"price_step = {written}").endswith(
        "is out of range; write a decimal of more than 0"
    )


def test_advice_is_the_nearest_word_or_a_bounded_list():
    many = [f"executor.e{n}" for n in range(1_000)]
    assert nearest("exectuor.e7", many, "one of") == "did you mean executor.e7?"
    assert nearest("zzz", ["a", "b"], "one of") == "one of a, b"
    assert len(nearest("zzz", many, "one of")) < 300


def test_a_value_is_repeated_short_and_on_one_line():
    assert quoted("a\nb") == r"'a\nb'"
    assert len(quoted("x" * 10_000)) < 100
    assert quoted(16**5_000) == "a number of thousands of digits"


def test_a_frozen_table_is_read_only_at_any_depth():
    table = frozen({"a": [{"b": 1}]})
    assert isinstance(table, types.MappingProxyType)
    assert isinstance(table["a"], tuple)
    assert isinstance(table["a"][0], types.MappingProxyType)
