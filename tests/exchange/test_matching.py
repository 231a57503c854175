"""The matching engine by itself: each kind of order, the money, and what must hold whatever happens."""

from contextlib import suppress
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange.listing import Rejection
from actors.exchange.matching import Matching
from pipeline.amounts import EXACT
from pipeline.client import AssetBalance, Order, Trade
from pipeline.vocabulary import Error, Flags, Liquidity, OrderState, Side, TimeInForce
from tests.exchange.bench import BUY, SELL, engine, request, show

NOW = 1_000


def balances(matching: Matching) -> dict[str, tuple[str, str]]:
    account = matching.account
    return {asset: (f"{account.totals[asset]:f}", f"{account.free(asset):f}") for asset in account.totals}


def trades(matching: Matching) -> list[tuple[str, str, str]]:
    """(cid, price, quantity) of each trade so far."""
    return [(t.cid, str(t.price), str(t.quantity)) for t in matching.changes if isinstance(t, Trade)]


def rejected(matching: Matching, *words: object, **more: object) -> tuple[Error, str]:
    before = balances(matching), list(matching.changes), matching.orders.last_number
    with pytest.raises(Rejection) as raised:
        matching.open(request(*words, **more), NOW)  # type: ignore[arg-type]
    assert (balances(matching), list(matching.changes), matching.orders.last_number) == before
    return raised.value.error, raised.value.detail


def test_a_limit_order_takes_up_to_its_price_best_first_and_the_rest_of_it_rests() -> None:
    matching = engine()
    show(matching, SELL, ("101", "1"), ("100", "1"), ("103", "5"))
    order = matching.open(request("a", BUY, "4", "102"), NOW)
    assert trades(matching) == [("a", "100", "1"), ("a", "101", "1")]
    assert (order.state, order.filled) == (OrderState.Open, 2)
    assert [o.cid for o in matching.books["BTCUSDT"].of[BUY]] == ["a"]


def test_what_an_order_took_is_not_there_for_the_next_one() -> None:
    matching = engine()
    show(matching, SELL, ("100", "1"))
    matching.open(request("a", BUY, "0.6", "100"), NOW)
    order = matching.open(request("b", BUY, "0.6", "100"), NOW)
    assert (order.filled, order.state) == (Decimal("0.4"), OrderState.Open)


def test_a_fill_is_told_as_trade_then_order_then_balances() -> None:
    matching = engine()
    show(matching, SELL, ("100", "1"))
    matching.open(request("a", BUY, "1", "100"), NOW)
    assert [type(change) for change in matching.changes] == [Trade, Order, AssetBalance, AssetBalance]


def test_a_market_order_ends_cancelled_when_the_book_is_too_thin() -> None:
    matching = engine()
    show(matching, BUY, ("100", "1"), ("99", "1"))
    order = matching.open(request("a", SELL, "3", None), NOW)
    assert (order.state, order.filled) == (OrderState.Cancelled, 2)
    assert balances(matching) == {"BTC": ("8", "8"), "USDT": ("100199", "100199")}


@pytest.mark.parametrize("price", ["100", None])
def test_a_fok_order_fills_whole_or_not_at_all(price: str | None) -> None:
    matching = engine()
    show(matching, SELL, ("100", "1"), ("101", "1"))
    killed = matching.open(request("a", BUY, "2.5", price, TimeInForce.FOK), NOW)
    assert (killed.state, killed.filled) == (OrderState.Cancelled, 0)
    whole = matching.open(request("b", BUY, "1", price, TimeInForce.FOK), NOW)
    assert whole.state is OrderState.FullyFilled
    assert trades(matching) == [("b", "100", "1")]


def test_an_ioc_orders_remainder_is_cancelled_and_holds_nothing() -> None:
    matching = engine()
    show(matching, SELL, ("100", "1"))
    order = matching.open(request("a", BUY, "3", "100", TimeInForce.IOC), NOW)
    assert (order.state, order.filled) == (OrderState.Cancelled, 1)
    assert balances(matching)["USDT"] == ("99900", "99900")


def test_a_post_only_order_that_would_take_is_rejected_and_one_that_would_not_rests() -> None:
    matching = engine()
    show(matching, SELL, ("100", "1"))
    assert rejected(matching, "a", BUY, "1", "100", flags=Flags.POST_ONLY)[0] is Error.OrderRejected
    order = matching.open(request("b", BUY, "1", "99.99", flags=Flags.POST_ONLY), NOW)
    assert order.state is OrderState.Open


def test_resting_orders_fill_in_price_time_priority_up_to_the_trades_quantity() -> None:
    matching = engine()
    for cid, price in (("late", "99"), ("worse", "98"), ("later", "99"), ("best", "100")):
        matching.open(request(cid, BUY, "1", price), NOW)
    matching.trade("BTCUSDT", Decimal("98.5"), Decimal("2.25"), SELL, NOW)
    assert trades(matching) == [("best", "100", "1"), ("late", "99", "1"), ("later", "99", "0.25")]


def test_a_trade_on_the_other_side_fills_only_what_it_went_through() -> None:
    matching = engine()
    matching.open(request("at", SELL, "1", "101"), NOW)
    matching.trade("BTCUSDT", Decimal("101"), Decimal(1), SELL, NOW)
    assert trades(matching) == []
    matching.trade("BTCUSDT", Decimal("101.01"), Decimal(1), SELL, NOW)
    assert trades(matching) == [("at", "101", "1")]


def test_quotes_that_move_through_a_resting_order_fill_it_at_its_own_price() -> None:
    matching = engine()
    matching.open(request("a", BUY, "3", "100"), NOW)
    show(matching, SELL, ("98", "1"), ("100", "1"), ("101", "9"))
    matching.cross("BTCUSDT", NOW)
    assert trades(matching) == [("a", "100", "1"), ("a", "100", "1")]
    assert [t.liquidity for t in matching.changes if isinstance(t, Trade)] == [Liquidity.MAKER] * 2


def test_an_order_that_meets_our_own_is_cancelled_from_there_on() -> None:
    matching = engine()
    matching.open(request("mine", SELL, "1", "101"), NOW)
    show(matching, SELL, ("100", "1"), ("101", "1"), ("102", "9"))
    order = matching.open(request("a", BUY, "5", "103"), NOW)
    assert trades(matching) == [("a", "100", "1"), ("a", "101", "1")]
    assert (order.state, order.filled, order.failure and order.failure[0]) == (
        OrderState.Cancelled,
        2,
        Error.OrderRejected,
    )
    assert next(iter(matching.orders.open_orders())).cid == "mine"


def test_a_buy_holds_its_price_and_the_dearest_fee_and_gets_the_difference_back() -> None:
    matching = engine(maker="0.001", taker="0.002")
    matching.open(request("a", BUY, "2", "100"), NOW)
    assert balances(matching)["USDT"] == ("100000", "99799.600")
    matching.trade("BTCUSDT", Decimal(100), Decimal(1), SELL, NOW)
    assert [f"{x}" for x in balances(matching)["USDT"]] == ["99899.900", "99799.700"]
    matching.cancel("BTCUSDT", "a", None, NOW)
    assert balances(matching) == {"BTC": ("11", "11"), "USDT": ("99899.900", "99899.900")}


def test_money_of_full_length_loses_no_digit() -> None:
    matching = engine(usdt="99999999999999999999.000000000000000001", maker="0.00000001")
    matching.open(request("a", BUY, "0.001", "9999999999999999.99"), NOW)
    matching.trade("BTCUSDT", Decimal("9999999999999999.99"), Decimal("0.001"), SELL, NOW)
    # Less a notional of 9999999999999.99999 and a fee of 99999.9999999999999.
    assert matching.account.totals["USDT"] == Decimal("99999989999999899999.000010000000100001")


def test_a_sell_holds_base_and_pays_its_fee_in_quote() -> None:
    matching = engine(taker="0.01")
    show(matching, BUY, ("100", "1"))
    matching.open(request("a", SELL, "3", "100"), NOW)
    assert balances(matching) == {"BTC": ("9", "7"), "USDT": ("100099.00", "100099.00")}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("a", BUY, "1001", "100"), Error.BalanceInsufficient),
        (("a", SELL, "10.001", "100"), Error.BalanceInsufficient),
        (("a", SELL, "10.001", None), Error.BalanceInsufficient),
        (("a", BUY, "1001", None), Error.BalanceInsufficient),
        (("a", BUY, "0.0005", "100000"), Error.OrderRejected),
        (("a", BUY, "1.0005", "100"), Error.OrderRejected),
        (("a", BUY, "0", "100"), Error.OrderRejected),
        (("a", BUY, "1", "100.001"), Error.OrderRejected),
        (("a", BUY, "1", "0"), Error.OrderRejected),
        (("a", BUY, "0.01", "100"), Error.OrderRejected),
        (("taken", BUY, "1", "100"), Error.OrderRejected),
    ],
)
def test_an_order_that_cannot_be_is_rejected_and_changes_nothing(
    words: tuple[object, ...], error: Error
) -> None:
    matching = engine()
    matching.open(request("taken", SELL, "1", "500"), NOW)
    matching.cancel("BTCUSDT", "taken", None, NOW)
    show(matching, SELL, ("100", "5000"))
    assert rejected(matching, *words)[0] is error


def test_the_limit_on_open_orders_holds_and_says_so() -> None:
    matching = engine(open_orders_limit=2)
    for cid in "ab":
        matching.open(request(cid, BUY, "1", "10"), NOW)
    assert "limit" in rejected(matching, "c", BUY, "1", "10")[1]


def test_a_cancel_names_why_it_cannot() -> None:
    matching = engine()
    show(matching, SELL, ("100", "1"))
    filled = matching.open(request("filled", BUY, "1", "100"), NOW)
    matching.open(request("gone", BUY, "1", "90"), NOW)
    matching.cancel("BTCUSDT", "gone", None, NOW)
    found = {}
    for cid, id in (("gone", None), ("filled", None), ("never", None), ("", filled.id), ("", "nonsense.9")):
        with pytest.raises(Rejection) as raised:
            matching.cancel("BTCUSDT", cid, id, NOW)
        found[cid or id] = raised.value.error
    assert found == {
        "gone": Error.OrderAlreadyCancelled,
        "filled": Error.OrderAlreadyFullyFilled,
        "never": Error.OrderNotFound,
        filled.id: Error.OrderAlreadyFullyFilled,
        "nonsense.9": Error.OrderNotFound,
    }


def test_the_end_of_the_day_expires_day_orders_only() -> None:
    matching = engine()
    matching.open(request("day", BUY, "1", "10", TimeInForce.DAY), NOW)
    matching.open(request("gtc", BUY, "1", "10"), NOW)
    assert matching.end_day(NOW) == 1
    assert [o.cid for o in matching.orders.open_orders()] == ["gtc"]
    ended = matching.orders.find("BTCUSDT", "day", None)
    assert ended is not None and ended.state is OrderState.Expired


# ------------------------------------------------------------------------------------------ whatever happens

prices = st.integers(9_900, 10_100).map(lambda steps: str(Decimal(steps) / 100))
quantities = st.integers(1, 5_000).map(lambda steps: str(Decimal(steps) / 1000))
sides = st.sampled_from(Side)
opens = st.tuples(
    st.just("open"), sides, quantities, prices | st.none(), st.sampled_from(TimeInForce), st.booleans()
)
steps = st.one_of(
    opens,
    opens,
    st.tuples(st.just("cancel"), st.integers(0, 60)),
    st.tuples(st.just("trade"), prices, quantities, sides),
    st.tuples(st.just("quotes"), st.integers(9_900, 10_100), st.integers(1, 20), quantities),
    st.tuples(st.just("day")),
)


def play(matching: Matching, step: tuple, at: int) -> None:  # type: ignore[type-arg]
    match step:
        case ("open", side, quantity, price, tif, post_only):
            flags = Flags.POST_ONLY if post_only else Flags.NONE
            matching.open(request(f"c{at}", side, quantity, price, tif, flags), at)
        case ("cancel", which):
            matching.cancel("BTCUSDT", f"c{which}", None, at)
        case ("trade", price, quantity, side):
            matching.trade("BTCUSDT", Decimal(price), Decimal(quantity), side, at)
        case ("quotes", bid, spread, quantity):
            show(matching, BUY, *((str(Decimal(bid - i) / 100), quantity) for i in range(3)))
            show(matching, SELL, *((str(Decimal(bid + spread + i) / 100), quantity) for i in range(3)))
            matching.cross("BTCUSDT", at)
        case ("day",):
            matching.end_day(at)


def check_money(matching: Matching) -> None:
    """Totals are the start plus every trade, to the last digit; what is held is what open orders may cost."""
    with localcontext(EXACT):
        btc, usdt = Decimal(5), Decimal(2_000)
        for trade in (c for c in matching.changes if isinstance(c, Trade)):
            sign = 1 if trade.side is BUY else -1
            btc += sign * trade.quantity
            usdt -= sign * trade.price * trade.quantity + trade.fees[0][1]
        assert matching.account.totals == {"BTC": btc, "USDT": usdt}
        held = {"BTC": Decimal(0), "USDT": Decimal(0)}
        for order in matching.orders.open_orders():
            if order.side is SELL:
                held["BTC"] += order.remaining
            else:
                assert order.price is not None
                held["USDT"] += order.price * order.remaining * Decimal("1.00075")
        assert matching.account.reserved == held
        for asset in held:
            assert 0 <= matching.account.reserved[asset] <= matching.account.totals[asset]


def check_book(matching: Matching) -> None:
    book = matching.books["BTCUSDT"]
    bid, ask = book.of[BUY].best_price(), book.of[SELL].best_price()
    assert bid is None or ask is None or bid < ask, "our own book is crossed"
    for side in Side:
        ranks = [
            (o.price if side is SELL else -o.price, o.number) for o in book.of[side] if o.price is not None
        ]
        assert ranks == sorted(ranks), "priority is lost"
    resting = {o.number for side in Side for o in book.of[side]}
    assert resting == {o.number for o in matching.orders.open_orders()}


def check_orders(matching: Matching) -> None:
    """Each order's fills are its trades', and no order goes backwards."""
    filled: dict[str, Decimal] = {}
    ended: set[str] = set()
    for change in matching.changes:
        if isinstance(change, Trade):
            assert change.cid not in ended, "a fill after the end"
            filled[change.cid] = filled.get(change.cid, Decimal(0)) + change.quantity
        elif isinstance(change, Order):
            assert change.filled == filled.get(change.cid, Decimal(0)) <= change.quantity
            assert change.cid not in ended, "a word after the end"
            if change.state is not OrderState.Open:
                ended.add(change.cid)
    ids = [c.id for c in matching.changes if isinstance(c, Trade)]
    assert len(ids) == len(set(ids))


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=5, max_size=60))
def test_whatever_happens_money_is_conserved_the_book_uncrossed_and_priority_kept(
    story: list[tuple],  # type: ignore[type-arg]
) -> None:
    matching = engine(btc="5", usdt="2000", maker="-0.0001", taker="0.00075", open_orders_limit=1000)
    for at, step in enumerate(story):
        with suppress(Rejection):
            play(matching, step, at)
        check_money(matching)
        check_book(matching)
    check_orders(matching)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(sides, prices), min_size=2, max_size=12), prices, quantities, sides)
def test_a_trade_never_fills_a_worse_order_before_a_better_one(
    orders: list[tuple[Side, str]], price: str, quantity: str, aggressor: Side
) -> None:
    matching = engine(btc="1000", usdt="10000000")
    for at, (side, limit) in enumerate(orders):
        with suppress(Rejection):
            matching.open(request(f"c{at}", side, "0.5", limit), at)
    waiting = {side: list(matching.books["BTCUSDT"].of[side]) for side in Side}
    matching.trade("BTCUSDT", Decimal(price), Decimal(quantity), aggressor, 99)
    for queue in waiting.values():
        complete = [order.filled == order.quantity for order in queue]
        assert complete == sorted(complete, reverse=True)
        assert sum(0 < o.filled < o.quantity for o in queue) <= 1
    total = sum(o.filled for queue in waiting.values() for o in queue)
    assert total <= Decimal(quantity)
