"""orderwire over several processes: router and merger in one, the executor in another, the engine here."""

import asyncio
import subprocess
import sys
from pathlib import Path

import uvloop

from orderwire import Engine, Host, OrderState, load
from scripts.benchmarks.colocated import INSTRUMENT
from scripts.benchmarks.figures import Result
from scripts.benchmarks.load import Load
from scripts.benchmarks.places import ROOT, Places, exchange_name

STARTED = b"started\n"


async def measure(outstanding: int, seconds: float, places: Places, durability: str) -> Result:
    path = places.deployment(durability=durability, split=True)
    deployment = load(path)
    children = [_child(path, process) for process in deployment.processes]
    try:
        for child in children:
            assert child.stdout is not None, "made with a pipe"
            if child.stdout.readline() != STARTED:
                raise RuntimeError(f"a process of the split layout did not start (exit {child.wait()})")
        async with Engine(deployment, name="mm-1") as engine:
            await engine.ready(within_s=30)
            spots = [(exchange_name(0), INSTRUMENT)]
            return await Load(engine, spots, OrderState.Open).run(outstanding, seconds)
    finally:
        for child in children:
            assert child.stdin is not None, "made with a pipe"
            child.stdin.close()
        for child in children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _child(path: Path, process: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "scripts.benchmarks.split", str(path), process]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def _run(path: str, process: str) -> None:
    """One process of a deployment, until its input ends."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), lambda: over.done() or over.set_result(None))
    async with Host(load(path), process):
        sys.stdout.buffer.write(STARTED)
        sys.stdout.flush()
        await over


if __name__ == "__main__":
    uvloop.run(_run(*sys.argv[1:3]))
