"""Every role has its class, with its journal and its client."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from actors.assembly import maker
from actors.clients.instant import InstantClient
from actors.clients.simulated import SimulatedClient
from actors.exchange.actor import SimulatedExchange
from actors.executor import Executor
from actors.merger import Merger
from actors.reconnector import Reconnector
from actors.router import Router
from pipeline.deployment import ConfigError
from pipeline.journal_reader import JournalReader
from tests.deployment_text import paper

EXPECTED = {
    "router": (Router, False, type(None)),
    "merger": (Merger, True, JournalReader),
    "exchange.alpha": (SimulatedExchange, True, type(None)),
    "executor.alpha": (Executor, True, SimulatedClient),
    "reconnector.alpha": (Reconnector, False, SimulatedClient),
    "executor.beta": (Executor, True, InstantClient),
    "reconnector.beta": (Reconnector, False, InstantClient),
}


@pytest.fixture
def folder():
    with TemporaryDirectory() as folder:
        (Path(folder) / "state").mkdir()
        yield Path(folder)


def test_every_actor_of_a_deployment_can_be_made(folder):
    deployment = paper(base_dir=folder)
    assert set(EXPECTED) == set(deployment.actors)
    make = maker(deployment)
    for name, (cls, journaled, client) in EXPECTED.items():
        actor, journal, made = make(name)
        assert (type(actor), journal is not None, type(made)) == (cls, journaled, client)
        assert actor.name == name
        if journal is not None:
            journal.abandon()


def test_executor_and_reconnector_make_their_own_client_each(folder):
    make = maker(paper(base_dir=folder))
    executor, reconnector = make("executor.beta"), make("reconnector.beta")
    executor[1].abandon()
    assert executor[2] is not reconnector[2]


def test_a_client_that_refuses_its_options_is_a_fault_of_the_file(folder):
    deployment = paper('client = "instant"\n', 'client = "instant"\noptions = { answer = "maybe" }\n', folder)
    with pytest.raises(ConfigError) as raised:
        maker(deployment)("executor.beta")
    assert "\n" not in str(raised.value) and "answer" in str(raised.value)
