"""When a deployment as a whole is ready, and the line that says so.

`orderwire: <deployment> ready` on stdout: every actor answers and every executor takes opens.
"""

import asyncio
from typing import Final

from actors.command_line import terminal
from actors.command_line.exits import complain
from actors.command_line.questions import Questions
from pipeline.control import Health, HealthQuery
from pipeline.deployment import Deployment

ASK_READY_EVERY_S: Final = 0.1
SAY_WAITING_AFTER_S: Final = 10.0


def ready_line(name: str) -> str:
    """What a process (or a supervisor, for its deployment) says on stdout when it is ready."""
    return f"orderwire: {name} ready"


async def announce_ready(deployment: Deployment) -> None:
    """Say `orderwire: <deployment> ready` once every actor answers and every executor takes opens."""
    loop = asyncio.get_running_loop()
    say_at = loop.time() + SAY_WAITING_AFTER_S
    async with Questions(deployment) as questions:
        waiting = deployment.actors
        while waiting:
            waiting = await not_ready(questions, waiting)
            if waiting and loop.time() >= say_at:
                complain(f"still waiting for {', '.join(waiting)} (orderwire status {deployment.path})")
                say_at = loop.time() + 6 * SAY_WAITING_AFTER_S
            await asyncio.sleep(ASK_READY_EVERY_S if waiting else 0)
    try:
        terminal.line(ready_line(deployment.name), flush=True)
    except OSError:
        return


async def not_ready(questions: Questions, actors: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the actors that do not answer, or are executors that do not take opens."""
    answers = await questions.ask_all(actors, HealthQuery(), 1.0)
    return tuple(actor for actor, health in answers.items() if not _is_ready(actor, health))


def _is_ready(actor: str, health: object) -> bool:
    return isinstance(health, Health) and (health.ready or not actor.startswith("executor."))
