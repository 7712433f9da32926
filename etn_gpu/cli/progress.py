"""Progress of a stream of structures: a live bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from etn_gpu.cli.console import error_console, new_spinner
from etn_gpu.screening.text import escaped

__all__ = ["structure_progress"]

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def structure_progress(total: int | None) -> Iterator[Callable[[int, str], None]]:
    """Gives a function that is told how many more structures are done, and where the stream is.

    Everything goes to standard error, so that results can be piped.

    Args:
        total: number of structures, None when it is not known beforehand.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = error_console()
    start = perf_counter()
    last_line = start
    done = 0

    if not console.is_terminal:

        def report_line(count: int, where: str) -> None:
            nonlocal done, last_line
            done += count
            now = perf_counter()
            if now - last_line >= _SECONDS_BETWEEN_LINES:
                last_line = now
                of_total = "" if total is None else f" of {total}"
                rate = done / (now - start)
                console.print(f"{done}{of_total} structures, {rate:.0f}/s, {escaped(where)}", soft_wrap=True)

        yield report_line
        return

    columns = [
        new_spinner(console),
        BarColumn(),
        TextColumn("{task.completed} structures"),
        TextColumn("{task.fields[rate]}"),
    ]
    columns += [TimeElapsedColumn(), *([] if total is None else [TimeRemainingColumn()])]
    columns += [TextColumn("{task.fields[where]}", markup=False)]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, rate="", where="")

        def advance_bar(count: int, where: str) -> None:
            nonlocal done
            done += count
            bar.update(task, advance=count, where=escaped(where), rate=f"{done / (perf_counter() - start):.0f}/s")

        yield advance_bar
