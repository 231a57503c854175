from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pipeline.amounts import amount, parse
from pipeline.checks import DETAIL_LIMIT, TAG_LIMIT, check_identity, check_request
from pipeline.deployment import Asset, Exchange, Instrument
from pipeline.headers import Kind, RequestHeader
from pipeline.identity import generated_cid
from pipeline.messages import CancelAll, CancelOrder, OpenOrder
from pipeline.vocabulary import CancelScope, Flags, OrderKind, Refusal, Side, TimeInForce
from tests.strategies import messages_of

INSTRUMENT = Instrument(
    0,
    "btc_usdt",
    "BTCUSDT",
    "btc",
    "usdt",
    price_step=parse("0.01"),
    quantity_step=parse("0.0001"),
    quantity_min=parse("0.001"),
    notional_min=parse("10"),
)
PERPETUAL = replace(INSTRUMENT, index=1, name="btc_perp", kind="perpetual", notional_min=parse("0"))
FREE = replace(
    INSTRUMENT,
    index=2,
    name="fine",
    price_step=parse("0." + "0" * 17 + "1"),
    quantity_step=parse("0." + "0" * 17 + "1"),
)
EXCHANGE = Exchange(
    0, "binance_spot", "binance", "simulated", (INSTRUMENT, PERPETUAL, FREE), (Asset(0, "btc", "BTC"),)
)
HEADER = RequestHeader(
    0, 1, Kind.OpenOrder, 0, 7, "mm-1", 1_730_000_000_000_000_000, 5, 1_730_000_005_000_000_000
)
OPEN = OpenOrder(
    instrument=0,
    cid="mine-1",
    side=Side.BUY,
    kind=OrderKind.LIMIT,
    time_in_force=TimeInForce.GTC,
    flags=0,
    price=parse("50000.12"),
    quantity=parse("0.015"),
)


def check(body=OPEN, header=HEADER, **changed):
    return check_request(EXCHANGE, header, msgspec.structs.replace(body, **changed))


def reason(**changed):
    verdict = check(**changed)
    return verdict and verdict[0]


# ------------------------------------------------------------------------------------------ identity


def test_a_good_open_passes():
    assert check() is None
    assert check(cid=generated_cid("mm-1", HEADER.session, HEADER.rid), tag="quote 17 ~") is None


@pytest.mark.parametrize("engine", ["", "e" * 25, "a b", "a\n", "a\0b"])
def test_an_engine_name_outside_the_grammar_is_refused(engine):
    refusal, words = check(header=structs.replace(HEADER, engine=engine))
    assert refusal is Refusal.InvalidRequest
    assert words.startswith("engine: ")
    assert check_identity(structs.replace(HEADER, engine=engine)) == words


@pytest.mark.parametrize("field", ["session", "rid"])
def test_sessions_and_requests_count_from_one_to_what_a_journal_holds(field):
    for bad in (0, 2**63, 2**64 - 1):
        assert check(CancelAll(CancelScope.ALL), structs.replace(HEADER, **{field: bad}))[1].startswith(
            f"{field}: {bad} must"
        )
    for good in (1, 2**63 - 1):
        assert check(header=structs.replace(HEADER, **{field: good})) is None
        assert check_identity(structs.replace(HEADER, **{field: good})) is None


def test_an_expiry_that_no_clock_will_reach_is_refused():
    assert check(header=structs.replace(HEADER, expires_at_ns=2**63))[1].startswith("expires_at_ns: ")
    late = structs.replace(HEADER, expires_at_ns=0)
    assert check(header=late) is None, "whether it is too late is the executor's"


# ------------------------------------------------------------------------------------------ names

BAD_CIDS = ["", "c" * 65, "a b", "a\n", "a/b", "a\x00", "é", "ａ", "\x1b[2J", "a" * 60_000]


@pytest.mark.parametrize("cid", BAD_CIDS, ids=lambda cid: ascii(cid[:10]))
@pytest.mark.parametrize("body", [OPEN, CancelOrder(0, "c")], ids=["open", "cancel"])
def test_a_cid_outside_the_grammar_is_refused_in_printable_words(body, cid):
    refusal, words = check(body, cid=cid)
    assert refusal is Refusal.InvalidRequest
    assert words.startswith("cid: ")
    assert words.isprintable()
    assert words.isascii()
    assert len(words) <= DETAIL_LIMIT + 3


def test_a_cid_that_looks_generated_must_be_that_of_its_own_request():
    own = generated_cid(HEADER.engine, HEADER.session, HEADER.rid)
    assert check(cid=own) is None
    others = [
        generated_cid("mm-2", HEADER.session, HEADER.rid),
        generated_cid("mm-1", HEADER.session + 1, HEADER.rid),
        generated_cid("mm-1", HEADER.session, HEADER.rid + 1),
        own.upper().replace("OW.", "ow."),
        own + "0",
        own[:-1] + "0" + own[-1:],
        "ow.",
        "ow.x",
    ]
    for cid in others:
        refusal, words = check(cid=cid)
        assert refusal is Refusal.InvalidRequest
        assert own in words


def test_a_cid_like_an_adopted_orders_opens_nothing_but_can_be_cancelled():
    assert check(cid="ext-12")[1].startswith("cid: 'ext-12'")
    assert check(CancelOrder(0, "ext-12")) is None
    assert check(CancelOrder(0, generated_cid("other", 1, 1))) is None
    assert check(cid="extra-12") is None
    assert check(cid="OW.mine") is None


@pytest.mark.parametrize(
    "body", [OPEN, CancelOrder(0, "c"), CancelAll(CancelScope.ALL)], ids=["open", "cancel", "all"]
)
def test_a_tag_is_short_and_printable(body):
    assert check(body, tag="") is None
    assert check(body, tag="~" * TAG_LIMIT) is None
    for bad in ("~" * (TAG_LIMIT + 1), "a\n", "\x7f", "é", "\u202e"):
        refusal, words = check(body, tag=bad)
        assert refusal is Refusal.InvalidRequest
        assert words.startswith("tag: ")
        assert words.isascii()


@pytest.mark.parametrize("body", [OPEN, CancelOrder(0, "c")], ids=["open", "cancel"])
@pytest.mark.parametrize("instrument", [-1, 3, 2**63])
def test_an_instrument_that_is_not_in_the_file_is_unknown(body, instrument):
    refusal, words = check(body, instrument=instrument)
    assert refusal is Refusal.UnknownInstrument
    assert words == f"instrument: {instrument} must be an instrument of binance_spot: 0 to 2"


# ------------------------------------------------------------------------------------------ terms


@pytest.mark.parametrize("flags", [4, 5, -1, 2**63])
def test_flags_that_are_not_known_are_unsupported(flags):
    assert reason(flags=flags) is Refusal.Unsupported


def test_reduce_only_has_no_meaning_for_spot():
    assert reason(flags=Flags.REDUCE_ONLY) is Refusal.Unsupported
    assert reason(flags=Flags.REDUCE_ONLY, instrument=1) is None


def test_post_only_goes_with_orders_that_can_rest():
    resting = {
        tif
        for tif in TimeInForce
        if reason(flags=Flags.POST_ONLY, time_in_force=tif) is not Refusal.InvalidRequest
    }
    assert resting == {TimeInForce.GTC, TimeInForce.DAY}
    assert reason(flags=Flags.POST_ONLY, kind=OrderKind.MARKET, price=None) is Refusal.InvalidRequest


@pytest.mark.parametrize("tif", list(TimeInForce))
def test_a_market_order_may_have_any_time_in_force_and_no_price(tif):
    assert check(kind=OrderKind.MARKET, price=None, time_in_force=tif) is None
    assert (
        check(kind=OrderKind.MARKET, time_in_force=tif)[1]
        == "price: 50000.12 must be none for a market order"
    )


def test_a_limit_order_has_a_price():
    assert check(price=None) == (Refusal.InvalidRequest, "price: none must be a decimal for a limit order")


@pytest.mark.parametrize("field", ["price", "quantity"])
@pytest.mark.parametrize("value", ["0", "-1", "-0.01"])
def test_prices_and_quantities_are_positive(field, value):
    assert check(**{field: parse(value)})[1] == f"{field}: {value} must be more than 0"


def test_prices_and_quantities_stand_on_their_steps():
    assert (
        check(price=parse("50000.123"))[1] == "price: 50000.123 must be a multiple of 0.01, btc_usdt's step"
    )
    assert (
        check(quantity=parse("0.01001"))[1]
        == "quantity: 0.01001 must be a multiple of 0.0001, btc_usdt's step"
    )


@given(st.integers(1, 10**18), st.integers(0, 10**18), st.integers(1, 10**17 - 1))
def test_a_step_is_exact_at_any_length(whole, parts, off):
    # 38 digits over a step of 10^-18: more than the decimals that Python computes with by itself.
    price = amount(Decimal(f"{whole}.{parts:018d}"[:39]))
    assert check(instrument=2, price=price, quantity=parse("1000")) is None
    coarse = replace(EXCHANGE, instruments=(replace(INSTRUMENT, price_step=parse("0.1")),))
    beside = parse(f"{whole}.3{off:017d}")
    refusal = check_request(
        coarse, HEADER, msgspec.structs.replace(OPEN, price=beside, quantity=parse("1000"))
    )
    assert refusal is not None
    assert refusal[1].startswith("price: ")


def test_quantities_reach_their_minimum():
    assert check(quantity=parse("0.0009"))[1] == "quantity: 0.0009 must be at least 0.001, btc_usdt's minimum"
    assert check(quantity=parse("0.001")) is None


def test_a_limit_order_is_worth_its_minimum():
    words = check(price=parse("9999.99"), quantity=parse("0.001"))[1]
    assert words == "quantity: 0.001 must be worth at least 10 usdt at 9999.99"
    assert check(price=parse("10000"), quantity=parse("0.001")) is None
    assert check(kind=OrderKind.MARKET, price=None, quantity=parse("0.001")) is None


@given(messages_of(OpenOrder) | messages_of(CancelOrder) | messages_of(CancelAll), st.integers(0, 2**64 - 1))
def test_anything_that_can_be_decoded_is_accepted_or_refused_in_short_printable_words(body, session):
    verdict = check_request(EXCHANGE, structs.replace(HEADER, session=session), body)
    if verdict is not None:
        refusal, words = verdict
        assert refusal in (Refusal.InvalidRequest, Refusal.UnknownInstrument, Refusal.Unsupported)
        assert words.isprintable()
        assert len(words) <= DETAIL_LIMIT + 3
