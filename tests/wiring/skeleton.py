"""A deployment whose actors are a test's own: real sockets, real loop, nothing of orderwire's behaviour."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import uvloop

from pipeline.actor import Actor, Outbox
from pipeline.deployment import Deployment, Edges, Exchange
from pipeline.host import Host

ACTORS = ("router", "merger", "executor.x", "reconnector.x")


def deployment(folder: Path, transport: str = "auto", **edges: int) -> Deployment:
    """One process `main` with a router, a merger, an executor and a reconnector."""
    exchange = Exchange(0, "x", "venue", "instant", (), ())
    return Deployment(
        path=folder / "skeleton.toml",
        name=folder.name,
        run_dir=folder / "run",
        state_dir=folder / "state",
        exchanges=(exchange,),
        processes={"main": ACTORS},
        durability="none",
        edges=Edges(transport=transport, **edges),  # type: ignore[arg-type]
        testing=True,
    )


class Idle(Actor):
    """An actor that only notes what the host does to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outbox = Outbox()
        self.seen: list[tuple[object, ...]] = []

    def on_start(self, now_ns: int, seed: int) -> None:
        self.seen.append(("start", seed))

    def on_stop(self, now_ns: int) -> None:
        self.seen.append(("stop",))


class Cast:
    """Who plays which actor: `made` has every actor that the host asked for, in order."""

    def __init__(self, **parts: Callable[[str], Actor]) -> None:
        self.parts = parts
        self.journals: dict[str, object] = {}
        self.clients: dict[str, object] = {}
        self.made: list[Actor] = []

    def make(self, name: str) -> tuple[Actor, object, object]:
        role = name.partition(".")[0]
        actor = self.parts.get(role, Idle)(name)
        self.made.append(actor)
        return actor, self.journals.get(role), self.clients.get(role)

    def __getitem__(self, name: str) -> Actor:
        """The latest actor of that name."""
        return next(actor for actor in reversed(self.made) if actor.name == name)


def run(body: Callable[[], object], within_s: float = 50) -> None:
    """Run a coroutine function on the loop of production."""

    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await body()  # type: ignore[misc]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def host(here: Deployment, cast: Cast, said: list[str] | None = None, **more: object) -> Host:
    return Host(here, "main", cast.make, say=(said if said is not None else []).append, **more)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the caller's timeout bounds it."""
    while not condition():
        await _tick()


async def _tick() -> None:
    # The loop must come to its poll, where readers are called; a bare yield would only spin.
    ticked = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, ticked.set_result, None)
    await ticked
