"""Orders that nobody can speak for: what makes one, what ends it, and what never does.

Over real sockets where the exchange is asked; on the pipeline in memory where an answer must be told apart.
"""

import pytest

from orderwire import Error, Evidence, OrderCancelled, OrderSnapshot, OrderState, Refusal, Refused, Stuck
from pipeline.amounts import amount
from pipeline.client import Capability, ExecutionError, NotFound
from pipeline.control import Done, Failed
from tests.actors import pipeline as memory
from tests.actors import venue_words as words
from tests.faults.desk import deployment, play

SHORT = {"request_timeout_ms": 150, "call_lifetime_ms": 400}


# ------------------------------------------------------------------------------- what ends it


@pytest.fixture
def desk(tmp_path):
    """A pipeline in memory whose exchange can be asked about one order, in step, with an engine."""
    made = in_memory(tmp_path, frozenset(Capability))
    yield made
    made.check_promises()
    made.close()


def in_memory(folder, capabilities, validity_ms=0):
    timing = {"request_timeout_ms": 200, "query_every_ms": 100, "stuck_after_ms": 3_000}
    timing["call_lifetime_ms"] = 60_000
    made = memory.Pipeline(folder, capabilities=capabilities, validity_ms=validity_ms, timing=timing).start()
    made.sync()
    made.engine()
    return made


def timed_out(desk):
    """An open whose call hangs, after its deadline."""
    cid = desk.engines["mm"].open()
    desk.advance(250)
    assert desk.states(cid)[-1] == "Unknown"
    assert desk.answer_to(desk.engines["mm"].rid).failure.error is Error.Timeout
    return cid


def test_a_late_answer_ends_it_where_nothing_else_could(tmp_path):
    desk = in_memory(tmp_path, frozenset())
    cid = timed_out(desk)
    desk.advance(20_000)
    assert desk.states(cid)[-1] == "Unknown"  # nobody was asked, and nothing was guessed
    desk.call("open_order").answer(words.order(cid))
    last = desk.feed[-1][1]
    assert (last.order.state, last.evidence, last.answers) == (OrderState.Open, Evidence.LATE_CALL, None)
    desk.check_promises()
    desk.close()


def test_a_late_error_of_the_exchange_itself_ends_it(tmp_path):
    desk = in_memory(tmp_path, frozenset())
    cid = timed_out(desk)
    desk.call("open_order").fail(ExecutionError(Error.BalanceInsufficient, "no money"))
    assert desk.states(cid)[-1] == "OpenFailed"
    assert len(desk.answers_to(desk.engines["mm"].rid)) == 1
    desk.close()


def test_a_late_error_on_the_way_ends_nothing(tmp_path):
    desk = in_memory(tmp_path, frozenset())
    cid = timed_out(desk)
    desk.call("open_order").fail(ExecutionError(Error.Socket, "reset"))
    desk.advance(20_000)
    assert desk.states(cid)[-1] == "Unknown"
    desk.close()


def test_the_stream_ends_it_and_the_questions(desk):
    cid = timed_out(desk)
    desk.stream().item(words.order(cid))
    assert desk.states(cid)[-1] == "Open"
    desk.call("fetch_order").answer(NotFound())  # asked before the stream spoke: it is not about now
    desk.advance(20_000)
    assert desk.states(cid)[-1] == "Open"
    assert desk.waiting("fetch_order") == []


def test_a_question_that_finds_it_ends_it(desk):
    cid = timed_out(desk)
    desk.call("fetch_order").answer(words.order(cid, filled="0.3"))
    last = desk.feed[-1][1]
    assert (last.order.state, last.evidence) == (OrderState.Open, Evidence.QUERY)
    assert last.order.filled == amount("0.3")


def test_a_question_that_cannot_tell_counts_for_nothing_and_is_put_again(desk):
    cid = timed_out(desk)
    for _ in range(5):
        desk.call("fetch_order").fail(ExecutionError(Error.ExchangeOffline, "502"))
        desk.advance(30_000)
        assert desk.states(cid)[-1] == "Unknown"
    assert desk.waiting("fetch_order") != []


def test_absence_counts_only_when_the_call_is_over(desk):
    cid = timed_out(desk)
    desk.call("fetch_order").answer(NotFound())
    desk.advance(1_000)
    assert desk.states(cid)[-1] == "Unknown"
    desk.call("open_order").fail(ExecutionError(Error.Socket, "reset"))
    desk.call("fetch_order").answer(NotFound())
    last = desk.feed[-1][1]
    assert (last.order.state, last.evidence) == (OrderState.OpenFailed, Evidence.ABSENCE)


@pytest.mark.parametrize(("validity_ms", "ends"), [(5_000, True), (None, False)])
def test_absence_counts_only_after_the_request_could_still_act(tmp_path, validity_ms, ends):
    desk = in_memory(tmp_path, frozenset(Capability), validity_ms)
    cid = timed_out(desk)
    desk.call("open_order").fail(ExecutionError(Error.Socket, "reset"))
    began_ns = desk.now_ns - 250 * memory.MS
    while desk.now_ns < began_ns + 20_000 * memory.MS and desk.states(cid)[-1] == "Unknown":
        for question in desk.waiting("fetch_order"):
            question.answer(NotFound())
        desk.advance(50)
    assert (desk.states(cid)[-1] == "OpenFailed") is ends
    if ends:
        assert desk.now_ns > began_ns + 5_000 * memory.MS
    desk.close()


def test_an_order_that_was_ended_by_absence_and_lives_is_corrected(tmp_path):
    desk = in_memory(tmp_path, frozenset(Capability))
    cid = timed_out(desk)
    desk.call("open_order").fail(ExecutionError(Error.Socket, "reset"))
    desk.call("fetch_order").answer(NotFound())
    header, ended = desk.feed[-1]
    assert ended.order.state is OrderState.OpenFailed
    desk.stream().item(words.order(cid, filled="0.2"))
    life = desk.feed[-1][1]
    assert (life.corrects, life.order.state, life.order.engine) == (header.seq, OrderState.Open, "mm")
    desk.engines["mm"].cancel(cid)  # the executor has it again
    desk.call("cancel_order").answer(words.cancelled(cid, "0.2"))
    assert desk.states(cid)[-1] == "Cancelled"
    desk.stream().item(words.order(cid, filled="0.2"))  # and a second late word is only late
    assert desk.states(cid)[-1] == "Cancelled"
    desk.close()


def test_a_snapshot_that_shows_an_order_ended_by_absence_corrects_it_too(tmp_path):
    desk = in_memory(tmp_path, frozenset(Capability))
    cid = timed_out(desk)
    desk.call("open_order").fail(ExecutionError(Error.Socket, "reset"))
    desk.call("fetch_order").answer(NotFound())
    header, _ = desk.feed[-1]
    desk.stream().end()
    desk.advance(1_000)
    desk.sync(orders=[words.order(cid)])
    (life,) = [event for event in desk.events(OrderSnapshot) if event.corrects]
    assert (life.corrects, life.evidence) == (header.seq, Evidence.SNAPSHOT)
    assert life.order.state is OrderState.Open
    desk.close()


# ------------------------------------------------------------------------------- stuck, and a person's word


def test_an_order_that_stays_unknown_is_called_stuck_once_and_in_time(desk):
    cid = timed_out(desk)
    since_ns = desk.events(OrderSnapshot)[-1].received_at_ns
    desk.advance(60_000)
    (stuck,) = desk.events(Stuck)
    assert (stuck.cid, stuck.since_ns) == (cid, since_ns)
    assert stuck.received_at_ns == since_ns + 3_000 * memory.MS
    assert desk.actors["executor.alpha"].gauges(desk.now_ns)["stuck"] == 1
    desk.stream().item(words.order(cid))
    assert desk.actors["executor.alpha"].gauges(desk.now_ns)["stuck"] == 0


def test_an_order_that_is_known_again_in_time_is_never_stuck(desk):
    cid = timed_out(desk)
    desk.advance(2_000)
    desk.stream().item(words.order(cid))
    desk.advance(60_000)
    assert desk.events(Stuck) == []


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("cancelled", "Cancelled"), ("open-failed", "OpenFailed"), ("filled", "FullyFilled")],
)
def test_an_operator_ends_it_with_a_signed_word_over_the_control_socket(tmp_path, outcome, state):
    async def story(desk):
        await desk.fault("drop_stream_frame", "order", 5)
        await desk.fault("accept_then_no_reply", 1, "open")
        await desk.fault("delay", 60_000)  # and no question is answered in time
        cid = desk.open()
        await desk.until(lambda: desk.state(cid) is OrderState.Unknown)
        await desk.until(lambda: desk.of(Stuck) != [])
        assert isinstance(await desk.resolve(cid, "gone"), Failed)
        assert isinstance(await desk.resolve(cid, outcome, " "), Failed)
        assert isinstance(await desk.resolve("another", outcome), Failed)
        assert isinstance(await desk.resolve(cid, outcome), Done)
        await desk.until(lambda: desk.states(cid)[-1] == state)
        word = desk.events[-1]
        assert word.evidence is Evidence.OPERATOR
        assert "tester" in word.failure.detail and "desk said so" in word.failure.detail
        assert isinstance(await desk.resolve(cid, outcome), Failed)
        assert (await desk.health("executor.alpha")).gauges["stuck"] == 0

    play(deployment(tmp_path, stuck_after_ms=100, **SHORT), story)


# ------------------------------------------------------------------------------- cancels


def test_a_cancel_that_timed_out_and_was_done_is_found_done(tmp_path):
    async def story(desk):
        cid = await desk.opened()
        await desk.fault("accept_then_no_reply", 1, "cancel")
        await desk.fault("drop_stream_frame", "order", 1)
        answer = await desk.answered(desk.cancel(cid))
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
        await desk.until(lambda: desk.state(cid) is OrderState.Cancelled)
        await desk.at_rest()
        assert desk.states(cid) == ["Open", "Unknown", "Cancelled"]

    play(deployment(tmp_path, **SHORT), story)


def test_a_cancel_that_timed_out_and_lost_to_a_fill_is_found_filled(tmp_path):
    async def story(desk):
        cid = await desk.opened()
        await desk.fault("drop_before_accept", 1, "cancel")
        await desk.fault("drop_stream_frame", "order", 1)
        cancel = desk.cancel(cid)
        await desk.fill("90", "1")
        answer = await desk.answered(cancel)
        assert (answer.failure.error, answer.order.state) == (Error.Timeout, OrderState.Unknown)
        await desk.until(lambda: desk.state(cid) is OrderState.FullyFilled)
        await desk.at_rest()
        assert desk.states(cid) == ["Open", "Unknown", "FullyFilled"]

    play(deployment(tmp_path, **SHORT), story)


def test_a_cancel_of_an_unknown_order_goes_out_and_its_answer_settles_both(tmp_path):
    async def story(desk):
        await desk.fault("drop_stream_frame", "order", 5)
        await desk.fault("accept_then_no_reply", 1, "open")
        cid = desk.open()
        cancel = desk.cancel(cid)  # waits for its own open
        await desk.answered(cid)
        cancelled = await desk.answered(cancel)
        assert isinstance(cancelled, OrderCancelled)
        await desk.until(lambda: desk.state(cid) is OrderState.Cancelled)
        await desk.at_rest()

    play(deployment(tmp_path, **SHORT), story)


# ------------------------------------------------------------------------------- many, and rate limits


def test_many_unknown_orders_make_no_storm_of_questions(tmp_path):
    desk = in_memory(tmp_path, frozenset(Capability))
    engine = desk.engines["mm"]
    for _ in range(100):
        engine.open()
        desk.advance(1)  # so that there is a deadline, and a turn, every millisecond
    asked = []
    for _ in range(300):
        desk.advance(10)
        for question in desk.waiting("fetch_order"):
            asked.append(desk.now_ns)
            question.fail(ExecutionError(Error.ExchangeOffline, "502"))
    assert len(asked) >= 100  # everyone had a turn
    for start in range(0, 3_000, 100):
        window = [at for at in asked if 0 <= (at - asked[0]) // memory.MS - start < 100]
        assert len(window) <= 2 * 16
    desk.close()


def test_a_rate_limit_is_a_typed_answer_stops_questions_and_opens_and_lets_cancels_pass(desk):
    engine = desk.engines["mm"]
    resting = engine.open()
    desk.call("open_order").answer(words.order(resting))
    unknown = timed_out(desk)
    limited = ExecutionError(Error.RateLimit, "429", "no")
    desk.call("fetch_order").fail(limited)
    engine.open(cid="refused")
    refused = desk.answer_to(engine.rid)
    assert isinstance(refused, Refused) and refused.reason is Refusal.RateLimit
    engine.cancel(resting)
    desk.call("cancel_order").answer(words.cancelled(resting, "0"))
    assert desk.states(resting)[-1] == "Cancelled"
    desk.advance(200)
    assert desk.waiting("fetch_order") == []
    desk.advance(100)
    desk.call("fetch_order").fail(limited)  # and again: the pause is twice as long
    desk.advance(450)
    assert desk.waiting("fetch_order") == []
    desk.advance(100)
    desk.call("fetch_order").answer(words.order(unknown))
    assert desk.states(unknown)[-1] == "Open"
    engine.open(cid="taken")
    assert [call.request.cid for call in desk.waiting("open_order")][-1] == "taken"


def test_a_rate_limited_exchange_rejects_refuses_and_cancels_in_the_end(tmp_path):
    async def story(desk):
        resting = await desk.opened(price="80")
        await desk.fault("rate_limit", 4)
        cids = [desk.open(price="90", quantity="0.1") for _ in range(40)]
        cancel = desk.cancel(resting)
        answers = [await desk.answered(cid) for cid in cids]
        rejected = [a for a in answers if getattr(a, "failure", None) is not None]
        assert rejected, "nothing was limited"
        for answer in rejected:
            assert (answer.failure.error, answer.order.state) == (Error.RateLimit, OrderState.OpenFailed)
        await desk.answered(cancel)
        late = await desk.answered(desk.open(price="91"))
        assert isinstance(late, Refused) and late.reason is Refusal.RateLimit
        await desk.until(lambda: desk.state(resting) is OrderState.Cancelled)
        calls = await desk.counted("exchange.alpha", "calls")
        assert calls < 1 + 1 + 40 + 30
        await desk.fault("clear")
        await desk.at_rest()

    play(deployment(tmp_path), story)
