"""One engine of a run: the real Engine in a process of its own, with a strategy that only writes down.

What the strategy handled survives its process; a new life goes on after the last number that it handled.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.attachment import Attachment
from pipeline.clock import Clock
from pipeline.engine import Engine, EngineError
from pipeline.messages import Answers, Event
from pipeline.topology import links
from tests.simulation.loop import ProcessLoop
from tests.simulation.process import SimSockets

if TYPE_CHECKING:
    from tests.simulation.world import World


class Trader:
    """One life of an engine."""

    def __init__(self, world: "World", name: str, resume: tuple[int, int] | int) -> None:
        self.world = world
        self.name = name
        self.refusals: list[str] = []
        random = world.random_for(f"engine {name} {world.count()}")
        self.loop = ProcessLoop(world.timeline, random, world.plan.turn_ms, self.kill)
        self.sockets = SimSockets(world, f"engine {name}", self.loop, _nothing)
        self.engine = Engine(
            world.deployment,
            name,
            everything=True,
            resume_after=resume,
            attach=self._attach,
            clock=Clock(world.timeline.wall_ns, world.timeline.monotonic_ns),
        )
        self.session = self.engine._core.session

    def begin(self) -> None:
        self.loop.call_soon(self.engine.connect)
        self.loop.create_task(self._read())
        self.loop.wake()

    def _attach(
        self, name: str, on_frame: Callable[[str, bytes], None], on_drained: Callable[[], None]
    ) -> Attachment:
        sockets: Any = self.sockets
        wires = Attachment(self.world.deployment, sockets, self.loop, None, on_frame, on_drained, name)
        wires.connect(links(self.world.deployment, "engine"))
        return wires

    async def _read(self) -> None:
        async for event in self.engine:
            self.take(event)

    def take(self, event: Event) -> None:
        self.world.handled(self.name, event)

    def ask(self, request: Callable[[Engine], Any]) -> None:
        """Send a request as the strategy's own turn; what the engine refuses to send is written down."""

        def turn() -> None:
            try:
                request(self.engine)
            except EngineError as error:
                self.refusals.append(f"{type(error).__name__}: {error}")

        if not self.loop.dead:
            self.loop.call_soon(turn)
            self.loop.wake()

    @property
    def outstanding(self) -> set[Answers]:
        return {Answers(self.name, self.session, rid) for rid in self.engine._core.outstanding}

    def kill(self) -> None:
        self.loop.kill()
        self.sockets.close(hard=True)


def _nothing() -> None: ...
