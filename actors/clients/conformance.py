"""The conformance suite: the contract of exchange clients, played against one.

Direct rows call the client; the others stand it in a whole pipeline in memory. A row is passed, failed or not
supported, always with a reason for the latter two. It trades on the account in hand, in the smallest sizes
that the instrument allows, cancels what it opened and sells what it bought; what it could not it says.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from actors.clients import conformance_account as account
from actors.clients import conformance_calls as calls
from actors.clients import conformance_gaps as gaps
from actors.clients import conformance_requests as requests
from actors.clients.conformance_pipeline import Pipeline
from actors.clients.conformance_stage import Stage
from actors.clients.conformance_tap import Tap
from actors.clients.conformance_terms import Terms, read_terms
from actors.clients.conformance_trader import Provoke, Trader
from actors.clients.conformance_words import Broken, NotSupported
from pipeline.client import ExecutionClient
from pipeline.deployment import Exchange
from pipeline.lane import attempt, attempt_now

Outcome = Literal["passed", "failed", "not supported"]

PATIENCES_A_ROW: Final = 12  # a row that takes longer than so many waits is stuck
BLOCKED_S: Final = 0.75  # a loop that nothing ran on for so long was blocked
_BEAT_S: Final = 0.02
_TIMEOUT_LEAST_MS: Final = 400
_TIMES_SLOWEST: Final = 5

# Name, row of the floor that it holds the client to (by its number; None: the client contract alone), how.
DIRECT: Final[list[tuple[str, int | None, Callable[[Trader], Awaitable[None]]]]] = [
    ("what the class declares", None, calls.declares),
    ("account stream begins when it returns", 11, account.stream_begins),
    ("open", 6, calls.opens),
    ("several orders at once", 5, calls.several_at_once),
    ("fill", 6, calls.fills),
    ("partial fill", 6, calls.fills_in_part),
    ("cancel", 7, calls.cancels),
    ("cancel of a filled order", 7, calls.cancel_of_a_filled_order),
    ("cancel of an unknown order", 7, calls.cancel_of_an_unknown_order),
    ("reject", 6, calls.rejects),
    ("post-only", 6, calls.post_only),
    ("immediate or cancel", 6, calls.immediate_or_cancel),
    ("fill or kill", 6, calls.fill_or_kill),
    ("account snapshot", 11, account.snapshot_shows),
    ("balances", None, account.balances),
    ("open orders", 9, account.open_orders),
    ("fetch_order tells three things apart", 9, account.one_order),
    ("fetch_trades since a time", 12, account.trades_since),
    ("trade identity", 12, account.trade_identity),
    ("orders never go back on the stream", 22, account.never_goes_back),
    ("account stream ends on a disconnect", 12, account.stream_ends),
    ("error after the exchange acted", 9, calls.error_after_it_acted),
    ("close", None, calls.closes),
]
STAGED: Final[list[tuple[str, int | None, Callable[[Stage], Awaitable[None]]]]] = [
    ("pipeline: a first connect that fails", 14, gaps.comes_into_step),
    ("pipeline: open, fill, cancel", 6, requests.answers_orders),
    ("pipeline: several in flight", 5, requests.several_in_flight),
    ("pipeline: None answers", 8, requests.left_to_the_stream),
    ("pipeline: timeout", 9, requests.times_out),
    ("pipeline: late answer", 10, requests.answers_late),
    ("pipeline: reconnect with fills in the gap", 12, gaps.reconnects),
    ("pipeline: snapshot fences", 11, gaps.snapshot_fences),
    ("pipeline: trades appear once", 12, gaps.trades_appear_once),
    ("pipeline: unknown instrument on the stream", 15, gaps.strangers_are_left_out),
    ("pipeline: the exchange never answers", 9, requests.no_reply),
    ("pipeline: the exchange answers late", 10, requests.late_reply),
    ("pipeline: an order lost on the way", 9, requests.lost_on_the_way),
    ("pipeline: the exchange disconnects", 12, gaps.disconnects),
    ("pipeline: the feed agrees with the exchange", 16, gaps.agrees),
    ("pipeline: every request answered once", 5, requests.answers_once),
]
UNBLOCKED: Final = "the loop is never blocked"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. `seed_row` is the reference's row that it stands for, if any."""

    name: str
    seed_row: int | None
    outcome: Outcome
    reason: str = ""


@dataclass(slots=True)
class Report:
    """What came of a client. `left` says what the suite could not clear away."""

    exchange: str
    client: str
    rows: list[Row] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        return [row.name for row in self.rows if row.outcome == "failed"]

    @property
    def not_supported(self) -> list[str]:
        return [row.name for row in self.rows if row.outcome == "not supported"]

    def as_objects(self) -> list[dict[str, Any]]:
        """The rows as plain objects, for `--json`."""
        return [{"exchange": self.exchange, "client": self.client, **asdict(row)} for row in self.rows]


class _Beat:
    """Notices when nothing could run on the loop."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.during = ""
        self._row = ""
        self._loop = asyncio.get_running_loop()
        self._last = time.monotonic()
        self._timer = self._loop.call_later(_BEAT_S, self._tick)

    def begin(self, row: str) -> None:
        """What happens from here on is that row's."""
        self._look()
        self._row = row

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last > self.longest_s:
            self.longest_s, self.during = now - self._last, self._row
        self._last = now

    def _tick(self) -> None:
        self._look()
        self._timer = self._loop.call_later(_BEAT_S, self._tick)

    def stop(self) -> Row:
        self._timer.cancel()
        self._look()
        if self.longest_s < BLOCKED_S:
            return Row(UNBLOCKED, 5, "passed")
        words = f"nothing ran for {self.longest_s:.1f} s during {self.during!r}: await, or use a thread"
        return Row(UNBLOCKED, 5, "failed", words)


async def certify(
    exchange: Exchange,
    make: Callable[[], ExecutionClient],
    provoke: Provoke | None = None,
    terms: Terms | None = None,
) -> Report:
    """Play every row against the clients that `make` gives (attached, ready to be called).

    `provoke(name, *arguments)` switches a fault of the exchange on, where there is such a switch. Never
    raises for what a client does.
    """
    report = Report(exchange.name, exchange.client)
    made = [attempt_now(make) for _ in range(4)]
    for outcome in made:
        if outcome.error is not None:
            reason = f"it could not be made: {type(outcome.error).__name__}: {outcome.error}"
            report.rows.append(Row(DIRECT[0][0], DIRECT[0][1], "failed", reason))
            return report
    client, other, ours, theirs = (outcome.value for outcome in made)
    trader = Trader(exchange, make, terms or read_terms(exchange), provoke, client, other)
    beat = _Beat()
    for name, seed_row, row in DIRECT:
        beat.begin(name)
        report.rows.append(await _play(name, seed_row, row, trader, trader.terms))
    await _play_staged(report, trader, Tap(ours), Tap(theirs), beat)
    await attempt(trader.clear)
    if trader.watch is not None:
        await trader.watch.close()
    for each in (ours, theirs):
        await attempt(each.close)
    report.rows.append(beat.stop())
    report.left.extend(trader.left)
    return report


async def _play_staged(report: Report, trader: Trader, ours: Tap, theirs: Tap, beat: _Beat) -> None:
    slowest_ms = int(trader.slowest_s * 1000) * _TIMES_SLOWEST
    timeout_ms = min(max(_TIMEOUT_LEAST_MS, slowest_ms), trader.exchange.timing.request_timeout_ms)
    with tempfile.TemporaryDirectory(prefix="orderwire-") as folder:
        line = Pipeline(trader.exchange, Path(folder), ours, theirs, timeout_ms)
        stage = Stage(trader, line, ours, theirs)
        for name, seed_row, row in STAGED:
            beat.begin(name)
            report.rows.append(await _play(name, seed_row, row, stage, trader.terms))
        for order in line.orders.values():
            trader.live[order.venue_cid or order.cid] = order.id
        await line.close()


async def _play(
    name: str, seed_row: int | None, row: Callable[[Any], Awaitable[None]], on: Any, terms: Terms
) -> Row:
    error = (await attempt(_bounded, row, on, PATIENCES_A_ROW * terms.patience_s)).error
    if error is None:
        return Row(name, seed_row, "passed")
    if isinstance(error, NotSupported):
        return Row(name, seed_row, "not supported", str(error))
    if isinstance(error, Broken):
        return Row(name, seed_row, "failed", str(error))
    if isinstance(error, TimeoutError):
        return Row(name, seed_row, "failed", "it did not come to an end")
    return Row(name, seed_row, "failed", f"{type(error).__name__}: {error}")


async def _bounded(row: Callable[[Any], Awaitable[None]], on: Any, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        await row(on)
