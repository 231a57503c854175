"""A client's calls, awaited without a task for each: the boundary between the host and somebody's coroutines.

Calls are stepped in order by one worker task. A call that ends without waiting costs no task and no turn of
the loop. One that waits keeps the worker, which was its current task with its context from the first step on,
and a new worker with its own context takes over the queue. Whatever a call raises is its Outcome; a cancelled
call is heard of no more.
"""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

from pipeline.actor import Outcome

Loop = asyncio.AbstractEventLoop
Method = Callable[..., Coroutine[Any, Any, Any]]


class CallCancelled(Exception):
    """A call that ended as cancelled although nobody had cancelled it."""


async def attempt(method: Method, *args: Any) -> Outcome:
    """Await one method of a client; whatever it raises is its Outcome."""
    try:
        return Outcome(await method(*args))
    except asyncio.CancelledError:
        return Outcome(None, CallCancelled(getattr(method, "__name__", "a call")))
    except Exception as error:
        return Outcome(None, error)


def attempt_now(function: Callable[..., Any], *args: Any) -> Outcome:
    """As `attempt` for a plain function of a client."""
    try:
        return Outcome(function(*args))
    except Exception as error:
        return Outcome(None, error)


class Lane:
    """The calls of one client: `done(token, outcome)` is called once for each that is not cancelled."""

    def __init__(self, loop: Loop, done: Callable[[int, Outcome], None]) -> None:
        self._loop = loop
        self._done = done
        self._queue: deque[tuple[int, Method, tuple[Any, ...]]] = deque()
        self._worker: _Worker | None = None  # the one that steps the queue
        self._waiting: dict[int, _Worker] = {}  # token -> the worker that stays with that call

    def submit(self, token: int, method: Method, args: tuple[Any, ...]) -> None:
        """Queue a call; `run` steps it."""
        self._queue.append((token, method, args))

    def run(self) -> None:
        """Step what is queued: here and now when no task is running, else in the worker's own next turn."""
        if not self._queue:
            return
        if asyncio.current_task(self._loop) is not None:
            self._idle_worker().wake()
            return
        while self._queue:
            worker = self._idle_worker()
            _enter_task(self._loop, worker.task)
            try:
                worker.context.run(self.step, worker)
            finally:
                _leave_task(self._loop, worker.task)

    def cancel(self, token: int) -> None:
        """End a waiting call, or drop a queued one; unknown tokens (it was done already) are nothing."""
        worker = self._waiting.get(token)
        if worker is not None:
            worker.cancel()
        elif self._queue:
            self._queue = deque(call for call in self._queue if call[0] != token)

    async def close(self, within_s: float = 1.0) -> int:
        """Cancel everything and wait for it to end; returns how many calls would not."""
        self._queue.clear()
        workers = list(self._waiting.values())
        for worker in workers:
            worker.cancel()
        if self._worker is not None:
            self._worker.task.cancel()
            workers.append(self._worker)
            self._worker = None
        if not workers:
            return 0
        _, pending = await asyncio.wait([worker.task for worker in workers], timeout=within_s)
        return len(pending)

    def step(self, worker: "_Worker") -> None:
        """Step the queue as `worker` until it is empty or a call waits, which the worker then keeps."""
        done = self._done
        while self._queue:
            token, method, args = self._queue.popleft()
            try:
                call = method(*args)
                waited_on = call.send(None)
            except StopIteration as stop:
                done(token, Outcome(stop.value))
            except asyncio.CancelledError:
                done(token, Outcome(None, CallCancelled(getattr(method, "__name__", "a call"))))
            except Exception as error:
                done(token, Outcome(None, error))
            else:
                self._worker = None
                self._waiting[token] = worker
                worker.keep(token, call, waited_on)
                return

    def ended(self, worker: "_Worker", outcome: Outcome) -> None:
        """A call that had waited is over."""
        self._waiting.pop(worker.token, None)
        if not worker.cancelled:
            self._done(worker.token, outcome)

    def step_on(self, worker: "_Worker") -> None:
        """As `step`, within the worker's own task."""
        self.step(worker)
        if self._queue:
            self._idle_worker()  # a new task, whose first step goes on with the queue

    def _idle_worker(self) -> "_Worker":
        if self._worker is None:
            self._worker = _Worker(self, self._loop)
        return self._worker


class _Worker(Coroutine[Any, Any, Any]):
    """One task: it steps the lane's queue, or rests, until a call waits; then it is that call's task.

    It is its task's coroutine itself, instead of having one: a coroutine hears of no cancellation before its
    first step, but its call has begun by then (uvloop runs a timer that is due before a task that is new).
    """

    def __init__(self, lane: Lane, loop: Loop) -> None:
        self.token = 0
        self.cancelled = False
        self.context = copy_context()
        self._lane = lane
        self._loop = loop
        self._call: Coroutine[Any, Any, Any] | None = None
        self._waited_on: Any = None
        self._owing = False  # what the call waits on is to be given to the task first
        self._rest: asyncio.Future[None] | None = None
        self.task = loop.create_task(self, context=self.context)

    def wake(self) -> None:
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)

    def keep(self, token: int, call: Coroutine[Any, Any, Any], waited_on: Any) -> None:
        """Stay with a call that waits on `waited_on`."""
        if hasattr(waited_on, "_asyncio_future_blocking"):
            # Its mark is for the task that waits on it: until ours does, others may want to.
            waited_on._asyncio_future_blocking = False
        self.token, self._call, self._waited_on, self._owing = token, call, waited_on, True
        self.wake()

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self.task.cancel()

    # ------------------------------------------------------------------ as the task's coroutine

    def send(self, value: Any) -> Any:
        if self._call is None:
            self._lane.step_on(self)
        if self._call is None:
            self._rest = self._loop.create_future()
            return _marked(self._rest)
        if self._owing:
            self._owing = False
            return _marked(self._waited_on)
        return self._step(self._call.send, None)

    def throw(self, *thrown: Any) -> Any:
        if self._call is None:
            raise thrown[0]
        self._owing = False
        return self._step(self._call.throw, thrown[0])

    def close(self) -> None:
        if self._call is not None:
            self._call.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("a lane's worker belongs to its task")

    def _step(self, step: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return step(argument)
        except StopIteration as stop:
            outcome = Outcome(stop.value)
        except asyncio.CancelledError:
            outcome = Outcome(None, CallCancelled(getattr(self._call, "__name__", "a call")))
        except Exception as error:
            outcome = Outcome(None, error)
        self._lane.ended(self, outcome)
        raise StopIteration


def _marked(waited_on: Any) -> Any:
    """As a task wants to be given what it shall wait on."""
    if hasattr(waited_on, "_asyncio_future_blocking"):
        waited_on._asyncio_future_blocking = True
    return waited_on
