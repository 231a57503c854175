"""A deployment whose actors are a test's own: real sockets, real loop, nothing of orderwire's behaviour."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


class Told(Idle):
    """Does on start what a test tells it to, and notes all that it hears."""

    def __init__(self, name: str, at_start: Callable[[Actor], None] | None = None) -> None:
        super().__init__(name)
        self.at_start = at_start
        self.heard: list[tuple[str, bytes]] = []
        self.unsent: list[tuple[str, list[bytes]]] = []
        self.batches = 0

    def on_start(self, now_ns: int, seed: int) -> None:
        super().on_start(now_ns, seed)
        if self.at_start is not None:
            self.at_start(self)

    def on_message(self, link: str, frame: bytes, now_ns: int) -> None:
        self.heard.append((link, frame))

    def on_unsent(self, link: str, frames: list[bytes], now_ns: int) -> None:
        self.unsent.append((link, frames))

    def on_batch_end(self, now_ns: int) -> None:
        self.batches += 1


class FakeJournal:
    """Notes commits; fails the ones that a test wants to fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.commits = 0
        self.ended: list[str] = []
        self.due_ns: int | None = None

    def commit(self, now_ns: int) -> None:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        self.commits += 1

    def commit_due_ns(self) -> int | None:
        return self.due_ns

    def close(self) -> None:
        self.ended.append("closed")

    def abandon(self) -> None:
        self.ended.append("abandoned")


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


def host(here: Deployment, cast: Cast, said: list[str] | None = None, **more: Any) -> Host:
    make: Any = cast.make
    return Host(here, "main", make, say=(said if said is not None else []).append, **more)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the caller's timeout bounds it."""
    while not condition():
        await _tick()


async def _tick() -> None:
    # The loop must come to its poll, where readers are called; a bare yield would only spin.
    ticked = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, ticked.set_result, None)
    await ticked
