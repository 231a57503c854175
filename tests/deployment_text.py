"""A small good deployment as text, for tests that break one thing in it or look at what it became."""

from pathlib import Path

import pytest

from pipeline.deployment import ConfigError, Deployment
from pipeline.deployment_file import parse

PAPER = """
name = "paper"
run_dir = "run"
state_dir = "state"

[processes]
front = ["router", "merger"]
desk = ["executor.*", "reconnector.*"]
venues = ["exchange.*"]

[edges]
heartbeat_ms = 100

[exchanges.alpha]
venue = "alpha_spot"
client = "simulated"
options = { region = ["eu", "us"], account = { desk = 7 } }

[exchanges.alpha.timing]
expires_ms = 5_000

[exchanges.alpha.backoff]
initial_ms = 125

[exchanges.alpha.assets]
btc = "XBT"

[[exchanges.alpha.instruments]]
name = "btc_usd"
symbol = "XBTUSD"
base = "btc"
quote = "usd"
price_step = "0.1"
quantity_step = "0.00000001"

[[exchanges.alpha.instruments]]
name = "eth_usd"
symbol = "ETHUSD"
base = "eth"
quote = "usd"
price_step = "0.01"
quantity_step = "0.0001"

[exchanges.beta]
venue = "beta_spot"
client = "instant"

[[exchanges.beta.instruments]]
name = "btc_usd"
symbol = "BTC-USD"
base = "btc"
quote = "usd"
price_step = 1
quantity_step = "0.5"
"""


def paper(old: str = "", new: str = "", base_dir: Path = Path("/srv/desk")) -> Deployment:
    """The deployment, with every `old` in its text become `new`. Raises ConfigError."""
    assert old in PAPER, f"{old!r} is not in the text"
    return parse(PAPER.replace(old, new) if old else PAPER, Path("desk.toml"), base_dir)


def refusal(old: str, new: str) -> str:
    """The line that refuses the deployment so broken."""
    with pytest.raises(ConfigError) as raised:
        paper(old, new)
    return str(raised.value)
