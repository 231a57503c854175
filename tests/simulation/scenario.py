"""What happens in one run, drawn from a seed before it begins: terms, requests, the market, and faults.

A plan is plain data, so that a run can be had again with some of its steps left out. A cancel names the step
of its open, not the order; what a step needs and does not find it passes over.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, NamedTuple

EXCHANGES: Final = ("alpha", "beta")
ENGINES: Final = ("mm", "arb")
SYMBOLS: Final = ("BTCUSD", "ETHUSD")
PLACEMENTS: Final = ("apart", "split", "colocated")
FAULTS: Final = (
    "kill", "fuse", "stop", "term", "all", "reset", "journal", "engine", "venue", "disconnect", "step",
    "narrow",
)  # fmt: skip


class Step(NamedTuple):
    """Something that happens at a time; `number` is its own, whatever is left out around it."""

    at_ms: int
    number: int
    what: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """One run. `latency_ms` is a link's longest delay, `turn_ms` the longest time that a turn costs."""

    seed: int
    placement: str = "apart"
    exchanges: tuple[str, ...] = EXCHANGES[:1]
    latency_ms: float = 1.0
    turn_ms: float = 0.0
    call_ms: float = 2.0
    edges: dict[str, int] = field(default_factory=dict)
    active_ms: int = 4_000
    steps: tuple[Step, ...] = ()

    def keeping(self, steps: tuple[Step, ...]) -> "Plan":
        return replace(self, steps=steps)


def draw(seed: int, faults: tuple[str, ...] = FAULTS) -> Plan:
    """The plan of a seed. Each seed uses some of the kinds of faults, so that some are seen undisturbed."""
    random = Random(f"plan {seed}")
    often = random.choice((0.1, 0.3, 0.6))
    used = tuple(kind for kind in faults if random.random() < often)
    exchanges = EXCHANGES[: random.choice((1, 1, 2))]
    edges = {"batch_limit": random.choice((1, 4, 256))}
    if "narrow" in used:
        edges |= {"requests_hwm": random.choice((2, 8)), "events_hwm": random.choice((2, 16))}
        edges |= {"feed_hwm": random.choice((4, 32)), "outbox_limit": random.choice((40, 200))}
    plan = Plan(
        seed,
        random.choice(PLACEMENTS),
        exchanges,
        random.choice((0.1, 1.0, 20.0)),
        random.choice((0.0, 0.0, 1.0)),
        random.choice((0.0, 2.0, 60.0, 600.0)),
        edges,
        random.choice((3_000, 6_000, 10_000)),
    )
    struck = [step for kind in used for step in _faults(random, plan, kind)]
    made = (
        struck
        + _ambushes(random, plan, struck)
        + _requests(random, plan, struck)
        + _market(random, plan, struck)
    )
    made.sort(key=lambda step: (step.at_ms, step.number))
    return plan.keeping(tuple(made))


def _requests(random: Random, plan: Plan, struck: list[Step]) -> list[Step]:
    """Half of them anywhere, half of them around a fault."""
    steps: list[Step] = []
    opens: list[int] = []
    for number in range(random.randint(5, 120)):
        at_ms = random.randint(300, plan.active_ms)
        if struck and random.random() < 0.5:
            at_ms = max(
                300,
                random.choice(struck).at_ms
                + random.choice((random.randint(-40, 3), random.randint(-300, 300))),
            )
        engine = random.choice(ENGINES)
        exchange = random.choice(plan.exchanges)
        drawn = random.random()
        if drawn < 0.6 or not opens:
            opens.append(number)
            steps.append(Step(at_ms, number, "open", (engine, exchange, *_terms(random))))
        elif drawn < 0.95:
            opened = random.choice(opens)
            later_ms = steps[opened].at_ms + random.choice((0, 1, 5, 50, 500, 3_000))
            steps.append(Step(later_ms, number, "cancel", (engine, opened)))
        else:
            scope = random.choice(("session", "engine", "all"))
            steps.append(Step(at_ms, number, "cancel_all", (engine, exchange, scope)))
    return steps


def _ambushes(random: Random, plan: Plan, struck: list[Step]) -> list[Step]:
    """Opens that are on their way when something is about to strike."""
    return [
        Step(
            max(300, step.at_ms - random.randint(0, 20)),
            4_000 + at,
            "open",
            (random.choice(ENGINES), random.choice(plan.exchanges), *_terms(random)),
        )
        for at, step in enumerate(struck)
        if step.what != "venue" and random.random() < 0.6
    ]


def _terms(random: Random) -> tuple[Any, ...]:
    """Instrument, side, quantity, price, time in force, post-only, cid, expiry: prices stand around 100."""
    price = random.choice((None, "90.00", "95.00", "99.00", "99.99", "100.01", "101.00", "110.00"))
    tif = random.choice(("gtc", "gtc", "gtc", "day", "ioc", "fok"))
    post_only = price is not None and tif in ("gtc", "day") and random.random() < 0.1
    cid = random.choice(("own-1", "own-2", "own-3")) if random.random() < 0.05 else ""
    expires_ms = random.choice((1_000, 1_000, 300, 20))
    side, quantity = random.choice(("buy", "sell")), random.choice(("0.5", "1", "3", "250"))
    return random.choice((0, 1)), side, quantity, price, tif, post_only, cid, expires_ms


def _market(random: Random, plan: Plan, struck: list[Step]) -> list[Step]:
    """Trades of the market, which fill what rests."""
    steps = []
    for number in range(1_000, 1_000 + random.randint(0, 40)):
        price = random.choice(("89.00", "95.00", "99.00", "101.00", "111.00"))
        exchange, symbol = random.choice(plan.exchanges), random.choice(SYMBOLS)
        args = (exchange, symbol, price, random.choice(("0.3", "2", "400")), random.choice((0, 1)))
        at_ms = random.randint(300, plan.active_ms)
        if struck and random.random() < 0.5:
            at_ms = max(300, random.choice(struck).at_ms + random.randint(1, 400))
        steps.append(Step(at_ms, number, "trade", args))
    return steps


def _faults(random: Random, plan: Plan, kind: str) -> list[Step]:
    first = 2_000 + 100 * FAULTS.index(kind)
    steps = []
    most = 4 if kind == "venue" else 1
    few = [_venue_fault(random) for _ in range(random.choice((1, 2, 6)))]  # some faults hide others
    for number in range(first, first + most * random.choice((1, 2, 4))):
        args = _fault(random, plan, kind, few)
        if args is not None:
            steps.append(Step(random.randint(100, plan.active_ms), number, kind, args))
    return steps


def _fault(random: Random, plan: Plan, kind: str, few: list[tuple[str, ...]]) -> tuple[Any, ...] | None:
    exchange = random.choice(plan.exchanges)
    actors = ["router", "merger", f"executor.{exchange}", f"executor.{exchange}", f"reconnector.{exchange}"]
    actor = random.choice(actors)
    if random.random() < 0.1:
        actor = f"exchange.{exchange}"
    pause_ms = random.choice((1, 20, 150, 1_500))
    if kind in ("kill", "term", "stop"):
        return actor, pause_ms
    if kind == "fuse":
        return actor, random.choice((1, 2, 3, 5, 8, 13, 30, 80, 200)), pause_ms
    if kind == "all":
        return (pause_ms,)
    if kind == "reset":
        return (random.choice((1, 3, 10)),)
    if kind == "journal":
        return random.choice(("merger", f"executor.{exchange}")), random.choice(("full", "unheeded"))
    if kind == "engine":
        return random.choice(ENGINES), pause_ms
    if kind == "venue":
        return exchange, *random.choice(few)
    if kind == "disconnect":
        return exchange, "disconnect"
    if kind == "step":
        # The clock of an exchange in our own process is ours: it does not go back.
        ahead_ms, back_ms = random.choice((700, 3_600_000)), random.choice((-3_600_000, -2_000))
        return (ahead_ms if plan.placement == "colocated" or random.random() < 0.5 else back_ms,)
    return None


def _venue_fault(random: Random) -> tuple[str, ...]:
    """Half of them leave an order or a fill in doubt, or hide it."""
    count = str(random.choice((1, 3, 10)))
    call = random.choice(("any", "open", "cancel"))
    item = random.choice(("trade", "order", "balance", "any"))
    unclear = (
        ("accept_then_no_reply", count, call),
        ("error_after_accept", count, call),
        ("drop_before_accept", count, call),
        ("late_reply", str(random.choice((600, 1_400, 3_000))), count, call),
    )
    hidden = (
        ("drop_stream_frame", item, count),
        ("cut_snapshot", random.choice(("0", "1", "3"))),
        ("stale_snapshot", "500"),
        ("reorder", count),
        ("silence", "1500"),
    )
    rude = (
        ("delay", str(random.choice((50, 400, 1_200))), count),
        ("duplicate_reply", count),
        ("replay_trades", "5"),
        ("flap", "80"),
        ("rate_limit", random.choice(("1", "5"))),
        ("clock_skew", random.choice(("-400", "400"))),
        ("end_day",),
    )
    return random.choice(random.choice((unclear, hidden, rude)))
