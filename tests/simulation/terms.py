"""The deployment file of a plan: quick timeouts, a market that stands still but for the plan's own trades."""

from pathlib import Path
from typing import Final

from pipeline.deployment import Deployment
from pipeline.deployment_file import parse
from tests.simulation.scenario import Plan

EDGES: Final = {"heartbeat_ms": 100, "feed_stale_ms": 400, "resend_after_ms": 150, "stop_within_ms": 500}
TIMING: Final = {
    "request_timeout_ms": 500, "expires_ms": 1_000, "expires_limit_ms": 5_000, "call_lifetime_ms": 700,
    "query_every_ms": 40, "reconcile_every_ms": 2_000, "stuck_after_ms": 3_000, "stream_silence_ms": 900,
    "trade_overlap_ms": 500,
}  # fmt: skip
BACKOFF: Final = {"initial_ms": 10, "multiplier": 2.0, "max_ms": 300, "healthy_ms": 500}
_EXCHANGE: Final = """
[exchanges.{name}]
venue = "{name}"
client = "simulated"
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
[exchanges.{name}.simulation]
seed = {seed}
maker_fee = "0.001"
taker_fee = "0.002"
latency_ms = {{ min = 0, max = {call_ms} }}
stream_latency_ms = {{ min = 0, max = {call_ms} }}
balances = {{ btc = "300", eth = "300", usd = "100000" }}
market = {{ model = "synthetic", step_ms = 60000, volatility = 0.0, trade_every_ms = 0, depth = 3 }}
"""


def deployment(plan: Plan, folder: Path) -> Deployment:
    """The plan's deployment file, read."""
    processes = {"colocated": 'all = ["*"]', "split": 'front = ["router", "merger"]\n'}
    text = processes.get(plan.placement, "")
    if plan.placement == "apart":
        text = 'router = ["router"]\nmerger = ["merger"]\n'
    for name in plan.exchanges:
        own = (f"executor.{name}", f"reconnector.{name}", f"exchange.{name}")
        if plan.placement == "split":
            text += f'{name} = ["{own[0]}", "{own[1]}"]\nvenue_{name} = ["{own[2]}"]\n'
        elif plan.placement == "apart":
            text += "".join(f'{actor.replace(".", "_")} = ["{actor}"]\n' for actor in own)
    lines = ['name = "sim"', 'run_dir = "run"', 'state_dir = "state"', "testing = true"]
    lines += ["[processes]", text, "[edges]"]
    lines += [f"{key} = {value}" for key, value in (EDGES | plan.edges).items()]
    for at, name in enumerate(plan.exchanges):
        lines.append(_EXCHANGE.format(name=name, seed=plan.seed * 10 + at, call_ms=plan.call_ms))
        for table, values in (("timing", TIMING), ("backoff", BACKOFF)):
            lines.append(f"[exchanges.{name}.{table}]")
            lines += [f"{key} = {value}" for key, value in values.items()]
    return parse("\n".join(lines), folder / "sim.toml", folder)
