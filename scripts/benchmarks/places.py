"""The deployments that are measured, and the directories that they live in for the length of one run."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent
BENCHMARKS_DIR = ROOT / "state" / "bench"  # a disk: a temporary directory may be memory, which is refused

HEAD = """\
name = "bench"
run_dir = "{run_dir}"
state_dir = "{state_dir}"
durability = "{durability}"

[processes]
{processes}
"""
# Limits that a load of a thousand outstanding orders does not meet, and no periodic work beside it.
EXCHANGE = """
[exchanges.{name}]
venue = "{name}"
client = "{client}"
{options}
timing = {{ request_timeout_ms = 60_000, expires_ms = 60_000, reconcile_every_ms = 86_400_000 }}
limits = {{ in_flight = 1_000_000, open_orders = 1_000_000 }}

[[exchanges.{name}.instruments]]
name = "btc_usdt"
symbol = "BTCUSDT"
base = "btc"
quote = "usdt"
price_step = "0.01"
quantity_step = "0.00001"
quantity_min = "0.00001"
notional_min = "5"
"""
SIMULATION = """
[exchanges.{name}.simulation]
seed = 1
maker_fee = "0.001"
taker_fee = "0.001"
balances = {{ btc = "1000000", usdt = "1000000000000" }}
market = {market}
"""
SYNTHETIC = '{ model = "synthetic", prices = { btc_usdt = "60000" } }'


def exchange_name(number: int) -> str:
    return f"x{number}"


class Places:
    """Directories for sockets and journals, both gone at the end."""

    def __init__(self) -> None:
        self._short = Path(tempfile.mkdtemp(prefix="ow-"))  # a socket's path has to be short
        BENCHMARKS_DIR.mkdir(parents=True, exist_ok=True)
        self._disk = Path(tempfile.mkdtemp(dir=BENCHMARKS_DIR))
        self.run_dir = self._short / "run"
        self.state_dir = self._disk / "state"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._short, ignore_errors=True)
        shutil.rmtree(self._disk, ignore_errors=True)

    def deployment(
        self,
        *,
        durability: str = "process",
        exchanges: int = 1,
        client: str = "instant",
        answer: str = "open",
        market: str = SYNTHETIC,
        split: bool = False,
    ) -> Path:
        """Write a deployment file and return its path."""
        names = [exchange_name(number) for number in range(exchanges)]
        if split:
            own = [f'{name} = ["executor.{name}", "reconnector.{name}"]' for name in names]
            processes = "\n".join(['front = ["router", "merger"]', *own])
        else:
            processes = 'all = ["*"]'
        text = HEAD.format(
            run_dir=self.run_dir, state_dir=self.state_dir, durability=durability, processes=processes
        )
        simulated = client == "simulated"
        options = "" if simulated else f'options = {{ answer = "{answer}" }}'
        for name in names:
            text += EXCHANGE.format(name=name, client=client, options=options)
            if simulated:
                text += SIMULATION.format(name=name, market=market)
        path = self._disk / "bench.toml"
        path.write_text(text)
        return path
