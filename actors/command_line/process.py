"""`orderwire run CONFIG PROCESS`: the actors of one process, until a signal or the failure of one of them.

The line `orderwire: <process> ready` on stdout is what whoever started it waits for. What it says of itself
goes to stderr, one structured line each.
"""

import asyncio
import ctypes
import os
import signal
import sys
from typing import Final

from actors.assembly import maker
from actors.command_line import terminal
from actors.command_line.exits import DONE, WorkFailed
from actors.command_line.readiness import announce_ready, ready_line
from pipeline.deployment import ConfigError, Deployment
from pipeline.host import ActorFailed, Host
from pipeline.report import Say, to_stderr

SUPERVISOR: Final = "ORDERWIRE_SUPERVISOR"  # in a child's environment: the pid of who started it
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def check_process(deployment: Deployment, process: str) -> None:
    """Raises ConfigError when there is no such process."""
    if process not in deployment.processes:
        named = ", ".join(deployment.processes)
        raise ConfigError(f"{deployment.path}: processes: there is no {process!r}; name one of {named}")


async def run_process(deployment: Deployment, process: str, alone: bool = False) -> int:
    """Run until stopped; `alone`: it is the whole deployment. Raises ConfigError, WorkFailed."""
    check_process(deployment, process)
    end_with_supervisor()
    host = Host(deployment, process, maker(deployment), say=sayer(process))
    stop = asyncio.get_running_loop().create_future()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, _once, stop)
    try:
        await host.start()
        terminal.line(ready_line(process), flush=True)
        stop.add_done_callback(lambda _: host.request_stop())
        if alone:
            announcing = asyncio.ensure_future(announce_ready(deployment))
            stop.add_done_callback(lambda _: announcing.cancel())
        await host.wait()
    except ActorFailed as failed:
        raise WorkFailed(str(failed)) from failed
    finally:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
    return DONE


def _once(stop: "asyncio.Future[None]") -> None:
    if not stop.done():
        stop.set_result(None)


def end_with_supervisor() -> None:
    """Stop in an orderly way when the supervisor that started us is gone, however it ended."""
    supervisor = os.environ.pop(SUPERVISOR, "")
    if not supervisor:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(supervisor):  # it was gone before we asked
        os.kill(os.getpid(), signal.SIGTERM)


def sayer(process: str) -> Say:
    """What a host says of itself, as structured lines on stderr."""
    import structlog

    if sys.stderr is None:
        return to_stderr
    tty = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer()
        if tty
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log = structlog.get_logger().bind(process=process)

    def say(text: str) -> None:
        try:
            log.info(text)
        except (OSError, ValueError):
            return  # a full or closed stderr stops no trading

    return say
