import asyncio
import contextlib
import contextvars

import pytest
import uvloop

from pipeline.lane import CallCancelled, Lane, attempt, attempt_now

PLACE: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


class Record:
    """A lane and what it reported."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.outcomes = {}
        self.order = []
        self.news = asyncio.Event()
        self.lane = Lane(self.loop, self.done)

    def done(self, token, outcome):
        assert token not in self.outcomes, "reported twice"
        self.outcomes[token] = outcome
        self.order.append(token)
        self.news.set()

    async def run_from_a_callback(self, *calls):
        """As the host does it: from a callback, where no task runs. Returns what was reported at once."""
        ran = self.loop.create_future()

        def callback():
            for call in calls:
                self.lane.submit(*call)
            self.lane.run()
            ran.set_result(list(self.order))

        self.loop.call_soon(callback)
        return await asyncio.wait_for(ran, 10)

    async def until(self, *tokens):
        async with asyncio.timeout(5):
            while not set(tokens) <= set(self.outcomes):
                self.news.clear()
                await self.news.wait()


async def quick(value):
    return value


async def waits_on(future):
    return await future


async def fails(error):
    raise error


def in_a_loop(body):
    """Run a test that is a coroutine function of one Record, and close its lane."""

    def test():
        async def main():
            record = Record()
            try:
                await body(record)
            finally:
                assert await record.lane.close() == 0
            assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

        for new_loop in (None, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main())

    test.__name__ = test.__qualname__ = body.__name__
    return test


@in_a_loop
async def test_calls_that_do_not_wait_are_done_at_once_and_in_order(record):
    at_once = await record.run_from_a_callback(*[(n, quick, (n * n,)) for n in range(100)])
    assert at_once == list(range(100))
    assert [record.outcomes[n].value for n in range(100)] == [n * n for n in range(100)]


@in_a_loop
async def test_a_call_that_waits_does_not_hold_up_those_behind_it(record):
    future = record.loop.create_future()
    at_once = await record.run_from_a_callback((1, quick, (1,)), (2, waits_on, (future,)), (3, quick, (3,)))
    assert at_once == [1, 3]
    future.set_result("late")
    await record.until(2)
    assert record.outcomes[2].value == "late"


@in_a_loop
async def test_a_thousand_calls_that_wait_are_each_answered_once_with_their_own_answer(record):
    futures = [record.loop.create_future() for _ in range(1000)]
    assert await record.run_from_a_callback(*[(n, waits_on, (f,)) for n, f in enumerate(futures)]) == []
    for number, future in reversed(list(enumerate(futures))):
        future.set_result(number)
    await record.until(*range(1000))
    assert all(record.outcomes[n].value == n for n in range(1000))


@in_a_loop
async def test_from_within_a_task_calls_are_stepped_in_the_lanes_own_turn(record):
    record.lane.submit(1, quick, ("one",))
    record.lane.run()
    assert record.order == []  # a task is running: the caller's
    await record.until(1)
    future = record.loop.create_future()
    record.lane.submit(2, waits_on, (future,))
    record.lane.submit(3, quick, ("three",))
    record.lane.run()
    await record.until(3)
    future.set_result("two")
    await record.until(2)
    assert [record.outcomes[n].value for n in (1, 2, 3)] == ["one", "two", "three"]


@in_a_loop
async def test_what_a_call_raises_is_its_outcome_before_and_after_it_waits(record):
    async def fails_late(future):
        await future
        raise KeyError("late")

    future = record.loop.create_future()
    await record.run_from_a_callback((1, fails, (ValueError("no"),)), (2, fails_late, (future,)))
    future.set_result(None)
    await record.until(2)
    assert isinstance(record.outcomes[1].error, ValueError)
    assert isinstance(record.outcomes[2].error, KeyError)


@in_a_loop
async def test_a_method_that_is_no_coroutine_function_is_an_error_and_not_the_end(record):
    await record.run_from_a_callback((1, lambda: 5, ()), (2, quick, ("wrong",) * 3), (3, quick, ("next",)))
    assert isinstance(record.outcomes[1].error, AttributeError)
    assert isinstance(record.outcomes[2].error, TypeError)
    assert record.outcomes[3].value == "next"


@in_a_loop
async def test_the_current_task_is_the_same_before_and_after_a_wait(record):
    async def call(future):
        before = asyncio.current_task()
        await future
        return before is not None and before is asyncio.current_task()

    futures = [record.loop.create_future() for _ in range(3)]
    await record.run_from_a_callback(*[(n, call, (f,)) for n, f in enumerate(futures)])
    for future in futures:
        future.set_result(None)
    await record.until(0, 1, 2)
    assert [record.outcomes[n].value for n in range(3)] == [True] * 3


@in_a_loop
async def test_no_task_is_current_after_the_lane_has_run(record):
    seen = record.loop.create_future()

    def callback():
        record.lane.submit(1, waits_on, (record.loop.create_future(),))
        record.lane.run()
        seen.set_result(asyncio.current_task())

    record.loop.call_soon(callback)
    assert await seen is None


@in_a_loop
async def test_a_timeout_inside_a_call_ends_that_call_alone(record):
    async def impatient(future, within_s):
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            return "timed out"

    async def waits_for(future):
        return await asyncio.wait_for(future, 0.001)

    never, soon = record.loop.create_future(), record.loop.create_future()
    await record.run_from_a_callback(
        (1, impatient, (never, 0.001)),
        (2, impatient, (record.loop.create_future(), 0)),
        (3, waits_on, (soon,)),
        (4, waits_for, (record.loop.create_future(),)),
    )
    await record.until(1, 2, 4)
    assert record.outcomes[1].value == record.outcomes[2].value == "timed out"
    assert isinstance(record.outcomes[4].error, TimeoutError)
    soon.set_result("well")
    await record.until(3)
    assert record.outcomes[3].value == "well"


@in_a_loop
async def test_a_call_is_told_of_a_cancellation_that_comes_before_its_task_has_begun(record):
    release = record.loop.create_future()

    async def late():
        asyncio.current_task().cancel()  # what a timer does that runs ahead of a new task
        try:
            await record.loop.create_future()
        except asyncio.CancelledError:
            return await asyncio.shield(release)

    await record.run_from_a_callback((1, late, ()), (2, late, ()))
    release.set_result("told, and went on")
    await record.until(1, 2)
    assert record.outcomes[1].value == record.outcomes[2].value == "told, and went on"


@in_a_loop
async def test_a_task_group_works_inside_a_call(record):
    async def both(one, two):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(waits_on(one)), group.create_task(waits_on(two))]
        return [task.result() for task in tasks]

    one, two = record.loop.create_future(), record.loop.create_future()
    await record.run_from_a_callback((1, both, (one, two)))
    two.set_result(2)
    one.set_result(1)
    await record.until(1)
    assert record.outcomes[1].value == [1, 2]


@in_a_loop
async def test_two_calls_and_a_task_may_wait_on_one_future(record):
    shared = record.loop.create_future()
    other = record.loop.create_task(waits_on(shared))
    await record.run_from_a_callback((1, waits_on, (shared,)), (2, waits_on, (shared,)))
    shared.set_result("all")
    await record.until(1, 2)
    assert await other == record.outcomes[1].value == record.outcomes[2].value == "all"


@in_a_loop
async def test_what_a_waiting_call_sets_in_its_context_is_its_own(record):
    async def call(name, future):
        PLACE.set(name)
        await future
        return PLACE.get()

    async def look():
        return PLACE.get()

    futures = {name: record.loop.create_future() for name in ("one", "two")}
    await record.run_from_a_callback(
        (1, call, ("one", futures["one"])), (2, call, ("two", futures["two"])), (3, look, ())
    )
    futures["one"].set_result(None)
    futures["two"].set_result(None)
    await record.until(1, 2, 3)
    assert [record.outcomes[n].value for n in (1, 2, 3)] == ["one", "two", "nowhere"]
    assert PLACE.get() == "nowhere"


@in_a_loop
async def test_a_cancelled_call_is_told_and_heard_of_no_more(record):
    told = record.loop.create_future()

    async def call():
        try:
            await record.loop.create_future()
        except asyncio.CancelledError:
            told.set_result(True)
            return "a value that nobody hears"

    await record.run_from_a_callback((1, call, ()))
    record.lane.cancel(1)
    assert await asyncio.wait_for(told, 5)
    await record.run_from_a_callback((2, quick, (2,)))
    assert record.order == [2]


@in_a_loop
async def test_a_call_cancelled_in_the_turn_it_began_in_is_still_told(record):
    told = []
    await record.run_from_a_callback((0, quick, (0,)))
    await asyncio.sleep(0)  # the worker rests now

    async def call(name):
        try:
            await record.loop.create_future()
        finally:
            told.append(name)

    ran = record.loop.create_future()

    def callback():
        for token in (1, 2):  # a rested worker takes the first; the second one's has not even begun
            record.lane.submit(token, call, (token,))
        record.lane.run()
        record.lane.cancel(1)
        record.lane.cancel(2)
        record.lane.cancel(2)
        ran.set_result(None)

    record.loop.call_soon(callback)
    await ran
    assert await record.lane.close() == 0
    assert sorted(told) == [1, 2] and record.order == [0]


@in_a_loop
async def test_a_queued_call_that_is_cancelled_never_begins(record):
    begun = []

    async def call(token):
        begun.append(token)

    def callback():
        for token in (1, 2, 3):
            record.lane.submit(token, call, (token,))
        record.lane.cancel(2)
        record.lane.cancel(99)
        record.lane.run()

    record.loop.call_soon(callback)
    await record.until(1, 3)
    assert begun == record.order == [1, 3]


@in_a_loop
async def test_a_call_that_cancels_itself_is_reported_as_an_error(record):
    async def gives_up(future):
        await future
        raise asyncio.CancelledError

    future = record.loop.create_future()
    await record.run_from_a_callback((1, fails, (asyncio.CancelledError(),)), (2, gives_up, (future,)))
    future.set_result(None)
    await record.until(2)
    assert isinstance(record.outcomes[1].error, CallCancelled)
    assert isinstance(record.outcomes[2].error, CallCancelled)


@in_a_loop
async def test_a_call_that_was_cancelled_but_goes_on_waiting_can_still_end(record):
    release = record.loop.create_future()
    ended = record.loop.create_future()

    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await record.loop.create_future()
        await release
        ended.set_result(True)

    await record.run_from_a_callback((1, stubborn, ()))
    record.lane.cancel(1)
    assert await record.lane.close(within_s=0.01) == 1  # it would not end
    release.set_result(None)
    assert await asyncio.wait_for(ended, 5)
    assert record.order == []


@in_a_loop
async def test_closing_cancels_what_waits_and_reports_nothing(record):
    waiting = [record.loop.create_future() for _ in range(5)]
    await record.run_from_a_callback(*[(n, waits_on, (f,)) for n, f in enumerate(waiting)])
    record.lane.submit(9, quick, (9,))
    assert await record.lane.close() == 0
    assert record.order == [] and all(future.cancelled() for future in waiting)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_no_outcome(ending):
    async def main():
        record = Record()
        with pytest.raises(ending):
            record.loop.set_exception_handler(lambda *_: None)
            record.lane.submit(1, fails, (ending(),))
            record.lane.step(record.lane._idle_worker())
        assert record.order == []
        await record.lane.close()

    asyncio.run(main())


def test_an_attempt_gives_a_value_or_the_error_and_never_raises():
    async def main():
        assert (await attempt(quick, 5)).value == 5
        assert isinstance((await attempt(fails, ValueError())).error, ValueError)
        assert isinstance((await attempt(fails, asyncio.CancelledError())).error, CallCancelled)

    asyncio.run(main())
    assert attempt_now(int, "5").value == 5
    assert isinstance(attempt_now(int, "five").error, ValueError)
