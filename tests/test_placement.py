"""Which actor runs where: every actor once, in an order in which those talked to start first."""

import pytest

from tests.deployment_text import PAPER, paper, refusal

PROCESSES = PAPER[PAPER.index("[processes]") : PAPER.index("[edges]")]


def processes(written: str) -> dict[str, tuple[str, ...]]:
    return dict(paper(PROCESSES, f"[processes]\n{written}\n\n").processes)


def test_patterns_place_every_actor_they_match():
    assert dict(paper().processes) == {
        "front": ("merger", "router"),
        "desk": ("executor.alpha", "executor.beta", "reconnector.alpha", "reconnector.beta"),
        "venues": ("exchange.alpha",),
    }


def test_one_star_is_one_process_with_all_of_them():
    placed = processes('all = ["*"]')
    assert list(placed) == ["all"]
    assert sorted(placed["all"]) == sorted(paper().actors)


def test_those_that_are_talked_to_start_before_those_that_talk():
    roles = [actor.partition(".")[0] for actor in processes('all = ["router", "*.*", "merger"]')["all"]]
    assert list(dict.fromkeys(roles)) == ["exchange", "merger", "executor", "reconnector", "router"]


def test_a_pattern_may_name_one_exchange():
    placed = processes('a = ["*.alpha"]\nb = ["*.beta", "router", "merger"]')
    assert placed["a"] == ("exchange.alpha", "executor.alpha", "reconnector.alpha")


def test_only_a_simulated_client_brings_an_exchange():
    assert "exchange.alpha" in paper().actors
    assert "exchange.beta" not in paper().actors


def test_placement_is_no_part_of_the_fingerprint():
    assert paper().fingerprint == paper(PROCESSES, '[processes]\nall = ["*"]\n\n').fingerprint


REFUSALS = [
    (
        'front = ["router", "router"]',
        "processes.front: router is placed twice in process front; "
        "name it once, or keep only one of the patterns",
    ),
    (
        'front = ["router", "merger", "executor.alpha"]\ndesk = ["executor.*"]',
        "processes.desk: executor.alpha is placed twice, in processes front and desk; "
        "take it out of one of them",
    ),
    (
        'front = ["router", "executor.*", "reconnector.*", "exchange.*"]',
        "processes: merger is placed nowhere; add it to one of: front",
    ),
    (
        'front = ["router", "merger", "executor.*", "*.alpha*"]',
        "processes.front: executor.alpha is placed twice in process front; "
        "name it once, or keep only one of the patterns",
    ),
    (
        'front = ["router", "merger"]\ndesk = ["executor.*"]',
        "processes: exchange.alpha, reconnector.alpha, reconnector.beta are placed nowhere; "
        "add them to one of: front, desk",
    ),
    (
        "",
        "processes: router, merger, exchange.alpha, executor.alpha, reconnector.alpha are placed nowhere; "
        'add a process, such as all = ["*"]',
    ),
    (
        'front = ["exectuor.alpha"]',
        "processes.front: 'exectuor.alpha' matches no actor; did you mean executor.alpha?",
    ),
    (
        'front = ["zzz*"]',
        "processes.front: 'zzz*' matches no actor; the actors are router, merger, exchange.alpha, "
        "executor.alpha, reconnector.alpha, executor.beta, reconnector.beta",
    ),
    (
        'front = ["exchange.beta"]',
        "processes.front: exchange.beta is no actor: the client of beta is instant; "
        'take it out, or set client = "simulated"',
    ),
    (
        'front = "router"',
        'processes.front: is no list of actors; write names or patterns in quotes, such as ["executor.*"]',
    ),
    (
        "front = []",
        'processes.front: is no list of actors; write names or patterns in quotes, such as ["executor.*"]',
    ),
    (
        '"my desk" = ["*"]',
        "processes.'my desk': 'my desk' is no name; use 1 to 32 small letters, digits and underscores",
    ),
]


@pytest.mark.parametrize(("written", "line"), REFUSALS)
def test_a_bad_placement_is_refused_in_one_line(written, line):
    assert refusal(PROCESSES, f"[processes]\n{written}\n\n") == f"desk.toml: {line}"
