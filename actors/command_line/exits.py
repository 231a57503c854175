"""How commands end: the exit codes that scripts rely on, and the one line that says why."""

import sys
from typing import Final

DONE: Final = 0
FAILED: Final = 1  # refused, rejected, not answered in time, left unknown, not running
USAGE: Final = 2  # bad usage, or a bad deployment file
INTERRUPTED: Final = 130


class WorkFailed(Exception):
    """The command could not do its work; the text is the one line that says why."""


def complain(text: str) -> None:
    """One line on stderr, whatever the text holds; a closed stderr is nobody's error."""
    line = " ".join(text.split())
    try:
        print(f"orderwire: {line}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return
