"""orderwire in one process: engine, actors and client on one loop, over inproc."""

from orderwire import Host, OrderState, load
from scripts.benchmarks.figures import Result
from scripts.benchmarks.load import Load
from scripts.benchmarks.places import Places, exchange_name

INSTRUMENT = "btc_usdt"


async def measure(
    outstanding: int, seconds: float, places: Places, durability: str, exchanges: int, client: str
) -> Result:
    """`outstanding` is what all exchanges have between them."""
    deployment = load(places.deployment(durability=durability, exchanges=exchanges, client=client))
    async with Host(deployment) as host:
        engine = host.engine("mm-1")
        await engine.ready(within_s=30)
        spots = [(exchange_name(number), INSTRUMENT) for number in range(exchanges)]
        result = await Load(engine, spots, OrderState.Open).run(outstanding, seconds)
        engine.close()
    return result
