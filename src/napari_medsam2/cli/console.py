"""What the commands print: results on stdout, progress on stderr."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["note", "out", "progress", "say", "table"]

# Wide enough that no table is cut where the output goes to a file or another program.
_WIDTH_OF_A_PIPE = 160
_PLAIN_LINES = 10


def say(text: str = "") -> None:
    """Print a result on stdout."""
    _console().print(text, soft_wrap=True)


def note(text: str) -> None:
    """Print what is going on, on stderr."""
    _console(stderr=True).print(text, soft_wrap=True)


def out(content: str) -> None:
    """Print exactly this on stdout, for other programs."""
    _console().out(content)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    """Print a table on stdout; numbers go to the right of their column."""
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        numeric = any(isinstance(row[i], int | float) for row in rows)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(_cell(value)) for value in row))
    _console().print(grid)


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a task is, with the time left: a bar, or plain lines off a terminal.

    Parameters
    ----------
    text : str
        What is being done.
    total : int
        Number of steps.

    Yields
    ------
    callable
        Takes the number of steps done so far.
    """
    console = _console(stderr=True)
    if not console.is_terminal or os.environ.get("CI"):
        yield _plain(text, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.update(task, completed=done)


def _plain(text: str, total: int) -> Callable[[int], None]:
    began = time.monotonic()
    said = -1

    def show(done: int) -> None:
        nonlocal said
        tenth = done * _PLAIN_LINES // max(total, 1)
        if tenth > said:
            said = tenth
            left = (time.monotonic() - began) / max(done, 1) * (total - done)
            clock = f", {left // 60:.0f}:{left % 60:02.0f} left" if 0 < done < total else ""
            note(f"{text}: {done} of {total}{clock}")

    return show


def _console(*, stderr: bool = False) -> Console:
    # Made anew each time, because sys.stdout may have been replaced since.
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    return console


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
