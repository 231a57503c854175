"""orderwire over several processes: router and merger in one, the executor in another, the engine here."""

import sys

import uvloop

from orderwire import Engine, Host, OrderState, load
from scripts.benchmarks.children import await_started, end, start, until_input_ends
from scripts.benchmarks.colocated import INSTRUMENT
from scripts.benchmarks.figures import Result
from scripts.benchmarks.load import Load
from scripts.benchmarks.places import Places, exchange_name


async def measure(outstanding: int, seconds: float, places: Places, durability: str) -> Result:
    path = places.deployment(durability=durability, split=True)
    deployment = load(path)
    children = [start("split", str(path), process) for process in deployment.processes]
    try:
        for child in children:
            await_started(child)
        async with Engine(deployment, name="mm-1") as engine:
            await engine.ready(within_s=30)
            spots = [(exchange_name(0), INSTRUMENT)]
            return await Load(engine, spots, OrderState.Open).run(outstanding, seconds)
    finally:
        end(children)


async def _run(path: str, process: str) -> None:
    """One process of a deployment, until its input ends."""
    async with Host(load(path), process):
        await until_input_ends()


if __name__ == "__main__":
    uvloop.run(_run(*sys.argv[1:3]))
