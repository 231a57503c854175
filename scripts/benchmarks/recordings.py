"""Recorded market data, looped, with a strategy of a hundred orders a second of the market's time.

Half of its orders take what the book shows, half rest out of reach until they are cancelled. A speed counts
as reached when neither the market nor the strategy has fallen behind it.
"""

import asyncio
import json
from collections import deque
from pathlib import Path
from time import perf_counter_ns

from orderwire import Engine, Host, load
from scripts.benchmarks.figures import KIB, Result, resident_bytes
from scripts.benchmarks.places import Places, exchange_name

ORDERS_S = 100
FILE = "binance_spot_btcusdt_20240808.gz"
OUTSTANDING_LIMIT = 2_000
RESTING = 200
TAKING_PRICES = {"buy": "90000", "sell": "30000"}  # far through the book: filled at what it shows
RESTING_PRICE = "30000"
QUANTITY = "0.00100"
PACE_S = 0.002
KEPT_UP = 0.98


class Strategy:
    """Sends what the market's time asks for; reads everything."""

    def __init__(self, engine: Engine, speed: float) -> None:
        self._engine = engine
        self._rate = ORDERS_S * speed
        self.sent = 0
        self.answered = 0
        self._resting: deque[str] = deque()

    async def run(self, seconds: float) -> None:
        started_ns = perf_counter_ns()
        while (elapsed_s := (perf_counter_ns() - started_ns) / 1e9) < seconds:
            due = int(elapsed_s * self._rate)
            while self.sent < due and self._engine.outstanding < OUTSTANDING_LIMIT:
                self._send()
            self._read()
            await asyncio.sleep(PACE_S)
        self._read()

    def _send(self) -> None:
        self.sent += 1
        side = "buy" if self.sent % 4 < 2 else "sell"
        if self.sent % 2:
            self._open(side, TAKING_PRICES[side], "ioc")
        else:
            self._resting.append(self._open("buy", RESTING_PRICE, "gtc"))
            if len(self._resting) > RESTING:
                self._engine.cancel(self._resting.popleft())

    def _open(self, side: str, price: str, time_in_force: str) -> str:
        return self._engine.open(
            exchange_name(0),
            "btc_usdt",
            side=side,
            quantity=QUANTITY,
            price=price,
            time_in_force=time_in_force,
        )

    def _read(self) -> None:
        for event in self._engine.poll():
            self.answered += event.answers is not None


async def measure(folder: str, speed: float, seconds: float, places: Places) -> Result:
    files = f"{{ btc_usdt = {json.dumps(str(Path(folder) / FILE))} }}"
    market = f'{{ model = "recordings", loop = true, speed = {float(speed)}, files = {files} }}'
    deployment = load(places.deployment(client="simulated", market=market))
    async with Host(deployment) as host:
        engine = host.engine("mm-1")
        await engine.ready()
        warm_up = Strategy(engine, speed)
        await warm_up.run(seconds / 4)
        before = resident_bytes()
        strategy = Strategy(engine, speed)
        started_ns = perf_counter_ns()
        await strategy.run(seconds)
        elapsed_s = (perf_counter_ns() - started_ns) / 1e9
        behind_s = _behind_s(host)
        grown = resident_bytes() - before
        engine.close()
    sent_share = strategy.sent / (ORDERS_S * speed * elapsed_s)
    market_share = max(0.0, 1 - max(0.0, behind_s) / elapsed_s)
    share = min(sent_share, market_share)
    return {
        "orders": strategy.sent,
        "orders_s": strategy.sent / elapsed_s,
        "kept_up": share >= KEPT_UP,
        "multiple": speed if share >= KEPT_UP else speed * share,
        "market_minutes": speed * elapsed_s / 60,
        "grown_mib": grown / KIB / KIB,
    }


def _behind_s(host: Host) -> float:
    """How late the market is, in seconds of the clock on the wall."""
    exchange = host.inner.station(f"exchange.{exchange_name(0)}").actor
    due_ns = exchange.market.next_ns()  # type: ignore[attr-defined]
    return 0.0 if due_ns is None else float(host.inner.clock.now_ns() - due_ns) / 1e9
