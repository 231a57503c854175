"""From a deployment's word for a client to an instance, with a user's mistakes told in one sentence."""

from dataclasses import replace

import pytest

from actors.clients import BUILT_IN, client_class, make_client
from pipeline.client import Capability
from pipeline.deployment import ConfigError
from tests.deployment_text import paper

CLIENT = """
from pipeline.client import Capability

class Desk:
    venue = "alpha_spot"
    capabilities = frozenset({Capability.TRADES})
    request_validity_ms = 1000

    def __init__(self, exchange, options):
        self.exchange, self.options = exchange, options
        if "region" not in options:
            raise KeyError("region")

    async def account_snapshot(self, assets, instruments): ...
    async def account_stream(self, assets, instruments): ...
    async def open_order(self, request): ...
    async def cancel_order(self, request): ...
    async def fetch_trades(self, instruments, since_ns): ...
    async def close(self): ...
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Write a user's module, importable under a name of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"desk_{abs(hash(request.node.name))}"

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def refusal(spec: str) -> str:
    with pytest.raises(ConfigError) as raised:
        client_class(spec)
    what, separator, right = str(raised.value).partition("; ")
    assert what and separator and right
    return str(raised.value)


def test_a_users_client_needs_no_entry_in_this_repository(module):
    spec = f"{module(CLIENT)}:Desk"
    exchange = replace(paper().exchange("alpha"), client=spec)
    client = make_client(exchange)
    assert (client.exchange, client.options["region"]) == ("alpha", ("eu", "us"))
    assert make_client(exchange) is not client


def test_a_client_that_refuses_its_options_is_told_as_bad_options(module):
    spec = f"{module(CLIENT)}:Desk"
    exchange = replace(paper().exchange("beta"), client=spec)
    with pytest.raises(ConfigError, match=r"exchanges\.beta\.options: .*:Desk refuses them"):
        make_client(exchange)


def test_a_word_that_is_no_client_is_refused_with_the_nearest():
    assert refusal("simulatd") == "'simulatd' is no client; did you mean simulated?"
    assert refusal("kraken") == (
        "'kraken' is no client; write package.module:Class, or one of simulated, instant"
    )


@pytest.mark.parametrize("spec", ["no_such_package.client:Kraken", ":Kraken", ".:Kraken", "a..b:Kraken"])
def test_a_module_that_is_not_there_is_refused(spec):
    assert "cannot be imported" in refusal(spec)


@pytest.mark.parametrize("text", ["def (", "raise RuntimeError('no network')", "import no_such_package"])
def test_a_module_that_fails_to_import_is_its_authors_mistake_and_no_traceback(module, text):
    assert refusal(f"{module(text)}:Desk").endswith("install it, or put its folder on PYTHONPATH")


def test_a_class_that_is_not_there_is_refused_with_the_nearest(module):
    name = module(CLIENT)
    assert refusal(f"{name}:Dsek").endswith("has no class 'Dsek'; did you mean Desk?")
    assert refusal(f"{name}:__name__").startswith(f"{name} has no class '__name__'")


@pytest.mark.parametrize("missing", ["venue", "capabilities", "request_validity_ms"])
def test_a_client_says_what_the_contract_asks_of_its_class(module, missing):
    name = module(CLIENT.replace(f"    {missing} =", "    other ="))
    assert refusal(f"{name}:Desk").startswith(f"{name}:Desk has no {missing}; ")


@pytest.mark.parametrize("method", ["account_snapshot", "open_order", "close"])
def test_a_client_has_every_method_of_the_floor(module, method):
    name = module(CLIENT.replace(f"def {method}(", "def other("))
    assert refusal(f"{name}:Desk").startswith(f"{name}:Desk has no method {method}; ")


def test_a_client_has_the_methods_of_what_it_declares_and_needs_no_others(module):
    name = module(CLIENT.replace("def fetch_trades(", "def other("))
    assert refusal(f"{name}:Desk").startswith(f"{name}:Desk has no method fetch_trades; ")


def test_a_client_needs_no_method_of_what_it_does_not_declare(module):
    assert client_class(f"{module(CLIENT)}:Desk").capabilities == {Capability.TRADES}


def test_capabilities_are_the_contracts_own_words(module):
    name = module(CLIENT.replace("Capability.TRADES", '"trades"'))
    assert "declare a frozenset of Capability members" in refusal(f"{name}:Desk")


@pytest.mark.parametrize("spec", BUILT_IN)
def test_every_built_in_client_keeps_the_contract(spec):
    assert client_class(spec).venue is None
