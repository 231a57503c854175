"""The deployment that tests put under siege, as text for each placement, and its processes.

Two simulated exchanges, `alpha` and `beta`. Processes are ended by the pid that was started, and by no other
means.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACEMENTS = ("inproc", "ipc", "split")  # "apart" is split with the merger in a process of its own
PROCESSES = {
    "inproc": 'all = ["*"]',
    "ipc": 'all = ["*"]',
    "split": """
front = ["router", "merger"]
alpha = ["executor.alpha", "reconnector.alpha"]
beta = ["executor.beta", "reconnector.beta"]
alpha_venue = ["exchange.alpha"]
beta_venue = ["exchange.beta"]
""",
}
PROCESSES["apart"] = PROCESSES["split"].replace('"router", "merger"', '"router"') + 'feed = ["merger"]\n'
HEAD = """
name = "siege"
run_dir = "{directory}/run"
state_dir = "{directory}/state"
testing = true
durability = "none"

[processes]
{processes}

[edges]
transport = "{transport}"
{edges}
"""
EXCHANGE = """
[exchanges.{name}]
venue = "{name}"
client = "{client}"
timing = {{ {timing} }}
limits = {{ {limits} }}
{options}

[[exchanges.{name}.instruments]]
name = "btc_usd"
symbol = "BTCUSD"
base = "btc"
quote = "usd"
price_step = "0.1"
quantity_step = "0.001"
quantity_min = "0.001"
notional_min = "0.5"

[[exchanges.{name}.instruments]]
name = "eth_usd"
symbol = "ETHUSD"
base = "eth"
quote = "usd"
price_step = "0.01"
quantity_step = "0.0001"
"""
# What the tests buy at 1000 rests.
SIMULATION = """
[exchanges.{name}.simulation]
market = {{ model = "synthetic", prices = {{ btc_usd = "60000", eth_usd = "2500" }} }}
"""


def deployment_text(
    directory: Path,
    placement: str,
    *,
    edges: str = "",
    timing: str = "",
    limits: str = "",
    client: str = "simulated",
    options: str = "",
) -> str:
    text = HEAD.format(
        directory=directory,
        processes=PROCESSES[placement],
        transport="ipc" if placement == "ipc" else "auto",
        edges=edges,
    )
    table = EXCHANGE + SIMULATION
    if client != "simulated":
        text = "\n".join(line for line in text.splitlines() if "_venue = [" not in line)
        table = EXCHANGE
    terms = {"client": client, "timing": timing, "limits": limits, "options": options}
    return text + "".join(table.format(name=name, **terms) for name in ("alpha", "beta"))


class Process:
    """One process of the deployment, run as the command line runs it."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.errors = path.with_name(f"{name}.stderr")
        with self.errors.open("wb") as errors:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "actors.command_line", "run", str(path), name],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def wait_ready(self) -> None:
        assert self.child.stdout is not None
        line = self.child.stdout.readline().decode()
        assert line == f"orderwire: {self.name} ready\n", (line, self.errors.read_text())

    def signal(self, number: int) -> None:
        os.kill(self.child.pid, number)

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        assert self.child.stdout is not None
        self.child.stdout.close()

    @property
    def peak_kib(self) -> int:
        """The most memory it ever held (proc(5): VmHWM)."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])
