"""A process of relays for the floor over ipc: `relays RUN_DIR IN:OUT...`; it ends when its input does."""

import asyncio
import sys
from pathlib import Path

import uvloop

from pipeline.sockets import Sockets, Wire
from scripts.benchmarks.children import until_input_ends
from scripts.benchmarks.floor import connected, endpoint, link, relay


async def _begin(loop: asyncio.AbstractEventLoop, come: Wire, go: Wire) -> None:
    await connected(go)  # before anything is read: a frame that nobody takes would be lost
    relay(loop, come, go).resume()


async def main(run_dir: Path, hops: list[tuple[int, int]]) -> None:
    loop = asyncio.get_running_loop()
    sockets = Sockets(run_dir)
    starting: set[asyncio.Task[None]] = set()
    taken = [sockets.bind(link(hop, True), (endpoint(hop, run_dir, True),)) for hop, _ in hops]
    given = [sockets.connect(link(hop, False), endpoint(hop, run_dir, True)) for _, hop in hops]
    for come, go in zip(taken, given, strict=True):
        starting.add(loop.create_task(_begin(loop, come, go)))
    await until_input_ends()
    sockets.close()


if __name__ == "__main__":
    numbers = [tuple(map(int, word.split(":"))) for word in sys.argv[2:]]
    uvloop.run(main(Path(sys.argv[1]), [(come, go) for come, go in numbers]))
