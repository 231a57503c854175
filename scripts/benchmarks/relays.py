"""A process of relays for the floor over ipc: `relays RUN_DIR IN:OUT...`; it ends when its input does."""

import asyncio
import sys
from pathlib import Path

import uvloop

from pipeline.sockets import Sockets
from scripts.benchmarks.floor import connected, endpoint, link, relay


async def main(run_dir: Path, hops: list[tuple[int, int]]) -> None:
    loop = asyncio.get_running_loop()
    sockets = Sockets(run_dir)
    taken = [sockets.bind(link(hop, True), (endpoint(hop, run_dir, True),)) for hop, _ in hops]
    given = [sockets.connect(link(hop, False), endpoint(hop, run_dir, True)) for _, hop in hops]
    for wire in given:
        await connected(wire)  # before anything is read: a frame that nobody takes would be lost
    for come, go in zip(taken, given, strict=True):
        relay(loop, come, go).resume()
    over = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), lambda: over.done() or over.set_result(None))
    await over
    sockets.close()


if __name__ == "__main__":
    numbers = [tuple(map(int, word.split(":"))) for word in sys.argv[2:]]
    uvloop.run(main(Path(sys.argv[1]), [(come, go) for come, go in numbers]))
