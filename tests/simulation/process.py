"""A process of the deployment on virtual time: the real host and stations, on wires and journals of ours.

`kill` ends it between two instructions: nothing that was not committed or not yet sent is heard of again. A
fuse does so at the n-th thing that it does from then on (a frame sent, a journal about to commit or just
committed).
"""

import sqlite3
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from actors import executor, merger
from actors.clients.simulated import SimulatedClient
from actors.exchange import ledger
from actors.exchange.actor import SimulatedExchange
from actors.executor import Executor
from actors.merger import Merger
from actors.reconnector import Reconnector
from actors.router import Router
from pipeline.actor import Actor
from pipeline.alarm import Alarm
from pipeline.clock import Clock
from pipeline.host import Host, Made
from pipeline.journal_reader import Events, JournalReader
from pipeline.station import Station
from pipeline.topology import Link, role
from pipeline.vocabulary import Role
from tests.simulation.journals import SimJournal
from tests.simulation.links import SimWire
from tests.simulation.loop import Killed, ProcessLoop

if TYPE_CHECKING:
    from tests.simulation.world import World

TABLES = {Role.MERGER: merger.TABLES, Role.EXECUTOR: executor.TABLES, Role.EXCHANGE: ledger.TABLES}


class SimSockets:
    """As sockets.Sockets, for one process."""

    def __init__(self, world: "World", process: str, loop: ProcessLoop, trip: Callable[[], None]) -> None:
        self.wires: list[SimWire] = []
        self._world = world
        self._process = process
        self._loop = loop
        self._trip = trip

    def bind(self, link: Link, endpoints: tuple[str, ...]) -> SimWire:
        wire = self._make(link)
        self._world.network.bind(wire)
        return wire

    def connect(self, link: Link, endpoint: str, identity: bytes = b"") -> SimWire:
        wire = self._make(link)
        wire.inproc = endpoint.startswith("inproc://")
        wire.identity = identity
        self._world.network.connect(wire)
        return wire

    def _make(self, link: Link) -> SimWire:
        wire = SimWire(self._world.network, link, self._process, self._loop, self._trip)
        self.wires.append(wire)
        return wire

    def identity(self, actor: str) -> bytes:
        return f"{actor}#{self._world.count()}".encode()

    def forget(self, wire: SimWire) -> None:
        wire.close()
        if wire in self.wires:
            self.wires.remove(wire)

    def close(self, hard: bool = False) -> None:
        for wire in self.wires:
            self._world.network.close(wire, hard)
        self.wires.clear()


class SimReader(JournalReader):
    """The merger's replays, read after a while."""

    def __init__(self, loop: ProcessLoop, journal: SimJournal, random: Random) -> None:
        self._connection = journal.disk.connection
        self._loop = loop
        self._random = random

    async def events(self, after: int, limit: int, exchange: int | None) -> Events:
        done = self._loop.create_future()
        self._loop.call_later(self._random.uniform(0, 0.003), _finish, done)
        await done
        return self.read(after, limit, exchange)

    async def close(self) -> None: ...


def _finish(done: Any) -> None:
    if not done.done():
        done.set_result(None)


class SimHost(Host):
    """The host, started without a system under it."""

    def __init__(self, process: "SimProcess", clock: Clock, seed: int) -> None:
        world = process.world
        super().__init__(
            world.deployment, process.name, process.make, clock=clock, seed=seed, say=process.say
        )
        self._process = process

    async def start(self) -> None:
        self._loop = self._process.loop
        self._over = self._loop.create_future()
        self._over.add_done_callback(lambda _: self._process.ended())
        self._alarm = Alarm(self._loop, self.clock, self._ring)
        self.sockets = self._process.sockets  # type: ignore[assignment]
        self._build()
        for station in self._stations.values():
            station.start(self._random.getrandbits(63))
        for station in self._stations.values():
            station.read()
        self._watch_clock()

    def failed(self, station: Station, error: Exception) -> None:
        if not isinstance(error, sqlite3.Error):  # a journal that fails again and again ends its process
            self._process.world.violated(f"{station.name} raised {type(error).__name__}: {error}", error)
        super().failed(station, error)

    def release(self) -> None:
        """What the system does when the process is gone."""
        for lock in self._locks:
            lock.release()
        for station in self._stations.values():
            if isinstance(station.journal, SimJournal):
                station.journal.abandon()


class SimProcess:
    """One process: its life, and how it ends."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.said: list[str] = []
        self.fuse: int | None = None
        self.life = world.count()
        self._random = world.random_for(f"process {name} {self.life}")
        self.loop = ProcessLoop(world.timeline, self._random, world.plan.turn_ms, self._on_killed)
        self.sockets = SimSockets(world, name, self.loop, self.trip)
        actors = world.deployment.processes[name]
        venue = all(role(actor)[0] is Role.EXCHANGE for actor in actors)
        wall_ns = world.timeline.venue_ns if venue else world.timeline.wall_ns
        clock = Clock(wall_ns, world.timeline.monotonic_ns)
        self.host = SimHost(self, clock, self._random.getrandbits(40))

    def begin(self) -> None:
        self.loop.create_task(self.host.start())
        self.loop.wake()

    @property
    def alive(self) -> bool:
        return not self.loop.dead

    def say(self, text: str) -> None:
        self.said.append(text)

    def actor(self, name: str) -> Any:
        """None while it does not run."""
        station = self.host._stations.get(name)
        return station.actor if station is not None and station.running else None

    def do(self, name: str, act: Callable[[Any, int], None]) -> None:
        """Something that happens to an actor, in a turn of its own."""

        def turn() -> None:
            station = self.host._stations.get(name)
            if station is not None:
                station._turn(lambda now_ns: act(station.actor, now_ns))

        self.loop.call_soon(turn)
        self.loop.wake()

    # ------------------------------------------------------------------ the end

    def trip(self) -> None:
        if self.fuse is not None and self.alive:
            self.fuse -= 1
            if self.fuse <= 0:
                self.fuse = None
                raise Killed

    def _on_killed(self) -> None:
        self.world.note(f"{self.name} dies")
        self._end(hard=True)

    def kill(self) -> None:
        if self.alive:
            self._on_killed()

    def _end(self, hard: bool) -> None:
        self.loop.kill()
        self.sockets.close(hard)
        self.host.release()
        self.world.process_ended(self.name)

    def stop(self) -> None:
        """An orderly stop, as on SIGTERM."""
        self.loop.call_soon(self.host.request_stop)
        self.loop.wake()

    def ended(self) -> None:
        """The host has stopped, as asked or because an actor failed."""
        self.world.note(f"{self.name} ends")
        self._end(hard=False)

    # ------------------------------------------------------------------ its actors

    def make(self, name: str) -> Made:
        world, (kind, exchange_name) = self.world, role(name)
        deployment = world.deployment
        if kind is Role.ROUTER:
            return Router(name, deployment), None, None
        if kind is Role.RECONNECTOR:
            client = SimulatedClient(exchange_name, {})
            return Reconnector(name, deployment, client.capabilities), None, client
        clock_ns = self.host.clock.now_ns()
        journal: Any = SimJournal(
            world.disk(name), TABLES[kind], clock_ns, world.journal_faults(name), self.trip
        )
        made: Actor
        if kind is Role.MERGER:
            return Merger(name, deployment, journal), journal, SimReader(self.loop, journal, self._random)
        if kind is Role.EXCHANGE:
            return SimulatedExchange(name, deployment, journal), journal, None
        client = SimulatedClient(exchange_name, {})
        made = Executor(name, deployment, journal, client.capabilities, client.request_validity_ms)
        return made, journal, client
