"""The host's drain: as long as something is under way, within its bound, and not at all in a hurry."""

import pytest

from pipeline.actor import HandOver
from pipeline.host import ActorFailed
from tests.wiring.skeleton import Cast, Idle, deployment, host, run, until


class Busy(Idle):
    """Has something under way until it is told otherwise."""

    def __init__(self, name):
        super().__init__(name)
        self.busy = True
        self.asked = 0

    def on_drain(self, now_ns):
        self.seen.append(("drain",))

    def drained(self, now_ns):
        self.asked += 1
        return not self.busy

    def hand_over(self):
        return HandOver(1, 2, 3)


def test_the_stop_waits_until_the_last_actor_is_drained_and_collects_what_is_left(tmp_path):
    cast = Cast(executor=Busy)

    async def body():
        async with host(deployment(tmp_path), cast) as running:
            executor = cast["executor.x"]
            running.request_stop()
            await until(lambda: executor.asked > 3)
            assert executor.seen[-1] == ("drain",)
            executor.busy = False
            await running.stop()
            assert executor.seen[-2:] == [("drain",), ("stop",)]
            assert running.hand_overs == {"executor.x": HandOver(1, 2, 3)}

    run(body)


def test_a_drain_ends_at_its_bound(tmp_path):
    cast = Cast(executor=Busy)

    async def body():
        async with host(deployment(tmp_path), cast) as running:
            running.request_stop(within_ms=20)
            await running.stop()
        assert cast["executor.x"].busy and cast["executor.x"].seen[-1] == ("stop",)

    run(body)


@pytest.mark.parametrize("begun", [True, False])
def test_a_hurry_ends_the_drain_and_what_is_left_is_written_down_all_the_same(tmp_path, begun):
    cast = Cast(executor=Busy)

    async def body():
        async with host(deployment(tmp_path), cast) as running:
            executor = cast["executor.x"]
            if begun:
                running.request_stop()
                await until(lambda: executor.asked > 1)
            running.hurry()
            await running.stop()
            assert executor.seen[-1] == ("stop",) and "executor.x" in running.hand_overs

    run(body, within_s=4)  # less than the bound of the deployment


def test_after_a_failure_nothing_is_waited_for(tmp_path):
    class Fails(Idle):
        def next_deadline_ns(self):
            return 0

        def on_deadline(self, now_ns):
            raise ZeroDivisionError("oops")

    cast = Cast(executor=Busy, router=Fails)

    async def body():
        with pytest.raises(ActorFailed):
            async with host(deployment(tmp_path), cast) as running:
                await running.wait()
        assert cast["executor.x"].seen[-1] == ("stop",)

    run(body, within_s=4)
