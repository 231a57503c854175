"""The deployment of the pipeline in memory: exchanges of two instruments each, on terms of a test's own."""

from pathlib import Path
from typing import Any

from pipeline.deployment import Deployment
from pipeline.deployment_file import parse

_INSTRUMENTS = """
[[exchanges.{name}.instruments]]
name = "btc_usd"
symbol = "BTCUSD"
base = "btc"
quote = "usd"
price_step = "0.01"
quantity_step = "0.001"

[[exchanges.{name}.instruments]]
name = "eth_usd"
symbol = "ETHUSD"
base = "eth"
quote = "usd"
price_step = "0.01"
quantity_step = "0.001"
"""


def deployment(
    folder: Path,
    exchanges: tuple[str, ...] = ("alpha",),
    durability: str = "process",
    **tables: dict[str, Any],
) -> Deployment:
    """Exchanges of two instruments each; `timing`, `limits`, `backoff`, `edges` change their terms."""
    lines = ['name = "desk"', 'run_dir = "run"', 'state_dir = "state"', f'durability = "{durability}"']
    lines += ["testing = true", "[processes]", 'all = ["*"]', "[edges]"]
    lines += [f"{key} = {value}" for key, value in tables.get("edges", {}).items()]
    for name in exchanges:
        lines += [f"[exchanges.{name}]", f'venue = "{name}"', 'client = "scripted"']
        for table in ("timing", "backoff", "limits"):
            lines.append(f"[exchanges.{name}.{table}]")
            lines += [f"{key} = {value}" for key, value in tables.get(table, {}).items()]
        lines.append(_INSTRUMENTS.format(name=name))
    return parse("\n".join(lines), folder / "desk.toml", folder)
