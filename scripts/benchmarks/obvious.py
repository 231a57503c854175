"""The obvious way, to compare with: the same four hops with zmq.asyncio, one await for each message, and
msgpack decoding and encoding at each hop. No types, no journal, no checks, no promises.
"""

import asyncio
from collections import deque
from time import perf_counter_ns

import msgpack
import zmq
import zmq.asyncio

from scripts.benchmarks.figures import Result, Span, Timings

HOPS = 4
REQUEST = {
    "kind": "open",
    "instrument": 1,
    "cid": "ow.mm-1.abcdefg.xyz",
    "side": 0,
    "price": "50000",
    "quantity": "0.010",
    "engine": "mm-1",
    "session": 179_545,
    "rid": 1,
}


async def _hop(number: int, taken: zmq.asyncio.Socket, given: zmq.asyncio.Socket) -> None:
    while True:
        message = msgpack.unpackb(await taken.recv())
        message["hop"] = number
        await given.send(msgpack.packb(message))


async def _run(
    given: zmq.asyncio.Socket, taken: zmq.asyncio.Socket, outstanding: int, seconds: float
) -> Timings:
    timings = Timings()
    span = Span(seconds, timings)
    sent: deque[int] = deque()
    for _ in range(outstanding):
        sent.append(perf_counter_ns())
        await given.send(msgpack.packb(REQUEST))
    while sent:
        msgpack.unpackb(await taken.recv())
        now_ns = perf_counter_ns()
        span.answer(now_ns - sent.popleft(), now_ns)
        if not span.over:
            sent.append(perf_counter_ns())
            await given.send(msgpack.packb(REQUEST))
    return timings


async def measure(outstanding: int, seconds: float) -> Result:
    context = zmq.asyncio.Context()
    taken, given = [], []
    for hop in range(HOPS):
        taken.append(context.socket(zmq.PULL))
        taken[-1].bind(f"inproc://hop{hop}")
        given.append(context.socket(zmq.PUSH))
        given[-1].connect(f"inproc://hop{hop}")
    hops = [asyncio.create_task(_hop(i, taken[i], given[i + 1])) for i in range(HOPS - 1)]
    await _run(given[0], taken[-1], outstanding, seconds / 4)
    timings = await _run(given[0], taken[-1], outstanding, seconds)
    for hop_task in hops:
        hop_task.cancel()
    await asyncio.wait(hops)
    context.destroy(linger=0)
    return timings.result()


def versions() -> dict[str, str]:
    return {"pyzmq": zmq.__version__, "libzmq": zmq.zmq_version()}
