import gc
import os
from functools import partial

import pytest

from pipeline.deployment import ConfigError
from pipeline.host import ActorFailed
from pipeline.topology import Link, links
from tests.wiring.skeleton import ACTORS, Cast, FakeJournal, Idle, Told, deployment, host, run, until

TRANSPORTS = pytest.mark.parametrize("transport", ["auto", "ipc"])


@TRANSPORTS
def test_actors_start_in_order_stop_in_reverse_and_leave_nothing(tmp_path, transport):
    order = []

    class Noting(Idle):
        def on_start(self, now_ns, seed):
            order.append(f"start {self.name}")

        def on_stop(self, now_ns):
            order.append(f"stop {self.name}")

    here = deployment(tmp_path, transport)
    cast = Cast(router=Noting, merger=Noting, executor=Noting, reconnector=Noting)

    async def body():
        gc.collect()
        before = set(os.listdir("/proc/self/fd"))
        async with host(here, cast) as running:
            assert len(list(here.run_dir.iterdir())) > len(ACTORS)
            await running.stop()
        assert order == [f"start {name}" for name in ACTORS] + [f"stop {name}" for name in reversed(ACTORS)]
        assert list(here.run_dir.iterdir()) == []
        assert set(os.listdir("/proc/self/fd")) <= before, "what others left open may go meanwhile"

    run(body)


def test_a_seed_gives_every_actor_the_same_start_again(tmp_path):
    def seeds(folder, seed):
        cast = Cast()

        async def body():
            async with host(deployment(folder), cast, seed=seed):
                pass

        run(body)
        return [actor.seen[0] for actor in cast.made]

    first = seeds(tmp_path / "a", 5)
    assert first == seeds(tmp_path / "b", 5) != seeds(tmp_path / "c", 6)
    assert len(set(first)) == len(ACTORS)


def test_a_second_host_of_the_same_deployment_is_refused_and_the_first_goes_on(tmp_path):
    here = deployment(tmp_path)

    async def body():
        cast = Cast(router=Told)
        async with host(here, cast) as running:
            files = set(here.run_dir.iterdir())
            with pytest.raises(ConfigError, match=f"router is already running as pid {os.getpid()}"):
                await host(here, Cast()).start()
            assert set(here.run_dir.iterdir()) == files
            engine = running.attach("mm", links(here, "engine"), lambda *_: None)
            assert engine.send("requests", b"still here")
            await until(lambda: cast["router"].heard)

    run(body)


def test_an_actor_that_cannot_be_made_leaves_nothing_behind(tmp_path):
    here = deployment(tmp_path)
    journal = FakeJournal()

    def refuses(name):
        raise ConfigError("skeleton.toml: exchanges.x: no")

    cast = Cast(executor=refuses)
    cast.journals["router"] = journal

    async def body():
        gc.collect()
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(ConfigError, match="no"):
            await host(here, cast).start()
        assert list(here.run_dir.iterdir()) == [] and journal.ended == ["closed"]
        assert set(os.listdir("/proc/self/fd")) <= before, "what others left open may go meanwhile"
        assert all(actor.seen == [] for actor in cast.made)

    run(body)


def test_what_an_actor_sends_as_it_stops_is_heard_by_those_that_stop_after_it(tmp_path):
    class Parting(Idle):
        def on_stop(self, now_ns):
            for number in range(1_000):
                self.outbox.send("events", b"%d" % number)

    cast = Cast(executor=Parting, merger=Told)

    async def body():
        async with host(deployment(tmp_path), cast):
            pass
        assert cast["merger"].heard == [("events", b"%d" % number) for number in range(1_000)]
        assert cast["merger"].seen[-1] == ("stop",)

    run(body)


def test_an_actor_may_end_its_process(tmp_path):
    said = []
    cast = Cast(executor=partial(Told, at_start=lambda actor: actor.outbox.stop("a person asked")))

    async def body():
        running = host(deployment(tmp_path), cast, said)
        await running.start()
        await running.wait()
        assert all(actor.seen[-1] == ("stop",) for actor in cast.made)
        assert said == ["executor.x ends its process: a person asked"]

    run(body)


@pytest.mark.parametrize("debug", [False, True])
def test_an_actor_that_raises_ends_its_process_in_order(tmp_path, monkeypatch, debug):
    monkeypatch.setenv("ORDERWIRE_DEBUG", "1" if debug else "")

    class Faulty(Idle):
        def on_message(self, link, frame, now_ns):
            raise ZeroDivisionError("a bug\nof two lines")

    said = []
    here = deployment(tmp_path)
    cast = Cast(router=Faulty, merger=Told)

    async def body():
        running = host(here, cast, said)
        await running.start()
        running.attach("mm", links(here, "engine"), lambda *_: None).send("requests", b"x")
        with pytest.raises(ActorFailed, match="router failed: ZeroDivisionError") as failure:
            await running.wait()
        assert failure.value.actor == "router" and isinstance(failure.value.error, ZeroDivisionError)
        assert [actor.seen[-1][0] for actor in cast.made] == ["start", "stop", "stop", "stop"]
        assert said[0] == "router failed, and its process ends: ZeroDivisionError: a bug of two lines"
        assert ("Traceback" in "".join(said)) is debug
        assert list(here.run_dir.iterdir()) == []

    run(body)


def test_an_actor_that_raises_as_it_starts_fails_the_start(tmp_path):
    def bug(actor):
        raise ZeroDivisionError("a bug")

    cast = Cast(merger=partial(Told, at_start=bug))

    async def body():
        with pytest.raises(ActorFailed, match="merger failed"):
            await host(deployment(tmp_path), cast).start()
        # Those after it never started; those before it were stopped.
        assert [actor.seen[-1:] for actor in cast.made if actor.name != "merger"] == [[("stop",)], [], []]

    run(body)


def test_an_actor_that_finds_the_deployment_wrong_as_it_starts_is_no_bug(tmp_path):
    def wrong(actor):
        raise ConfigError("skeleton.toml: exchanges.x.options: no")

    async def body():
        with pytest.raises(ConfigError, match="options"):
            await host(deployment(tmp_path), Cast(executor=partial(Told, at_start=wrong))).start()

    run(body)


def test_when_a_commit_fails_nothing_leaves_and_the_actor_is_built_again(tmp_path):
    class Sender(Told):
        def on_message(self, link, frame, now_ns):
            super().on_message(link, frame, now_ns)
            self.outbox.send("events", frame)

    journal = FakeJournal()
    here = deployment(tmp_path)
    cast = Cast(executor=Sender, merger=Told)
    cast.journals["executor"] = journal
    said = []

    async def body():
        async with host(here, cast, said) as running:
            journal.failures = 1
            to_executor = Link("x", "push", "executor.x", "requests", False, 100, 1000)
            engine = running.attach("mm", [to_executor], lambda *_: None)
            first = cast["executor.x"]
            engine.send("x", b"lost with its batch")
            await until(lambda: cast["executor.x"] is not first and cast["executor.x"].seen)
            engine.send("x", b"kept")
            await until(lambda: cast["merger"].heard)
            assert cast["merger"].heard == [("events", b"kept")]
            assert first.seen[-1][0] == "start"  # no on_stop: it was dropped
            assert "its journal failed, and it is built again" in said[0]
        assert journal.ended == ["abandoned", "closed"]

    run(body)


def test_a_journal_that_keeps_failing_ends_the_process(tmp_path):
    cast = Cast(executor=Told)
    cast.journals["executor"] = FakeJournal(failures=1_000)

    async def body():
        running = host(deployment(tmp_path), cast)
        await running.start()
        with pytest.raises(ActorFailed, match=r"executor\.x failed: OperationalError"):
            await running.wait()
        assert len([actor for actor in cast.made if actor.name == "executor.x"]) == 3

    run(body)
