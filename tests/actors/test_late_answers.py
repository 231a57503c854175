"""Answers that come late, in every order: one answer to each request, nothing finished comes back.

Row 22, an old bug of the reference (barter, issue 206): the fill is on the stream, the call then answers
that the order is open, and what is over lives on in the books.
"""

from itertools import permutations

import pytest

from pipeline.client import ExecutionError
from pipeline.messages import CancelAll, CancelAllDone, Trade
from pipeline.vocabulary import CancelScope, Error, OrderState
from tests.actors.venue_words import cancelled, fill, order

STEPS = ("answer", "stream open", "stream partial", "stream filled", "trade", "deadline")


def play(desk, mm, steps):
    """One order of one lot whose messages arrive in a given order; the world is the same each time."""
    cid = mm.open()
    call = desk.call("open_order")
    for step in steps:
        if step == "answer":
            call.answer(order(cid))
        elif step == "stream open":
            desk.stream().item(order(cid))
        elif step == "stream partial":
            desk.stream().item(order(cid, filled="0.4"))
        elif step == "stream filled":
            desk.stream().item(order(cid, filled="1"))
        elif step == "trade":
            desk.stream().item(fill(cid, f"t-{cid}"))
        else:
            desk.advance(2_001)
    return cid


@pytest.mark.parametrize("first", STEPS)
def test_seed_row_22_a_fill_and_a_late_answer_in_every_order_leave_one_answer_and_no_phantom(desk, mm, first):
    rest = [step for step in STEPS if step != first]
    for steps in permutations(rest):
        cid = play(desk, mm, (first, *steps))
        rid = mm.rid
        assert len(desk.answers_to(rid)) == 1, (first, *steps)
        assert desk.states(cid)[-1] == "FullyFilled", (first, *steps)
        assert str(desk.words(cid)[-1].filled) == "1"
        assert (0, cid) not in mm.core.orders, "no phantom at the engine"
        assert cid not in desk.actors["executor.alpha"].orders, "none at the executor"
        assert (0, cid) not in desk.actors["merger"].admission.orders.active, "none on the feed"
        assert sum(trade.cid == cid for trade in desk.events(Trade)) == 1
        assert mm.core.outstanding == {}
        _forget(desk, mm)


def _forget(desk, mm):
    """Check what must hold, then clear what was said: hundreds of stories shall not be looked through."""
    desk.check_promises()
    desk.feed.clear()
    mm.core.events.clear()
    for call in list(desk.calls):
        call.fail(ExecutionError(Error.ExchangeOffline))


@pytest.mark.parametrize("crash", [1, 2, 3, 4, 5])
def test_seed_row_22_the_same_with_a_crash_of_the_merger_on_the_way(desk, mm, crash):
    """The tombstones and the answers given survive in the journal."""
    order_of = ("stream filled", "trade", "stream open", "deadline", "answer")
    cid = play(desk, mm, order_of[:crash])
    rid = mm.rid
    desk.restart("merger")
    for call in desk.waiting("open_order"):
        call.answer(order(cid))
    desk.stream().item(order(cid), order(cid, filled="1"), fill(cid, f"t-{cid}"))
    desk.advance(2_500)
    assert len(desk.answers_to(rid)) == 1
    assert desk.states(cid)[-1] == "FullyFilled"
    assert len(desk.events(Trade)) == 1


def test_seed_row_22_better_a_rejected_open_after_a_fill_does_not_undo_it(desk, mm):
    cid = mm.open()
    desk.stream().item(order(cid, filled="1"))
    desk.call("open_order").fail(ExecutionError(Error.OrderRejected, "lagging gateway"))
    answer = desk.answer_to(mm.rid)
    assert answer.order.state is OrderState.FullyFilled


def test_a_cancel_all_and_its_orders_in_any_order_are_answered_once(desk, mm):
    for steps in permutations(("answer", "stream", "deadline")):
        cid = mm.open()
        desk.call("open_order").answer(order(cid))
        desk.request(CancelAll(CancelScope.ALL), rid=10_000 + mm.rid, engine="cli")
        call = desk.call("cancel_order")
        for step in steps:
            if step == "answer":
                call.answer(cancelled(cid))
            elif step == "stream":
                desk.stream().item(order(cid, state=OrderState.Cancelled))
            else:
                desk.advance(2_001)
        assert len(desk.answers_to(10_000 + mm.rid, "cli")) == 1, steps
        assert desk.states(cid)[-1] == "Cancelled", steps
        assert cid not in desk.actors["executor.alpha"].orders
    assert len(desk.events(CancelAllDone)) == 6
