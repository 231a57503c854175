"""A merger that hears nobody but its test, in the numbered frames of its sources."""

from pipeline import codec, headers
from pipeline.amounts import amount
from pipeline.headers import Kind
from pipeline.messages import (
    Answers,
    Heartbeat,
    OrderSnapshot,
    Refused,
    Trade,
)
from pipeline.topology import source_id
from pipeline.vocabulary import Evidence, Refusal, Side
from tests.order_words import order

E = Evidence


E = Evidence


def alone(desk, *names):
    """A pipeline of which only the merger runs."""
    for name in desk.deployment.actors:
        if name != "merger":
            desk.crash(name)
    desk.advance(30)
    return desk


class Bench:
    """Speaks to the merger in the numbered frames of its sources."""

    def __init__(self, desk):
        self.desk = desk
        desk.repeats_expected = True
        self.numbers = {}
        self.epoch = 5 * 10**18

    @property
    def merger(self):
        return self.desk.actors["merger"]

    def frame(self, source, event, number=None, epoch=None, exchange=0):
        id = source_id(self.desk.deployment, source)
        if number is None:
            number = self.numbers[source] = self.numbers.get(source, 0) + 1
        head = headers.source(exchange, codec.KINDS[type(event)], id, epoch or self.epoch, number)
        return head + codec.encode(event)

    def say(self, source, event, **more):
        """What the feed says because a source said this."""
        return self.hear(self.frame(source, event, **more))

    def hear(self, *frames):
        """Frames in one turn; what the feed says of them."""
        before = len(self.desk.feed)

        def handle(now_ns):
            for frame in frames:
                self.merger.on_message("events", frame, now_ns)

        self.desk.turn("merger", handle)
        return [event for _, event in self.desk.feed[before:]]

    def executor(self, *words, answers=None, evidence=E.CALL, **more):
        return self.say(
            "executor.alpha", OrderSnapshot(order=order(*words, **more), evidence=evidence, answers=answers)
        )

    def stream(self, *words, **more):
        return self.say("reconnector.alpha", OrderSnapshot(order=order(*words, **more), evidence=E.STREAM))

    def ask(self, body, exchange=0xFFFF, token=3):
        frame = headers.control(exchange, codec.KINDS[type(body)], self.desk.deployment.fingerprint, token)
        self.desk.turn(
            "merger",
            lambda now_ns: self.merger.on_question("replay", b"reader", frame + codec.encode(body), now_ns),
        )
        answers = [frame for _, to, _, frame in self.desk.wire if to == "reader"]
        self.desk.wire.clear()
        assert all(headers.read_control(answer).token == token for answer in answers)
        return [codec.read_control_body(headers.read_control(a).kind, a) for a in answers]

    def heartbeat(self):
        """The next heartbeat's body and header."""
        reader = Listener()
        self.desk.engines["listener"] = reader
        self.desk.advance(100)
        del self.desk.engines["listener"]
        frame = reader.heartbeats[-1]
        return codec.decode_as(Heartbeat, frame, headers.FEED_SIZE), headers.read_feed(frame)

    def restart(self):
        self.desk.restart("merger")


class Listener:
    """Hears heartbeats, where an engine would read the feed."""

    def __init__(self):
        self.core = self
        self.heartbeats = []

    def next_deadline_ns(self):
        return None

    def on_frame(self, link, frame, now_ns):
        if headers.read_feed(frame).kind == Kind.Heartbeat:
            self.heartbeats.append(frame)


def trade(id="t-1", side=Side.BUY, instrument=0, at_ns=0):
    one = amount("1")
    return Trade(
        instrument=instrument,
        side=side,
        id=id,
        cid="c-1",
        order_id="1",
        price=one,
        quantity=one,
        exchange_at_ns=at_ns,
        evidence=E.STREAM,
    )


def refused(rid, engine="mm", session=1):
    return Refused(reason=Refusal.TooLate, answers=Answers(engine, session, rid))
