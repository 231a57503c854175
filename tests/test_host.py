import asyncio
import os
import sqlite3
from functools import partial

import pytest

from pipeline.actor import Outcome
from pipeline.clock import Clock
from pipeline.deployment import ConfigError
from pipeline.host import ActorFailed
from pipeline.topology import Link, links
from tests.wiring.skeleton import ACTORS, Cast, Idle, deployment, host, run, until

TRANSPORTS = pytest.mark.parametrize("transport", ["auto", "ipc"])


class Told(Idle):
    """Does on start what a test tells it to, and notes all that it hears."""

    def __init__(self, name, at_start=None):
        super().__init__(name)
        self.at_start = at_start
        self.heard = []
        self.unsent = []
        self.batches = 0

    def on_start(self, now_ns, seed):
        super().on_start(now_ns, seed)
        if self.at_start is not None:
            self.at_start(self)

    def on_message(self, link, frame, now_ns):
        self.heard.append((link, frame))

    def on_unsent(self, link, frames, now_ns):
        self.unsent.append((link, frames))

    def on_batch_end(self, now_ns):
        self.batches += 1


class FakeJournal:
    """Notes commits; fails the ones that a test wants to fail."""

    def __init__(self, failures=0):
        self.failures = failures
        self.commits = 0
        self.ended = []
        self.due_ns = None

    def commit(self, now_ns):
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        self.commits += 1

    def commit_due_ns(self):
        return self.due_ns

    def close(self):
        self.ended.append("closed")

    def abandon(self):
        self.ended.append("abandoned")


class FakeClient:
    """A client whose methods end as their names say."""

    def __init__(self):
        self.closed = 0
        self.release = asyncio.Event()

    async def answers(self, value):
        return value

    async def fails(self):
        raise ValueError("no")

    async def waits(self, value):
        await self.release.wait()
        return value

    async def streams(self):
        async def items():
            yield "one"
            await self.release.wait()
            yield "two"

        return items()

    async def close(self):
        self.closed += 1


# ------------------------------------------------------------------ start and stop


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
        before = set(os.listdir("/proc/self/fd"))
        async with host(here, cast) as running:
            assert len(list(here.run_dir.iterdir())) > len(ACTORS)
            await running.stop()
        assert order == [f"start {name}" for name in ACTORS] + [f"stop {name}" for name in reversed(ACTORS)]
        assert list(here.run_dir.iterdir()) == []
        assert set(os.listdir("/proc/self/fd")) == before

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
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(ConfigError, match="no"):
            await host(here, cast).start()
        assert list(here.run_dir.iterdir()) == [] and journal.ended == ["closed"]
        assert set(os.listdir("/proc/self/fd")) == before
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


# ------------------------------------------------------------------ failures


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


# ------------------------------------------------------------------ turns


def test_a_batch_is_one_commit_and_its_frames_leave_after_it(tmp_path):
    journal = FakeJournal()
    here = deployment(tmp_path)

    class Counting(Told):
        def on_message(self, link, frame, now_ns):
            super().on_message(link, frame, now_ns)
            self.outbox.send("events", b"%d" % (journal.commits + 1))  # the commit that must come first

    class Checking(Told):
        def on_message(self, link, frame, now_ns):
            super().on_message(link, frame, now_ns)
            assert journal.commits >= int(frame)

    cast = Cast(executor=Counting, merger=Checking)
    cast.journals["executor"] = journal

    async def body():
        async with host(here, cast) as running:
            to_executor = Link("x", "push", "executor.x", "requests", False, 1_000, 1000)
            engine = running.attach("mm", [to_executor], lambda *_: None)
            before = journal.commits
            for _ in range(100):
                engine.send("x", b"")
            await until(lambda: len(cast["merger"].heard) == 100)
            assert journal.commits == before + 1

    run(body)


def test_a_deadline_is_met_after_its_time_and_its_actor_not_asked_in_vain(tmp_path):
    class Timed(Idle):
        def __init__(self, name):
            super().__init__(name)
            self.due_ns, self.rung, self.asked = None, [], 0

        def on_start(self, now_ns, seed):
            self.due_ns = now_ns + 20_000_000

        def next_deadline_ns(self):
            self.asked += 1
            return self.due_ns

        def on_deadline(self, now_ns):
            self.rung.append((self.due_ns, now_ns))
            self.due_ns = self.due_ns + 20_000_000 if len(self.rung) < 3 else None

    class Quick(Timed):
        """Rings often: its deadlines must not make the host ask the others."""

        def on_deadline(self, now_ns):
            self.rung.append((self.due_ns, now_ns))
            self.due_ns = now_ns + 1_000_000

    cast = Cast(executor=Timed, merger=Quick)

    async def body():
        async with host(deployment(tmp_path), cast):
            await until(lambda: cast["executor.x"].due_ns is None and len(cast["merger"].rung) > 20)
            rung, asked = cast["executor.x"].rung, cast["executor.x"].asked
        assert len(rung) == 3 and all(0 <= now_ns - due_ns < 1_000_000_000 for due_ns, now_ns in rung)
        assert asked <= 1 + 2 * 3  # once after its start, and around each time it rang

    run(body)


def test_a_commit_that_was_put_off_is_made_when_it_is_due(tmp_path):
    journal = FakeJournal()
    clock = Clock()
    journal.due_ns = clock.now_ns() + 5_000_000
    cast = Cast(executor=Told)
    cast.journals["executor"] = journal

    async def body():
        async with host(deployment(tmp_path), cast, clock=clock):
            before = journal.commits
            await until(lambda: journal.commits > before)
            assert clock.now_ns() >= journal.due_ns

    run(body)


def test_what_a_full_link_does_not_take_comes_back_in_order(tmp_path):
    class Flooding(Told):
        def on_message(self, link, frame, now_ns):
            if link == "requests":
                for number in range(1_000):
                    self.outbox.send("events", b"%d" % number)

    class Deaf(Told):
        def on_start(self, now_ns, seed):
            self.outbox.pause("events")

    here = deployment(tmp_path, events_hwm=100)
    cast = Cast(executor=Flooding, merger=Deaf)

    async def body():
        async with host(here, cast) as running:
            to_executor = Link("x", "push", "executor.x", "requests", False, 1_000, 1000)
            running.attach("mm", [to_executor], lambda *_: None).send("x", b"")
            await until(lambda: cast["executor.x"].unsent)
            [(link, frames)] = cast["executor.x"].unsent
            assert link == "events"
            assert frames == [b"%d" % number for number in range(200, 1_000)]
            assert cast["merger"].heard == []

    run(body)


def test_an_actor_that_sends_again_what_was_not_taken_does_not_hold_up_the_others(tmp_path):
    class Stubborn(Told):
        def on_unsent(self, link, frames, now_ns):
            super().on_unsent(link, frames, now_ns)
            for frame in frames:
                self.outbox.send(link, frame)

    class Deaf(Told):
        def on_start(self, now_ns, seed):
            self.outbox.pause("events")

        def on_question(self, link, peer, frame, now_ns):
            self.outbox.pause("events", False)

    def flood(actor):
        for number in range(100):
            actor.outbox.send("events", b"%d" % number)

    here = deployment(tmp_path, events_hwm=10)
    cast = Cast(executor=partial(Stubborn, at_start=flood), merger=Deaf, router=Told)

    async def body():
        async with host(here, cast) as running:
            wanted = [*links(here, "engine"), Link("c", "dealer", "merger", "control", False, 10, 1000)]
            engine = running.attach("mm", wanted, lambda *_: None)
            engine.send("requests", b"me too")
            await until(lambda: cast["router"].heard and len(cast["executor.x"].unsent) > 3)
            engine.send("c", b"listen")
            await until(lambda: len(cast["merger"].heard) == 100)
            assert [frame for _, frame in cast["merger"].heard] == [b"%d" % number for number in range(100)]

    run(body)


@TRANSPORTS
def test_a_paused_link_is_not_read_and_loses_nothing(tmp_path, transport):
    class Pausing(Told):
        def on_question(self, link, peer, frame, now_ns):
            self.outbox.pause("requests", frame == b"pause")
            self.outbox.reply(link, peer, frame)

    here = deployment(tmp_path, transport)
    cast = Cast(router=Pausing)
    replies = []

    async def body():
        async with host(here, cast) as running:
            control = Link("c", "dealer", "router", "control", False, 10, 1000)
            engine = running.attach("mm", [*links(here, "engine"), control], lambda _, f: replies.append(f))
            await until(lambda: engine.writable("c") and engine.writable("requests"))
            for expected in range(3):
                engine.send("c", b"pause")
                await until(lambda n=expected: len(replies) == 2 * n + 1)
                for number in range(50):
                    engine.send("requests", b"%d" % number)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(cast["router"].heard) == 50 * expected
                engine.send("c", b"go on")
                await until(lambda n=expected: len(cast["router"].heard) == 50 * (n + 1))

    run(body)


@TRANSPORTS
def test_two_way_links_under_load_lose_no_read_edge(tmp_path, transport):
    class Answering(Told):
        def on_question(self, link, peer, frame, now_ns):
            self.outbox.reply(link, peer, frame)

    here = deployment(tmp_path, transport)
    cast = Cast(merger=Answering)
    total, window = 20_000, 50
    replies = []
    sent = 0

    async def body():
        async with host(here, cast) as running:

            def ask():
                nonlocal sent
                while sent < total and sent - len(replies) < window and engine.send("replay", b"%d" % sent):
                    sent += 1

            def on_frame(link, frame):
                replies.append(frame)
                ask()  # a send in the middle of a batch: what eats read edges

            engine = running.attach("mm", links(here, "engine"), on_frame)
            await until(lambda: engine.writable("replay"))
            ask()
            await until(lambda: len(replies) == total)
            assert replies == [b"%d" % number for number in range(total)]

    run(body)


def test_a_burst_beyond_the_feeds_mark_is_delivered_whole(tmp_path):
    class Bursting(Told):
        def on_message(self, link, frame, now_ns):
            for number in range(20_000):
                self.outbox.send("feed", b"%d" % number)

        def next_deadline_ns(self):
            return None if self.heard else 0

        def on_deadline(self, now_ns):
            self.outbox.send("feed", b"probe")

    here = deployment(tmp_path, feed_hwm=1_000)
    cast = Cast(merger=Bursting)
    got = []

    async def body():
        async with host(here, cast) as running:
            events = Link("e", "push", "merger", "events", False, 10, 1000)
            engine = running.attach("mm", [*links(here, "engine"), events], lambda _, frame: got.append(frame))
            await until(lambda: got)
            engine.send("e", b"burst")
            await until(lambda: len([frame for frame in got if frame != b"probe"]) == 20_000)
            assert [frame for frame in got if frame != b"probe"] == [b"%d" % number for number in range(20_000)]

    run(body)


# ------------------------------------------------------------------ calls


class Calling(Told):
    """Notes what its calls and streams brought, and in which batch."""

    def __init__(self, name, at_start=None):
        super().__init__(name, at_start)
        self.brought = []

    def on_call_done(self, token, outcome, now_ns):
        self.brought.append((token, outcome))

    def on_item(self, token, item, now_ns):
        self.brought.append((token, item))

    def on_stream_end(self, token, error, now_ns):
        self.brought.append((token, "end", error))

    def on_message(self, link, frame, now_ns):
        super().on_message(link, frame, now_ns)
        self.at_message(self)


def with_a_client(at_start, at_message=None):
    """Run a coroutine function of (host, executor, client) beside an executor that has a client."""

    def decorate(body):
        def test(tmp_path):
            async def main():
                client = FakeClient()
                cast = Cast(executor=partial(Calling, at_start=at_start))
                cast.clients["executor"] = client
                here = deployment(tmp_path)
                running = host(here, cast)
                await running.start()
                cast["executor.x"].at_message = at_message
                try:
                    await body(running, cast["executor.x"], client)
                finally:
                    await running.stop()
                assert client.closed == 1

            run(main)

        test.__name__ = test.__qualname__ = body.__name__
        return test

    return decorate


def poke(running):
    to_executor = Link("x", "push", "executor.x", "requests", False, 1_000, 1000)
    running.attach("mm", [to_executor], lambda *_: None).send("x", b"")


def call_three(actor):
    actor.outbox.call(1, "answers", 5)
    actor.outbox.call(2, "fails")
    actor.outbox.call(3, "waits", "late")


@with_a_client(call_three)
async def test_calls_are_made_at_start_and_answered(running, executor, client):
    await until(lambda: len(executor.brought) == 2)
    assert executor.brought[0] == (1, Outcome(5)) and isinstance(executor.brought[1][1].error, ValueError)
    client.release.set()
    await until(lambda: len(executor.brought) == 3)
    assert executor.brought[2] == (3, Outcome("late"))


def call_ten(actor):
    for number in range(10):
        actor.outbox.call(number, "answers", number)
    actor.outbox.call(10, "waits", 10)
    actor.outbox.call(11, "waits", 11)


@with_a_client(None, call_ten)
async def test_calls_that_end_together_are_one_batch(running, executor, client):
    poke(running)
    before = executor.batches
    await until(lambda: len(executor.brought) == 10)
    assert executor.batches == before + 2  # the message's, and one for all that was answered at once
    client.release.set()
    await until(lambda: len(executor.brought) == 12)
    assert executor.batches == before + 3


def call_for_ever(actor):
    if len(actor.brought) < 1_000:
        actor.outbox.call(len(actor.brought), "answers", 0)


@with_a_client(call_for_ever)
async def test_an_actor_whose_every_answer_is_a_call_lets_others_run(running, executor, client):
    executor.on_call_done = lambda token, outcome, now_ns: (
        executor.brought.append(token),
        call_for_ever(executor),
    )
    turns = 0
    while len(executor.brought) < 1_000:
        await asyncio.sleep(0)
        turns += 1
    assert executor.brought == list(range(1_000)) and turns > 100


def call_and_cancel(actor):
    actor.outbox.call(1, "waits", "never heard of")
    actor.outbox.cancel(1)
    actor.outbox.call(2, "waits", "heard")


@with_a_client(call_and_cancel)
async def test_a_cancelled_call_is_not_heard_of(running, executor, client):
    client.release.set()
    await until(lambda: executor.brought)
    assert executor.brought == [(2, Outcome("heard"))]


def open_stream(actor):
    actor.outbox.stream(7, "streams")


@with_a_client(open_stream)
async def test_a_stream_is_opened_read_and_ended(running, executor, client):
    client.release.set()
    await until(lambda: len(executor.brought) == 4)
    assert executor.brought == [(7, Outcome()), (7, "one"), (7, "two"), (7, "end", None)]


@with_a_client(open_stream, lambda actor: actor.outbox.cancel(7))
async def test_a_stream_can_be_cancelled(running, executor, client):
    await until(lambda: len(executor.brought) == 2)
    poke(running)
    await until(lambda: executor.heard)
    client.release.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert executor.brought == [(7, Outcome()), (7, "one")]


def test_a_client_that_does_not_close_does_not_hold_up_the_stop(tmp_path):
    class Clinging(FakeClient):
        async def close(self):
            await asyncio.get_running_loop().create_future()

    said = []
    cast = Cast(executor=Calling)
    here = deployment(tmp_path, stop_within_ms=50)

    async def body():
        cast.clients["executor"] = Clinging()
        async with host(here, cast, said):
            pass
        assert said == ["a client did not close in time and is left"]
        assert list(here.run_dir.iterdir()) == []

    run(body)


@TRANSPORTS
def test_a_client_has_the_deployments_own_links(tmp_path, transport):
    class Linked(FakeClient):
        def attach(self, links):
            self.links = links
            self.heard = []
            self.wire = links.connect("reconnector.x", "control", self.on_frame)

        def on_frame(self, frame):
            if frame == b"re: trouble":
                raise RuntimeError("the client's own bug")
            self.heard.append(frame)

    class Answering(Idle):
        def on_question(self, link, peer, frame, now_ns):
            self.outbox.reply(link, peer, b"re: " + frame)

    here = deployment(tmp_path, transport)
    cast = Cast(executor=Calling, reconnector=Answering)
    said = []

    async def body():
        client = cast.clients["executor"] = Linked()
        async with host(here, cast, said) as running:
            assert client.links.fingerprint == here.fingerprint
            assert abs(client.links.now_ns() - running.clock.now_ns()) < 1_000_000_000
            for frame in (b"one", b"trouble", b"two"):
                await until(lambda f=frame: client.wire.send(f))
            await until(lambda: len(client.heard) == 2)
            assert client.heard == [b"re: one", b"re: two"]
            assert said == ["executor.x: its client could not take a frame: RuntimeError: the client's own bug"]
            client.wire.close()
            assert not client.wire.send(b"too late")

    run(body)
