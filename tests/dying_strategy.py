"""A strategy in a process of its own that kills itself where it is told, and says what it has handled.

`python -m tests.dying_strategy CONFIG STATE WHERE`: WHERE is `sent:N` (after the Nth request of this life)
or `heard:N` (while it handles the Nth answer); `never` ends when every one of its orders is answered.
"""

import os
import signal
import sys

import uvloop

from orderwire import Engine, load

ORDERS = 12


async def trade(config: str, state: str, where: str) -> None:
    counts = {"sent": 0, "heard": 0}

    def did(step: str) -> None:
        counts[step] += 1
        if where == f"{step}:{counts[step]}":
            os.kill(os.getpid(), signal.SIGKILL)

    async with Engine(load(config), "mm", state=state) as engine:
        await engine.ready()
        print("session", engine.session, flush=True)
        while engine.requests < ORDERS:
            engine.open("alpha", "btc_usd", side="buy", quantity="0.010", price="50000")
            did("sent")
        while engine.waits:
            event = await anext(engine)
            if event.answers is not None:
                did("heard")
                print("answered", event.answers.rid, flush=True)


if __name__ == "__main__":
    uvloop.run(trade(*sys.argv[1:4]))
