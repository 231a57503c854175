"""How a running demo looks: one table that lives at a terminal, one plain line a second elsewhere."""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from actors.command_line import terminal
from actors.command_line.tally import Tally

if TYPE_CHECKING:
    from rich.table import Table


class View(Protocol):
    """Shown once a second, or more often where that costs nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, tally: Tally, elapsed_s: float) -> None: ...


class PlainView:
    """One line a second."""

    def __init__(self) -> None:
        self._shown_s = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, tally: Tally, elapsed_s: float) -> None:
        if int(elapsed_s) == self._shown_s:
            return
        self._shown_s = int(elapsed_s)
        words = " ".join(f"{name} {value}" for name, value in figures(tally, elapsed_s))
        terminal.line(f"{self._shown_s:>4} s  {words}", flush=True)


class LiveView:
    """One table, drawn again a few times a second."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live: Live = Live(console=terminal.console(), refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, tally: Tally, elapsed_s: float) -> None:
        self._live.update(_drawn(tally, elapsed_s))


def view() -> View:
    return LiveView() if terminal.is_terminal() else PlainView()


def figures(tally: Tally, elapsed_s: float) -> list[tuple[str, str]]:
    return [
        ("orders", f"{tally.orders:,}"),
        ("orders/s", f"{tally.orders / elapsed_s:.0f}" if elapsed_s else "-"),
        ("open", f"{tally.open:,}"),
        ("fills", f"{tally.fills:,}"),
        ("cancelled", f"{tally.cancels:,}"),
        ("reconnects", str(tally.reconnects)),
        ("timeouts", str(tally.timeouts)),
        ("unknown", f"{tally.unknown} (of {tally.unknowns})"),
        ("refused", str(tally.refused)),
        ("p50", f"{tally.latency_ms(0.5):.1f} ms"),
        ("p99", f"{tally.latency_ms(0.99):.1f} ms"),
    ]


def _drawn(tally: Tally, elapsed_s: float) -> "Table":
    rows: list[tuple[str, str]] = figures(tally, elapsed_s)
    rows += [("fault", said) for said in tally.faults]
    return terminal.table(f"orderwire demo, {elapsed_s:.1f} s", ("", " #"), rows)
