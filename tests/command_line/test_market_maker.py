"""The demo's market maker against a desk that only remembers."""

from decimal import Decimal

from actors.command_line.market_maker import MarketMaker
from pipeline.amounts import amount
from pipeline.engine_core import Backpressure
from pipeline.messages import Place, Refused, Trade
from pipeline.vocabulary import Refusal, Side
from tests.deployment_text import paper

DEPLOYMENT = paper()
PRICES = {("alpha", "btc_usd"): Decimal(60000), ("beta", "btc_usd"): Decimal(60000)}


class Desk:
    def __init__(self, full: bool = False) -> None:
        self.made: list[tuple[object, ...]] = []
        self.full = full

    def open(self, exchange, instrument, *, side, quantity, price, time_in_force):
        if self.full:
            raise Backpressure("full")
        self.made.append((exchange, instrument, side, quantity, price, time_in_force))
        return f"c-{len(self.made)}"

    def cancel(self, cid, exchange=None):
        self.made.append(("cancel", cid, exchange))
        return len(self.made)


def opens(desk: Desk) -> list[tuple[object, ...]]:
    return [made for made in desk.made if made[0] != "cancel"]


def acted(times: int, seed: int = 1) -> Desk:
    desk = Desk()
    maker = MarketMaker(DEPLOYMENT, desk, PRICES, seed)
    for _ in range(times):
        maker.act()
    return desk


def test_the_same_seed_makes_the_same_requests():
    assert acted(200).made == acted(200).made
    assert acted(200).made != acted(200, seed=2).made


def test_both_sides_of_every_instrument_that_has_a_price_are_quoted():
    assert {made[:3] for made in opens(acted(200))} == {
        (*market, side) for market in PRICES for side in ("buy", "sell")
    }


def test_prices_and_quantities_stand_on_the_venues_steps():
    for exchange, instrument, _, quantity, price, _ in opens(acted(200)):
        listed = DEPLOYMENT.exchange(exchange).instrument(instrument)
        assert price % listed.price_step == 0
        assert quantity % listed.quantity_step == 0
        assert quantity >= listed.quantity_min
        assert quantity * price >= listed.notional_min


def test_a_quote_is_cancelled_before_it_is_replaced():
    desk = acted(200)
    resting = [f"c-{at}" for at, made in enumerate(desk.made, 1) if made[-1] == "gtc"]
    cancelled = [made[1] for made in desk.made if made[0] == "cancel"]
    assert cancelled == resting[: len(cancelled)]
    assert len(resting) - len(cancelled) <= 4


def test_it_follows_its_own_fills():
    desk = Desk()
    maker = MarketMaker(DEPLOYMENT, desk, {("alpha", "btc_usd"): Decimal(60000)}, 1)
    fill = Trade(
        instrument=0, side=Side.BUY, id="t", cid="c", order_id=None, price=amount(50000), quantity=amount(1)
    )
    maker.on_event(fill.at(Place(0, 1, 1, 1, 0)))
    maker.act()
    assert abs(desk.made[0][4] - 50000) < 100


def test_a_refused_quote_is_placed_anew_without_a_cancel():
    desk = Desk()
    maker = MarketMaker(DEPLOYMENT, desk, {("alpha", "btc_usd"): Decimal(60000)}, 1)
    maker.act()
    maker.on_event(Refused(reason=Refusal.Overloaded, cid="c-1").at(Place(0, 1, 1, 1, 0)))
    for _ in range(3):
        maker.act()
    assert ("cancel", "c-1", "alpha") not in desk.made


def test_a_full_way_out_is_counted_and_costs_nothing_else():
    maker = MarketMaker(DEPLOYMENT, Desk(full=True), PRICES, 1)
    for _ in range(10):
        maker.act()
    assert maker.held_back == 10
