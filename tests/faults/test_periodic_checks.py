"""The periodic checks of orders, balances and trades: what they find, and what they may not judge."""

import pytest

from orderwire import BalanceSnapshot, Error, Evidence, Reconnecting, Trade
from pipeline.amounts import amount
from pipeline.client import AccountSnapshot, AssetBalance, Capability, ExecutionError
from tests.actors import pipeline as memory
from tests.actors.pipeline import MS, START_NS
from tests.actors.venue_words import cancelled, fill, order

PERIOD_MS = 1_000
TIMING = {
    "reconcile_every_ms": PERIOD_MS,
    "request_timeout_ms": 5_000,
    "call_lifetime_ms": 700,
    "trade_overlap_ms": 0,
}


def begun(folder, capabilities=frozenset(Capability), **timing):
    desk = memory.Pipeline(folder, capabilities=capabilities, timing=TIMING | timing).start()
    desk.sync()
    desk.engine()
    return desk


@pytest.fixture
def desk(tmp_path):
    made = begun(tmp_path)
    yield made
    made.check_promises()
    made.close()


def opened(desk, **more):
    cid = desk.engines["mm"].open(**more)
    desk.call("open_order").answer(order(cid, quantity="1"))
    return cid


def asked(desk, method="fetch_open_orders"):
    """The next question of the check."""
    for _ in range(PERIOD_MS // 10 + 1):
        for balances in desk.waiting("fetch_balances"):
            balances.answer([])
        for trades in desk.waiting("fetch_trades"):
            trades.answer(([], True))
        if desk.waiting(method):
            return desk.call(method)
        desk.advance(10)
    raise AssertionError(f"{method} was not called within a period")


# ------------------------------------------------------------------------------- orders


def test_an_order_that_is_not_shown_is_unknown_and_asked_about(desk):
    gone, stays = opened(desk), opened(desk)
    asked(desk).answer([order(stays)])
    assert (desk.states(gone), desk.states(stays)) == (["Open", "Unknown"], ["Open"])
    desk.advance(1)
    desk.call("fetch_order").answer(order(gone, filled="1"))
    assert desk.states(gone)[-1] == "FullyFilled"


def test_an_order_heard_of_since_the_question_is_not_judged_by_its_answer(desk):
    filled, old = opened(desk), opened(desk)
    check = asked(desk)
    young = opened(desk)
    desk.stream().item(order(filled, filled="0.1"))
    check.answer([order(old)])
    assert [desk.states(cid)[-1] for cid in (filled, old, young)] == ["Open", "Open", "Open"]
    asked(desk).answer([order(old)])  # the next one judges them
    assert [desk.states(cid)[-1] for cid in (filled, old, young)] == ["Unknown", "Open", "Unknown"]


def test_an_order_in_flight_is_not_judged(desk):
    cancelling = opened(desk)
    desk.engines["mm"].cancel(cancelling)
    opening = desk.engines["mm"].open()
    desk.stream().item(order(opening))  # shown, but its call is not over
    asked_about = asked(desk)
    asked_about.answer([])
    assert (desk.states(cancelling)[-1], desk.states(opening)[-1]) == ("Open", "Open")
    desk.call("cancel_order").answer(cancelled(cancelling))
    assert desk.states(cancelling) == ["Open", "Cancelled"]
    desk.call("open_order").answer(order(opening))


def test_what_the_check_shows_is_the_exchanges_word(desk):
    cid = opened(desk)
    asked(desk).answer([order(cid, filled="0.7")])
    last = desk.feed[-1][1]
    assert (last.order.filled, last.evidence, last.answers) == (amount("0.7"), Evidence.QUERY, None)
    seq = desk.seq
    asked(desk).answer([order(cid, filled="0.7")])
    assert desk.seq == seq  # nothing new is nothing to tell


def test_an_answer_older_than_the_doubt_does_not_end_it(desk):
    cid = opened(desk)
    desk.advance(PERIOD_MS - 400)
    check = asked(desk)
    desk.engines["mm"].cancel(cid)
    desk.call("cancel_order").fail(ExecutionError(Error.Socket, "reset"))
    assert desk.states(cid)[-1] == "Unknown"
    check.answer([order(cid)])
    assert desk.states(cid)[-1] == "Unknown"
    desk.advance(1)
    desk.call("fetch_order").answer(order(cid))
    assert desk.states(cid)[-1] == "Open"


def test_a_venue_that_knows_no_client_ids_is_checked_by_its_own(desk):
    cid = opened(desk)
    asked(desk).answer([order("", id=f"v-{cid}", filled="0.2")])
    assert desk.states(cid) == ["Open", "Open"]
    assert desk.words(cid)[-1].filled == amount("0.2")


def test_a_client_without_a_list_of_open_orders_is_asked_for_a_snapshot(tmp_path):
    desk = begun(tmp_path, frozenset({Capability.FETCH_ORDER}))
    cid = opened(desk)
    desk.advance(PERIOD_MS + 10)
    checks = [call for call in desk.waiting("account_snapshot") if call.actor.startswith("executor")]
    checks[0].answer(AccountSnapshot([], []))
    assert desk.states(cid)[-1] == "Unknown"
    desk.close()


def test_a_check_that_fails_or_hangs_changes_nothing_and_holds_nobody_up(desk):
    cid, other = opened(desk), opened(desk)
    asked(desk).fail(ExecutionError(Error.ExchangeOffline, "502"))
    check = asked(desk)
    desk.engines["mm"].cancel(other)
    desk.call("cancel_order").answer(cancelled(other))  # went out beside the question that hangs
    desk.advance(750)
    assert check.cancelled
    assert (desk.states(cid), desk.states(other)) == (["Open"], ["Open", "Cancelled"])
    asked(desk).answer("nonsense")
    assert desk.counted("executor.alpha", "checks_without_answer") == 3
    asked(desk).answer([order(cid)])
    assert desk.counted("executor.alpha", "checks") == 1


def test_nothing_is_asked_when_nothing_could_be_wrong(desk):
    for _ in range(5):
        with pytest.raises(AssertionError):
            asked(desk)


def test_many_orders_left_unknown_by_an_earlier_life_are_asked_about_in_one_question(tmp_path):
    desk = begun(tmp_path)
    cids = [desk.engines["mm"].open() for _ in range(40)]
    desk.restart("executor.alpha")
    desk.advance(20)
    desk.call("fetch_open_orders").answer([order(cid) for cid in cids[:30]])
    assert {desk.states(cid)[-1] for cid in cids[:30]} == {"Open"}
    assert {desk.states(cid)[-1] for cid in cids[30:]} == {"Unknown"}
    desk.close()


# ------------------------------------------------------------------------------- balances and trades


def test_a_balance_that_the_stream_told_of_meanwhile_stands(desk):
    check = asked_balances(desk)
    desk.stream().item(AssetBalance("USD", amount("90"), amount("80")))
    old, fresh = (
        AssetBalance("USD", amount("100"), amount("100")),
        AssetBalance("BTC", amount("1"), amount("1")),
    )
    check.answer([old, fresh])
    balances = [event.balance for event in desk.events(BalanceSnapshot)]
    assert [(each.asset, each.total) for each in balances] == [(1, amount("90")), (0, amount("1"))]
    desk.call("fetch_trades").answer(([], True))


def test_balances_that_have_not_changed_are_not_told_again(desk):
    for at in range(3):
        asked_balances(desk).answer([AssetBalance("USD", amount("90"), amount("80"), START_NS + at)])
        desk.call("fetch_trades").answer(([], True))
    assert len(desk.events(BalanceSnapshot)) == 1


def asked_balances(desk):
    desk.advance(PERIOD_MS + 10)
    return desk.call("fetch_balances")


def test_a_failing_check_of_the_account_does_not_end_the_stream(desk):
    asked_balances(desk).fail(ExecutionError(Error.ExchangeOffline, "502"))
    asked_balances(desk)  # and one that hangs
    desk.advance(750)
    asked_balances(desk).answer([])
    desk.call("fetch_trades").fail(ExecutionError(Error.RateLimit, "429"))
    asked_balances(desk).answer([])
    desk.call("fetch_trades").answer("nonsense")
    assert desk.events(Reconnecting) == []
    assert desk.counted("reconnector.alpha", "checks_without_answer") == 4
    asked_balances(desk).answer([])
    desk.call("fetch_trades").answer(([fill("x", "t-1")], True))
    assert [trade.evidence for trade in desk.events(Trade)] == [Evidence.BACKFILL]


def since(desk):
    asked_balances(desk).answer([])
    return desk.call("fetch_trades")


def told(desk, id, at_ms):
    desk.stream().item(fill("c", id, exchange_at_ns=START_NS + at_ms * MS))
    desk.advance(150)  # until a heartbeat has said so


def test_trades_are_fetched_from_the_last_check_that_was_whole(desk):
    told(desk, "t-1", 10_000)
    since(desk).answer(([], True))
    told(desk, "t-2", 20_000)
    whole = since(desk)
    assert whole.args[1] == START_NS + 10_000 * MS  # one hidden between the two would be found
    whole.answer(([], False))
    told(desk, "t-3", 30_000)
    still = since(desk)
    assert still.args[1] == START_NS + 10_000 * MS  # that one was not whole
    still.answer(([], True))
    assert since(desk).args[1] == START_NS + 30_000 * MS


def test_the_first_check_of_a_life_looks_back_beyond_the_last_of_the_life_before(desk):
    told(desk, "t-1", 10_000)
    since(desk).answer(([], True))
    told(desk, "t-2", 20_000)
    desk.restart("reconnector.alpha")
    desk.sync()
    assert since(desk).args[1] == START_NS + (20_000 - 2 * PERIOD_MS) * MS


def test_a_lost_stream_ends_its_check(desk):
    check = asked_balances(desk)
    desk.stream().end()
    assert check.cancelled
    desk.advance(150)
    desk.sync()
