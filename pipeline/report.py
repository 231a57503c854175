"""What a process says of itself on stderr: one line each, at edges only, no traceback unless asked for.

A full or closed stderr stops no trading.
"""

import os
import sys
import traceback
from collections.abc import Callable

Say = Callable[[str], None]


def to_stderr(line: str) -> None:
    try:
        print(f"orderwire: {line}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def tell(say: Say, text: str, error: BaseException) -> None:
    """One line about an error; its traceback as well where ORDERWIRE_DEBUG is set."""
    say(" ".join(f"{text}: {type(error).__name__}: {error}".split()))
    if os.environ.get("ORDERWIRE_DEBUG"):
        say("".join(traceback.format_exception(error)))
