"""The recorded market: what it shows, what it trades, what a bad file is told; the shared files too."""

import gzip
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actors.exchange import wire
from pipeline.amounts import text
from pipeline.deployment import ConfigError
from pipeline.vocabulary import Side, TimeInForce
from tests.exchange.bench import BUY, MS, SELL, START_NS, Bench, deployment

ZERO = 1_723_161_253_000_000_000


def ticker(u: int, bid: str, bid_quantity: str, ask: str, ask_quantity: str) -> str:
    return (
        f'{{"stream":"x@bookTicker","data":{{"u":{u},"s":"X","b":"{bid}","B":"{bid_quantity}",'
        f'"a":"{ask}","A":"{ask_quantity}"}}}}'
    )


def depth(u: int, bids: str = "", asks: str = "") -> str:
    return (
        f'{{"stream":"x@depth@100ms","data":{{"e":"depthUpdate","E":1,"s":"X","U":{u},"u":{u},'
        f'"b":{pairs(bids)},"a":{pairs(asks)}}}}}'
    )


def trade(price: str, quantity: str, buyer_made: bool) -> str:
    return (
        f'{{"stream":"x@trade","data":{{"e":"trade","E":1,"s":"X","t":1,"p":"{price}","q":"{quantity}",'
        f'"T":1,"m":{str(buyer_made).lower()},"M":true}}}}'
    )


def snapshot(u: int, bids: str, asks: str) -> str:
    return f'{{"lastUpdateId":{u},"bids":{pairs(bids)},"asks":{pairs(asks)}}}'


def pairs(written: str) -> str:
    levels = [level.split("x") for level in written.split()]
    return "[" + ",".join(f'["{price}","{quantity}"]' for price, quantity in levels) + "]"


class Recorded(Bench):
    """A bench on a recording of (milliseconds, frame) lines."""

    def __init__(self, path: Path, *lines: tuple[int, str], **market: Any) -> None:
        with gzip.open(path, "wt") as file:
            file.writelines(f"{ZERO + ms * MS} {frame}\n" for ms, frame in lines)
        self.path = path
        super().__init__(
            {"market": {"model": "recordings", "files": {"btc_usdt": str(path)}, "loop": False} | market}
        )

    def shown(self, side: Side) -> list[tuple[str, str]]:
        return [(text(price), text(quantity)) for price, quantity in self.levels[side]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recorded.gz"


def test_the_first_line_is_now_and_stamps_say_how_long_to_wait(path: Path) -> None:
    bench = Recorded(path, (0, ticker(1, "99", "1", "101", "1")), (50, ticker(2, "98", "1", "101", "1")))
    bench.wait(0)
    assert bench.shown(BUY) == [("99", "1")]
    bench.wait(49)
    assert bench.shown(BUY) == [("99", "1")]
    bench.wait(1)
    assert bench.shown(BUY) == [("98", "1")]
    assert bench.exchange.market.next_ns() is None


def test_a_stamp_that_goes_back_does_not_take_time_back(path: Path) -> None:
    bench = Recorded(
        path, (0, trade("1", "1", True)), (50, trade("1", "1", True)), (20, trade("1", "1", True))
    )
    due = []
    while (at := bench.exchange.market.next_ns()) is not None:
        due.append((at - START_NS) // MS)
        bench.exchange.market.advance(at) if len(due) == 1 else bench.exchange.market.recordings[0].step()
    assert due == [0, 50, 50]


def test_speed_shortens_the_waits(path: Path) -> None:
    bench = Recorded(path, (0, trade("1", "1", True)), (100, trade("1", "1", True)), speed=4.0)
    bench.wait(0)
    assert bench.exchange.market.next_ns() == START_NS + 25 * MS


def test_a_marketable_order_takes_the_recorded_book_until_it_is_next_spoken_of(path: Path) -> None:
    bench = Recorded(
        path,
        (0, snapshot(5, "99x1 98x2", "101x1 102x2 103x3")),
        (100, depth(6, asks="101x4")),
    )
    bench.wait(0)
    (taken,) = bench.open("a", BUY, "2", "102")
    assert taken.filled == 2
    assert bench.shown(SELL) == [("102", "1"), ("103", "3")]
    bench.wait(100)
    assert bench.shown(SELL) == [("101", "4"), ("102", "1"), ("103", "3")]


def test_resting_orders_match_recorded_trades_and_not_recorded_quotes(path: Path) -> None:
    bench = Recorded(
        path,
        (0, snapshot(5, "99x1", "101x1")),
        (10, ticker(6, "97", "1", "98", "1")),
        (20, trade("99", "0.4", True)),
        (30, trade("98.5", "0.4", True)),
    )
    bench.wait(0)
    bench.subscribe()
    bench.open("a", BUY, "1", "99")
    assert bench.wait(10) == []
    fills = [b.line for b in bench.wait(20) if isinstance(b, wire.TradeItem)]
    assert [(str(f.price), str(f.quantity)) for f in fills] == [("99", "0.4"), ("99", "0.4")]


def test_a_snapshot_replaces_the_book_and_newer_differences_from_before_it_go_on_top(path: Path) -> None:
    bench = Recorded(
        path,
        (0, depth(3, bids="90x9")),
        (1, depth(7, bids="97x7")),
        (2, snapshot(5, "99x1 98x2", "101x1")),
        (3, depth(4, bids="99x0")),
        (4, depth(8, bids="98x0")),
    )
    bench.wait(10)
    assert bench.shown(BUY) == [("99", "1"), ("97", "7")]


def test_older_depth_does_not_undo_a_newer_best_price(path: Path) -> None:
    bench = Recorded(
        path,
        (0, snapshot(5, "99x1 98x2", "101x1 102x2")),
        (1, ticker(9, "98", "5", "100", "3")),
        (2, depth(8, bids="99x4 97x6", asks="100x9 102x1")),
    )
    bench.wait(10)
    assert bench.shown(BUY) == [("98", "5"), ("97", "6")]
    assert bench.shown(SELL) == [("100", "3"), ("101", "1"), ("102", "1")]


def test_quantities_and_prices_off_the_steps_are_rounded_away_from_us(path: Path) -> None:
    bench = Recorded(path, (0, ticker(1, "99.019", "1.0009", "101.011", "0.0009")))
    bench.wait(0)
    assert bench.shown(BUY) == [("99.01", "1")]
    assert bench.shown(SELL) == []


def test_a_loop_begins_again_with_an_empty_book_and_ends_never(path: Path) -> None:
    bench = Recorded(
        path, (0, ticker(1, "99", "1", "101", "1")), (10, depth(2, bids="95x5")), (20, depth(3)), loop=True
    )
    bench.wait(20)
    assert bench.shown(BUY) == [("99", "1"), ("95", "5")]
    bench.wait(1)
    assert bench.shown(BUY) == [("99", "1")]
    bench.wait(10_000)
    assert bench.exchange.market.recordings[0].lines.rounds > 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty recording"),
        (b"nonsense\n", "line 1"),
        (b"12 {\n", "line 1"),
        (b'12 {"data":{"e":"trade","p":"NaN","q":"1"}}\n', "line 1"),
        (b'12 {"data":{"e":"depthUpdate","u":1,"b":[["1"]],"a":[]}}\n', "line 1"),
        (None, "gzip"),
    ],
)
def test_a_bad_recording_is_one_line_that_says_where(path: Path, content: bytes | None, says: str) -> None:
    path.write_bytes(b"no gzip at all" if content is None else gzip.compress(content))
    simulation = {"market": {"model": "recordings", "files": {"btc_usdt": str(path)}}}
    with pytest.raises(ConfigError) as raised:
        Bench(simulation).wait(10)
    assert says in str(raised.value) and str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_relative_files_are_beside_the_deployment_file(path: Path) -> None:
    from actors.exchange.settings import read

    path.write_bytes(gzip.compress(b"1 {}"))
    made = deployment(
        {"market": {"model": "recordings", "files": {"btc_usdt": path.name}}}, path.parent / "bench.toml"
    )
    assert read(made, made.exchanges[0]).files == {"BTCUSDT": path}


def _real(name: str) -> Path:
    folder = os.environ.get("ORDERWIRE_MARKET_DATA")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip("ORDERWIRE_MARKET_DATA names no folder with the recorded market data")
    return Path(folder) / name


@pytest.mark.parametrize("name", ["binance_spot_btcusdt_20240808.gz", "binance_spot_ethusdt_20240808.gz"])
def test_the_shared_recordings_play_to_their_end_with_a_sane_book(name: str) -> None:
    market = {"model": "recordings", "files": {"btc_usdt": str(_real(name))}, "loop": False}
    bench = Bench({"market": market, "balances": {"btc": "100", "usdt": "10000000"}})
    bench.wait(2_000)
    bid, ask = (bench.levels[side].best_price() for side in (BUY, SELL))
    assert bid is not None and ask is not None
    (bought,) = bench.open("taker", BUY, "0.05", str(ask), tif=TimeInForce.IOC)
    assert bought.filled == Decimal("0.05")
    bench.open("low", BUY, "1", str(bid))
    bench.open("high", SELL, "1", str(ask))
    crossed, looks = 0, 0
    for _ in range(346):
        bench.wait(1_000)
        best_bid, best_ask = (bench.levels[side].best_price() for side in (BUY, SELL))
        assert best_bid is not None and best_ask is not None
        looks += 1
        crossed += best_bid >= best_ask
        assert abs(best_ask - best_bid) < best_bid / 500
    assert bench.exchange.market.next_ns() is None, "six minutes are over"
    assert crossed == 0, f"{crossed} of {looks} looks at the book found it crossed"
    assert bench.exchange.orders.last_trade > 2, "resting orders were traded with"
