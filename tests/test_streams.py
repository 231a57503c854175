import asyncio

from pipeline.lane import CallCancelled
from pipeline.streams import Streams


class Receiver:
    """What was told of the streams."""

    def __init__(self):
        self.told = []
        self.news = asyncio.Event()

    def opened(self, token, outcome):
        self._tell(("opened", token, outcome.error))

    def item(self, token, item):
        self._tell(("item", token, item))

    def ended(self, token, error):
        self._tell(("ended", token, error))

    def _tell(self, what):
        self.told.append(what)
        self.news.set()

    async def until(self, count):
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()
        return self.told


class Source:
    """An account stream whose items a test hands in; None ends it, an exception breaks it."""

    def __init__(self):
        self.items = asyncio.Queue()
        self.taken = 0
        self.closed = asyncio.Event()

    async def account_stream(self, asset):
        assert asset == "btc"
        return self._read()

    async def _read(self):
        try:
            while (item := await self.items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                self.taken += 1
                yield item
        finally:
            self.closed.set()


def with_a_stream(limit=256):
    """Run a coroutine function of (streams, receiver, source)."""

    def run(body):
        def test():
            async def main():
                receiver, source = Receiver(), Source()
                streams = Streams(asyncio.get_running_loop(), receiver, limit)
                try:
                    async with asyncio.timeout(10):
                        await body(streams, receiver, source)
                finally:
                    assert await streams.close() == 0

            asyncio.run(main())

        test.__name__ = test.__qualname__ = body.__name__
        return test

    return run


@with_a_stream()
async def test_a_stream_is_opened_read_and_ended_once(streams, receiver, source):
    streams.open(7, source.account_stream, ("btc",))
    for item in ("one", "two", None):
        source.items.put_nowait(item)
    assert await receiver.until(4) == [
        ("opened", 7, None),
        ("item", 7, "one"),
        ("item", 7, "two"),
        ("ended", 7, None),
    ]
    assert source.closed.is_set() and not streams.cancel(7)


@with_a_stream()
async def test_a_stream_that_breaks_ends_with_its_error(streams, receiver, source):
    streams.open(7, source.account_stream, ("btc",))
    broken = ConnectionError("reset")
    source.items.put_nowait(broken)
    assert (await receiver.until(2))[-1] == ("ended", 7, broken)


@with_a_stream()
async def test_a_stream_that_cannot_be_opened_is_told_once(streams, receiver, source):
    async def refuses():
        raise refusal

    refusal = ConnectionError("refused")
    streams.open(7, refuses, ())
    streams.open(8, source.account_stream, ("btc",))
    told = await receiver.until(2)
    assert set(told) == {("opened", 7, refusal), ("opened", 8, None)}


@with_a_stream()
async def test_a_paused_stream_is_not_read_further_and_goes_on_where_it_was(streams, receiver, source):
    streams.open(7, source.account_stream, ("btc",))
    await receiver.until(1)
    streams.pause(7, True)
    for number in range(10):
        source.items.put_nowait(number)
    for _ in range(50):
        await asyncio.sleep(0)
    assert source.taken <= 1  # the one that was being waited for
    streams.pause(7, False)
    assert (await receiver.until(11))[1:] == [("item", 7, number) for number in range(10)]


@with_a_stream()
async def test_a_cancelled_stream_is_closed_and_heard_of_no_more(streams, receiver, source):
    streams.open(7, source.account_stream, ("btc",))
    source.items.put_nowait("one")
    await receiver.until(2)
    assert streams.cancel(7)
    source.items.put_nowait("two")
    await source.closed.wait()
    assert await streams.close() == 0
    assert receiver.told == [("opened", 7, None), ("item", 7, "one")]


@with_a_stream()
async def test_a_stream_cancelled_while_it_opens_is_not_told(streams, receiver, source):
    async def slow():
        await asyncio.get_running_loop().create_future()

    streams.open(7, slow, ())
    await asyncio.sleep(0)
    streams.cancel(7)
    assert await streams.close() == 0
    assert receiver.told == []


@with_a_stream()
async def test_a_stream_that_cancels_itself_ends_with_an_error(streams, receiver, source):
    class Fickle:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise asyncio.CancelledError

    async def opens():
        return Fickle()

    streams.open(7, opens, ())
    assert isinstance((await receiver.until(2))[-1][2], CallCancelled)


@with_a_stream(limit=4)
async def test_a_stream_with_much_to_tell_lets_the_loop_go_on(streams, receiver, source):
    async def endless():
        async def items():
            while True:
                yield "more"

        return items()

    streams.open(7, endless, ())
    turns = 0
    while turns < 20:
        await asyncio.sleep(0)
        turns += 1
    assert 0 < len(receiver.told) <= 4 * turns + 1
