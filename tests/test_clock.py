from pipeline.clock import SLEW_PPM_MAX, Clock

SECOND = 1_000_000_000


class FakeClocks:
    """A wall clock and a monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000 * SECOND
        self.monotonic = 5 * SECOND

    def pass_by(self, ns: int, wall_ns: int | None = None) -> None:
        self.monotonic += ns
        self.wall += ns if wall_ns is None else wall_ns

    def clock(self, step_ms: int = 500) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic, step_ms)


def test_it_begins_at_the_wall_clock_and_runs_with_the_monotonic_one():
    clocks = FakeClocks()
    clock = clocks.clock()
    assert clock.now_ns() == clocks.wall
    clocks.pass_by(SECOND, wall_ns=0)
    assert clock.now_ns() == clocks.wall + SECOND


def test_a_small_difference_is_slewed_away_and_stays_settled():
    clocks = FakeClocks()
    clock = clocks.clock()
    clocks.pass_by(SECOND, wall_ns=SECOND + 2_000_000)
    for _ in range(10):
        clock.check()
        clocks.pass_by(SECOND)
    assert clock.settled
    assert abs(clock.now_ns() - clocks.wall) < 1_000


def test_no_second_is_longer_or_shorter_than_the_slew_allows():
    clocks = FakeClocks()
    clock = clocks.clock()
    for step_ns in (3600 * SECOND, -7200 * SECOND):
        clocks.wall += step_ns
        clock.check()
        before_ns = clock.now_ns()
        clocks.pass_by(SECOND)
        assert abs(clock.now_ns() - before_ns - SECOND) <= SECOND * SLEW_PPM_MAX // 1_000_000


def test_it_never_goes_backwards_when_the_wall_clock_does():
    clocks = FakeClocks()
    clock = clocks.clock()
    last_ns = clock.now_ns()
    for turn in range(5_000):
        clocks.pass_by(1_000_003)
        if turn % 700 == 0:
            clocks.wall -= 400_000_000
        if turn % 97 == 0:
            clock.check()
        assert clock.now_ns() >= last_ns
        last_ns = clock.now_ns()


def test_a_step_unsettles_it_until_it_has_slewed_in():
    clocks = FakeClocks()
    clock = clocks.clock(step_ms=500)
    clocks.wall += 501_000_000
    clock.check()
    assert not clock.settled and clock.steps == 1
    for _ in range(3):
        clocks.pass_by(SECOND)
        clock.check()
    assert clock.settled and clock.steps == 1


def test_a_difference_just_below_a_step_is_none():
    clocks = FakeClocks()
    clock = clocks.clock(step_ms=500)
    clocks.wall -= 499_000_000
    clock.check()
    assert clock.settled and clock.steps == 0
