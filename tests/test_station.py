import asyncio
from functools import partial

import pytest

from pipeline.clock import Clock
from pipeline.topology import Link, links
from tests.wiring.skeleton import Cast, FakeJournal, Idle, Told, deployment, host, run, until

TRANSPORTS = pytest.mark.parametrize("transport", ["auto", "ipc"])


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
        noted = True  # what it did about unsent frames was followed by the end of a batch, so by a commit

        def on_unsent(self, link, frames, now_ns):
            super().on_unsent(link, frames, now_ns)
            self.noted = False
            for frame in frames:
                self.outbox.send(link, frame)

        def on_batch_end(self, now_ns):
            self.noted = True

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
            assert cast["executor.x"].noted
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


def test_while_a_burst_is_published_no_inbox_is_read(tmp_path):
    class Bursting(Told):
        def on_message(self, link, frame, now_ns):
            super().on_message(link, frame, now_ns)
            waiting.append(len(running.station("merger").outflow._publishers["feed"].left))
            self.outbox.pause("control", False)  # it may be read again: not yet
            for number in range(500):
                self.outbox.send("feed", b"%d" % number)

    here = deployment(tmp_path, feed_hwm=100, batch_limit=5)
    cast = Cast(merger=Bursting)
    waiting = []
    running = host(here, cast)

    async def body():
        async with running:
            events = Link("e", "push", "merger", "events", False, 100, 1000)
            engine = running.attach("mm", [events], lambda *_: None)
            for _ in range(20):
                engine.send("e", b"burst")
            await until(lambda: len(waiting) == 20)
            # A batch is handled whole: its own frames are not out yet, those of the batch before it all are.
            assert waiting == [0] * 20

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
            engine = running.attach(
                "mm", [*links(here, "engine"), events], lambda _, frame: got.append(frame)
            )
            await until(lambda: got)
            engine.send("e", b"burst")
            await until(lambda: len([frame for frame in got if frame != b"probe"]) == 20_000)
            assert [frame for frame in got if frame != b"probe"] == [
                b"%d" % number for number in range(20_000)
            ]

    run(body)
