"""The floor: four hops over drained sockets, each header unpacked and a new frame built, and nothing else.

Nothing that speaks this protocol in Python over ZeroMQ can be faster. Over inproc in one process, or over ipc
with the middle hops in the processes that the split layout has.
"""

import asyncio
import subprocess
from collections import deque
from pathlib import Path
from time import perf_counter_ns, time_ns

from pipeline import headers
from pipeline.amounts import amount
from pipeline.codec import encode
from pipeline.headers import REQUEST_SIZE, Kind
from pipeline.messages import OpenOrder
from pipeline.reader import Reader
from pipeline.sockets import Sockets, Wire
from pipeline.topology import REQUEST_SIZE_LIMIT, Link, Pattern
from pipeline.vocabulary import OrderKind, Side, TimeInForce
from scripts.benchmarks.children import await_started, end, start
from scripts.benchmarks.figures import Result, Span, Timings
from scripts.benchmarks.places import Places

HOPS = 4
HWM = 8_192
BATCH_LIMIT = 256
ENGINE = b"mm-1"


def link(hop: int, bound: bool) -> Link:
    pattern: Pattern = "pull" if bound else "push"
    return Link(f"hop{hop}", pattern, "bench", f"hop{hop}", bound, HWM, REQUEST_SIZE_LIMIT)


def endpoint(hop: int, run_dir: Path, ipc: bool) -> str:
    return f"ipc://{run_dir}/hop{hop}" if ipc else f"inproc://bench/hop{hop}"


def relay(loop: asyncio.AbstractEventLoop, taken: Wire, given: Wire) -> Reader:
    """One hop: unpack the header, build a new frame, send it on."""

    def handle(frames: list[bytes]) -> None:
        for frame in frames:
            h = headers.read_request(frame)
            header = headers.request(
                h.exchange, h.kind, h.attempt, h.fingerprint, ENGINE, h.session, h.rid, h.expires_at_ns
            )
            sent = given.send(header + frame[REQUEST_SIZE:])
            assert sent, "a hop's link is full: raise HWM above what is outstanding"

    return Reader(loop, taken, BATCH_LIMIT, handle)


async def connected(wire: Wire) -> None:
    """Until there is somebody to send to; ipc connects in its own time."""
    while not wire.writable():
        await asyncio.sleep(0.005)


class Ends:
    """Where frames leave and come back: a number of them stays outstanding."""

    def __init__(self, out: Wire, outstanding: int) -> None:
        self._out = out
        self._outstanding = outstanding
        self._frame = _request()
        self._sent: deque[int] = deque()
        self._span: Span
        self._done: asyncio.Future[None]

    def on_batch(self, frames: list[bytes]) -> None:
        for frame in frames:
            headers.read_request(frame)
            now_ns = perf_counter_ns()
            self._span.answer(now_ns - self._sent.popleft(), now_ns)
            if not self._span.over:
                self._send()
        if not self._sent and not self._done.done():
            self._done.set_result(None)

    async def run(self, seconds: float) -> Timings:
        timings = Timings()
        self._span = Span(seconds, timings)
        self._done = asyncio.get_running_loop().create_future()
        for _ in range(self._outstanding):
            self._send()
        await self._done
        return timings

    def _send(self) -> None:
        self._sent.append(perf_counter_ns())
        assert self._out.send(self._frame), "the first hop is full: raise HWM"


def _request() -> bytes:
    body = OpenOrder(
        instrument=0,
        cid="ow.mm-1.abcdefg.xyz",
        side=Side.BUY,
        kind=OrderKind.LIMIT,
        time_in_force=TimeInForce.GTC,
        flags=0,
        price=amount("50000"),
        quantity=amount("0.010"),
    )
    return headers.request(0, Kind.OpenOrder, 0, 1, ENGINE, time_ns(), 1, time_ns()) + encode(body)


async def measure(outstanding: int, seconds: float, ipc: bool, places: Places) -> Result:
    """Four hops: out of here, twice through relays, and back."""
    loop = asyncio.get_running_loop()
    sockets = Sockets(places.run_dir)
    places.run_dir.mkdir(mode=0o700)
    children: list[subprocess.Popen[bytes]] = []
    try:
        back = sockets.bind(link(HOPS - 1, True), (endpoint(HOPS - 1, places.run_dir, ipc),))
        if ipc:
            # As in the split layout: router and merger in one process, the executor in another.
            run_dir = str(places.run_dir)
            children = [start("relays", run_dir, "0:1", "2:3"), start("relays", run_dir, "1:2")]
            for child in children:
                await_started(child)
        else:
            taken = [sockets.bind(link(i, True), (endpoint(i, places.run_dir, False),)) for i in range(3)]
            for hop, wire in enumerate(taken):
                given = sockets.connect(link(hop + 1, False), endpoint(hop + 1, places.run_dir, False))
                relay(loop, wire, given).resume()
        out = sockets.connect(link(0, False), endpoint(0, places.run_dir, ipc))
        await connected(out)
        ends = Ends(out, outstanding)
        reader = Reader(loop, back, BATCH_LIMIT, ends.on_batch)
        reader.resume()
        await ends.run(seconds / 4)
        timings = await ends.run(seconds)
        reader.pause()
    finally:
        end(children)
        sockets.close()
    return timings.result()
