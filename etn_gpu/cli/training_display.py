"""What training shows: one line an iteration, and on a terminal a live bar with the time left below them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from etn_gpu.cli.console import new_spinner, new_table, show_table
from etn_gpu.screening.text import escaped
from etn_gpu.structures.units import GPA

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

__all__ = ["TrainingDisplay", "format_duration"]

# Name, unit shown, and how many of these make one eV/atom, eV/A or eV/A^3.
_QUANTITIES = (("energy", "meV/atom", 1e3), ("forces", "eV/A", 1.0), ("stress", "GPa", 1.0 / GPA))
_ENDS = {
    "converged": "converged",
    "held_out": "errors on held-out structures had long ceased to fall",
    "max_iterations": "as many as were asked for",
    "time_limit": "cut short by the time limit",
}
_GROUPS_SHOWN = 12
_TARGET = ("target", "target_length")


def format_duration(seconds: float) -> str:
    """`0:01:30` for 90 seconds."""
    return str(timedelta(seconds=round(max(0.0, seconds))))


class TrainingDisplay:
    """Shows the events of a training run; a context manager, because the live bar has to end with the run.

    Args:
        console: where to print.
        time_limit: seconds the run may take, which the bar then measures; None when there is no limit.
    """

    def __init__(self, console: Console, time_limit: float | None = None) -> None:
        self._console = console
        self._time_limit = time_limit
        self._header_shown = False
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingDisplay:
        if self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = [new_spinner(self._console), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
            self._bar = Progress(*columns, TextColumn("{task.fields[left]}"), console=self._console, transient=True)
            self._task = self._bar.add_task("preparing", total=self._time_limit, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: Any) -> None:
        """Shows an event of kind "audit", "message", "iteration", "sweep" or "done"; see :mod:`etn_gpu.training`."""
        if event.kind in ("audit", "message"):
            self._console.print(event.text, soft_wrap=True)
        elif event.kind in ("iteration", "sweep"):
            self._show_iteration(event)
            if event.kind == "sweep":
                self._show_ranks(event)
        elif event.kind == "done":
            self._show_report(event.report)

    def _show_iteration(self, event: Any) -> None:
        left = "" if event.remaining is None else format_duration(event.remaining)
        if not self._header_shown:
            self._console.print(_header(event.train or {}), style="bold", soft_wrap=True)
            self._header_shown = True
        cells = "".join(_error_cells(errors or {}, event.train or {}) for errors in (event.train, event.valid))
        self._console.print(
            f"{event.iteration:>4} {format_duration(event.elapsed):>7} {event.loss:>9.3e}{cells} {left:>7}",
            soft_wrap=True,
        )
        if self._bar is not None and self._task is not None:
            known_end = event.remaining is not None
            self._bar.update(
                self._task,
                description=f"iteration {event.iteration}",
                total=event.elapsed + event.remaining if known_end else self._time_limit,
                completed=event.elapsed,
                left=f"{left} left" if known_end else "",
            )

    def _show_ranks(self, event: Any) -> None:
        """One line for each bond, which may be long."""
        title = f"sweep {event.sweep}: "
        for number, (bond, weight) in enumerate(zip(event.bonds, event.discarded_weights, strict=True), start=1):
            lead = title if number == 1 else " " * len(title)
            self._console.print(f"     {lead}bond {number} {bond}, discarded weight {weight:.2g}", soft_wrap=True)

    def _show_report(self, report: Mapping[str, Any]) -> None:
        table = new_table()
        refits = report["refits"]
        lines = {
            "train": f"training, after {refits} more on all structures" if refits else "training",
            "valid": "validation, before these" if refits else "validation",
        }
        table.add_column("errors", no_wrap=True)
        for quantity, unit, _ in _shown(report["train"], report.get("quantity")):
            for heading in (f"{quantity} MAE", "RMSE"):
                table.add_column(f"{heading}\n{unit}", justify="right", no_wrap=True)
        for name in ("train", "valid"):
            errors = report[name]
            if errors:
                table.add_row(lines[name], *_cells(errors))
                _add_groups(table, report["groups"].get(name, {}))
        if left_out := report["groups"].get("left_out"):
            table.add_row("left out of the training")
            _add_groups(table, left_out)
        show_table(
            self._console,
            f"{report['n_parameters']} parameters after {report['iterations']} iterations, "
            f"{format_duration(report['seconds'])}; {_ENDS[report['ended']]}",
            table,
        )
        if report["ended"] == "time_limit":
            self._console.print(
                "The time limit ended this run before it had converged: the model is what was reached by then. "
                + ("Go on with --resume and a longer limit." if report["iterations"] else "Give it more time."),
                style="bold yellow",
                soft_wrap=True,
            )


def _add_groups(table: Table, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """A row for each group, the largest first, of not too many."""
    shown = sorted(groups, key=lambda name: -groups[name]["structures"])
    for name in shown[:_GROUPS_SHOWN]:
        table.add_row(f"  {escaped(name)}, {groups[name]['structures']} structures", *_cells(groups[name]))
    if (more := len(shown) - _GROUPS_SHOWN) > 0:
        table.add_row(f"  and {more} more groups in the report")


def _shown(errors: Mapping[str, float | None], of: Mapping[str, Any] | None) -> list[tuple[str, str, float]]:
    """Heading, unit and factor of what a run has errors of."""
    if of is None:
        return [*_QUANTITIES]
    headings = {"target": of["name"], "target_length": "length"}
    return [(escaped(headings[name]), escaped(of["unit"]), 1.0) for name in _TARGET if f"{name}_mae" in errors]


def _factors(errors: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """Names of errors, and how many of the units shown make one."""
    target = [(name, 1.0) for name in _TARGET if f"{name}_mae" in errors]
    return target or [(name, factor) for name, _, factor in _QUANTITIES]


def _header(errors: Mapping[str, float | None]) -> str:
    """Two lines; 78 characters for energies, forces and stresses: a narrow terminal is wide enough."""
    units = {"target": "target", "target_length": "length", "energy": "meV/at", "forces": "eV/A", "stress": "GPa"}
    cells = "".join(f" {units[name]:>7}" for name, _ in _factors(errors))
    width = max(len(cells), len(" validation MAE"))
    return (
        f"{'':4} {'':>7} {'':>9}{'training MAE':^{width}}{'validation MAE':^{width}}\n"
        f"{'iter':>4} {'elapsed':>7} {'loss':>9}" + 2 * f"{cells:>{width}}" + f" {'left':>7}"
    )


def _cells(errors: Mapping[str, float | None]) -> list[str]:
    return [_number(errors, f"{name}_{kind}", factor) for name, factor in _factors(errors) for kind in ("mae", "rmse")]


def _error_cells(errors: Mapping[str, float | None], names: Mapping[str, float | None]) -> str:
    """The errors of one set; ``names`` has those that there are columns of."""
    cells = "".join(f" {_number(errors, f'{name}_mae', factor, 3):>7}" for name, factor in _factors(names))
    return f"{cells:>{max(len(cells), len(' validation MAE'))}}"


def _number(errors: Mapping[str, float | None], name: str, factor: float, digits: int = 4) -> str:
    value = errors.get(name)
    return "-" if value is None or math.isnan(value) else f"{value * factor:.{digits}g}"
