"""What `--market-data` makes of files."""

import gzip
from decimal import Decimal
from pathlib import Path

import click
import pytest

from actors.command_line import recordings
from tests.deployment_text import paper

TICKER = (
    b'1 {"stream":"xbtusd@bookTicker","data":{"u":1,"s":"XBTUSD","b":"100.50","B":"1","a":"101","A":"1"}}\n'
)
NAMELESS = b'1 {"data":{"e":"trade","p":"42.10","q":"1"}}\n'


def recording(folder: Path, content: bytes, name: str = "file.gz") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content))
    return path


def test_the_symbol_in_the_frames_says_whose_market_it_is(tmp_path: Path):
    (found,) = recordings.find(paper(), [recording(tmp_path, TICKER)])
    assert found[:2] == ("alpha", "btc_usd")
    assert found.price == Decimal("100.5")


def test_the_file_name_says_it_where_the_frames_do_not(tmp_path: Path):
    (found,) = recordings.find(paper(), [recording(tmp_path, NAMELESS, "binance_spot_ethusd_2024.gz")])
    assert found[:2] == ("alpha", "eth_usd")
    assert found.price == Decimal("42.1")


BAD = [
    (b"", "has no price"),
    (b"1 {}\n", "has no price"),
    (b"1 no json\n", "is no recording"),
    (NAMELESS, "is of no symbol; give one of XBTUSD"),
    (TICKER.replace(b"XBTUSD", b"DOGE"), "is of DOGE"),
]


@pytest.mark.parametrize(("content", "what"), BAD)
def test_what_is_no_recording_of_ours_is_refused_by_name(tmp_path: Path, content: bytes, what: str):
    with pytest.raises(click.UsageError) as refused:
        recordings.find(paper(), [recording(tmp_path, content)])
    assert "file.gz" in refused.value.message
    assert what in refused.value.message


def test_two_recordings_of_one_instrument_are_refused(tmp_path: Path):
    files = [recording(tmp_path, TICKER, name) for name in ("a.gz", "b.gz")]
    with pytest.raises(click.UsageError, match="second recording"):
        recordings.find(paper(), files)


def test_a_file_that_is_not_gzip_is_refused(tmp_path: Path):
    path = tmp_path / "plain"
    path.write_text("x")
    with pytest.raises(click.UsageError, match="in gzip"):
        recordings.find(paper(), [path])
