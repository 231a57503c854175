"""`orderwire run CONFIG` on several processes: starts one child for each, and keeps them running.

A child that dies is started again (restarts.py); one that dies again and again, or finds its deployment
wrong, ends them all. On a signal the executors' processes stop first, while those they talk to still run:
SIGTERM, then SIGKILL for who has not ended in time. A second signal: at once, still journaled; a third kills.
No child outlives its supervisor (process.py).
"""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any, Final

from actors.command_line import hand_over
from actors.command_line.child import Child
from actors.command_line.exits import DONE, FAILED, USAGE, complain
from actors.command_line.process import STOP_SIGNALS, executors_of
from actors.command_line.readiness import announce_ready, ready_line
from actors.command_line.restarts import DEATHS_LIMIT, DEATHS_WITHIN_S, Restarts
from pipeline.actor import HandOver
from pipeline.deployment import Deployment

GRACE_S: Final = 2.0  # beyond what a process may take to drain and to end its clients, before SIGKILL


class Supervisor:
    """The children of one deployment."""

    def __init__(self, deployment: Deployment, as_json: bool = False) -> None:
        self._deployment = deployment
        self._as_json = as_json
        self._children: dict[str, Child] = {}  # the latest life of each
        self._left: dict[str, HandOver] = {}
        self._stop: asyncio.Future[int]  # set when all are to stop, to the exit code if nothing is left over
        self._signals = 0
        self._unready = set(deployment.processes)
        self._announcing: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Until all have ended; the exit code."""
        loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        tending: list[asyncio.Future[None]] = [
            asyncio.ensure_future(self._tend(name)) for name in self._deployment.processes
        ]
        try:
            while not self._stop.done() and not all(each.done() for each in tending):
                waiting = [each for each in tending if not each.done()]
                ends: list[asyncio.Future[Any]] = [self._stop, *waiting]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            code = self._end(DONE)
            if self._announcing is not None:
                self._announcing.cancel()
            await self._stop_all(loop)
            await asyncio.gather(*tending)
        return self._report(code)

    # ------------------------------------------------------------------ their lives

    async def _tend(self, name: str) -> None:
        """Start a process, and start it again whenever it dies, until all are to stop."""
        restarts, loop = Restarts(), asyncio.get_running_loop()
        while not self._stop.done():
            self._forget(name)
            child = await Child.start(self._deployment, name, self._on_line, loop.time())
            self._children[name] = child
            if self._stop.done():
                child.signal(signal.SIGTERM)  # the others were told while it began
            code = await child.end()
            if self._stop.done():
                return
            if child.asked:
                complain(f"{name} has stopped, {child.asked}; it is not started again")
                return
            if code == USAGE:
                complain(f"{name} {child.ending}; stopping the others")
                self._end(USAGE)
                return
            pause_s = restarts.after_death(child.began_s, loop.time())
            if pause_s is None:
                often = f"for the {DEATHS_LIMIT}th time within {DEATHS_WITHIN_S:g} s"
                complain(f"{name} {child.ending} {often}; stopping the others")
                self._end(FAILED)
                return
            complain(f"{name} {child.ending}; starting it again in {pause_s:g} s")
            await asyncio.wait([self._stop], timeout=pause_s)

    def _forget(self, name: str) -> None:
        """What an earlier life handed over is the next one's now."""
        for actor in executors_of(self._deployment, name):
            self._left.pop(actor, None)

    def _on_line(self, name: str, line: str) -> bool:
        handed = hand_over.heard(line)
        if handed is not None:
            child = self._children[name]
            child.hand_overs, child.asked = handed
            self._left.update(child.hand_overs)
            return False
        if name in self._unready and line == ready_line(name):
            self._unready.discard(name)
            if not self._unready:  # only now: until then it might be another run that answers
                self._announcing = asyncio.ensure_future(announce_ready(self._deployment))
        return True

    # ------------------------------------------------------------------ their end

    def _end(self, code: int) -> int:
        """All are to stop, if that was not so before; the exit code of who said so first."""
        if not self._stop.done():
            self._stop.set_result(code)
        return self._stop.result()

    def _on_signal(self) -> None:
        self._signals += 1
        self._end(DONE)
        if self._signals > 1:
            for child in self._children.values():
                child.signal(signal.SIGINT if self._signals == 2 else signal.SIGKILL)

    async def _stop_all(self, loop: asyncio.AbstractEventLoop) -> None:
        first = [name for name in self._deployment.processes if executors_of(self._deployment, name)]
        rest = [name for name in self._deployment.processes if name not in first]
        for stage in (first, rest):
            await self._stop_these([self._children[name] for name in stage if name in self._children])

    async def _stop_these(self, children: Sequence[Child]) -> None:
        if not children:
            return
        for child in children:
            child.signal(signal.SIGTERM)
        within_s = 2 * self._deployment.edges.stop_within_ms / 1_000 + GRACE_S
        _, late = await asyncio.wait([child.over for child in children], timeout=within_s)
        for child in children:
            if child.over in late:
                complain(f"{child.name} did not stop within {within_s:g} s and is killed")
                child.signal(signal.SIGKILL)
        for child in children:
            await child.end()

    def _report(self, code: int) -> int:
        # One that was stopped while it still began had nothing in hand.
        begun = [name for name in self._deployment.processes if name not in self._unready]
        executors = [actor for name in begun for actor in executors_of(self._deployment, name)]
        left = hand_over.report(executors, self._left, self._as_json)
        expected = (DONE, FAILED, -signal.SIGTERM)
        late = [child for child in self._children.values() if child.over.result() not in expected]
        if code == DONE and late:
            complain(", ".join(f"{child.name} {child.ending}" for child in late))
            return FAILED
        return code or left
