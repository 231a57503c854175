"""Requests on their way: two clocks, one limit."""

from actors.executor_state import Flight
from actors.flights import Flights
from pipeline.actor import Cancel, Outbox
from pipeline.deployment import Timing
from pipeline.messages import Answers

MS = 1_000_000


def made(timeout_ms=100, lifetime_ms=50):
    outbox = Outbox()
    timing = Timing(request_timeout_ms=timeout_ms, call_lifetime_ms=lifetime_ms)
    return Flights(timing, outbox), outbox


def flight(rid=1):
    return Flight(Answers("mm", 1, rid), None, False, 0, f"c-{rid}", None)


def test_a_flight_counts_until_it_is_both_over_and_answered():
    flights, _ = made()
    one, two = flight(1), flight(2)
    for each in (one, two):
        flights.launch(each, 0, "open_order")
    assert flights.count == 2
    flights.landed(one.token)
    assert flights.count == 2
    flights.answered(one)
    flights.answered(one)
    assert flights.count == 1
    flights.answered(two)
    flights.landed(two.token)
    flights.landed(two.token)
    assert flights.count == 0


def test_deadlines_are_due_in_order_and_each_once():
    flights, _ = made()
    first, second = flight(1), flight(2)
    flights.launch(first, 0, "open_order")
    flights.launch(second, 10 * MS, "open_order")
    assert flights.next_deadline_ns() == 100 * MS
    assert list(flights.due(99 * MS)) == []
    assert list(flights.due(105 * MS)) == [first]
    assert list(flights.due(200 * MS)) == [second]
    assert list(flights.due(300 * MS)) == []


def test_what_is_answered_is_not_due():
    flights, _ = made()
    one = flight()
    flights.launch(one, 0, "open_order")
    flights.answered(one)
    assert list(flights.due(200 * MS)) == []


def test_a_call_is_ended_after_its_lifetime_and_named_once():
    flights, outbox = made()
    one = flight()
    flights.launch(one, 0, "open_order")
    flights.answered(one)
    assert list(flights.due(100 * MS)) == []
    assert flights.next_deadline_ns() == 150 * MS
    assert list(flights.due(150 * MS)) == []
    assert [action for action in outbox.actions if isinstance(action, Cancel)] == [Cancel(one.token)]
    assert (flights.take_given_up(), flights.take_given_up()) == ([one], [])
    assert flights.count == 0
    assert flights.landed(one.token) is None


def test_a_flight_that_was_never_called_needs_no_call_to_end():
    flights, outbox = made()
    one = flight()
    flights.register(one, 0)
    flights.never_called(one)
    flights.answered(one)
    assert (flights.count, outbox.actions) == (0, [])


def test_what_is_settled_asks_for_no_deadline_when_tidied():
    flights, _ = made()
    one = flight()
    flights.launch(one, 0, "open_order")
    flights.landed(one.token)
    flights.answered(one)
    flights.tidy()
    assert flights.next_deadline_ns() is None


def test_a_token_that_is_none_of_ours_lands_nothing():
    flights, _ = made()
    assert flights.landed(99) is None
