import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.amounts import parse
from pipeline.codec import CLASSES
from pipeline.deployment import Asset, Deployment, Exchange, Instrument
from pipeline.messages import (
    NO_EXCHANGE,
    AccountSnapshot,
    ActorStarted,
    Answers,
    Balance,
    BalanceSnapshot,
    Event,
    Failure,
    Fee,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Place,
    Reconnecting,
    Refused,
    Synced,
    Trade,
)
from pipeline.naming import describe, describe_json_line, flag_labels, one_line, printable
from pipeline.vocabulary import Error, Evidence, Liquidity, OrderKind, OrderState, Refusal, Side, TimeInForce
from tests.strategies import messages_of

INSTRUMENT = Instrument(0, "btc_usdt", "BTCUSDT", "btc", "usdt", parse("0.01"), parse("0.001"))
EXCHANGES = (
    Exchange(
        0, "alpha", "binance", "simulated", (INSTRUMENT,), (Asset(0, "btc", "BTC"), Asset(1, "usdt", "USDT"))
    ),
    Exchange(1, "beta", "kraken", "simulated", (), ()),
)
DEPLOYMENT = Deployment(Path("x.toml"), "x", Path("run"), Path("state"), EXCHANGES, {})
PLACE = Place(exchange=0, feed_id=9, seq=12, exchange_seq=10, published_at_ns=1_730_000_000_000_000_000)
ORDER = Order(
    instrument=0,
    cid="mine-1",
    engine="mm-1",
    venue_cid=None,
    id="77",
    side=Side.BUY,
    kind=OrderKind.LIMIT,
    time_in_force=TimeInForce.GTC,
    flags=1,
    price=parse("50000.50"),
    quantity=parse("0.010"),
    filled=parse("0.004"),
    state=OrderState.Open,
)
TRADE = Trade(
    instrument=0,
    side=Side.SELL,
    id="t-1",
    cid="mine-1",
    order_id="77",
    price=parse("50000.5"),
    quantity=parse("0.004"),
    fees=[Fee("BNB", parse("0.0010"))],
    liquidity=Liquidity.MAKER,
)
EVENTS = [cls for cls in CLASSES.values() if issubclass(cls, Event)]


def described(event, **place):
    return describe(DEPLOYMENT, event, replace(PLACE, **place))


def test_an_order_is_told_in_names_and_its_outcome_stands_at_the_top():
    told = described(
        OrderSnapshot(order=ORDER, evidence=Evidence.CALL, answers=Answers("mm-1", 3, 4), tag="t")
    )
    assert told == {
        "kind": "OrderSnapshot",
        "seq": 12,
        "exchange": "alpha",
        "exchange_seq": 10,
        "published_at_ns": 1_730_000_000_000_000_000,
        "cid": "mine-1",
        "instrument": "btc_usdt",
        "state": "Open",
        "order": {
            "instrument": "btc_usdt",
            "cid": "mine-1",
            "engine": "mm-1",
            "venue_cid": None,
            "id": "77",
            "side": "buy",
            "kind": "limit",
            "time_in_force": "gtc",
            "flags": ["post-only"],
            "price": "50000.5",
            "quantity": "0.01",
            "filled": "0.004",
            "state": "Open",
            "pending": "none",
        },
        "failure": None,
        "as_of": 0,
        "corrects": 0,
        "error": None,
        "detail": "",
        "exchange_at_ns": 0,
        "received_at_ns": 0,
        "evidence": "call",
        "answers": {"engine": "mm-1", "session": 3, "rid": 4},
        "tag": "t",
    }


def test_a_failure_is_told_whole_and_at_the_top():
    failure = Failure(Error.OrderNotFound, "no such order")
    told = described(OrderCancelled(instrument=0, cid="mine-9", failure=failure))
    assert told["failure"] == {"error": "Rejected.OrderNotFound", "detail": "no such order"}
    assert (told["error"], told["detail"]) == ("Rejected.OrderNotFound", "no such order")
    assert (told["cid"], told["instrument"], told["state"], told["order"]) == (
        "mine-9",
        "btc_usdt",
        None,
        None,
    )


def test_a_cancel_that_was_done_tells_the_orders_state():
    told = described(OrderCancelled(instrument=0, cid="mine-1", order=ORDER))
    assert (told["state"], told["error"], told["order"]["filled"]) == ("Open", None, "0.004")


def test_a_refusal_tells_its_reason():
    told = described(Refused(reason=Refusal.TooLate, detail="expired", cid="mine-1"))
    assert (told["reason"], told["detail"], told["cid"]) == ("TooLate", "expired", "mine-1")


def test_a_trade_is_told_with_its_fees():
    told = described(TRADE)
    assert told["fees"] == [{"asset": "BNB", "amount": "0.001"}]
    assert (told["side"], told["liquidity"], told["price"]) == ("sell", "maker", "50000.5")


def test_assets_have_their_names():
    told = described(BalanceSnapshot(balance=Balance(1, parse("10"), parse("9.5"), 5)))
    assert told["balance"] == {"asset": "usdt", "total": "10", "free": "9.5", "exchange_at_ns": 5}
    parts = described(
        AccountSnapshot(
            generation=1, part=1, parts=1, balances=[Balance(0, parse("1"), parse("1"))], orders=[ORDER]
        )
    )
    assert parts["balances"][0]["asset"] == "btc"
    assert parts["orders"][0]["instrument"] == "btc_usdt"


def test_what_concerns_no_exchange_names_none():
    assert described(ActorStarted(actor="router", epoch=1), exchange=NO_EXCHANGE)["exchange"] is None


def test_an_index_that_the_file_does_not_have_is_told_as_a_number():
    assert described(TRADE, exchange=1)["instrument"] == "#0"
    assert described(TRADE, exchange=7)["exchange"] == "#7"
    assert described(TRADE, exchange=7)["instrument"] == "#0"


def test_an_event_of_the_feed_knows_its_own_place():
    assert describe(DEPLOYMENT, Synced(generation=1, complete=True).at(PLACE))["seq"] == 12


def test_flags_are_told_by_name_and_unknown_ones_by_number():
    assert flag_labels(0) == []
    assert flag_labels(1 | 2 | 8) == ["post-only", "reduce-only", "#3"]


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_event_is_told_with_all_its_fields_in_plain_values_on_one_line(cls, data):
    event = data.draw(messages_of(cls))
    told = described(event)
    assert set(cls.__struct_fields__) | {"kind", "seq", "exchange"} <= set(told)
    line = describe_json_line(DEPLOYMENT, event, PLACE)
    assert json.loads(line) == told
    assert line.isascii()
    assert line.isprintable()
    assert one_line(told).isprintable()


LINES = [
    (OrderSnapshot(order=ORDER), "mine-1 btc_usdt buy 0.01 @ 50000.5 gtc post-only filled 0.004 Open"),
    (
        OrderCancelled(instrument=0, cid="x", failure=Failure(Error.OrderNotFound, "who?")),
        "x btc_usdt no such order Rejected.OrderNotFound: who?",
    ),
    (TRADE, "mine-1 btc_usdt sell 0.004 @ 50000.5 maker id t-1 fee 0.001 BNB"),
    (BalanceSnapshot(balance=Balance(1, parse("10"), parse("9"))), "usdt total 10 free 9"),
    (AccountSnapshot(generation=2, part=1, parts=3), "generation 2 part 1/3 0 balances 0 orders"),
    (Refused(reason=Refusal.Halted, detail="by ana", cid="c"), "reason Halted detail by ana cid c"),
    (Synced(generation=2, complete=False), "generation 2 complete no"),
    (Reconnecting(generation=2, failure=Failure(Error.Socket)), "generation 2 failure Connectivity.Socket"),
]


@pytest.mark.parametrize(("event", "words"), LINES, ids=lambda value: type(value).__name__)
def test_an_event_in_one_line(event, words):
    assert one_line(described(event)) == f"      12 alpha {type(event).__name__} {words}"


def test_a_line_says_what_it_answers_and_on_whose_word():
    event = OrderSnapshot(order=ORDER, answers=Answers("mm-1", 3, 4), evidence=Evidence.LATE_CALL, tag="t-9")
    assert one_line(described(event)).endswith(" Open answers mm-1/4 by late-call tag t-9")


def test_nothing_that_a_peer_wrote_moves_the_cursor():
    hostile = "\x1b[2J\r\n\u202egreen\x9b"
    for event in (
        Refused(reason=Refusal.InvalidRequest, detail=hostile, cid=hostile),
        OrderSnapshot(order=ORDER, failure=Failure(Error.OrderRejected, hostile), tag=hostile),
    ):
        line = one_line(described(event))
        assert line.isprintable()
        assert "\\x1b[2J\\r\\n\\u202egreen\\x9b" in line


def test_printable_text_is_left_alone_and_long_text_is_cut():
    assert printable("naïve – ok") == "naïve – ok"
    assert printable("x" * 300) == "x" * 200 + "..."
    assert len(printable("\n" * 5, 3)) == len("\\n" * 3 + "...")
