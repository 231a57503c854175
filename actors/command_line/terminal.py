"""What commands print: lines for people and for scripts, tables for people.

Lines go out as they are; tables are drawn as wide as they need where no terminal sets a width. Nothing in a
cell is read as markup.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL: Final = 200


def line(text: str, flush: bool = False) -> None:
    """One line on stdout. A closed stdout takes it silently, one that goes away raises BrokenPipeError."""
    if sys.stdout is not None:
        sys.stdout.write(text + "\n")
        if flush:
            sys.stdout.flush()


def flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def console() -> "Console":
    from rich.console import Console

    return Console(
        width=None if is_terminal() else WIDTH_WITHOUT_TERMINAL, highlight=False, markup=False, emoji=False
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    """A table of texts; a column whose name ends in " #" holds numbers and stands to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        number = column.endswith(" #")
        drawn.add_column(
            Text(column.removesuffix(" #")), justify="right" if number else "left", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return drawn
