"""The benchmark itself: every section runs, its figures are well formed, its ratios are the right ones."""

import io
import json
import sys

import pytest
from click.testing import CliRunner
from rich.console import Console

from scripts.benchmarks import bench, plan, profile, report
from scripts.benchmarks.figures import Span, Timings, medians, percentile
from scripts.benchmarks.plan import Step
from scripts.benchmarks.targets import TARGETS, verdicts

SPEEDS = {"orders": 10, "orders_s": 100.0, "cpu_us": 8.0, "p50_us": 1.0, "p99_us": 2.0, "p999_us": 3.0}


def speeds(orders_s, p50_us=1.0):
    return SPEEDS | {"orders_s": orders_s, "p50_us": p50_us}


def found(results, figure):
    return next(verdict for verdict in verdicts(results) if verdict.figure.startswith(figure))


def test_speed_is_judged_as_a_multiple_of_the_obvious_way():
    results = {"colocated none 64": speeds(700), "obvious 64": speeds(200)}
    verdict = found(results, "colocated, none, 64")
    assert (verdict.found, verdict.reached) == (3.5, True)
    assert not found(results | {"obvious 64": speeds(201)}, "colocated, none, 64").reached


def test_latency_is_judged_as_a_share_of_the_others():
    results = {"split process 1": speeds(1, p50_us=26), "raw ipc 1": speeds(1, p50_us=10)}
    assert not found(results, "split").reached
    assert found(results | {"raw ipc 1": speeds(1, p50_us=11)}, "split").reached


def test_sixteen_exchanges_are_judged_by_one():
    results = {"exchanges process 16": speeds(60), "exchanges process 1": speeds(100)}
    assert found(results, "16 exchanges, process").reached
    assert found(results, "16 exchanges, none").reached is None


def test_a_short_memory_run_can_fail_but_not_pass():
    def verdict(orders, grown):
        return found({"growth": {"orders": orders, "highest_mib": grown}}, "memory grown").reached

    assert verdict(1_000_000, 64) is True
    assert verdict(1_000, 1) is None
    assert verdict(1_000, 65) is False


def test_the_fastest_speed_that_was_kept_counts():
    results = {"recordings 20": {"multiple": 20}, "recordings 30": {"multiple": 19.0}}
    assert (found(results, "recordings").found, found(results, "recordings").reached) == (20, True)


def test_nothing_measured_is_no_verdict():
    assert [verdict.reached for verdict in verdicts({})] == [None] * len(TARGETS)


def test_medians_are_taken_figure_by_figure():
    assert medians([{"a": 1, "b": 9}, {"a": 3, "b": 7}, {"a": 2, "b": 8}]) == {"a": 2, "b": 8}


def test_a_percentile_of_few_is_one_of_them():
    assert [percentile([1, 2, 3, 4], share) for share in (0.0, 0.5, 0.999)] == [1, 3, 4]


def test_what_is_answered_after_the_load_has_ended_is_no_throughput():
    timings = Timings()
    span = Span(0.0, timings)
    span.answer(5, now_ns=span._started_ns + 10)  # the one that ends it
    span.answer(7, now_ns=span._started_ns + 20)
    assert (timings.answered, timings.elapsed_ns, timings.latencies_ns) == (1, 10, [5, 7])


def test_a_sample_is_known_by_what_it_calls():
    def encodes(encode):
        return encode("x")

    def other(encode):
        return len(encode)

    kinds = []

    def sample(_):
        frame = sys._getframe(1)
        kinds.append(profile._expression(frame.f_code, frame.f_lasti))

    encodes(sample)
    assert kinds == ['encode("x")']
    assert profile.path_of(other.__code__) == "tests/test_bench.py"


def test_a_measurement_that_fails_says_why_and_takes_no_other_with_it():
    run = bench.Bench(plan.TINY, lambda _: None)
    run._measure(Step("nothing", {"what": "nothing"}))
    run._measure(Step("obvious 1", {"what": "obvious", "outstanding": 1, "seconds": 0.01}))
    assert "nothing that is measured here" in run.failed["nothing"]
    assert list(run.report()["results"]) == ["obvious 1"]


def test_recordings_are_left_out_with_a_reason_where_there_are_none(monkeypatch):
    monkeypatch.delenv("ORDERWIRE_MARKET_DATA", raising=False)
    run = bench.Bench(plan.TINY, lambda _: None)
    run.run(("recordings",))
    assert run.report()["skipped"] == {"recordings": bench.NO_RECORDINGS}


def test_the_tables_name_every_result():
    results = {
        "raw ipc 1": SPEEDS,
        "exchanges process 16": SPEEDS,
        "colocated power 64": SPEEDS,
        "obvious 64": SPEEDS,
    }
    shown = io.StringIO()
    found = {
        "machine": bench.machine(),
        "results": results,
        "targets": [],
        "skipped": {},
        "failed": {"floor 1": "it broke"},
    }
    report.show(Console(file=shown, width=120), found)
    for words in ("raw ipc", "16, process", "colocated, power", "1.00", "floor 1: it broke"):
        assert words in shown.getvalue()


def test_an_unknown_section_is_bad_usage():
    assert CliRunner().invoke(bench.main, ["--only", "nothing"]).exit_code == 2


@pytest.mark.long
@pytest.mark.timeout(180)
def test_every_section_runs_and_every_target_finds_its_figures():
    steps = []
    run = bench.Bench(plan.TINY, steps.append)
    run.run(plan.EVERY)
    found = json.loads(json.dumps(run.report()))
    assert found["failed"] == {}
    measured = {target["figure"] for target in found["targets"] if target["found"] is not None}
    missing = {target.figure for target in TARGETS} - measured
    may_miss = {"memory grown by 1,000,000 orders, MiB"}
    if found["skipped"]:
        may_miss.add("recordings, multiple of real time")
    assert missing <= may_miss
    assert len(steps) <= bench.steps_of(plan.TINY, plan.EVERY)
    for section in plan.DURABILITIES:
        assert found["results"][f"colocated {section} 64"]["orders_s"] > 0
    for result in (r for r in found["results"].values() if "p50_us" in r):
        assert result["p50_us"] <= result["p99_us"] <= result["p999_us"]
    kinds = found["results"]["profile process"]["kinds"]
    assert set(kinds) == set(profile.KINDS) and sum(kinds.values()) == pytest.approx(1)
