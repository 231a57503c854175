"""A deployment that answers at once, in one process, for tests of what stands on a running pipeline."""

from orderwire import load

TEXT = """
name = "{name}"
run_dir = "run"
state_dir = "state"
durability = "{durability}"
testing = true

[edges]
transport = "{transport}"
heartbeat_ms = 20

[processes]
all = ["*"]

[exchanges.alpha]
venue = "alpha_spot"
client = "instant"
options = {{ answer = "open" }}

[[exchanges.alpha.instruments]]
name = "btc_usd"
symbol = "XBTUSD"
base = "btc"
quote = "usd"
price_step = "0.1"
quantity_step = "0.001"

[exchanges.beta]
venue = "beta_spot"
client = "instant"
options = {{ answer = "filled" }}

[[exchanges.beta.instruments]]
name = "btc_usd"
symbol = "BTC-USD"
base = "btc"
quote = "usd"
price_step = "0.1"
quantity_step = "0.001"
"""


def instant_venues(folder, transport="auto", durability="none"):
    """Orders rest on alpha until they are cancelled, and are filled on beta."""
    path = folder / "instant.toml"
    path.write_text(TEXT.format(name=folder.name, transport=transport, durability=durability))
    return load(path)
