from actors.command_line.restarts import DEATHS_LIMIT, DEATHS_WITHIN_S, HEALTHY_S, LONGEST_S, Restarts


def test_the_pauses_double_up_to_the_longest_and_begin_anew_after_a_healthy_life():
    restarts, now_s, pauses = Restarts(), 0.0, []
    for _ in range(8):
        now_s += 20.0  # slow enough for the limit, too short to be healthy
        pauses.append(restarts.after_death(now_s - 20.0, now_s))
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, LONGEST_S, LONGEST_S]
    assert restarts.after_death(now_s, now_s + HEALTHY_S) == 0.25


def test_it_is_over_at_the_limit_of_deaths_within_the_time_and_not_just_outside_of_it():
    for last_s, over in ((DEATHS_WITHIN_S, True), (DEATHS_WITHIN_S + 1, False)):
        restarts = Restarts()
        deaths = [0.0] * (DEATHS_LIMIT - 1) + [last_s]
        pauses = [restarts.after_death(at_s, at_s) for at_s in deaths]
        assert None not in pauses[:-1]
        assert (pauses[-1] is None) is over
