"""What all commands share: consoles, exit codes, the error of wrong use, tables."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from etn_gpu.errors import EtnGpuError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import SpinnerColumn
    from rich.table import Table

__all__ = [
    "CUT_SHORT",
    "INTERRUPTED",
    "SOME_FAILED",
    "UNEXPECTED",
    "WRONG_USE",
    "WrongUseError",
    "compiled",
    "error_console",
    "new_spinner",
    "new_table",
    "output_console",
    "per_atom",
    "show_table",
]

SOME_FAILED = 1
"""Exit code: the command did its work, and some structures (or checks) failed."""
WRONG_USE = 2
"""Exit code: the command was given something that it cannot work with."""
UNEXPECTED = 3
"""Exit code: something failed that is no wrong use: a full disk, want of memory, an error in this program."""
CUT_SHORT = 4
"""Exit code: a time limit ended training before it had converged; what was reached by then is written and says so."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_PIPE_WIDTH = 160
_NOTICEABLE = 0.1


class WrongUseError(EtnGpuError):
    """Options or arguments that do not fit together."""


def output_console() -> Console:
    """Standard output. Styled on a terminal; plain text, wide enough for every table, in a pipe or a file."""
    return _console(stderr=False)


def error_console() -> Console:
    """Standard error, for messages and progress."""
    return _console(stderr=True)


def new_spinner(console: Console) -> SpinnerColumn:
    """The sign that something goes on, in characters that the console has."""
    from rich.progress import SpinnerColumn

    return SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")


def new_table() -> Table:
    """A table in the style of all commands."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)


def show_table(console: Console, title: str, table: Table) -> None:
    """Prints a title, the table and an empty line."""
    console.print(title, style="bold", soft_wrap=True)
    console.print(table)
    console.print()


def per_atom(seconds: float, n_atoms: int) -> str:
    """`, 23.4 us/atom`, or nothing for no atoms."""
    return f", {1e6 * seconds / n_atoms:.1f} us/atom" if n_atoms else ""


def compiled(seconds: float) -> str:
    """`; before that 3.2 s to compile and load`, or nothing where all was loaded already."""
    return f"; before that {seconds:.1f} s to compile and load" if seconds >= _NOTICEABLE else ""


def _console(*, stderr: bool) -> Console:
    from etn_gpu.cli.plain_console import PlainConsole

    on_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if on_terminal or "COLUMNS" in os.environ else _PIPE_WIDTH
    # Text often holds file names: square brackets and colons in them are no markup.
    return PlainConsole(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
