"""Runs the actors of one process on one loop: starts and stops them together, ends when one of them fails.

Start: directories, locks, actors with their journals; everything binds, then everything connects, then each
actor starts, then inboxes are read. Stop: the actors drain (drain.py), stop in the reverse order, and leave
no file behind; the drain and the end of the clients take `stop_within_ms` each, at most.
What an actor does in a turn is station.py's.
"""

import asyncio
import gc
from collections.abc import Callable, Iterable
from random import Random, SystemRandom
from typing import Any, Final

from pipeline.actor import Actor, HandOver, Stop
from pipeline.alarm import Alarm
from pipeline.attachment import Attachment, ClientLinks, OnFrame
from pipeline.calls import Calls
from pipeline.clock import CHECK_EVERY_MS, Clock
from pipeline.deployment import ConfigError, Deployment
from pipeline.directories import Lock, prepare
from pipeline.drain import Drain
from pipeline.report import Say, tell, to_stderr
from pipeline.sockets import Sockets
from pipeline.station import HostJournal, Station
from pipeline.topology import Link, bind_endpoints, connect_endpoint, links

REBUILD_LIMIT: Final = 3  # journal failures in a row, each within REBUILD_FORGIVEN_S of the last
REBUILD_FORGIVEN_S: Final = 60.0
REBUILD_AFTER_S: Final = 0.25  # doubled for each failure in a row
GC_THRESHOLDS: Final = (20_000, 20, 50)
LAST_DRAINS_LIMIT: Final = 64  # batches that an actor still takes while those before it in the stop end

Made = tuple[Actor, HostJournal | None, Any]


class ActorFailed(Exception):
    """An actor raised: the process is over, and its other actors were stopped in order."""

    def __init__(self, actor: str, error: Exception) -> None:
        super().__init__(f"{actor} failed: {type(error).__name__}: {error}")
        self.actor = actor
        self.error = error


class Host:
    """The actors of one process of a deployment. `make_actor(name)` gives (actor, journal, client)."""

    def __init__(
        self,
        deployment: Deployment,
        process: str,
        make_actor: Callable[[str], Made],
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        say: Say = to_stderr,
    ) -> None:
        self.deployment = deployment
        self.process = process
        self.clock = clock or Clock()
        self.sockets: Sockets
        self._make_actor = make_actor
        self._random = SystemRandom() if seed is None else Random(seed)
        self._say = say
        self._loop: asyncio.AbstractEventLoop
        self._stations: dict[str, Station] = {}
        self._locks: list[Lock] = []
        self._attachments: list[Attachment] = []
        self._alarm: Alarm
        self._clock_timer: asyncio.TimerHandle | None = None
        # actor -> how many times in a row its journal failed, and when it last did
        self._failures: dict[str, tuple[int, float]] = {}
        self._rebuilding: set[asyncio.Task[None]] = set()
        self._failed: ActorFailed | None = None
        self._over: asyncio.Future[None]
        self._stopping: asyncio.Task[None] | None = None
        self._drain: Drain | None = None
        self._hurried = False
        self.hand_overs: dict[str, HandOver] = {}  # by actor, once it has stopped
        self.stop_asked = ""  # by an actor, on behalf of who asked for it on its control socket

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Raises ConfigError (nothing was started) or ActorFailed (all was stopped again)."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._alarm = Alarm(self._loop, self.clock, self._ring)
        prepare(self.deployment)
        self.sockets = Sockets(self.deployment.run_dir)
        try:
            self._build()
        except BaseException:
            await self._take_down()
            raise
        # What is in memory now stays. Orders come and go by the thousand, and few of them in cycles: the
        # collector's default of every 700 allocations would cost a tenth of the time per order.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        for station in self._stations.values():
            if self._failed is None:
                station.start(self._random.getrandbits(63))
        for station in self._stations.values():
            station.read()
        self._watch_clock()
        if self._failed is not None:
            await self.wait()

    async def wait(self) -> None:
        """Until stopped. Raises ActorFailed when an actor ended it."""
        await asyncio.shield(self._over)
        self._raise_failure()

    async def stop(self) -> None:
        """Stop everything in order; safe to repeat, and to call while it stops already."""
        self.request_stop()
        await asyncio.shield(self._over)

    def request_stop(self, within_ms: int | None = None) -> None:
        """Begin to stop, from anywhere on the loop, with a drain of at most `within_ms`."""
        if self._stopping is None:
            longest_ms = self.deployment.edges.stop_within_ms
            within_ms = longest_ms if within_ms is None else min(within_ms, longest_ms)
            self._stopping = self._loop.create_task(self._stop(within_ms))

    def hurry(self) -> None:
        """Stop at once: what is still under way is journaled and not waited for."""
        self._hurried = True
        if self._drain is not None:
            self._drain.hurry()
        self.request_stop()

    async def __aenter__(self) -> "Host":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._raise_failure()

    def attach(
        self,
        name: str,
        wanted: Iterable[Link],
        on_frame: OnFrame,
        on_drained: Callable[[], None] | None = None,
    ) -> Attachment:
        """Wires on this loop for one that is no actor, an engine say; closed with the host at the latest."""
        attachment = Attachment(
            self.deployment, self.sockets, self._loop, self.process, on_frame, on_drained, name
        )
        attachment.connect(wanted)
        self._attachments.append(attachment)
        return attachment

    def station(self, actor: str) -> Station:
        """Raises KeyError when it does not run here."""
        return self._stations[actor]

    # ------------------------------------------------------------------ start and stop

    def _build(self) -> None:
        names = self.deployment.processes[self.process]
        for name in names:
            self._locks.append(Lock(self.deployment, name))
        for name in names:
            station = Station(name, self._loop, self.clock, self, self.deployment.edges.batch_limit)
            self._place(station)
            self._stations[name] = station
        ends = [
            (station, link)
            for name, station in self._stations.items()
            for link in links(self.deployment, name)
        ]
        for station, link in ends:
            if link.bound:
                station.wire(self.sockets.bind(link, bind_endpoints(self.deployment, link)))
        for station, link in ends:
            if not link.bound:
                endpoint = connect_endpoint(self.deployment, link, self.process)
                station.wire(self.sockets.connect(link, endpoint, self.sockets.identity(station.name)))
        for station in self._stations.values():
            self._attach_client(station)

    def _place(self, station: Station) -> None:
        actor, journal, client = self._make_actor(station.name)
        station.place(actor, journal, Calls(self._loop, client, station, self.deployment.edges.batch_limit))

    def _attach_client(self, station: Station) -> None:
        attach = getattr(station.calls.client, "attach", None)
        if attach is not None:
            client_links = ClientLinks(
                self.deployment, self.sockets, self._loop, self.process, station.name, self.clock, self._say
            )
            station.calls.links = client_links
            attach(client_links)

    async def _stop(self, within_ms: int) -> None:
        try:
            # After a failure nothing is waited for: whoever restarts the process does so the sooner.
            await self._drained(0 if self._hurried or self._failed is not None else within_ms)
            remaining = list(self._stations.values())
            while remaining:
                station = remaining.pop()
                handed = station.stop()
                if handed is not None:
                    self.hand_overs[station.name] = handed
                # Those that stop later still take what it left them.
                for _ in range(LAST_DRAINS_LIMIT):
                    more = [station.drain() for station in remaining]
                    if not any(more):
                        break
            await self._take_down()
        except Exception as error:
            tell(self._say, "the stop did not go to its end", error)
        finally:
            self._over.set_result(None)

    async def _drained(self, within_ms: int) -> None:
        self._drain = Drain(self._loop, list(self._stations.values()), within_ms)
        await self._drain.over

    def _raise_failure(self) -> None:
        if self._failed is not None:
            # A deployment that an actor cannot run with is the file's fault, not the actor's.
            raise self._failed.error if isinstance(self._failed.error, ConfigError) else self._failed

    async def _take_down(self) -> None:
        self._alarm.stop()
        if self._clock_timer is not None:
            self._clock_timer.cancel()
        within_s = self.deployment.edges.stop_within_ms / 1000
        for task in self._rebuilding:
            task.cancel()
        if self._stations:
            closing = {
                self._loop.create_task(self._close_client(station, within_s)): name
                for name, station in self._stations.items()
            }
            _, late = await asyncio.wait(closing, timeout=within_s)
            for task in late:
                self._say(f"{closing[task]}: its client did not close in time and is left")
                task.cancel()
        for attachment in self._attachments:
            attachment.close()
        self._attachments.clear()
        for station in self._stations.values():
            self._close_journal(station)
        self._stations.clear()
        self.sockets.close()
        for lock in reversed(self._locks):
            lock.release()
        self._locks.clear()

    async def _close_client(self, station: Station, within_s: float) -> None:
        for problem in await station.calls.close(within_s):
            self._say(f"{station.name}: {problem}")

    def _close_journal(self, station: Station) -> None:
        journal, station.journal = station.journal, None
        if journal is None:
            return
        try:
            if self._failed is not None and self._failed.actor == station.name:
                journal.abandon()
            else:
                journal.close()
        except Exception as error:
            tell(self._say, f"{station.name}: its journal did not close", error)

    # ------------------------------------------------------------------ what stations report

    def turned(self, station: Station) -> None:
        if station.due_ns is not None:
            self._alarm.ask(station.due_ns)

    def failed(self, station: Station, error: Exception) -> None:
        station.drop()
        tell(self._say, f"{station.name} failed, and its process ends", error)
        if self._failed is None:
            self._failed = ActorFailed(station.name, error)
        self.request_stop()
        if self._drain is not None:
            self._drain.hurry()

    def journal_failed(self, station: Station, error: Exception) -> None:
        """Nothing of the batch left. The actor is built again from its journal, as after a crash."""
        count, last_s = self._failures.get(station.name, (0, 0.0))
        now_s = self._loop.time()
        count = count + 1 if now_s - last_s < REBUILD_FORGIVEN_S else 1
        self._failures[station.name] = (count, now_s)
        if count >= REBUILD_LIMIT or self._stopping is not None:
            self.failed(station, error)
            return
        station.drop()
        tell(self._say, f"{station.name}: its journal failed, and it is built again", error)
        task = self._loop.create_task(self._rebuild(station, REBUILD_AFTER_S * 2 ** (count - 1)))
        self._rebuilding.add(task)
        task.add_done_callback(self._rebuilding.discard)

    def stop_wanted(self, station: Station, wanted: Stop) -> None:
        self._say(f"{station.name} ends its process: {wanted.reason}")
        if self._stopping is None:
            self.stop_asked = wanted.reason
        self.request_stop(wanted.within_ms)

    async def _rebuild(self, station: Station, after_s: float) -> None:
        await self._close_client(station, 1.0)
        journal, station.journal = station.journal, None
        try:
            if journal is not None:
                journal.abandon()
            await asyncio.sleep(after_s)
            if self._stopping is not None:
                return
            self._place(station)
            self._attach_client(station)
        except Exception as error:
            self.journal_failed(station, error)
            return
        station.start(self._random.getrandbits(63))
        station.read()

    # ------------------------------------------------------------------ time

    def _ring(self, now_ns: int) -> None:
        for station in self._stations.values():
            if station.due_ns is not None and station.due_ns <= now_ns and station.running:
                station.on_due(now_ns)
        for station in self._stations.values():
            if station.due_ns is not None and station.running:
                self._alarm.ask(station.due_ns)

    def _watch_clock(self) -> None:
        was_settled = self.clock.settled
        self.clock.check()
        for station in self._stations.values():
            station.actor.clock_settled = self.clock.settled
        if was_settled and not self.clock.settled:
            self._say("the wall clock stepped: orderwire keeps its own time and follows slowly")
        self._clock_timer = self._loop.call_later(CHECK_EVERY_MS / 1000, self._watch_clock)
