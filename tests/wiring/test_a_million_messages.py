"""Four hops of typed messages over the real host: none is lost, doubled or out of order; nothing stalls."""

import asyncio
import random

import pytest

from pipeline import headers
from pipeline.codec import decode_as, encode, read_request_body
from pipeline.headers import FEED_SIZE, SOURCE_SIZE, Kind
from pipeline.messages import CancelOrder
from pipeline.topology import links
from tests.wiring.skeleton import Cast, Idle, deployment, host, run, until

UTC_END = 2**62
WINDOW = 3_000  # unanswered at a time: more than one batch, less than the links hold


class Keeping(Idle):
    """Keeps, in order, what a full link did not take, and reads no more until it is gone."""

    inbox = ""
    target = ""

    def __init__(self, name):
        super().__init__(name)
        self.kept = []
        self.unsent = 0
        self.count = 0

    def on_message(self, link, frame, now_ns):
        if link == self.inbox:
            self.count += 1
            frame = self.forwarded(frame)
            if self.kept:
                self.kept.append(frame)
            else:
                self.outbox.send(self.target, frame)

    def on_unsent(self, link, frames, now_ns):
        self.unsent += len(frames)
        self.kept[:0] = frames
        self.outbox.pause(self.inbox)

    def next_deadline_ns(self):
        return 0 if self.kept else None

    def on_deadline(self, now_ns):
        kept, self.kept = self.kept, []
        for frame in kept:
            self.outbox.send(self.target, frame)
        self.outbox.pause(self.inbox, False)


class Forwarder(Keeping):
    inbox, target = "requests", "executor.x"

    def forwarded(self, frame):
        assert headers.read_start(frame).kind == Kind.CancelOrder
        return frame


class Worker(Keeping):
    inbox, target = "requests", "events"

    def forwarded(self, frame):
        header = headers.read_request(frame)
        order = read_request_body(header.kind, frame)
        return headers.source(0, Kind.CancelOrder, 1, 1, self.count) + encode(order)


class Numberer(Idle):
    def __init__(self, name):
        super().__init__(name)
        self.seq = 0

    def on_message(self, link, frame, now_ns):
        header = headers.read_source(frame)
        self.seq += 1
        assert header.number == self.seq
        order = decode_as(CancelOrder, frame, SOURCE_SIZE)
        feed = headers.feed(0, Kind.CancelOrder, 1, 1, self.seq, self.seq, now_ns)
        self.outbox.send("feed", feed + encode(order))

    def next_deadline_ns(self):
        return None if self.seq else 0  # a pulse until the first order shows that the feed is read

    def on_deadline(self, now_ns):
        self.outbox.send("feed", headers.feed(headers.NO_EXCHANGE, Kind.Heartbeat, 3, 1, 0, 0, now_ns))


class Trader:
    """Sends `total` orders, `WINDOW` at a time, and checks that each comes back once and in order."""

    def __init__(self, loop, total, batches):
        self.loop, self.total, self.batches = loop, total, batches
        self.sent = self.back = 0
        self.finished = loop.create_future()
        self.attachment = None
        self.heard = False  # the feed reaches us

    def send(self):
        if not self.heard:
            return
        burst = self.batches.randint(1, WINDOW)
        while burst and self.sent < self.total and self.sent - self.back < WINDOW:
            header = headers.request(0, Kind.CancelOrder, 0, 7, b"mm", 1, self.sent + 1, UTC_END)
            body = encode(CancelOrder(0, f"c-{self.sent + 1}"))
            if not self.attachment.send("requests", header + body):
                break
            self.sent += 1
            burst -= 1
        if self.sent == self.back < self.total:  # nothing is out that would wake us
            self.loop.call_later(0.001, self.send)

    def on_frame(self, link, frame):
        header = headers.read_feed(frame)
        if header.kind == Kind.Heartbeat:
            self.heard = True
            return
        self.back += 1
        cid = decode_as(CancelOrder, frame, FEED_SIZE).cid
        assert (header.seq, cid) == (self.back, f"c-{self.back}")
        if self.back == self.total:
            self.finished.set_result(None)


def check_every_message_arrives(folder, transport, total, seed, within_s):
    batches = random.Random(seed)
    here = deployment(folder, transport, batch_limit=batches.randint(1, 400))
    cast = Cast(router=Forwarder, executor=Worker, merger=Numberer)

    async def body():
        async with host(here, cast) as running:
            trader = Trader(asyncio.get_running_loop(), total, batches)
            trader.attachment = running.attach("mm", links(here, "engine"), trader.on_frame, trader.send)
            for station in (running.station(name) for name in here.processes["main"]):
                for reader in station._readers.values():
                    reader.limit = batches.randint(1, 400)
            await until(lambda: trader.heard and trader.attachment.writable("requests"))
            trader.send()
            try:
                await asyncio.wait_for(trader.finished, within_s)
            except TimeoutError:
                counts = {actor.name: getattr(actor, "count", 0) for actor in cast.made}
                pytest.fail(f"seed {seed}: stalled at {trader.sent} sent, {trader.back} back, {counts}")
            assert (trader.sent, trader.back) == (total, total)

    run(body, within_s + 10)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("transport", ["auto", "ipc"])
def test_fifty_thousand_messages_go_through_random_batch_limits(tmp_path, transport, seed):
    check_every_message_arrives(tmp_path, transport, 50_000, seed, within_s=30)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("transport", "total"), [("auto", 1_000_000), ("ipc", 200_000)])
def test_a_million_messages_go_through_random_batch_limits(tmp_path, transport, total):
    check_every_message_arrives(tmp_path, transport, total, seed=4, within_s=240)
