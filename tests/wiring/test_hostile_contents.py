"""Well-formed frames with contents that no honest peer sends: no actor dies, no journal is broken by them."""

import msgpack

from actors.exchange import wire
from actors.executor import ENGINES_LIMIT
from pipeline import headers
from pipeline.amounts import parse
from pipeline.codec import KINDS, encode
from pipeline.control import (
    Done,
    Failed,
    Halt,
    HealthQuery,
    Hello,
    ReplayChunk,
    ReplayQuery,
    Resolve,
    Resume,
    SetFault,
    Shutdown,
    StateChunk,
    StateQuery,
)
from pipeline.messages import Answers, CancelOrder, Halted, OrderSnapshot, Refused, Trade
from pipeline.topology import source_id
from pipeline.vocabulary import OrderKind, Refusal, Side, TimeInForce
from tests.wiring.siege import Bystander, Siege

LAST = 2**63 - 1
BEYOND = [2**63, 2**64 - 1]


def question(siege, body, kind=None, exchange=0xFFFF, fingerprint=None):
    written = body if isinstance(body, bytes) else encode(body)
    number = KINDS[type(body)] if kind is None else kind
    fingerprint = siege.deployment.fingerprint if fingerprint is None else fingerprint
    return headers.control(exchange, number, fingerprint, 2**64 - 1) + written


async def replies(siege, actor, edge, frames):
    """The first reply to each frame."""
    heard = []
    wire = siege.attach(actor, edge, "dealer", heard)
    found = []
    for frame in frames:
        header, reply = await siege.ask(wire, heard, frame)
        assert header.token == 2**64 - 1
        found.append(reply)
    wire.close()
    return found


def test_an_engine_cannot_stop_an_actor_through_a_data_edge(siege):
    async def attack():
        (told,) = await replies(siege, "merger", "replay", [question(siege, Shutdown(by="mallory"))])
        wires = [siege.attach(f"exchange.{name}", "calls", "dealer") for name in ("alpha", "beta")]
        for wires_to in wires:
            await siege.send(wires_to, [question(siege, Shutdown(by="mallory"))])
        for edge in ("router", "executor.alpha"):
            await siege.send(siege.attach(edge, "requests"), [question(siege, Shutdown(by="mallory"))])
        await siege.assert_all_alive()
        return told

    assert isinstance(siege.run(attack()), Failed)


REPLAYS = [
    *(msgpack.packb([1, number, 10]) for number in BEYOND),
    *(msgpack.packb([number, 0, 10]) for number in BEYOND),
    *(msgpack.packb([1, 0, number]) for number in BEYOND),
    msgpack.packb(["1", 0, 10]),
    msgpack.packb([1, 0.5, 10]),
]
ODD_REPLAYS = [ReplayQuery(1, -1), ReplayQuery(1, -LAST - 1), ReplayQuery(1, LAST), ReplayQuery(1, 0, 0)]
ODD_REPLAYS += [ReplayQuery(1, 0, -LAST), ReplayQuery(1, 0, LAST), ReplayQuery(LAST, LAST, LAST)]


def test_a_replay_from_any_number_is_answered(siege):
    async def attack():
        wrong = [question(siege, written, KINDS[ReplayQuery]) for written in REPLAYS]
        odd = [
            question(siege, body, exchange=exchange) for body in ODD_REPLAYS for exchange in (0, 9, 0xFFFF)
        ]
        refused = await replies(siege, "merger", "replay", wrong)
        answered = await replies(siege, "merger", "replay", odd)
        states = [question(siege, StateQuery(), exchange=exchange) for exchange in (0, 9, 0xFFFF)]
        answered_states = await replies(siege, "merger", "replay", states)
        await siege.assert_all_alive()
        return refused, answered, answered_states

    refused, answered, states = siege.run(attack())
    assert {type(reply) for reply in refused} == {Failed}
    assert {type(reply) for reply in answered} == {ReplayChunk}
    assert {type(reply) for reply in states} == {StateChunk}


def test_a_command_that_makes_no_sense_fails_and_says_why(siege):
    long = "x" * 60_000
    senseless = [
        Resolve("nobody", "cancelled", "me", "because"),
        Resolve("c" * 60_000, "no outcome", "me", "because"),
        Resolve("c\x00", "cancelled", "", ""),
        SetFault("nothing", []),
        SetFault("delay", ["9" * 4_000]),
        SetFault("delay", ["-1"]),
        SetFault("delay", ["１"]),
        SetFault("delay", ["1"] * 4_096),
        SetFault(long, [long[:100]]),
        Done(),
        Failed(detail=long),
    ]

    async def attack():
        found = {}
        for actor in siege.deployment.actors:
            found[actor] = await replies(
                siege, actor, "control", [question(siege, body) for body in senseless]
            )
            (welcome,) = await replies(siege, actor, "control", [question(siege, Hello(name=long))])
            found[actor].append(welcome)
        await siege.assert_all_alive()
        return found

    for actor, (*failed, welcome) in siege.run(attack()).items():
        assert {type(reply) for reply in failed} == {Failed}, actor
        assert welcome.actor == actor


def test_an_operators_words_reach_the_feed_short_and_printable(siege):
    async def attack():
        words = Halt(by="\x1b[31m" + "b" * 30_000, because="a\nb" + "c" * 30_000)
        frames = [question(siege, words), question(siege, Resume(by=words.by, because=words.because))]
        said = await replies(siege, "executor.alpha", "control", frames)
        await siege.until(lambda: any(isinstance(e, Halted) for e in siege.events), "Halted on the feed")
        await siege.assert_all_alive()
        return said

    assert [type(reply) for reply in siege.run(attack())] == [Done, Done]
    (told,) = [event for event in siege.events if isinstance(event, Halted)]
    assert told.by.isprintable()
    assert told.because.isprintable()
    assert len(told.by) + len(told.because) < 500


def test_a_question_of_another_version_is_dropped_and_counted(siege):
    async def attack():
        before = await siege.counter("router", "bad_control_frames")
        frame = question(siege, HealthQuery())
        wire = siege.attach("router", "control", "dealer")
        await siege.send(wire, [frame[:4] + bytes([version]) + frame[5:] for version in (0, 2, 255)])
        for _ in range(1_000):
            if await siege.counter("router", "bad_control_frames") == before + 3:
                break
        await siege.assert_all_alive()
        return await siege.counter("router", "bad_control_frames") - before

    assert siege.run(attack()) == 3


CALLS = [
    *(
        wire.AskTrades(["BTCUSD"], since, after)
        for since in (-1, LAST, -LAST)
        for after in (-1, 0, LAST - 1, LAST)
    ),
    wire.AskTrades(["nothing", "", "\x00"], 0, 0),
    wire.AskOrder("BTCUSD", "\x00", None),
    wire.AskOrder("BTCUSD", "c" * 60_000, "9" * 60_000),
    wire.AskOrder("nothing", "c", "1"),
    wire.AskOpenOrders(["nothing"]),
    wire.AskOpenOrders(["BTCUSD"] * 4_096),
    wire.AskBalances(["BTC"] * 4_096),
    wire.AskBalances([""]),
    wire.AskSnapshot(["BTC"] * 4_096, ["BTCUSD"] * 4_096),
    wire.AskSnapshot([], []),
    wire.Cancel("BTCUSD", "", ""),
    wire.Cancel("nothing", "c", None),
    wire.CancelAll(["nothing"]),
    wire.Renew(),
]
AMOUNTS = ["9" * 20, "9" * 20 + "." + "9" * 18, "-" + "9" * 20, "0", "0." + "0" * 17 + "1"]


def test_any_call_to_an_exchange_is_answered(siege):
    now = siege.engine._clock.now_ns()
    opens = [
        wire.Open(
            "BTCUSD", f"odd-{i}-{p}", side, kind, TimeInForce.IOC, flags, parse(price), parse(size), 0, now
        )
        for i, price in enumerate(AMOUNTS)
        for p, size in enumerate(AMOUNTS)
        for side, kind, flags in ((Side.BUY, OrderKind.LIMIT, 0), (Side.SELL, OrderKind.MARKET, LAST))
    ]
    opens += [
        wire.Open(
            "BTCUSD", "late", Side.BUY, OrderKind.LIMIT, TimeInForce.GTC, 0, parse("1"), parse("1"), end, sent
        )
        for end in (-LAST, LAST)
        for sent in (-LAST - 1, 0, LAST)
    ]
    unreadable = [(wire.Wire.AskTrades, msgpack.packb([["BTCUSD"], number, 0])) for number in BEYOND] + [
        (wire.Wire.AskBalances, msgpack.packb([["BTC"] * 4_097])),
        (wire.Wire.Open, msgpack.packb([])),
    ]

    async def attack():
        heard = []
        dealer = siege.attach("exchange.alpha", "calls", "dealer", heard)
        fingerprint = siege.deployment.fingerprint
        async with Bystander(siege, "odd calls"):
            frames = [wire.frame(0, fingerprint, 5, call) for call in [*CALLS, *opens]]
            frames += [headers.control(0, kind, fingerprint, 5) + written for kind, written in unreadable]
            frames += [wire.frame(0, 1, 5, wire.AskBalances([]))]
            for frame in frames:
                heard.clear()
                await siege.send(dealer, [frame])
                await siege.until(lambda: bool(heard), f"an answer to {frame[:200]!r}")
            dealer.close()
        await siege.assert_all_alive()

    siege.run(attack())


def test_subscriptions_without_end_take_no_more_than_their_limit(siege):
    async def attack():
        dealer = siege.attach("exchange.alpha", "calls", "dealer", hwm=5_000)
        fingerprint = siege.deployment.fingerprint
        subscribe = wire.Subscribe(["BTC"], ["BTCUSD"])
        await siege.send(dealer, [wire.frame(0, fingerprint, token, subscribe) for token in range(2_000)])
        gauges = (await siege.health("exchange.alpha")).gauges
        dealer.close()
        # The honest stream was the oldest: it was ended, and is made anew.
        await siege.engine.ready("alpha")
        await siege.assert_all_alive()
        return gauges

    assert siege.run(attack())["subscriptions"] <= 64


def events(siege):
    """Event bodies by name that an honest source would not send, valid by their types."""
    answers = Answers("e" * 5_000, LAST, LAST)
    order = ["x"] * 3
    yield (
        "an answer to nobody",
        40,
        encode(Refused(reason=Refusal.Halted, answers=answers, detail="d" * 50_000)),
    )
    yield (
        "a trade at the end of time",
        36,
        encode(
            Trade(
                exchange_at_ns=LAST,
                instrument=LAST,
                side=Side.BUY,
                id="t" * 50_000,
                cid="\x00",
                order_id=None,
                price=parse("-1"),
                quantity=parse("0"),
            )
        ),
    )
    yield "an order that is none", 34, msgpack.packb([0, 0, 0, None, None, order])
    for number in BEYOND:
        yield (
            f"a trade at {number}",
            36,
            msgpack.packb([number, 0, 0, None, None, 0, 0, "t", "c", None, "1", "1"]),
        )
        yield (
            f"a trade of instrument {number}",
            36,
            msgpack.packb([0, 0, 0, None, None, number, 0, "t", "c", None, "1", "1"]),
        )
        yield f"an answer to {number}", 40, msgpack.packb([0, 0, 0, ["e", number, 1], None, 1, "", ""])
        yield f"an answer to rid {number}", 40, msgpack.packb([0, 0, 0, ["e", 1, number], None, 1, "", ""])
        yield f"a balance of asset {number}", 33, msgpack.packb([0, 0, 0, None, None, [number, "1", "1", 0]])
        yield f"a generation {number}", 38, msgpack.packb([0, 0, 0, None, None, number])
    for kind in range(256):
        yield f"nothing, as kind {kind}", kind, msgpack.packb([])
        yield f"a query, as kind {kind}", kind, encode(HealthQuery())


def test_a_forged_source_does_not_end_the_merger():
    """In the name of the router, whose own next frames are then repeats: so this deployment ends with it."""
    with Siege("inproc") as siege:

        async def attack():
            router = source_id(siege.deployment, "router")
            wire = siege.attach("merger", "events")
            await siege.send(wire, [headers.source(0, 40, router, epoch, 1) + b"\x90" for epoch in BEYOND])
            await siege.send(wire, [headers.source(9, 40, router, LAST, 1) + b"\x90"])
            await siege.send(wire, [headers.source(0, 40, 7 << 16, LAST, 1) + b"\x90"])
            numbered = enumerate(events(siege), 1)
            frames = [headers.source(0, k, router, LAST, number) + told for number, (_, k, told) in numbered]
            await siege.send(wire, frames)
            await siege.assert_all_alive()
            return (await siege.health("merger")).counters

        counters = siege.run(attack())
        assert counters["bad_source_frames"] == 4
        assert counters["bad_source_bodies"] > 256
        trades = [event for event in siege.events if isinstance(event, Trade)]
        assert [trade.exchange_at_ns for trade in trades if trade.cid == "\x00"] == [LAST]
        assert not [e for e in siege.events if isinstance(e, OrderSnapshot) and not e.order.cid]


def test_engines_without_end_are_not_all_kept_in_memory_and_none_is_forgotten():
    with Siege("inproc") as siege:
        assert siege.host is not None
        executor = siege.host.inner.station("executor.alpha").actor

        async def attack():
            cancel = CancelOrder(instrument=0, cid="c")
            wire = siege.attach("router", "requests")
            names = [f"engine-{number}" for number in range(ENGINES_LIMIT * 2)]
            frames = [siege.request(cancel, 1, engine=name.encode(), session=5) for name in names]
            older = siege.request(cancel, 1, engine=names[0].encode(), session=4)
            await siege.send(wire, [*frames, older])
            await siege.until(lambda: (names[0], 4, 1) in siege.answers, "the last answer")
            await siege.assert_all_alive()
            return siege.answers[names[0], 4, 1]

        (answer,) = siege.run(attack())
        assert isinstance(answer, Refused)
        assert "was followed by 5" in answer.detail
        assert len(executor.sessions) <= ENGINES_LIMIT
