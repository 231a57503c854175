"""`orderwire run CONFIG` on several processes: starts one child for each, and they live and end together.

Every line of a child comes out with the child's name in front. When a signal comes or a child ends, all are
stopped: SIGTERM, then SIGKILL for who has not ended in time. No child outlives its supervisor (process.py).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import click

from actors.command_line.exits import DONE, FAILED, USAGE, complain
from actors.command_line.process import STOP_SIGNALS, SUPERVISOR
from actors.command_line.readiness import announce_ready, ready_line
from pipeline.deployment import Deployment

GRACE_S: Final = 2.0  # beyond stop_within_ms, before SIGKILL
CHUNK: Final = 65_536
COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_red")


class Child:
    """One process of the deployment."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.over = asyncio.ensure_future(process.wait())

    def signal(self, number: int) -> None:
        if not self.over.done():
            try:
                self.process.send_signal(number)
            except ProcessLookupError:
                return

    @property
    def ending(self) -> str:
        code = self.over.result()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


class Supervisor:
    """The children of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._children: list[Child] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._stop: asyncio.Future[int]
        self._signals = 0
        self._unready = set(deployment.processes)
        self._announcing: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Until all have ended; the exit code."""
        loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            for index, process in enumerate(self._deployment.processes):
                await self._start(process, index)
            await asyncio.wait(
                [self._stop, *(child.over for child in self._children)], return_when=asyncio.FIRST_COMPLETED
            )
            code = self._first_ending()
        finally:
            if self._announcing is not None:
                self._announcing.cancel()
            await self._stop_all()
        late = [child for child in self._children if child.over.result() not in (0, -signal.SIGTERM)]
        if code == DONE and late:
            complain(", ".join(f"{child.name} {child.ending}" for child in late))
            code = FAILED
        return code

    async def _start(self, name: str, index: int) -> None:
        environment = os.environ | {
            SUPERVISOR: str(os.getpid()),
            # A child imports what we import, wherever each of us found it.
            "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(_here()), *filter(None, sys.path)])),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "actors.command_line", "run", str(self._deployment.path), name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for us to hand on
        )
        self._children.append(Child(name, process))
        width = max(map(len, self._deployment.processes))
        for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            assert source is not None, "both were asked for"
            prefix = prefix_of(name, width, index, sink is not None and sink.isatty())
            write = lines_to(sink, prefix)
            self._pumps.append(asyncio.ensure_future(pump(source, partial(self._on_line, name, write))))

    def _on_line(self, name: str, write: Callable[[bytes], None], line: bytes) -> None:
        write(line)
        if name in self._unready and line == ready_line(name).encode():
            self._unready.discard(name)
            if not self._unready:  # only now: until then it might be another run that answers
                self._announcing = asyncio.ensure_future(announce_ready(self._deployment))

    def _first_ending(self) -> int:
        ended = [child for child in self._children if child.over.done()]
        if self._stop.done() or not ended:
            return DONE
        for child in ended:
            complain(f"{child.name} {child.ending}; stopping the others")
        return USAGE if any(child.over.result() == USAGE for child in ended) else FAILED

    def _on_signal(self, number: int) -> None:
        self._signals += 1
        if not self._stop.done():
            self._stop.set_result(number)
        elif self._signals > 1:  # asked twice: at once, then
            for child in self._children:
                child.signal(signal.SIGKILL)

    async def _stop_all(self) -> None:
        if not self._children:
            return
        for child in self._children:
            child.signal(signal.SIGTERM)
        within_s = self._deployment.edges.stop_within_ms / 1_000 + GRACE_S
        _, late = await asyncio.wait([child.over for child in self._children], timeout=within_s)
        for child in self._children:
            if child.over in late:
                complain(f"{child.name} did not stop within {within_s:g} s and is killed")
                child.signal(signal.SIGKILL)
        await asyncio.wait([child.over for child in self._children])
        await asyncio.wait(self._pumps, timeout=GRACE_S)


def _here() -> Path:
    return Path(__file__).resolve().parent.parent.parent


def prefix_of(name: str, width: int, index: int, coloured: bool) -> str:
    written = f"{name:<{width}} | "
    return click.style(written, fg=COLOURS[index % len(COLOURS)]) if coloured else written


def lines_to(sink: TextIO | None, prefix: str) -> Callable[[bytes], None]:
    """Writes lines with a prefix; a sink that is full or gone stops no trading."""

    def write(written: bytes) -> None:
        try:
            if sink is not None:
                sink.write(f"{prefix}{written.decode('utf-8', 'replace')}\n")
                sink.flush()
        except (OSError, ValueError):
            return

    return write


async def pump(source: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
    """Hand on every line; one that is longer than a chunk comes in pieces."""
    rest = b""
    while chunk := await source.read(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for each in lines:
            write(each)
        if len(rest) >= CHUNK:
            write(rest)
            rest = b""
    if rest:
        write(rest)
