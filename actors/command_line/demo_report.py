"""What the demo says at its end: its totals beside the exchanges' own, and every difference."""

import sqlite3
from collections.abc import Iterator

from actors.command_line import terminal
from actors.command_line.audit import Account, Discrepancy, FeedRecord, compare, ledger_path, read_ledger
from actors.command_line.exits import WorkFailed
from actors.command_line.tally import Tally
from pipeline.amounts import ZERO, text
from pipeline.deployment import Deployment
from pipeline.vocabulary import OrderState


def ledgers(deployment: Deployment) -> dict[int, Account]:
    """Every exchange's own account. Raises WorkFailed."""
    found = {}
    for exchange in deployment.exchanges:
        path = ledger_path(deployment, exchange)
        try:
            found[exchange.index] = read_ledger(path)
        except sqlite3.Error as error:
            raise WorkFailed(f"{path}: the exchange's ledger cannot be read: {error}") from None
    return found


def audit(deployment: Deployment, record: FeedRecord) -> list[Discrepancy]:
    """Every difference between the feed and the exchanges. Raises WorkFailed."""
    truth = ledgers(deployment)
    return [
        discrepancy
        for exchange in deployment.exchanges
        for discrepancy in compare(exchange.name, record.accounts[exchange.index], truth[exchange.index])
    ]


def show(deployment: Deployment, record: FeedRecord, tally: Tally, discrepancies: list[Discrepancy]) -> None:
    """The summary, on stdout."""
    truth = ledgers(deployment)
    rows = []
    for exchange in deployment.exchanges:
        ours, theirs = record.accounts[exchange.index], truth[exchange.index]
        for (what, mine), (_, its) in zip(totals(ours), totals(theirs), strict=True):
            rows.append((exchange.name, what, mine, its, "" if mine == its else "DIFFERS"))
    terminal.flush()
    columns = ("exchange", "", "on the feed #", "at the exchange #", "")
    terminal.console().print(terminal.table("totals", columns, rows))
    terminal.line(
        f"{tally.orders:,} orders, {tally.fills:,} fills, {tally.cancels:,} cancelled, "
        f"{tally.refused} refused, {tally.reconnects} reconnects, {tally.timeouts} timeouts, "
        f"{tally.unknowns} unknown on the way, {record.events:,} events; "
        f"answers p50 {tally.latency_ms(0.5):.1f} ms, p99 {tally.latency_ms(0.99):.1f} ms"
    )
    for said in tally.faults:
        terminal.line(f"fault: {said}")
    wrong = len(discrepancies) + record.problem_count
    verdict = "the feed equals the exchanges' ledgers" if not wrong else f"{wrong} differences"
    terminal.line(verdict, flush=True)


def totals(account: Account) -> Iterator[tuple[str, str]]:
    """What is compared at a glance; `compare` looks at every single one."""
    accepted = [word for word in account.orders.values() if word.state is not OrderState.OpenFailed]
    yield "orders accepted", f"{len(accepted):,}"
    for state in (OrderState.FullyFilled, OrderState.Cancelled):
        yield f"  {state.label}", f"{sum(word.state is state for word in accepted):,}"
    yield "  not finished", f"{sum(not word.state.finished for word in accepted):,}"
    yield "trades", f"{len(account.trades):,}"
    for asset, funds in sorted(account.balances.items()):
        yield f"{asset} total", text(funds.total)
    held = sum((funds.total - funds.free for funds in account.balances.values()), ZERO)
    yield "held by orders", text(held)
