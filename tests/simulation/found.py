"""Plans that once violated something, shrunk, each with what it found.

They are kept as plans, since a seed means another run whenever scenario.py draws otherwise.
"""

from typing import Final

from tests.simulation.scenario import Plan, Step

FOUND: Final = [
    (
        Plan(
            seed=67,
            placement="split",
            exchanges=("alpha", "beta"),
            latency_ms=0.1,
            turn_ms=1.0,
            call_ms=600.0,
            edges={"batch_limit": 4, "requests_hwm": 2, "events_hwm": 2, "feed_hwm": 4, "outbox_limit": 200},
            active_ms=3000,
            steps=(
                Step(
                    at_ms=1864,
                    number=7,
                    what="open",
                    args=("arb", "alpha", 1, "buy", "250", "110.00", "ioc", False, "", 1000),
                ),
                Step(at_ms=2330, number=3000, what="step", args=(-3600000,)),
                Step(at_ms=2436, number=2300, what="term", args=("executor.alpha", 1)),
            ),
        ),
        "A reconnector that began anew after the clock was stepped back: its stamp was the older one.",
    ),
    (
        Plan(
            seed=358,
            placement="apart",
            exchanges=("alpha",),
            latency_ms=1.0,
            turn_ms=0.0,
            call_ms=2.0,
            edges={"batch_limit": 1, "requests_hwm": 8, "events_hwm": 2, "feed_hwm": 4, "outbox_limit": 40},
            active_ms=3000,
            steps=(
                Step(at_ms=2809, number=2101, what="fuse", args=("executor.alpha", 3, 150)),
                Step(
                    at_ms=2996,
                    number=69,
                    what="open",
                    args=("arb", "alpha", 0, "buy", "1", "110.00", "gtc", False, "", 300),
                ),
                Step(at_ms=2996, number=3000, what="step", args=(-3600000,)),
            ),
        ),
        "An order found sending after the clock was stepped back: Unknown until the clock caught up.",
    ),
    (
        Plan(
            seed=1737,
            placement="colocated",
            exchanges=("alpha",),
            latency_ms=0.1,
            turn_ms=0.0,
            call_ms=600.0,
            edges={"batch_limit": 4, "requests_hwm": 8, "events_hwm": 16, "feed_hwm": 4, "outbox_limit": 200},
            active_ms=10000,
            steps=(
                Step(at_ms=582, number=2815, what="venue", args=("alpha", "drop_stream_frame", "any", "10")),
                Step(
                    at_ms=671,
                    number=35,
                    what="open",
                    args=("mm", "alpha", 0, "sell", "1", "90.00", "gtc", False, "", 1000),
                ),
                Step(
                    at_ms=984,
                    number=74,
                    what="open",
                    args=("mm", "alpha", 0, "sell", "250", None, "gtc", False, "", 1000),
                ),
                Step(
                    at_ms=1132,
                    number=22,
                    what="open",
                    args=("mm", "alpha", 0, "buy", "3", "90.00", "gtc", False, "own-2", 20),
                ),
                Step(
                    at_ms=1250,
                    number=99,
                    what="open",
                    args=("mm", "alpha", 1, "sell", "0.5", "99.99", "fok", False, "", 1000),
                ),
                Step(at_ms=3140, number=2000, what="kill", args=("executor.alpha", 1)),
                Step(
                    at_ms=5238,
                    number=39,
                    what="open",
                    args=("arb", "alpha", 0, "buy", "3", "110.00", "gtc", False, "", 1000),
                ),
            ),
        ),
        "A trade that the stream hid, then a new reconnector: it asked for trades from too late on.",
    ),
    (
        Plan(
            seed=1636,
            placement="split",
            exchanges=("alpha",),
            latency_ms=1.0,
            turn_ms=0.0,
            call_ms=2.0,
            edges={"batch_limit": 256, "requests_hwm": 2, "events_hwm": 2, "feed_hwm": 4, "outbox_limit": 40},
            active_ms=10000,
            steps=(
                Step(
                    at_ms=2023,
                    number=67,
                    what="open",
                    args=("mm", "alpha", 1, "sell", "0.5", "99.99", "day", False, "", 20),
                ),
                Step(
                    at_ms=2130,
                    number=39,
                    what="open",
                    args=("mm", "alpha", 1, "buy", "3", "100.01", "day", True, "", 1000),
                ),
                Step(at_ms=2131, number=40, what="cancel", args=("mm", 39)),
                Step(
                    at_ms=3084,
                    number=26,
                    what="open",
                    args=("mm", "alpha", 0, "buy", "3", "110.00", "gtc", False, "", 1000),
                ),
                Step(
                    at_ms=3115,
                    number=22,
                    what="open",
                    args=("mm", "alpha", 0, "sell", "3", "95.00", "gtc", False, "", 300),
                ),
                Step(at_ms=3120, number=41, what="cancel", args=("arb", 22)),
                Step(
                    at_ms=3204,
                    number=38,
                    what="open",
                    args=("mm", "alpha", 1, "buy", "250", "95.00", "fok", False, "", 20),
                ),
                Step(
                    at_ms=3434,
                    number=56,
                    what="open",
                    args=("arb", "alpha", 1, "sell", "1", None, "gtc", False, "", 1000),
                ),
                Step(
                    at_ms=3495,
                    number=28,
                    what="open",
                    args=("arb", "alpha", 0, "buy", "1", "99.99", "day", True, "", 1000),
                ),
                Step(
                    at_ms=3567, number=2805, what="venue", args=("alpha", "drop_stream_frame", "balance", "1")
                ),
                Step(
                    at_ms=3571,
                    number=30,
                    what="open",
                    args=("arb", "alpha", 0, "sell", "250", None, "ioc", False, "", 300),
                ),
                Step(at_ms=3705, number=2812, what="venue", args=("alpha", "end_day")),
                Step(
                    at_ms=4003, number=2801, what="venue", args=("alpha", "accept_then_no_reply", "10", "any")
                ),
                Step(
                    at_ms=4462,
                    number=15,
                    what="open",
                    args=("mm", "alpha", 0, "buy", "250", "99.00", "gtc", True, "", 20),
                ),
                Step(
                    at_ms=4493,
                    number=61,
                    what="open",
                    args=("arb", "alpha", 0, "buy", "3", "110.00", "fok", False, "", 1000),
                ),
                Step(
                    at_ms=5087,
                    number=4,
                    what="open",
                    args=("mm", "alpha", 0, "sell", "3", "101.00", "gtc", False, "", 20),
                ),
                Step(at_ms=5137, number=7, what="cancel", args=("mm", 4)),
                Step(
                    at_ms=6593,
                    number=48,
                    what="open",
                    args=("arb", "alpha", 1, "sell", "250", "110.00", "gtc", True, "", 1000),
                ),
                Step(at_ms=6598, number=59, what="cancel", args=("arb", 48)),
                Step(
                    at_ms=6615,
                    number=52,
                    what="open",
                    args=("arb", "alpha", 0, "sell", "1", "101.00", "gtc", False, "", 300),
                ),
                Step(
                    at_ms=6617,
                    number=32,
                    what="open",
                    args=("mm", "alpha", 1, "sell", "3", "95.00", "day", False, "own-2", 1000),
                ),
                Step(at_ms=6623, number=2806, what="venue", args=("alpha", "silence", "1500")),
                Step(
                    at_ms=6865,
                    number=53,
                    what="open",
                    args=("mm", "alpha", 0, "buy", "3", "110.00", "fok", False, "", 1000),
                ),
                Step(at_ms=6866, number=75, what="cancel", args=("mm", 53)),
                Step(
                    at_ms=6885,
                    number=69,
                    what="open",
                    args=("mm", "alpha", 1, "buy", "0.5", "110.00", "day", False, "", 300),
                ),
                Step(
                    at_ms=6896,
                    number=8,
                    what="open",
                    args=("arb", "alpha", 1, "sell", "1", "101.00", "gtc", False, "", 1000),
                ),
                Step(at_ms=6897, number=9, what="cancel", args=("mm", 8)),
                Step(at_ms=6916, number=2400, what="all", args=(1500,)),
            ),
        ),
        "A snapshot repeated an order, then came an Unknown that had not read it: the feed kept the Unknown.",
    ),
    (
        Plan(
            seed=23816,
            placement="apart",
            exchanges=("alpha",),
            latency_ms=0.1,
            turn_ms=0.0,
            call_ms=600.0,
            edges={"batch_limit": 4},
            active_ms=10000,
            steps=(
                Step(
                    at_ms=565,
                    number=28,
                    what="open",
                    args=("arb", "alpha", 1, "buy", "3", "101.00", "fok", False, "", 300),
                ),
                Step(
                    at_ms=609,
                    number=20,
                    what="open",
                    args=("mm", "alpha", 1, "sell", "3", "100.01", "day", False, "", 300),
                ),
                Step(
                    at_ms=645,
                    number=56,
                    what="open",
                    args=("mm", "alpha", 1, "sell", "3", "100.01", "day", False, "own-2", 1000),
                ),
                Step(at_ms=941, number=1013, what="trade", args=("alpha", "ETHUSD", "101.00", "2", 0)),
                Step(
                    at_ms=1164,
                    number=26,
                    what="open",
                    args=("arb", "alpha", 1, "buy", "0.5", "110.00", "gtc", False, "", 20),
                ),
                Step(at_ms=1180, number=2003, what="kill", args=("reconnector.alpha", 1500)),
                Step(
                    at_ms=1195,
                    number=47,
                    what="open",
                    args=("arb", "alpha", 1, "sell", "0.5", "101.00", "fok", False, "", 300),
                ),
                Step(
                    at_ms=1405,
                    number=60,
                    what="open",
                    args=("arb", "alpha", 0, "sell", "1", "99.99", "gtc", False, "own-1", 1000),
                ),
                Step(at_ms=1647, number=37, what="cancel_all", args=("mm", "alpha", "session")),
                Step(at_ms=2020, number=2602, what="journal", args=("executor.alpha", "unheeded")),
            ),
        ),
        "A cancel was told that the order is cancelled already, not with how much filled: zero was guessed.",
    ),
]
