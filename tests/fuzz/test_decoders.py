"""Whatever bytes come, a decoder gives a message or one of its two errors, in bounded memory."""

import resource
import time

import pytest

from actors.exchange import wire
from pipeline import codec, headers
from pipeline.codec import BodyError
from pipeline.headers import HeaderError
from pipeline.messages import Message
from tests.fuzz.mutations import mutations
from tests.protocol_document import DOCUMENT, examples

SEED = 7
MEMORY_GROWTH_KIB = 256 * 1024  # over everything that a link may carry, whatever stands in it
# Frames that were once found to do harm, in hex.
KNOWN: list[str] = []

DOORS = {
    "request": (headers.read_request, codec.read_request_body),
    "source": (headers.read_source, codec.read_source_body),
    "feed": (headers.read_feed, codec.read_feed_body),
    "control": (headers.read_control, codec.read_control_body),
    "call": (headers.read_control, wire.body),
}


def corpus():
    found = [example.shown for example in examples(DOCUMENT.read_text())]
    fingerprint = 1
    question = wire.AskTrades(["BTCUSD"], 1, 2)
    calls = [
        question,
        wire.AskSnapshot(["BTC"], ["BTCUSD"]),
        wire.AskOrder("BTCUSD", "c", None),
        wire.Renew(),
    ]
    return found + [wire.frame(0, fingerprint, 1, call) for call in calls]


def enter(frame):
    """A frame at every door, since a wrong peer may send it anywhere; how many let it in."""
    let_in = 0
    for read_header, read_body in DOORS.values():
        try:
            header = read_header(frame)
            body = read_body(header.kind, frame)
        except (HeaderError, BodyError):
            continue
        assert isinstance(body, Message)
        let_in += 1
    return let_in


def fuzz(seed, seconds):
    """Mutated frames for so long. Returns (frames, how often one was let in, growth of memory in KiB)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    frames = let_in = 0
    end = time.monotonic() + seconds
    for frame in mutations(seed, corpus()):
        clean = False
        try:
            let_in += enter(frame)
            clean = True
        finally:
            if not clean:
                print(f"seed {seed}, frame {frames}: {frame[:4_096].hex()} of {len(frame)} bytes")
        frames += 1
        if frames % 64 == 0 and time.monotonic() > end:
            break
    return frames, let_in, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def check_fuzz(seed, seconds):
    frames, let_in, grown = fuzz(seed, seconds)
    print(f"\n{frames} frames, let in {let_in} times, memory grew by {grown} KiB")
    assert 0 < let_in < 4 * frames  # neither all too spoiled to get anywhere, nor all good
    assert grown < MEMORY_GROWTH_KIB


def test_two_seconds_of_spoiled_frames_meet_only_typed_errors():
    check_fuzz(SEED, 2)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_minute_of_spoiled_frames_meets_only_typed_errors():
    check_fuzz(time.time_ns() % 1_000_000, 60)


@pytest.mark.parametrize("frame", [pytest.param(bytes.fromhex(f), id=f[:16]) for f in [*KNOWN, "00"]])
def test_a_frame_that_once_did_harm_does_none(frame):
    assert enter(frame) == 0


def test_a_good_frame_enters_by_its_own_door():
    for frame in corpus():
        assert enter(frame) >= 1


def test_no_door_opens_to_nothing():
    for read_header, _ in DOORS.values():
        with pytest.raises(HeaderError):
            read_header(b"")
