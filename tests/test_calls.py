import asyncio
from functools import partial

import pytest

from pipeline.actor import Outcome
from pipeline.topology import Link
from tests.wiring.skeleton import Cast, Idle, Told, deployment, host, run, until

TRANSPORTS = pytest.mark.parametrize("transport", ["auto", "ipc"])


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
        assert said == ["executor.x: its client did not close in time and is left"]
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
            assert said == [
                "executor.x: its client could not take a frame: RuntimeError: the client's own bug"
            ]
            client.wire.close()
            assert not client.wire.send(b"too late")

    run(body)
