"""The questions that every actor answers on its own control socket."""

import pytest

from pipeline import codec, headers
from pipeline.actor import Stop
from pipeline.control import Failed, Halt, Health, HealthQuery, Hello, Shutdown, Welcome

ACTORS = ("router", "merger", "executor.alpha", "reconnector.alpha")


@pytest.mark.parametrize("name", ACTORS)
def test_every_actor_says_who_it_is(desk, name):
    welcome = desk.command(name, Hello("ann"))
    assert isinstance(welcome, Welcome)
    assert (welcome.actor, welcome.fingerprint) == (name, desk.deployment.fingerprint)
    assert welcome.epoch == desk.actors[name].epoch


@pytest.mark.parametrize("name", ACTORS)
def test_every_actor_tells_its_health(desk, name):
    health = desk.command(name, HealthQuery())
    assert isinstance(health, Health)
    assert (health.actor, health.ready) == (name, True)
    assert all(value >= 0 for value in (*health.counters.values(), *health.gauges.values()))


@pytest.mark.parametrize("name", ACTORS)
def test_shutdown_stops_the_actors_process(desk, name):
    actor = desk.actors[name]
    stopped = []
    act = desk._act
    desk._act = lambda of, action: (
        stopped.append((of, action)) if isinstance(action, Stop) else act(of, action)
    )
    desk.command(name, Shutdown(by="ann"))
    assert [of for of, _ in stopped] == [name]
    assert "ann" in stopped[0][1].reason
    assert actor.name == name


@pytest.mark.parametrize("name", ["router", "merger", "reconnector.alpha"])
def test_what_an_actor_does_not_do_it_says(desk, name):
    answer = desk.command(name, Halt(by="ann"))
    assert isinstance(answer, Failed)
    assert name in answer.detail


@pytest.mark.parametrize("name", ACTORS)
def test_bad_bytes_are_counted_and_answered_only_when_the_header_is_good(desk, name):
    actor = desk.actors[name]
    head = headers.control(0xFFFF, codec.KINDS[Hello], desk.deployment.fingerprint, 9)
    for frame in (b"", b"\xff" * 40, head[:10], head + b"\xc1", head[:5] + b"\xfe" + head[6:]):
        desk.turn(name, lambda now_ns, frame=frame: actor.on_question("control", b"test", frame, now_ns))
    assert desk.counted(name, "bad_control_frames") == 5
    assert len(desk.replies) == 2
    for _, reply in desk.replies:
        assert headers.read_control(reply).token == 9
        assert headers.read_control(reply).kind == codec.KINDS[Failed]
