"""Who talks to whom: every connecting end has its bound end, and endpoints follow from placement alone."""

import dataclasses
from pathlib import Path

import pytest

from pipeline.deployment import ConfigError, Deployment
from pipeline.headers import NO_EXCHANGE
from pipeline.topology import (
    ADDRESS_LIMIT,
    Link,
    bind_endpoints,
    connect_endpoint,
    inproc,
    ipc,
    links,
    role,
    source_id,
    source_name,
    talks_to,
)
from pipeline.vocabulary import Role
from tests.deployment_text import PAPER, paper

PROCESSES = PAPER[PAPER.index("[processes]") : PAPER.index("[edges]")]
MATCHING = {"push": "pull", "sub": "pub", "dealer": "router"}


@pytest.fixture
def deployment() -> Deployment:
    return paper()


def everyone(deployment: Deployment) -> list[tuple[str, Link]]:
    ends = ("engine", *deployment.actors)
    return [(actor, link) for actor in ends for link in links(deployment, actor)]


def link_of(deployment: Deployment, actor: str, name: str) -> Link:
    return next(link for link in links(deployment, actor) if link.name == name)


def test_every_connecting_end_has_one_bound_end_of_the_matching_pattern(deployment):
    bound = {link.address: link for _, link in everyone(deployment) if link.bound}
    connecting = [link for _, link in everyone(deployment) if not link.bound]
    assert connecting
    for link in connecting:
        assert MATCHING[link.pattern] == bound[link.address].pattern


def test_an_address_is_bound_once(deployment):
    addresses = [link.address for _, link in everyone(deployment) if link.bound]
    assert len(addresses) == len(set(addresses))


def test_a_link_is_bound_by_the_actor_that_owns_it(deployment):
    for actor, link in everyone(deployment):
        assert link.bound == (link.binder == actor)


def test_names_of_links_are_unique_within_an_actor(deployment):
    for actor in deployment.actors:
        names = [link.name for link in links(deployment, actor)]
        assert len(names) == len(set(names))


def test_every_actor_can_be_asked_over_its_own_control_link(deployment):
    for actor in deployment.actors:
        assert link_of(deployment, actor, "control").bound


def test_both_ends_of_an_edge_have_the_same_limits(deployment):
    bound = {link.address: link for _, link in everyone(deployment) if link.bound}
    for _, link in everyone(deployment):
        assert (link.hwm, link.size_limit) == (bound[link.address].hwm, bound[link.address].size_limit)


def test_an_executor_reads_its_own_exchanges_part_of_the_feed(deployment):
    assert link_of(deployment, "executor.beta", "feed").exchanges == (1, NO_EXCHANGE)
    assert link_of(deployment, "engine", "feed").exchanges == ()


def test_the_router_reaches_every_executor_and_no_exchange(deployment):
    assert talks_to(deployment, "router") == {"executor.alpha", "executor.beta", "merger"}


def test_only_a_simulated_client_talks_to_an_exchange_actor(deployment):
    assert "exchange.alpha" in talks_to(deployment, "executor.alpha")
    assert "exchange.alpha" in talks_to(deployment, "reconnector.alpha")
    assert talks_to(deployment, "executor.beta") == {"merger"}


def test_actors_start_after_all_that_they_talk_to():
    deployment = paper(PROCESSES, '[processes]\nall = ["*"]\n\n')
    started: set[str] = set()
    for actor in deployment.processes["all"]:
        assert talks_to(deployment, actor) <= started
        started.add(actor)


def test_a_source_id_leads_back_to_its_actor(deployment):
    ids = [source_id(deployment, actor) for actor in deployment.actors]
    assert len(ids) == len(set(ids))
    assert [source_name(deployment, source) for source in ids] == list(deployment.actors)
    with pytest.raises(KeyError):
        source_name(deployment, 0xFFFF_FFFF)


def test_source_ids_stay_when_an_exchange_is_added_at_the_end(deployment):
    gamma = dataclasses.replace(deployment.exchanges[1], index=2, name="gamma")
    longer = dataclasses.replace(deployment, exchanges=(*deployment.exchanges, gamma))
    for actor in deployment.actors:
        assert source_id(longer, actor) == source_id(deployment, actor)


def test_a_role_is_the_first_part_of_an_actors_name():
    assert role("executor.alpha") == (Role.EXECUTOR, "alpha")
    assert role("merger") == (Role.MERGER, "")


def test_a_bound_link_listens_on_ipc_in_every_layout(deployment):
    link = link_of(deployment, "merger", "feed")
    assert bind_endpoints(deployment, link) == (
        "inproc://paper/merger.feed",
        "ipc:///srv/desk/run/merger.feed",
    )


def test_a_link_within_a_process_is_inproc_and_between_processes_ipc(deployment):
    to_merger = link_of(deployment, "router", "events")
    assert connect_endpoint(deployment, to_merger, "front") == inproc(deployment, "merger.events")
    assert connect_endpoint(deployment, to_merger, "desk") == ipc(deployment, "merger.events")
    assert connect_endpoint(deployment, to_merger, None) == ipc(deployment, "merger.events")


def test_a_deployment_may_ask_for_ipc_within_a_process_too():
    deployment = paper("heartbeat_ms = 100", 'transport = "ipc"')
    to_merger = link_of(deployment, "router", "events")
    assert connect_endpoint(deployment, to_merger, "front") == ipc(deployment, "merger.events")


def test_a_socket_path_may_be_as_long_as_the_system_allows_and_no_longer():
    address = "reconnector.alpha.control"
    room = ADDRESS_LIMIT - len(f"/{address}") - 1
    fits = dataclasses.replace(paper(), run_dir=Path("/" + "r" * room))
    assert len(ipc(fits, address)) == ADDRESS_LIMIT + len("ipc://")
    with pytest.raises(ConfigError, match=r"desk.toml: run_dir: .* has 108 bytes.*choose a shorter run_dir"):
        ipc(dataclasses.replace(fits, run_dir=Path("/" + "r" * (room + 1))), address)


def test_the_limit_counts_bytes_and_not_letters():
    with pytest.raises(ConfigError):
        ipc(dataclasses.replace(paper(), run_dir=Path("/" + "é" * 50)), "merger.feed")
