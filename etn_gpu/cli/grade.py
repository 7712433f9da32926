"""`etn-gpu grade`: give a model what extrapolation grades need, from the structures it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn_gpu.cli.console import SOME_FAILED, WrongUseError, new_table, output_console, show_table
from etn_gpu.cli.options import AllowLarge, Backend, BatchAtoms, Format, Overwrite, Species, Threads
from etn_gpu.cli.outputs import claimed_output
from etn_gpu.cli.progress import structure_progress
from etn_gpu.cli.reading import reading_options, untried_lines
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from etn_gpu.potential import ETNPotential
    from etn_gpu.screening.batching import Candidate
    from etn_gpu.structures import StructureBatch

__all__ = ["grade"]

_FAILURES_SHOWN = 10
_QUANTILES = (0.5, 0.9, 0.99, 1.0)


def grade(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a shipped model, or path of a model file (.etn).")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES", help="The structures it was trained on, in any format that ASE reads; labels are not used."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    overwrite: Overwrite = False,
    format: Format = None,
    species: Species = None,
    backend: Backend = None,
    threads: Threads = None,
    batch_atoms: BatchAtoms = 4096,
    allow_large: AllowLarge = False,
) -> None:
    """Add extrapolation grades to a model: how far the surroundings of an atom lie
    outside of those in the structures that the model was trained on.

    No structure given here has a grade above 1. Grades are worth what the
    structures are: give all that the model was trained on, and no others. A
    grade that the model has already is replaced. With --overwrite the new model
    may take the place of the old one.

    Exit codes: 0 all structures were used, 1 some could not be read or evaluated
    and are listed (the model is written), 2 wrong use, 3 an unexpected failure,
    130 interrupted.

    \b
    Examples:
      etn-gpu grade old.etn train.extxyz.gz --output new.etn
      etn-gpu grade model.etn train.extxyz more.extxyz -o model.etn --overwrite
    """
    from etn_gpu.backend import resolve
    from etn_gpu.files import MODEL
    from etn_gpu.potential.file import load, model_path, shipped_models
    from etn_gpu.potential.grade import graded

    replaceable = overwrite and model not in shipped_models()
    inputs = [*files] if replaceable else [model_path(model), *files]
    context.with_resource(claimed_output(output, MODEL, inputs, overwrite))
    reading = reading_options(format, species)
    potential = load(model, purpose="a grade", allow_large=allow_large)
    if not potential.is_energy:
        raise WrongUseError(f"grades are of energies, and {model} has the {potential.output}")
    start = perf_counter()
    data = _read(potential, files, reading, batch_atoms)
    if not data.batches:
        raise WrongUseError(
            f"no structure in {', '.join(map(str, files))} can be evaluated (the first: {data.failures[0]}); give the "
            f"structures that {model} was trained on"
        )
    options: dict[str, Any] = {"backend": resolve(backend), "threads": threads}
    if potential.terms is None:
        potential = _with_terms(potential, data.batches)
    graded_model = potential.with_grade(graded(potential, data.batches, **options))
    grades = _structure_grades(graded_model, data.batches, options)
    graded_model.save(output)
    console = output_console()
    _show(console, escaped(f"{model} on {', '.join(map(str, files))}"), graded_model, grades)
    for line in data.failures[:_FAILURES_SHOWN]:
        console.print(f"failed: {line}", style="red", soft_wrap=True)
    if (more := len(data.failures) - _FAILURES_SHOWN) > 0:
        console.print(f"... and {more} more failed", style="red")
    for line in untried_lines(data.untried):
        console.print(line, style="red", soft_wrap=True)
    atoms = sum(batch.n_atoms for batch in data.batches)
    console.print(
        f"{len(grades)} structures, {atoms} atoms, {perf_counter() - start:.1f} s, backend {options['backend']}",
        soft_wrap=True,
    )
    console.print(f"model: {escaped(str(output))}", soft_wrap=True)
    if data.failures:
        raise typer.Exit(SOME_FAILED)


def _with_terms(potential: ETNPotential, batches: list[StructureBatch]) -> ETNPotential:
    """The model with what holds atoms apart, if its elements are all there to tell from."""
    import numpy as np

    from etn_gpu.potential.calibration import calibrated_terms

    there = np.unique(np.concatenate([batch.species_index for batch in batches]))
    if missing := sorted(set(potential.species) - {potential.species[z] for z in there}):
        output_console().print(
            f"warning: nothing holds atoms apart in this model, and structures without {', '.join(missing)} do not "
            "tell how to: give all that it was trained on",
            style="yellow",
            soft_wrap=True,
        )
        return potential
    references = potential.metadata.get("formation_references") or {}
    return potential.with_terms(calibrated_terms(potential, batches, references=references).terms)


@dataclass
class _Data:
    """The structures of all files with their neighbours, and what else there is to say of the files.

    failures: a line for each structure that could not be read or evaluated; untried: for each file that could not be
    read to its end, how many structures were never tried.
    """

    batches: list[StructureBatch] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    untried: dict[str, int | None] = field(default_factory=dict)

    def fail(self, candidate: Candidate, text: str) -> None:
        self.failures.append(escaped(f"{candidate.source} [{candidate.index}]: {text}"))


def _read(potential: ETNPotential, files: list[Path], reading: dict[str, Any], batch_atoms: int) -> _Data:
    from etn_gpu.screening.batching import BatchLimits, batches
    from etn_gpu.structures import StructureBatch

    data = _Data()
    with structure_progress(None) as advance:
        frames = _candidates(potential, files, reading, data)
        for many in batches(frames, potential.cutoff, BatchLimits.for_atoms(batch_atoms)):
            structures = [candidate.atoms for candidate in many if candidate.atoms is not None]
            batch = StructureBatch.build(structures, potential.species, potential.cutoff, on_error="collect")
            for place, error in batch.failures.items():
                data.fail(many[place], str(error))
            if batch.n_structures:
                data.batches.append(batch)
            advance(len(many), many[-1].source)
    return data


def _candidates(
    potential: ETNPotential, files: list[Path], reading: dict[str, Any], data: _Data
) -> Iterator[Candidate]:
    """The structures of all files; those that cannot be read are noted in ``data``.

    Raises:
        DataError: a file that is no file of structures.
        WrongUseError: an element that the model does not know.
    """
    from etn_gpu.screening.batching import Candidate
    from etn_gpu.structures import read_structures

    for path in files:
        for frame in read_structures(path, **reading):
            candidate = Candidate(str(path), frame.index, frame.atoms)
            if frame.untried != 0:
                data.untried[str(path)] = frame.untried
            if frame.atoms is None:
                data.fail(candidate, "" if frame.error is None else frame.error.reason)
                continue
            if unknown := sorted(set(frame.atoms.symbols) - set(potential.species)):
                raise WrongUseError(
                    f"{path} [{frame.index}] has {', '.join(unknown)}, and the model knows "
                    f"{', '.join(potential.species)} only: give the structures that it was trained on"
                )
            yield candidate


def _structure_grades(
    potential: ETNPotential, batches: list[StructureBatch], options: dict[str, Any]
) -> NDArray[np.float64]:
    """The grades [S] of all structures, as users will see them."""
    import numpy as np

    from etn_gpu.potential.grade import structure_grades

    found = []
    for batch in batches:
        grades = potential.evaluate_batch(batch, forces=False, stress=False, grade=True, **options).grades
        assert grades is not None
        found.append(structure_grades(grades, batch.atom_offsets))
    return np.concatenate(found)


def _show(console: Console, title: str, potential: ETNPotential, grades: NDArray[np.float64]) -> None:
    import numpy as np

    assert potential.grade is not None
    table = new_table()
    table.add_column("species")
    table.add_column("training atoms", justify="right")
    for symbol, count in zip(potential.species, potential.grade.atoms, strict=True):
        table.add_row(symbol, f"{count:.0f}", style=None if count else "yellow")
    show_table(console, title, table)
    if missing := [s for s, count in zip(potential.species, potential.grade.atoms, strict=True) if not count]:
        console.print(
            f"warning: there are no atoms of {', '.join(missing)}: every structure with them will be far outside; give "
            "all structures that the model was trained on",
            style="yellow",
            soft_wrap=True,
        )
    shown = ", ".join(f"{q:.0%} up to {np.quantile(grades, q):.3f}" for q in _QUANTILES)
    console.print(f"grades of these structures: {shown}", soft_wrap=True)
