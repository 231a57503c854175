"""What a measurement gives: orders a second, latencies, memory; plain numbers, which travel as JSON."""

import gc
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter_ns, process_time_ns

Result = dict[str, float]
KIB = 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of numbers in rising order, the one below which `share` of them lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Timings:
    """Latencies in nanoseconds, and the stretches of time in which they were collected."""

    def __init__(self) -> None:
        self.latencies_ns: list[int] = []
        self.elapsed_ns = 0
        self.spent_ns = 0  # of the processor, by this process: what others do on the machine is not in it
        self.answered = 0  # within the elapsed time; what came after it was not at full load

    def result(self) -> Result:
        ordered = sorted(self.latencies_ns)
        return {
            "orders": self.answered,
            "orders_s": self.answered / (self.elapsed_ns / 1e9),
            "cpu_us": self.spent_ns / self.answered / 1e3,
            "p50_us": percentile(ordered, 0.5) / 1e3,
            "p99_us": percentile(ordered, 0.99) / 1e3,
            "p999_us": percentile(ordered, 0.999) / 1e3,
        }


class Span:
    """The time of one run: `over` after `seconds`, asked once per answer."""

    def __init__(self, seconds: float, timings: Timings) -> None:
        self._timings = timings
        self._started_ns = perf_counter_ns()
        self._spent_before_ns = process_time_ns()
        self._end_ns = self._started_ns + int(seconds * 1e9)
        self.over = False

    def answer(self, latency_ns: int, now_ns: int) -> None:
        timings = self._timings
        timings.latencies_ns.append(latency_ns)
        if not self.over:
            timings.answered += 1
            if now_ns >= self._end_ns:
                self.stop(now_ns)

    def stop(self, now_ns: int) -> None:
        """The load ends here: what is still on its way counts for latency alone."""
        if not self.over:
            self.over = True
            self._timings.elapsed_ns += now_ns - self._started_ns
            self._timings.spent_ns += process_time_ns() - self._spent_before_ns


def medians(results: Iterable[Result]) -> Result:
    """Figure by figure, the median of several runs of one measurement."""
    runs = list(results)
    return {name: median(run[name] for run in runs if name in run) for name in runs[0]}


def resident_bytes() -> int:
    """What this process holds in memory, its garbage collected first."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
