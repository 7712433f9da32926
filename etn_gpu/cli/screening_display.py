"""What `etn-gpu screen` prints at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etn_gpu.cli.console import compiled, new_table, per_atom, show_table
from etn_gpu.cli.reading import untried_lines
from etn_gpu.screening.ranking import RankBy
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from etn_gpu.potential import Potential
    from etn_gpu.screening import ScreeningReport

__all__ = ["show_screening"]

_NOTES_SHOWN = 10
_HEADINGS = {
    RankBy.energy_above_hull: "above hull\neV/atom",
    RankBy.formation_energy: "formation\neV/atom",
    RankBy.energy_per_atom: "energy\neV/atom",
    RankBy.max_force: "max force\neV/A",
    RankBy.pressure: "pressure\nGPa",
    RankBy.enthalpy_above_hull: "above hull\n(enthalpy)\neV/atom",
    RankBy.formation_enthalpy: "formation\nenthalpy\neV/atom",
    RankBy.enthalpy_per_atom: "enthalpy\neV/atom",
}


def show_screening(console: Console, report: ScreeningReport, places: list[Path], potential: Potential) -> None:
    """Prints the ranking, what failed, warnings, counts and times, and where the files are."""
    from etn_gpu.potential.grade import LACKS_GRADE

    if report.ranking.top:
        _show_ranking(console, report)
        if report.ranking.rows() and report.references.description:
            console.print(report.references.description, soft_wrap=True, markup=False)
    if report.ranking.n_unfit:
        console.print(
            f"warning: {report.ranking.n_unfit} rows are not ranked, because the condition cannot be asked of them: "
            f"{escaped(report.ranking.unfit)}",
            style="yellow",
            soft_wrap=True,
            markup=False,
        )
    for row in report.failures:
        where = row.shown_source if row.index is None else f"{row.shown_source} [{row.index}]"
        console.print(f"failed: {where}: {row.message}", style="red", soft_wrap=True)
    if more := report.n_failed - len(report.failures):
        console.print(f"... and {more} more failed; see the column message", style="red")
    for line in untried_lines(report.untried):
        console.print(line, style="red", soft_wrap=True)
    if potential.grade is None:
        console.print(
            f"no grades: the model {LACKS_GRADE}; until then, extrapolating are structures in which two atoms are "
            "closer than any pair of their elements in training",
            style="yellow",
            soft_wrap=True,
        )
    if report.n_before:
        console.print(f"{report.n_before} rows were there from before")
    evaluated = report.n_rows - report.n_failed
    ends = "".join(f"{count} {end}, " for end in ("not converged", "exploded") if (count := report.counts[end]))
    console.print(
        f"{evaluated} structures ({report.n_atoms} atoms) evaluated in {report.seconds:.1f} s "
        f"on backend {report.backend}{per_atom(report.seconds, report.n_atoms)}: {report.n_ok} ok, "
        f"{ends}{report.n_extrapolating} extrapolating; {report.n_failed} failed{compiled(report.compilation)}",
        soft_wrap=True,
    )
    if repeated := report.repeated_ids:
        shown = ", ".join(f"{escaped(name)} ({count} times)" for name, count in [*repeated.items()][:_NOTES_SHOWN])
        others = f" and {len(repeated) - _NOTES_SHOWN} more" if len(repeated) > _NOTES_SHOWN else ""
        console.print(
            f"warning: the same id stands for several structures: {shown}{others}", style="yellow", soft_wrap=True
        )
    for lack in report.kept.notes():
        console.print(f"warning: {escaped(lack)}", style="yellow", soft_wrap=True, markup=False)
    rows, *structures = (escaped(str(place)) for place in places)
    console.print(f"rows: {rows}", soft_wrap=True)
    for place in structures:
        console.print(f"structures: {place}", soft_wrap=True)
        if note := report.labels.note():
            console.print(f"warning: {escaped(note)}", style="yellow", soft_wrap=True)
        _show_notes(console, report)


def _show_notes(console: Console, report: ScreeningReport) -> None:
    """What the written structures lack or have under another name, the most frequent first."""
    for note, count in report.notes.most_common(_NOTES_SHOWN):
        console.print(f"note: {note} ({count} structures)", style="yellow", soft_wrap=True)
    if len(report.notes) > _NOTES_SHOWN:
        console.print(f"... and {len(report.notes) - _NOTES_SHOWN} more notes", style="yellow")


def _show_ranking(console: Console, report: ScreeningReport) -> None:
    ranking = report.ranking
    rows = ranking.rows()
    if not rows:
        if ranking.late and report.hull is None:
            console.print("rows are ranked when all are there", soft_wrap=True)
        elif ranking.n_dropped:
            console.print(
                f"all {ranking.n_dropped} structures that could be ranked are extrapolating; rank them without "
                "--drop-extrapolating",
                soft_wrap=True,
            )
        elif report.n_rows > report.n_failed:
            console.print(
                f"no structure has a {ranking.by.value} to rank by: formation energies need a reference in the model "
                "for every element, pressures need three periodic directions. Try --rank energy_per_atom",
                soft_wrap=True,
            )
        return
    table = new_table()
    for heading in ("rank", "source", "index", "formula", "atoms"):
        is_text = heading in ("source", "formula")
        justify: Literal["left", "right"] = "left" if is_text else "right"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=not is_text, min_width=len(heading))
    # The column that sorts comes first, then the others.
    offered = RankBy.offered(under_pressure=ranking.under_pressure)
    columns = [ranking.by, *(column for column in offered if column is not ranking.by)]
    for column in columns:
        table.add_column(_HEADINGS[column], justify="right", no_wrap=True)
    graded = any(row.extrapolation_grade is not None for row in rows)
    if graded:
        table.add_column("grade", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for place, row in enumerate(rows, start=1):
        values = [column.of(row) for column in columns]
        numbers = ["-" if value is None else f"{value:.4f}" for value in values]
        if graded:
            numbers.append("-" if row.extrapolation_grade is None else f"{row.extrapolation_grade:.2f}")
        style = "yellow" if row.status == "extrapolating" else None
        table.add_row(
            str(place),
            row.shown_source,
            str(row.index),
            row.formula,
            str(row.n_atoms),
            *numbers,
            row.status,
            style=style,
        )
    title = f"Best {len(rows)} of {ranking.n_ranked} by {ranking.by.value}, {ranking.by.order}"
    if ranking.unique:
        title += f"; {ranking.n_duplicates} duplicates left out"
    if ranking.drop_extrapolating:
        title += f"; {ranking.n_dropped} extrapolating left out"
    show_table(console, title, table)
