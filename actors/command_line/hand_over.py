"""What a stopped deployment leaves: a line per executor for people, one JSON line for scripts.

A process under a supervisor tells it in a line of its own (`told`, `heard`). Something that is unknown, or an
executor that could not say what it left, makes the exit code 1.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from actors.command_line import terminal
from actors.command_line.exits import DONE, FAILED, complain
from pipeline.actor import HandOver

HANDED: Final = "orderwire: handed over "
EXECUTOR: Final = "executor."


def told(hand_overs: Mapping[str, HandOver], asked: str) -> str:
    """A process's word to its supervisor. `asked`: who asked it to stop on a control socket, or ""."""
    left = {actor: handed._asdict() for actor, handed in hand_overs.items()}
    return HANDED + json.dumps({"asked": asked, "left": left})


def heard(line: str) -> tuple[dict[str, HandOver], str] | None:
    """What `told` said; None for any other line."""
    if not line.startswith(HANDED):
        return None
    try:
        said = json.loads(line[len(HANDED) :])
        return {actor: HandOver(**left) for actor, left in said["left"].items()}, str(said["asked"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def report(executors: Iterable[str], hand_overs: Mapping[str, HandOver], as_json: bool) -> int:
    """Say what each executor left; the exit code that it makes."""
    rows, missing = [], []
    for actor in executors:
        handed = hand_overs.get(actor)
        if handed is None:
            missing.append(actor)
            continue
        rows.append({"exchange": actor.removeprefix(EXECUTOR), **handed._asdict()})
        if not as_json:
            words = f"{handed.settled} settled, {handed.left_open} left open, {handed.unknown} unknown"
            terminal.line(f"orderwire: {actor}: {words}")
    if as_json:
        absent = [actor.removeprefix(EXECUTOR) for actor in missing]
        terminal.line(json.dumps({"kind": "HandOver", "executors": rows, "missing": absent}))
    terminal.flush()
    unknown = [actor for actor, handed in hand_overs.items() if handed.unknown]
    if unknown:
        complain(f"left unknown, to be asked about at the next start: orders of {', '.join(unknown)}")
    if missing:
        complain(f"did not say what it left (its journal has it): {', '.join(missing)}")
    return FAILED if unknown or missing else DONE
