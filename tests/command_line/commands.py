"""Runs `orderwire` in processes of its own on a copy of a shipped deployment; every wait has a bound."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDERWIRE = [sys.executable, "-m", "actors.command_line"]
WITHIN_S = 15.0


def deployment(folder: Path, name: str = "split") -> Path:
    """A shipped deployment file, with its directories in `folder`."""
    text = (ROOT / "config" / f"{name}.toml").read_text()
    path = folder / f"{name}.toml"
    path.write_text(text.replace(f"../run/{name}", "run").replace(f"../state/{name}", "state"))
    return path


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def orderwire(*arguments: object, within_s: float = WITHIN_S) -> "subprocess.CompletedProcess[str]":
    """One command, to its end, from a directory that is nobody's."""
    return subprocess.run(
        [*ORDERWIRE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=within_s,
        env=environment(),
        cwd="/",
    )


def events(result: "subprocess.CompletedProcess[str]") -> list[dict[str, object]]:
    """What a command printed with --json."""
    return [json.loads(line) for line in result.stdout.splitlines()]


class Running:
    """A command that goes on; what it has printed so far is in `text`."""

    def __init__(self, *arguments: object, **variables: str) -> None:
        self.text = ""
        self.process = subprocess.Popen(
            [*ORDERWIRE, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment() | variables,
            cwd="/",
        )

    def wait_for(self, wanted: str) -> None:
        """Until it has printed that. AssertionError when it ends or takes too long."""
        give_up_s = time.monotonic() + WITHIN_S
        while wanted not in self.text:
            assert self._read(give_up_s - time.monotonic()), f"no {wanted!r} in:\n{self.text}"

    def forget(self) -> None:
        """What was printed so far is not waited for again."""
        self.text = ""

    def _read(self, within_s: float) -> bool:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        if within_s <= 0 or not select.select([descriptor], [], [], within_s)[0]:
            return False
        chunk = os.read(descriptor, 65_536)
        self.text += chunk.decode()
        return bool(chunk)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        give_up_s = time.monotonic() + WITHIN_S
        while self._read(give_up_s - time.monotonic()):
            pass
        return self.process.wait(max(0.1, give_up_s - time.monotonic()))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.end()

    def children(self) -> dict[str, int]:
        """process name -> pid."""
        found = {}
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in map(int, listed.split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found[words[-2]] = pid
        return found


def gone(pids: Sequence[int]) -> bool:
    """Whether all of these processes end in time."""
    give_up_s = time.monotonic() + WITHIN_S
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([descriptor], [], [], max(0.0, give_up_s - time.monotonic()))[0]:
                return False
        finally:
            os.close(descriptor)
    return True


def one_complaint(stderr: str) -> str:
    """The one line on stderr. AssertionError for none, for several, and for a traceback."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert re.match(r"orderwire: \S", lines[0]), stderr
    return lines[0]
