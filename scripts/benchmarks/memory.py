"""What an order costs in memory while it is in flight, and what is left of it when it is over."""

import asyncio

from orderwire import Backpressure, Engine, Host, OrderState, load
from scripts.benchmarks.colocated import INSTRUMENT
from scripts.benchmarks.figures import KIB, Result, Timings, resident_bytes
from scripts.benchmarks.load import PRICE, QUANTITY, Load, until_answered
from scripts.benchmarks.places import Places, exchange_name

OUTSTANDING = 64
PARTS = 10  # how often memory is looked at on the way
NOBODYS_ORDER = "nobodys-order"


async def in_flight(orders: int, places: Places) -> Result:
    """A venue that never answers: the orders stay in flight, all that anybody here knows of them included."""
    async with Host(load(places.deployment(answer="none"))) as host:
        engine = host.engine("mm-1")
        await engine.ready()
        await _open(engine, orders // 10)
        before = resident_bytes()
        await _open(engine, orders)
        after = resident_bytes()
        engine.close()
    return {"orders": orders, "kib_per_order": (after - before) / KIB / orders}


async def _open(engine: Engine, orders: int) -> None:
    for number in range(orders):
        while True:
            try:
                engine.open(exchange_name(0), INSTRUMENT, side="buy", quantity=QUANTITY, price=PRICE)
                break
            except Backpressure:
                await asyncio.sleep(0)
        if number % 256 == 0:
            await asyncio.sleep(0)
    # Requests of one engine arrive in order: once this one is answered, every open before it has arrived.
    rid = engine.cancel(NOBODYS_ORDER, exchange_name(0))
    await until_answered(engine, rid, within_s=60)


async def growth(orders: int, seconds: float, places: Places) -> Result:
    """Orders that are filled at once, one after another: memory must not remember them."""
    async with Host(load(places.deployment(answer="filled"))) as host:
        engine = host.engine("mm-1")
        await engine.ready()
        load_of = Load(engine, [(exchange_name(0), INSTRUMENT)], OrderState.FullyFilled)
        await load_of.begin()
        before = resident_bytes()
        done, spent_s, highest = 0, 0.0, before
        while done < orders and spent_s < seconds:
            timings = Timings()
            await load_of.round(OUTSTANDING, seconds - spent_s, timings, -(-orders // PARTS))
            done += len(timings.latencies_ns)
            spent_s += timings.elapsed_ns / 1e9
            del timings
            highest = max(highest, resident_bytes())
        after = resident_bytes()
        engine.close()
    return {
        "orders": done,
        "orders_s": done / spent_s,
        "grown_mib": (after - before) / KIB / KIB,
        "highest_mib": (highest - before) / KIB / KIB,
    }
