import msgspec
import pytest

from pipeline import control, messages
from pipeline.amounts import parse
from pipeline.codec import CLASSES, decode, encode
from pipeline.headers import Kind
from pipeline.messages import Event, OpenOrder, Place, Refused, Stuck
from pipeline.vocabulary import Flags, OrderKind, Refusal, Side, TimeInForce

PLACE = Place(exchange=1, feed_id=9, seq=12, exchange_seq=10, published_at_ns=5)
EVENTS = [cls for cls in CLASSES.values() if issubclass(cls, Event)]


def test_an_event_that_was_read_from_the_feed_knows_its_place():
    event = Refused(reason=Refusal.Halted).at(PLACE)
    assert (event.place, event.seq, event.exchange) == (PLACE, 12, 1)


def test_an_event_that_was_not_says_so():
    with pytest.raises(KeyError):
        _ = Refused(reason=Refusal.Halted).place


def test_a_place_is_no_part_of_what_travels_or_of_what_is_equal():
    placed = Refused(reason=Refusal.Halted).at(PLACE)
    bare = Refused(reason=Refusal.Halted)
    assert placed == bare
    assert encode(placed) == encode(bare)
    assert "place" not in decode(Kind.Refused, encode(placed), 0).__dict__


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.__name__)
def test_every_event_begins_with_the_same_five_fields(cls):
    common = ("exchange_at_ns", "received_at_ns", "evidence", "answers", "tag")
    assert cls.__struct_fields__[: len(common)] == common


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
def test_no_field_with_a_default_stands_before_one_without(cls):
    own = msgspec.structs.fields(cls)[5 if issubclass(cls, Event) else 0 :]
    needed = [field.default is field.default_factory is msgspec.NODEFAULT for field in own]
    assert needed == sorted(needed, reverse=True), "a body could not grow behind its defaults"


def test_every_message_that_travels_has_a_kind():
    events = {
        cls.__name__
        for module in (messages, control)
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Event) and cls is not Event
    }
    assert events <= set(Kind.__members__)


def test_post_only_is_a_bit_among_others():
    def open_with(flags):
        return OpenOrder(
            0, "c", Side.BUY, OrderKind.LIMIT, TimeInForce.GTC, flags, parse("1"), parse("1")
        ).post_only

    assert [open_with(flags) for flags in (0, Flags.POST_ONLY, Flags.REDUCE_ONLY, 3, 7)] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_two_messages_with_the_same_fields_are_equal():
    one = Stuck(instrument=0, cid="c", since_ns=1)
    assert one == Stuck(instrument=0, cid="c", since_ns=1)
    assert one != Stuck(instrument=0, cid="c", since_ns=2)
