"""A process of the deployment as its supervisor has it: started, its lines handed on, its end told."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Self, TextIO

import click

from actors.command_line.process import SUPERVISOR
from pipeline.actor import HandOver
from pipeline.deployment import Deployment

CHUNK: Final = 65_536
COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_red")
LAST_LINES_S: Final = 2.0


class Child:
    """One life of one process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, began_s: float) -> None:
        self.name = name
        self.process = process
        self.began_s = began_s
        self.over = asyncio.ensure_future(process.wait())
        self.pumps: list[asyncio.Task[None]] = []
        self.hand_overs: dict[str, HandOver] | None = None  # once it has stopped in an orderly way
        self.asked = ""  # who had it stop, if it was asked on its control socket

    @classmethod
    async def start(
        cls, deployment: Deployment, name: str, on_line: Callable[[str, str], bool], began_s: float
    ) -> Self:
        """`on_line(name, line)` is told of every line on stdout, and says whether to hand it on."""
        environment = os.environ | {
            SUPERVISOR: str(os.getpid()),
            # A child imports what we import, wherever each of us found it.
            "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(_here()), *filter(None, sys.path)])),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "actors.command_line", "run", str(deployment.path), name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for us to hand on
        )
        child = cls(name, process, began_s)
        names = list(deployment.processes)
        width = max(map(len, names))
        for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            assert source is not None, "both were asked for"
            prefix = prefix_of(name, width, names.index(name), sink is not None and sink.isatty())
            write = lines_to(sink, prefix)
            if source is process.stdout:
                write = partial(_handed_on, on_line, name, write)
            child.pumps.append(asyncio.ensure_future(pump(source, write)))
        return child

    async def end(self) -> int:
        """Its exit code, once its last lines are out."""
        code = await asyncio.shield(self.over)
        await asyncio.wait(self.pumps, timeout=LAST_LINES_S)
        return code

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


def _handed_on(
    on_line: Callable[[str, str], bool], name: str, write: Callable[[bytes], None], line: bytes
) -> None:
    if on_line(name, line.decode("utf-8", "replace")):
        write(line)


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
