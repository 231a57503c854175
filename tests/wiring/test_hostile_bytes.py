"""Bytes that are no message of ours, on every socket: dropped and counted, and nobody else is late."""

import asyncio
import random
import socket
import struct

import pytest
import zmq

from pipeline import headers
from pipeline.codec import KINDS, encode
from pipeline.control import HealthQuery, Hello, ReplayQuery, StateQuery
from pipeline.headers import Kind
from pipeline.messages import CancelAll, CancelOrder
from pipeline.vocabulary import CancelScope
from tests.wiring.siege import Bystander, moment
from tests.wiring.test_hostile_requests import answers_to, body

SEED = 20_261
# Commands that a lucky mutation could make: they would do what they say.
COMMANDS = {int(kind) for kind in (Kind.Shutdown, Kind.Halt, Kind.Resolve, Kind.SetFault)}
MEMORY_GROWTH_KIB = 96 * 1024
HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"


def corpus(siege):
    """Good frames of every link, to be spoiled. The source is none of the deployment's."""
    fingerprint = siege.deployment.fingerprint
    bodies = [body(), CancelAll(CancelScope.ENGINE), CancelOrder(instrument=0, cid="c")]
    # Not mallory: a spoiled session that is newer would fence those of the other tests.
    requests = [siege.request(each, rid, engine=b"noisy") for rid, each in enumerate(bodies, 1)]
    questions = [HealthQuery(), Hello(name="x"), ReplayQuery(feed_id=1, after=0), StateQuery()]
    controls = [
        headers.control(0xFFFF, KINDS[type(question)], fingerprint, 7) + encode(question)
        for question in questions
    ]
    events = [headers.source(0, kind, 99 << 16, 1, 1) + body() for kind in (34, 36, 40)]
    calls = [headers.control(0, kind, fingerprint, 7) + body() for kind in range(96, 107)]
    return [*requests, *controls, *events, *calls]


def noise(seed, count, good):
    """Frames by seed: plain noise, noise behind a header's start, good frames spoiled in a few bytes."""
    source = random.Random(seed)
    for _ in range(count):
        way = source.randrange(4)
        if way == 0:
            frame = source.randbytes(source.randrange(200))
        elif way == 1:
            start = struct.pack("<H2sBB", source.choice((0, 1, 0xFFFF)), b"OW", 1, source.randrange(256))
            frame = start + source.randbytes(source.randrange(160))
        else:
            spoiled = bytearray(source.choice(good))
            for _ in range(source.randrange(1, 4)):
                spoiled[source.randrange(len(spoiled))] = source.randrange(256)
            frame = bytes(spoiled[: source.randrange(len(spoiled) + 1)] if way == 3 else spoiled)
        if len(frame) < headers.START_SIZE or frame[5] not in COMMANDS:
            yield frame


async def besiege(siege, count, what):
    """The noise on every socket at once, while the honest engine trades."""
    good = corpus(siege)
    edges = siege.edges()
    wires = [siege.attach(*edge, hwm=100) for edge in edges]
    async with Bystander(siege, what):
        await asyncio.gather(
            *(
                siege.send(wire, noise(SEED + number, count // len(edges), good), within_s=300)
                for number, wire in enumerate(wires)
            )
        )
    await siege.assert_all_alive()
    return {actor: (await siege.health(actor)).counters for actor in siege.deployment.actors}


def test_random_frames_on_every_socket_are_counted(siege):
    counters = siege.run(besiege(siege, 5_000, "5,000 random frames"))
    check_counted(counters)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_random_frames_on_every_socket_are_counted(siege):
    counters = siege.run(besiege(siege, 200_000, "200,000 random frames"))
    check_counted(counters)


def check_counted(counters):
    for actor, counted in counters.items():
        assert counted.get("bad_control_frames", 0) > 0, (actor, counted)
    assert counters["router"]["bad_request_frames"] > 0
    assert counters["merger"]["bad_source_frames"] > 0
    assert counters["executor.alpha"]["bad_request_frames"] > 0
    assert counters["exchange.alpha"]["bad_frames"] > 0


BOMBS = {
    "a megabyte of empty maps": b"\xdd\x00\x10\x00\x00" + b"\x80" * 1_000_000,
    "a megabyte of empty lists in lists": b"\xdc\xff\xff" + (b"\xdc\x00\x10" + b"\x90" * 16) * 50_000,
    "a megabyte deep": b"\x91" * 1_000_000,
    "a map of a million keys": b"\xdf\x00\x0f\x42\x40" + b"\xa0\xc0" * 500_000,
    "just under the limit of a request": b"\xdc\xff\x00" + b"\x90" * 65_000,
    "just under the limit of a chunk": b"\xdd\x00\x3f\xff\xff" + b"\x90" * 4_190_000,
    "five megabytes": b"\x00" * 5_000_000,
}


# Those of each edge whose decoders go furthest.
KINDS_OF_EDGE = {
    "requests": [Kind.OpenOrder],
    "events": [Kind.AccountSnapshot, Kind.OrderSnapshot],
    "replay": [Kind.StateChunk],
    "control": [Kind.Health],
    "calls": [96, 101],
}


def armed(siege, edge, bomb):
    """The bomb behind a good header of each of the edge's kinds."""
    for kind in KINDS_OF_EDGE[edge]:
        if edge == "requests":
            yield siege.request(bomb, 1, kind=kind, engine=b"noisy")
        elif edge == "events":
            yield headers.source(0, kind, 99 << 16, 1, 1) + bomb
        else:
            yield headers.control(0, kind, siege.deployment.fingerprint, 1) + bomb


def test_bombs_cost_no_memory_and_nobody_else(siege):
    async def attack():
        for name, bomb in BOMBS.items():
            wires = [(siege.attach(*edge), edge[1]) for edge in siege.edges()]
            async with Bystander(siege, name):
                for wire, edge in wires:
                    await siege.send(wire, armed(siege, edge, bomb))
                await siege.assert_all_alive()
            for wire, _ in wires:
                wire.close()

    before = {name: process.peak_kib for name, process in siege.processes.items()}
    siege.run(attack())
    grown = {name: process.peak_kib - before[name] for name, process in siege.processes.items()}
    assert not {name: kib for name, kib in grown.items() if kib > MEMORY_GROWTH_KIB}


def test_a_message_of_ten_thousand_parts_is_no_message(siege):
    async def attack():
        before = {actor: (await siege.health(actor)).counters for actor in siege.deployment.actors}
        async with Bystander(siege, "10,000-part messages"):
            for actor, edge, pattern in siege.edges():
                kind = zmq.PUSH if pattern == "push" else zmq.DEALER
                with siege.raw(actor, edge, kind) as raw:
                    raw.send_multipart([b"x"] * 10_000)
                    await served(siege, actor, edge, before[actor])
        await siege.assert_all_alive()
        return {actor: (await siege.health(actor)).counters for actor in siege.deployment.actors}, before

    after, before = siege.run(attack())
    for actor in siege.deployment.actors:
        assert after[actor]["dropped_control"] - before[actor].get("dropped_control", 0) == 1
    # On a PULL each part comes alone and is judged as a frame.
    counted = after["router"]["bad_request_frames"] - before["router"].get("bad_request_frames", 0)
    assert counted == 10_000


async def served(siege, actor, edge, before):
    """Until that socket has taken what was sent: the raw socket must not be closed before."""
    names = {
        "requests": ("bad_request_frames", 10_000),
        "events": ("bad_source_frames", 10_000),
        "control": ("dropped_control", 1),
        "replay": ("dropped_replay", 1),
        "calls": ("dropped_calls", 1),
    }
    name, count = names[edge]
    for _ in range(2_000):
        if await siege.counter(actor, name) - before.get(name, 0) >= count:
            return
        await moment()
    raise AssertionError(f"{actor} has not counted {count} {name}")


def old_message(frame):
    """A frame as a peer of ZMTP 1.0 sends it, after its anonymous greeting (rfc.zeromq.org/spec/13)."""
    return b"\x01\x00\xff" + (len(frame) + 1).to_bytes(8, "big") + b"\x00" + frame


def test_peers_that_speak_something_else_are_not_heard(siege):
    rid = siege.next_rid()
    good = siege.request(body(cid=f"old-{rid}"), rid)
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL" + b"\0" * 48
    written = [HTTP, old_message(good), random.Random(SEED).randbytes(4_096), greeting, b"\xff", b""]

    async def attack():
        peers = []
        async with Bystander(siege, f"{len(written)} foreign and 20 idle connections to every socket"):
            for actor, edge, _ in siege.edges():
                for said in [*written, *[b""] * 20]:
                    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    peer.setblocking(False)
                    peers.append(peer)
                    try:
                        peer.connect(siege.path(actor, edge))
                        peer.sendall(said)
                    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                        continue  # refused at the door: as good
            await siege.assert_all_alive()
        await siege.assert_all_alive()
        for peer in peers:
            peer.close()
        await siege.assert_all_alive()

    siege.run(attack())
    assert answers_to(siege, rid) == []
