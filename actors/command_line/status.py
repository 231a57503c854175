"""`orderwire status`: what every actor says of itself, and who does not answer."""

import json
from collections.abc import Mapping
from typing import Final

from actors.command_line import terminal
from actors.command_line.exits import DONE, FAILED, WorkFailed, complain
from actors.command_line.questions import Questions
from pipeline.control import Health, HealthQuery
from pipeline.deployment import Deployment
from pipeline.messages import Message
from pipeline.naming import printable

ANSWER_WITHIN_S: Final = 2.0
# What a table shows of an actor's gauges, in this order; `--json` has them all.
KEY_GAUGES: Final = (
    "seq",
    "orders_active",
    "orders",
    "open_orders",
    "in_flight",
    "unknown",
    "stuck",
    "generation",
    "unacknowledged",
    "subscriptions",
)


async def status(deployment: Deployment, as_json: bool) -> int:
    """Ask every actor for its health. 1: one does not answer, or an order is stuck. Raises WorkFailed."""
    async with Questions(deployment) as questions:
        answers = await questions.ask_all(deployment.actors, HealthQuery(), ANSWER_WITHIN_S)
    silent = [actor for actor, answer in answers.items() if not isinstance(answer, Health)]
    if len(silent) == len(answers):
        raise WorkFailed(
            f"{deployment.path}: no actor of {deployment.name} answers: is it running? "
            f"(orderwire run {deployment.path})"
        )
    if as_json:
        for actor, answer in answers.items():
            terminal.line(json.dumps(_described(deployment, actor, answer)))
    else:
        _show(deployment, answers)
    if silent:
        complain(f"no answer within {ANSWER_WITHIN_S:g} s from {', '.join(silent)}")
    stuck = [a for a, h in answers.items() if isinstance(h, Health) and h.gauges.get("stuck", 0)]
    if stuck:
        complain(f"orders that nobody can speak for: {', '.join(stuck)}")
    return FAILED if silent or stuck else DONE


def _described(deployment: Deployment, actor: str, answer: Message | None) -> dict[str, object]:
    said: dict[str, object] = {"actor": actor, "process": deployment.process_of[actor]}
    if not isinstance(answer, Health):
        return said | {"answered": False, "ready": False}
    return said | {
        "answered": True,
        "ready": answer.ready,
        "epoch": answer.epoch,
        "counters": answer.counters,
        "gauges": answer.gauges,
        "notes": answer.notes,
    }


def _show(deployment: Deployment, answers: Mapping[str, Message | None]) -> None:
    rows = []
    for actor, answer in answers.items():
        if isinstance(answer, Health):
            gauges = " ".join(
                f"{name} {answer.gauges[name]}" for name in KEY_GAUGES if answer.gauges.get(name) is not None
            )
            notes = "; ".join(printable(note) for note in answer.notes)
            rows.append((actor, deployment.process_of[actor], "yes" if answer.ready else "NO", gauges, notes))
        else:
            rows.append((actor, deployment.process_of[actor], "-", "", "no answer"))
    drawn = terminal.table(deployment.name, ("actor", "process", "ready", "gauges", "notes"), rows)
    terminal.console().print(drawn)
