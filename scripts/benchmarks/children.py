"""Processes of a measurement: each ends when its input does, so none outlives who started it."""

import asyncio
import subprocess
import sys

from scripts.benchmarks.places import ROOT

STARTED = b"started\n"
STOP_WITHIN_S = 10


def start(module: str, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", f"scripts.benchmarks.{module}", *words]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def await_started(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdout is not None, "made with a pipe"
    if child.stdout.readline() != STARTED:
        raise RuntimeError(f"a process of the measurement did not start (exit {child.wait()})")


def end(children: "list[subprocess.Popen[bytes]]") -> None:
    for child in children:
        assert child.stdin is not None, "made with a pipe"
        child.stdin.close()
    for child in children:
        try:
            child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def until_input_ends() -> None:
    """The child's side: say that it has started, and wait."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), _settle, over)
    sys.stdout.buffer.write(STARTED)
    sys.stdout.flush()
    await over
    loop.remove_reader(sys.stdin.fileno())


def _settle(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)
