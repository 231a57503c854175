"""The audit finds each kind of difference, and none where there is none."""

import sqlite3
from decimal import Decimal

import pytest

from actors.command_line.audit import Account, FeedRecord, compare, ledger_path, read_ledger
from actors.exchange.ledger import TABLES
from pipeline.amounts import amount
from pipeline.messages import (
    Answers,
    Balance,
    BalanceSnapshot,
    Event,
    Fee,
    Order,
    OrderSnapshot,
    Place,
    Trade,
    TradeVoided,
)
from pipeline.vocabulary import OrderKind, OrderState, Side, TimeInForce
from tests.deployment_text import paper

DEPLOYMENT = paper()
ALPHA = DEPLOYMENT.exchange("alpha")


def order(state: OrderState, filled: str = "0", cid: str = "c-1") -> OrderSnapshot:
    return OrderSnapshot(
        order=Order(
            instrument=0, cid=cid, engine="mm", venue_cid=cid, id="v-1", side=Side.BUY, kind=OrderKind.LIMIT,
            time_in_force=TimeInForce.GTC, flags=0, price=amount(100), quantity=amount(2),
            filled=amount(filled), state=state,
        )
    )  # fmt: skip


def trade(id: str = "t-1", quantity: str = "2") -> Trade:
    return Trade(
        instrument=0, side=Side.BUY, id=id, cid="c-1", order_id="v-1", price=amount(100),
        quantity=amount(quantity), fees=[Fee("usd", amount("0.2"))],
    )  # fmt: skip


def balance(total: str) -> BalanceSnapshot:
    return BalanceSnapshot(balance=Balance(ALPHA.asset("usd").index, amount(total), amount(total)))


def record(*told: Event) -> FeedRecord:
    found = FeedRecord(DEPLOYMENT)
    for seq, event in enumerate(told, 1):
        found.take(event.at(Place(ALPHA.index, 7, seq, seq, 0)))
    return found


WHOLE = (order(OrderState.Open), trade(), order(OrderState.FullyFilled, "2"), balance("799.8"))


@pytest.fixture
def ledger(tmp_path):
    """The exchange's own file after one filled order, and a function that changes it."""
    path = tmp_path / "exchange.alpha.db"
    connection = sqlite3.connect(path)
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    connection.execute(
        "INSERT INTO orders VALUES (1, 'c-1', 'XBTUSD', 0, 1, 0, 0, '100', '2', '2', 9, 0, NULL, NULL)"
    )
    connection.execute(
        "INSERT INTO trades VALUES (1, 't-1', 'XBTUSD', 0, 'c-1', 'v-1', '100', '2', 'USD', '0.2', 1, 0)"
    )
    connection.execute("INSERT INTO balances VALUES ('USD', '799.8', '799.8', 0)")
    connection.commit()

    def change(statement: str = "") -> Account:
        connection.execute(statement)
        connection.commit()
        return read_ledger(path)

    yield change
    connection.close()


def differences(found: FeedRecord, truth: Account) -> list[str]:
    assert found.problems == []
    return [str(each) for each in compare("alpha", found.accounts[ALPHA.index], truth)]


def test_a_feed_that_equals_the_ledger_has_no_discrepancy(ledger):
    assert differences(record(*WHOLE), ledger("SELECT 1")) == []


FALSIFIED = [
    ("UPDATE orders SET filled = '1.5'", "order c-1"),
    ("UPDATE orders SET state = 8", "order c-1"),
    ("DELETE FROM orders", "order c-1"),
    (
        "INSERT INTO orders VALUES (2, 'c-1', 'XBTUSD', 0, 1, 0, 0, '100', '2', '0', 1, 0, NULL, NULL)",
        "order c-1 (order 2)",
    ),
    ("UPDATE trades SET price = '101'", "trade XBTUSD buy t-1"),
    ("UPDATE trades SET fee = '0.3'", "trade XBTUSD buy t-1"),
    ("DELETE FROM trades", "trade XBTUSD buy t-1"),
    (
        "INSERT INTO trades SELECT 2, 't-2', instrument, side, cid, order_id, price, quantity, "
        "fee_asset, fee, liquidity, exchange_at_ns FROM trades",
        "trade XBTUSD buy t-2: the feed has nothing",
    ),
    ("UPDATE balances SET total = '799.9'", "balance USD"),
    ("UPDATE balances SET free = '0'", "balance USD"),
]


@pytest.mark.parametrize(("statement", "named"), FALSIFIED, ids=lambda value: value[:40])
def test_a_falsified_ledger_is_found_out(ledger, statement, named):
    found = differences(record(*WHOLE), ledger(statement))
    assert len(found) == 1
    assert found[0].startswith(f"alpha: {named}")


def test_an_order_left_unknown_is_a_discrepancy(ledger):
    told = (order(OrderState.Unknown), *WHOLE[1:2], WHOLE[3])
    found = differences(record(*told), ledger("SELECT 1"))
    assert "Unknown 0/2" in found[0]


def test_an_order_that_the_exchange_never_accepted_is_no_difference(ledger):
    told = (*WHOLE, order(OrderState.OpenFailed, cid="c-2"))
    assert differences(record(*told), ledger("SELECT 1")) == []


def test_trades_that_do_not_add_up_to_what_is_filled_are_found(ledger):
    truth = ledger("UPDATE trades SET quantity = '1'")
    found = differences(record(WHOLE[0], trade(quantity="1"), *WHOLE[2:]), truth)
    assert found == ["alpha: fills of c-1: the feed has trades of 1, the exchange 2"]


def test_a_voided_trade_counts_no_more():
    told = (trade(), TradeVoided(instrument=0, side=Side.BUY, id="t-1"))
    assert record(*told).accounts[ALPHA.index].trades == {}


def test_a_trade_told_twice_is_noted():
    assert record(trade(), trade()).problems == ["event 2 tells trade XBTUSD buy t-1 of alpha again"]


def test_an_order_that_goes_backwards_is_noted():
    assert len(record(order(OrderState.Cancelled), order(OrderState.Open)).problems) == 1
    assert len(record(order(OrderState.Open, "1"), order(OrderState.Open, "0.5")).problems) == 1
    corrected = order(OrderState.Open)
    corrected.corrects = 1
    assert record(order(OrderState.Cancelled), corrected).problems == []


def test_a_second_answer_and_a_gap_are_noted():
    found = FeedRecord(DEPLOYMENT)
    for seq in (1, 3):
        said = order(OrderState.Open)
        said.answers = Answers("mm", 5, 1)
        found.take(said.at(Place(ALPHA.index, 7, seq, seq, 0)))
    assert [problem.split()[1] for problem in found.problems] == ["3", "3"]
    assert found.problem_count == 2


def test_amounts_are_compared_by_value_not_by_how_they_are_written(ledger):
    truth = ledger("UPDATE balances SET total = '799.80'")
    assert truth.balances["USD"].total == Decimal("799.8")
    assert differences(record(*WHOLE), truth) == []


def test_the_ledger_of_an_exchange_is_where_its_actor_keeps_it():
    assert ledger_path(DEPLOYMENT, ALPHA) == DEPLOYMENT.state_dir / "exchange.alpha.db"
