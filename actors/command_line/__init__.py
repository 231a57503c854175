"""The command line: what `orderwire` does with what a person or a script types.

Every command ends with 0 (done), 1 (the work failed) or 2 (bad usage or deployment file), and one line
on stderr for 1 and 2. No traceback reaches a user unless ORDERWIRE_DEBUG is set. Modules that cost time
are imported by the command that needs them.
"""

import os
import sys
from collections.abc import Sequence
from types import TracebackType

from actors.command_line.exits import FAILED, INTERRUPTED, USAGE, WorkFailed, complain

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    if not os.environ.get("ORDERWIRE_DEBUG"):
        sys.excepthook = _one_line
    _fill_closed_descriptors()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has gone: nothing can be said there any more, at the end neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _fill_closed_descriptors() -> None:
    """Where stdin, stdout or stderr is closed, a socket would get its number: something harmless takes it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _run(arguments: list[str]) -> int:
    import click

    from actors.command_line.commands import orderwire
    from pipeline.deployment import ConfigError

    try:
        code = orderwire.main(arguments or ["--help"], prog_name="orderwire", standalone_mode=False)
        return int(code or 0) if arguments else USAGE
    except click.ClickException as error:
        complain(error.format_message())
        return USAGE
    except click.exceptions.Abort:
        return INTERRUPTED
    except ConfigError as error:
        complain(str(error))
        return USAGE
    except WorkFailed as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"{error.filename or 'output'}: {error.strerror or error}")
        return FAILED


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What the interpreter says of an error that nobody expected."""
    complain(f"a bug: {kind.__name__}: {error} (set ORDERWIRE_DEBUG=1 to see where, and report it)")
