import asyncio

import pytest

from pipeline.attachment import Attachment
from pipeline.sockets import Sockets
from pipeline.topology import links
from tests.wiring.skeleton import Cast, Idle, deployment, host, run, until


class Echo(Idle):
    """A merger that publishes what it is asked, and answers it."""

    def on_question(self, link, peer, frame, now_ns):
        self.outbox.reply(link, peer, b"reply " + frame)
        self.outbox.send("feed", b"event " + frame)


@pytest.mark.parametrize("transport", ["auto", "ipc"])
def test_an_engine_apart_reaches_the_actors_of_any_layout_over_ipc(tmp_path, transport):
    here = deployment(tmp_path, transport)
    got = []
    batches = []

    async def body():
        sockets = Sockets(here.run_dir)
        loop = asyncio.get_running_loop()
        engine = Attachment(
            here, sockets, loop, None, lambda *item: got.append(item), lambda: batches.append(len(got))
        )
        engine.connect(links(here, "engine"))  # before anybody listens
        assert not engine.writable("requests") and not engine.send("requests", b"nobody is there")
        async with host(here, Cast(merger=Echo)):
            await until(lambda: engine.send("replay", b"1"))
            await until(lambda: ("replay", b"reply 1") in got)
            while ("feed", b"event 2") not in got:
                engine.send("replay", b"2")
                count = len(got)
                await until(lambda n=count: len(got) > n)
            assert engine.writable("requests")
            assert batches[-1] == len(got) and batches == sorted(set(batches))
            engine.close()
            engine.close()
        sockets.close()

    run(body)


def test_a_paused_link_is_read_again_where_it_was(tmp_path):
    here = deployment(tmp_path)
    got = []

    async def body():
        async with host(here, Cast(merger=Echo)) as running:
            engine = running.attach("mm", links(here, "engine"), lambda link, frame: got.append(frame))
            engine.pause("replay")
            for number in range(5):
                assert engine.send("replay", b"%d" % number)
            for _ in range(20):
                await asyncio.sleep(0)
            assert not [frame for frame in got if frame.startswith(b"reply")]
            engine.pause("replay", False)
            await until(lambda: len([frame for frame in got if frame.startswith(b"reply")]) == 5)

    run(body)


def test_what_is_there_can_be_taken_without_the_loop(tmp_path):
    here = deployment(tmp_path)
    got = []

    async def body():
        async with host(here, Cast(merger=Echo)) as running:
            engine = running.attach("mm", links(here, "engine"), lambda link, frame: got.append(frame))
            engine.send("replay", b"1")
            running.station("merger").drain()
            engine.drain()
            assert b"reply 1" in got

    run(body)
