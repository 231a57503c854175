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
from actors.command_line import hand_over, terminal
from actors.command_line.exits import DONE, FAILED, WorkFailed
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


def executors_of(deployment: Deployment, process: str) -> list[str]:
    return [actor for actor in deployment.processes[process] if actor.startswith(hand_over.EXECUTOR)]


async def run_process(
    deployment: Deployment, process: str, alone: bool = False, as_json: bool = False
) -> int:
    """Run until stopped; `alone`: it is the whole deployment. Raises ConfigError, WorkFailed."""
    check_process(deployment, process)
    supervised = end_with_supervisor()
    host = Host(deployment, process, maker(deployment), say=sayer(process))
    signals = _Signals(host, supervised)
    announcing: asyncio.Task[None] | None = None
    try:
        await host.start()
        terminal.line(ready_line(process), flush=True)
        if alone:
            announcing = asyncio.ensure_future(announce_ready(deployment))
        signals.ready(announcing)
        await host.wait()
    except ActorFailed as failed:
        raise WorkFailed(str(failed)) from failed
    finally:
        signals.close()
        if announcing is not None:
            announcing.cancel()
    if supervised:
        terminal.line(hand_over.told(host.hand_overs, host.stop_asked), flush=True)
        return FAILED if any(handed.unknown for handed in host.hand_overs.values()) else DONE
    return hand_over.report(executors_of(deployment, process), host.hand_overs, as_json)


class _Signals:
    """The first signal stops a process in order, a second one at once.

    A supervisor hurries its children by SIGINT: SIGTERM may come to them twice, once from whoever stops the
    whole group, and means the same both times.
    """

    def __init__(self, host: Host, supervised: bool) -> None:
        self._host = host
        self._supervised = supervised
        self._loop = asyncio.get_running_loop()
        self._started = False
        self._announcing: asyncio.Task[None] | None = None
        self._came: list[int] = []
        for number in STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)

    def ready(self, announcing: "asyncio.Task[None] | None") -> None:
        """The host has started: what came before holds now."""
        self._started, self._announcing = True, announcing
        self._pass_on()

    def close(self) -> None:
        for number in STOP_SIGNALS:
            self._loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        self._came.append(number)
        self._pass_on()

    def _pass_on(self) -> None:
        if not (self._started and self._came):
            return
        if self._announcing is not None:
            self._announcing.cancel()
        # In either order: of two signals that wait, the lower number is delivered first.
        if len(self._came) > 1 and (signal.SIGINT in self._came or not self._supervised):
            self._host.hurry()
        else:
            self._host.request_stop()


def end_with_supervisor() -> bool:
    """Stop in an orderly way when the supervisor that started us is gone, however it ended; whether there
    is one."""
    supervisor = os.environ.pop(SUPERVISOR, "")
    if not supervisor:
        return False
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(supervisor):  # it was gone before we asked
        os.kill(os.getpid(), signal.SIGTERM)
    return True


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
