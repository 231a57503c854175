from pipeline.alarm import Alarm
from pipeline.clock import Clock

MS = 1_000_000


class FakeLoop:
    """Timers that ring when a test says so."""

    def __init__(self):
        self.timers = []

    def call_later(self, delay, callback, *args):
        timer = FakeTimer(delay, callback)
        self.timers.append(timer)
        return timer

    @property
    def live(self):
        return [timer for timer in self.timers if not timer.cancelled]


class FakeTimer:
    def __init__(self, delay, callback):
        self.delay, self.callback, self.cancelled = delay, callback, False

    def cancel(self):
        self.cancelled = True


def alarm():
    now = [0]
    loop, rung = FakeLoop(), []
    clock = Clock(lambda: 0, lambda: now[0])
    return Alarm(loop, clock, rung.append), loop, now, rung


def test_one_timer_stands_for_the_earliest_of_all():
    one, loop, _, _ = alarm()
    for due_ms in (50, 80, 20, 30):
        one.ask(due_ms * MS)
    assert [timer.delay for timer in loop.live] == [0.020]
    assert len(loop.timers) == 2  # only an earlier time moves it


def test_it_rings_with_the_time_and_must_then_be_asked_again():
    one, loop, now, rung = alarm()
    one.ask(20 * MS)
    now[0] = 21 * MS
    loop.live[-1].callback()
    assert rung == [21 * MS]
    one.ask(90 * MS)
    assert loop.timers[-1].delay == 0.069


def test_it_rounds_up_so_that_it_never_rings_early():
    one, loop, _, _ = alarm()
    one.ask(20 * MS + 1)
    assert loop.live[-1].delay == 0.021


def test_what_is_overdue_waits_a_millisecond_all_the_same():
    one, loop, now, _ = alarm()
    now[0] = 100 * MS
    one.ask(5 * MS)
    assert loop.live[-1].delay == 0.001


def test_stopped_it_does_not_ring():
    one, loop, _, _ = alarm()
    one.ask(20 * MS)
    one.stop()
    assert loop.live == []
