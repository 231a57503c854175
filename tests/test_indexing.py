from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline import client, codec, messages
from pipeline.amounts import amount
from pipeline.indexing import Indexer, Unindexed, failure
from pipeline.vocabulary import Error, Evidence, Liquidity, OrderKind, OrderState, Side, TimeInForce
from tests.deployment_text import paper

ALPHA = paper().exchanges[0]


@pytest.fixture
def indexer():
    return Indexer(ALPHA)


def venue_order(**change):
    fields = {
        "instrument": "ETHUSD",
        "cid": "c-1",
        "id": "v-1",
        "side": Side.SELL,
        "kind": OrderKind.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "price": Decimal("100.50"),
        "quantity": Decimal(10),
        "filled": Decimal(0),
    }
    return client.Order(**(fields | change))


def venue_trade(**change):
    fields = {
        "instrument": "ETHUSD",
        "side": Side.BUY,
        "id": "t-1",
        "cid": "c-1",
        "order_id": "v-1",
        "price": Decimal("100.5"),
        "quantity": Decimal(1),
    }
    return client.Trade(**(fields | change))


def test_outwards_an_instrument_goes_by_the_venues_symbol(indexer):
    body = messages.OpenOrder(
        instrument=1,
        cid="c-1",
        side=Side.BUY,
        kind=OrderKind.MARKET,
        time_in_force=TimeInForce.IOC,
        flags=2,
        price=None,
        quantity=amount(3),
    )
    assert indexer.open_order(body, "venue-cid", 99) == client.OpenOrder(
        "ETHUSD", "venue-cid", Side.BUY, OrderKind.MARKET, TimeInForce.IOC, 2, None, amount(3), 99
    )
    assert indexer.asset_symbols[ALPHA.asset("btc").index] == "XBT"


@pytest.mark.parametrize("entry", ALPHA.instruments, ids=lambda entry: entry.name)
def test_inwards_a_symbol_is_the_index_that_it_went_out_by(indexer, entry):
    assert indexer.instrument(indexer.symbols[entry.index]) == entry.index


@pytest.mark.parametrize(
    ("filled", "said", "state"),
    [
        (0, None, OrderState.Open),
        (9, None, OrderState.Open),
        (10, None, OrderState.FullyFilled),
        (4, OrderState.Cancelled, OrderState.Cancelled),
        (10, OrderState.Open, OrderState.Open),
    ],
)
def test_what_is_left_decides_the_state_where_the_client_does_not_say(indexer, filled, said, state):
    order = indexer.order(venue_order(filled=Decimal(filled), state=said))
    assert (order.state, order.filled, order.instrument, order.price) == (state, filled, 1, amount("100.5"))


def test_an_order_that_the_venue_knows_by_no_cid_is_adopted_by_its_id(indexer):
    order = indexer.order(venue_order(cid="", id="77"))
    assert (order.cid, order.venue_cid, order.id, order.engine) == ("ext-77", None, "77", "")
    trade = indexer.trade(venue_trade(cid="", order_id="77"), Evidence.STREAM, 0)
    assert trade.cid == order.cid


def test_an_order_without_any_name_is_none(indexer):
    for id in (None, ""):
        with pytest.raises(Unindexed, match="neither cid nor id"):
            indexer.order(venue_order(cid="", id=id))


def test_a_fee_in_an_asset_outside_the_file_never_costs_the_trade(indexer):
    trade = indexer.trade(
        venue_trade(fees=[("XBT", Decimal("0.1")), ("BNB", Decimal("0.002"))]), Evidence.BACKFILL, 5
    )
    assert [(fee.asset, fee.amount) for fee in trade.fees] == [
        ("btc", amount("0.1")),
        ("BNB", amount("0.002")),
    ]
    assert (trade.evidence, trade.received_at_ns, trade.liquidity) == (
        Evidence.BACKFILL,
        5,
        Liquidity.UNKNOWN,
    )


def test_a_balance_goes_by_its_assets_index(indexer):
    balance = indexer.balance(client.AssetBalance("XBT", Decimal("1.50"), Decimal(1), 7))
    assert balance == messages.Balance(ALPHA.asset("btc").index, amount("1.5"), amount(1), 7)


def test_why_the_venue_ended_an_order_comes_with_it(indexer):
    said = venue_order(state=OrderState.OpenFailed, failure=(Error.BalanceInsufficient, "no money\n"))
    snapshot = indexer.snapshot_of(said, Evidence.CALL, 5)
    assert snapshot.failure == messages.Failure(Error.BalanceInsufficient, "no money?")
    assert snapshot.evidence is Evidence.CALL


@pytest.mark.parametrize("zero", ["0", "0E-30", "0E+9", "-0", "0.000"])
def test_a_zero_is_a_zero_however_it_is_written(indexer, zero):
    assert indexer.order(venue_order(filled=Decimal(zero))).filled == 0


WRONG = [
    (venue_order, {"instrument": "DOGEUSD"}, "DOGEUSD"),
    (venue_order, {"instrument": None}, "None"),
    (venue_order, {"instrument": ["ETHUSD"]}, "ETHUSD"),
    (venue_order, {"quantity": None}, "None"),
    (venue_order, {"quantity": 1.5}, "1.5"),
    (venue_order, {"quantity": Decimal("NaN")}, "NaN"),
    (venue_order, {"filled": Decimal("1E+30")}, "1E"),
    (venue_order, {"filled": ""}, "''"),
    (venue_order, {"price": Decimal("Infinity")}, "Infinity"),
    (venue_order, {"side": "buy"}, "buy"),
    (venue_order, {"kind": "limit"}, "limit"),
    (venue_order, {"time_in_force": None}, "None"),
    (venue_order, {"state": "open"}, "open"),
    (venue_order, {"cid": None}, "cid"),
    (venue_order, {"cid": "a\nb"}, "cid"),
    (venue_order, {"id": 77}, "77"),
    (venue_order, {"flags": "x"}, "flags"),
    (venue_trade, {"id": 77}, "77"),
    (venue_trade, {"id": None}, "None"),
    (venue_trade, {"id": "x" * 1_000}, "xxx"),
    (venue_trade, {"exchange_at_ns": 1.5e18}, "exchange_at_ns"),
    (venue_trade, {"exchange_at_ns": -1}, "exchange_at_ns"),
    (venue_trade, {"liquidity": None}, "None"),
    (venue_trade, {"fees": [("XBT", None)]}, "None"),
]


@pytest.mark.parametrize(("make", "change", "named"), WRONG)
def test_what_cannot_be_placed_is_named_in_one_short_line(indexer, make, change, named):
    said = make(**change)
    with pytest.raises(Unindexed) as raised:
        if make is venue_order:
            indexer.snapshot_of(said, Evidence.STREAM, 0)
        else:
            indexer.trade(said, Evidence.STREAM, 0)
    text = str(raised.value)
    assert named in text and len(text) < 250 and text.isprintable()


def test_a_balance_outside_the_file_is_named(indexer):
    for asset in ("DOGE", None):
        with pytest.raises(Unindexed, match=f"asset '{asset}' is not in the deployment file under alpha"):
            indexer.balance(client.AssetBalance(asset, Decimal(1), Decimal(1)))


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.decimals(),
    st.lists(st.none()),
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(venue_order().__struct_fields__)), ANYTHING)
def test_whatever_a_client_says_of_an_order_travels_or_is_named(field, value):
    said = replace(venue_order(), **{field: value})
    if field == "failure" and value is not None:
        return
    try:
        event = Indexer(ALPHA).snapshot_of(said, Evidence.STREAM, 0)
    except Unindexed:
        return
    assert codec.decode(codec.KINDS[type(event)], codec.encode(event), 0) == event


@settings(max_examples=300)
@given(st.sampled_from(sorted(venue_trade().__struct_fields__)), ANYTHING)
def test_whatever_a_client_says_of_a_trade_travels_or_is_named(field, value):
    if field == "fees":
        return
    said = replace(venue_trade(), **{field: value})
    try:
        event = Indexer(ALPHA).trade(said, Evidence.STREAM, 0)
    except Unindexed:
        return
    assert codec.decode(codec.KINDS[type(event)], codec.encode(event), 0) == event


@given(st.text(max_size=400))
def test_a_failures_words_are_short_and_printable(detail):
    words = failure(Error.OrderRejected, detail).detail
    assert len(words) <= 200 and words.isprintable()


def test_a_void_names_the_trade(indexer):
    said = client.TradeVoided("ETHUSD", Side.BUY, "t-1", "c-1", 9)
    voided = indexer.trade_voided(said, Evidence.STREAM, 10)
    assert (voided.instrument, voided.side, voided.id, voided.cid) == (1, Side.BUY, "t-1", "c-1")
    assert (voided.exchange_at_ns, voided.received_at_ns) == (9, 10)


def test_a_fee_with_more_places_than_travel_is_rounded_and_costs_no_trade(indexer):
    said = venue_trade(fees=[("USDT", Decimal("0.1234567890123456789012345"))])
    assert str(indexer.trade(said, Evidence.STREAM, 0).fees[0].amount) == "0.123456789012345679"
