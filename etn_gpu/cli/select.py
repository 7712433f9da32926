"""`etn-gpu select`: what to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etn_gpu import files
from etn_gpu.cli.console import INTERRUPTED, SOME_FAILED, WrongUseError, new_table, output_console, show_table
from etn_gpu.cli.interrupt import remembered_interrupts
from etn_gpu.cli.options import AllowLarge, Backend, BatchAtoms, Format, Overwrite, Species, Threads
from etn_gpu.cli.outputs import claimed_output
from etn_gpu.cli.progress import structure_progress
from etn_gpu.cli.reading import reading_options, untried_lines
from etn_gpu.screening.text import as_cell, escaped

if TYPE_CHECKING:
    from collections import Counter

    from rich.console import Console

    from etn_gpu.selection import Selection, SelectionReport

__all__ = ["select"]

_NOTES_SHOWN = 10


def select(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Name of a shipped model, or path of a model file (.etn).", show_default=False
        ),
    ],
    pool: Annotated[
        list[Path],
        typer.Argument(
            metavar="POOL...", help="Structures to choose from, in any format that ASE reads.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Extended XYZ file of the chosen structures; compressed if named .gz."),
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many structures to choose.")] = 50,
    threshold: Annotated[
        float,
        typer.Option(help="Choose only structures with an extrapolation grade above this, 1 or more."),
    ] = 1.0,
    largest_grade: Annotated[
        float,
        typer.Option(help="Skip structures with a larger extrapolation grade: a calculation would be wasted on them."),
    ] = 100.0,
    overwrite: Overwrite = False,
    top: Annotated[int, typer.Option(min=0, help="Rows of the table at the end; 0 for no table.")] = 20,
    format: Format = None,
    species: Species = None,
    backend: Backend = None,
    threads: Threads = None,
    batch_atoms: BatchAtoms = 4096,
    allow_large: AllowLarge = False,
) -> None:
    """Choose the structures of a pool whose labels would tell a model most.

    Greedy D-optimal choice: each structure is that by whose atoms the
    information of the training set, with that of the structures chosen before
    it, grows most, so that none is like another one. Only structures with a
    grade above --threshold are chosen; those that the model was trained on have
    grades up to 1. The pool is read once, in bounded memory. The model must
    have an extrapolation grade (etn-gpu grade).

    Skipped, with their number: what cannot be read or evaluated, structures
    with atoms closer than half of the closest pair in the training data, and
    with grades above --largest-grade.

    The output holds the structures in the order of the choice, with
    select_rank, select_gain (growth of log det of the information),
    extrapolation_grade, source and source_index, and without energies, forces
    and stresses of the pool, which training could take for labels. Structures
    are labelled next, and added to the training data.

    Exit codes: 0 all structures could be looked at, 1 some failed, 2 wrong use
    or nothing to choose, 3 an unexpected failure, 130 interrupted; nothing is
    written after 2, 3 and 130.

    \b
    Examples:
      etn-gpu select model.etn md/*.traj --output chosen.extxyz --number 50
      etn-gpu select nbmotaw pool.extxyz.gz -o chosen.extxyz --threshold 1.5
    """
    from etn_gpu.potential.file import load, model_path
    from etn_gpu.screening import BatchLimits, FileSource
    from etn_gpu.selection import Selection
    from etn_gpu.selection.writing import write_choices

    reading = reading_options(format, species)
    with claimed_output(output, files.STRUCTURES, [*pool, model_path(model)], overwrite):
        selection = Selection(
            load(model, purpose="selection", allow_large=allow_large),
            [FileSource(path, **reading) for path in pool],
            number,
            threshold=threshold,
            largest_grade=largest_grade,
            limits=BatchLimits.for_atoms(batch_atoms),
            backend=backend,
            threads=threads,
        )
        console = output_console()
        if _interrupted(selection):
            console.print("interrupted: nothing was written", style="bold yellow")
            raise typer.Exit(INTERRUPTED)
        report = selection.report
        if not report.choices:
            raise WrongUseError(
                f"nothing to choose among the {report.n_structures} structures of the pool: "
                f"{'; '.join(report.reasons())}; nothing was written"
            )
        notes = write_choices(output, report.choices)
    _show(console, report, output, top, notes)
    if report.n_failed:
        raise typer.Exit(SOME_FAILED)


def _interrupted(selection: Selection) -> bool:
    """Runs to the end, or to Ctrl-C, which gives True."""
    try:
        with remembered_interrupts() as check, structure_progress(None) as advance:
            for count, source in selection:
                advance(count, source)
                check()
    except KeyboardInterrupt:
        return True
    return False


def _show(console: Console, report: SelectionReport, output: Path, top: int, notes: Counter[str]) -> None:
    if top:
        _show_choices(console, report, top)
    for failure in report.failures:
        source = as_cell(failure.source, "./")
        where = source if failure.index is None else f"{source} [{failure.index}]"
        console.print(f"failed: {where}: {escaped(failure.message)}", style="red", soft_wrap=True)
    if more := report.n_failed - len(report.failures):
        console.print(f"... and {more} more failed", style="red")
    for line in untried_lines(report.untried):
        console.print(line, style="red", soft_wrap=True)
    chosen = len(report.choices)
    asked = "" if chosen == report.number else f" ({report.number} were asked for: no others tell enough)"
    console.print(
        f"{chosen} structures{asked} with {sum(len(choice.atoms) for choice in report.choices)} atoms chosen from "
        f"{report.n_structures} in {report.seconds:.1f} s",
        soft_wrap=True,
    )
    for reason in report.reasons():
        console.print(f"not chosen from: {reason}", soft_wrap=True)
    console.print(f"structures: {escaped(str(output))}", soft_wrap=True)
    if note := report.labels.note("left out"):
        console.print(f"warning: {escaped(note)}", style="yellow", soft_wrap=True)
    for note, count in notes.most_common(_NOTES_SHOWN):
        console.print(f"note: {note} ({count} structures)", style="yellow", soft_wrap=True)
    if len(notes) > _NOTES_SHOWN:
        console.print(f"... and {len(notes) - _NOTES_SHOWN} more notes", style="yellow")


def _show_choices(console: Console, report: SelectionReport, top: int) -> None:
    table = new_table()
    for heading in ("rank", "source", "index", "formula", "atoms", "grade", "gain"):
        is_text = heading in ("source", "formula")
        table.add_column(
            heading,
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=not is_text,
            min_width=len(heading),
        )
    shown = report.choices[:top]
    for choice in shown:
        table.add_row(
            str(choice.rank),
            as_cell(choice.source, "./"),
            str(choice.index),
            choice.atoms.get_chemical_formula(),
            str(len(choice.atoms)),
            f"{choice.grade:.2f}",
            f"{choice.gain:.3g}",
        )
    title = f"First {len(shown)} of {len(report.choices)}" if len(shown) < len(report.choices) else "Chosen"
    show_table(console, f"{title}, in the order of the choice", table)
