"""`etn-gpu evaluate`: errors of a model on labelled structures."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn_gpu.cli.console import SOME_FAILED, WrongUseError, new_table, output_console, show_table
from etn_gpu.cli.evaluate_target import common_quantity, evaluate_target
from etn_gpu.cli.findings import Findings
from etn_gpu.cli.options import (
    AllowLarge,
    Backend,
    BatchAtoms,
    Dtype,
    EnergyKey,
    ForcesKey,
    Format,
    Overwrite,
    Species,
    StressKey,
    TargetKey,
    Threads,
    VirialKey,
)
from etn_gpu.cli.outputs import claimed_output
from etn_gpu.cli.reading import load_model, reading_options
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from etn_gpu.potential import Potential
    from etn_gpu.potential.metrics import GroupedMetrics, Metrics

__all__ = ["evaluate"]


def evaluate(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a shipped model, or path of a model file of any kind.")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL...] FILES", help="More models, then labelled structures, in any format that ASE reads."
        ),
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="OUT", help="Also write the numbers as JSON."),
    ] = None,
    overwrite: Overwrite = False,
    format: Format = None,
    species: Species = None,
    backend: Backend = None,
    dtype: Dtype = None,
    threads: Threads = None,
    batch_atoms: BatchAtoms = 4096,
    allow_large: AllowLarge = False,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    target_key: TargetKey = None,
) -> None:
    """Errors of models on labelled structures: energy per atom, forces and
    stress, in total and by config_type; several models side by side.

    MAE is the mean absolute error, RMSE the root mean square error: of the
    energy per atom over structures, of the forces over Cartesian components, of
    the stress over the six Voigt components. Missing labels are left out, NaN
    among them, and so are structures that VASP's log marks as not converged.
    Labels are found as in `train`; what looks wrong about them is a warning.

    The table shows meV/atom, eV/A and GPa. JSON has, in eV/atom, eV/A and
    eV/A^3, the keys energy, forces and stress (each with mae, rmse and count;
    null without labels), n_structures, n_atoms, seconds (reading and
    compilation excluded), compilation_seconds, backend, groups, warnings,
    failures; of several models a list under models, one entry each.

    Labels whose sign, unit or zero is not that of the model, though else they
    agree with it, are named in a warning. If the model gives extrapolation
    grades, how many structures are above 1.5 is told as well, and in JSON under
    extrapolation_grade (threshold, above, largest; null without).

    Of a model that was trained with --target, errors are those of the Cartesian
    components of the dipoles, or of the quantity of the atoms, and of the lengths
    of vectors, in their unit; JSON has them under target and target_length (null
    for numbers), and what they are of under quantity.

    Exit codes: 0 all structures evaluated, 1 some failed and are listed, 2
    wrong use, 3 an unexpected failure, 130 interrupted.

    \b
    Examples:
      etn-gpu evaluate nbmotaw test.extxyz.gz
      etn-gpu evaluate model.etn a.extxyz b.extxyz --json errors.json
      etn-gpu evaluate a.mtp nbmotaw test.extxyz --species Nb,Mo,Ta,W
    """
    from etn_gpu.backend import resolve
    from etn_gpu.files import JSON, json_text, write_atomically
    from etn_gpu.interop.loading import is_model
    from etn_gpu.potential.file import model_path
    from etn_gpu.potential.warm_up import warm_up
    from etn_gpu.structures import LabelKeys

    # A file goes before a shipped model of its name, which the first argument alone need not be told from structures.
    more = [str(p) for p in takewhile(lambda p: is_model(p if p.exists() else str(p)), files)]
    models, files = [model, *more], files[len(more) :]
    if not files:
        raise WrongUseError(f"no structures were given to evaluate {' and '.join(models)} on: name files of them")
    if json_file is not None:
        inputs = [*map(model_path, models), *files]
        context.with_resource(claimed_output(json_file, JSON, inputs, overwrite))
    reading = {"keys": LabelKeys(energy_key, forces_key, stress_key, virial_key), **reading_options(format, species)}
    name = resolve(backend)
    loaded = [load_model(m, species, allow_large) for m in models]
    quantity = common_quantity(models, loaded)
    if target_key is not None and quantity is None:
        raise WrongUseError("--target-key is of a model that was trained with --target, and this gives energies")
    if quantity is not None and (keys := reading["keys"].given()):
        raise WrongUseError(f"keys of {', '.join(keys)} are of no use here: the output is {quantity}")
    console = output_console()
    reports, evaluations = [], []
    for called, potential in zip(models, loaded, strict=True):
        options = {"backend": name, "dtype": potential.precision(name, dtype and dtype.value), "threads": threads}
        compilation = warm_up(potential, **options)
        about = {"model": called, "files": [str(path) for path in files]}
        if quantity is not None:
            found = evaluate_target(
                console, called, potential, files, reading, target_key, options, batch_atoms, compilation
            )
            reports.append(about | found | {"compilation_seconds": compilation, **options})
            continue
        evaluation = _evaluate_files(potential, files, reading, options, batch_atoms)
        _tell(console, called, files, evaluation, options, compilation)
        evaluations.append(evaluation)
        reports.append(
            {**about, **evaluation.metrics.as_dict()}
            | {"seconds": evaluation.seconds, "compilation_seconds": compilation, **options}
            | {"extrapolation_grade": None if evaluation.grades is None else evaluation.grades.as_dict()}
            | {"warnings": evaluation.warnings, "failures": evaluation.failures}
        )
    if len(evaluations) > 1:
        _compare(console, models, evaluations)
    if json_file is not None:
        report = reports[0] if len(reports) == 1 else {"models": reports}
        write_atomically(json_file, json_text(report).encode(), WrongUseError)
    if any(report["failures"] for report in reports):
        raise typer.Exit(SOME_FAILED)


def _tell(
    console: Console,
    model: str,
    files: list[Path],
    evaluation: _Evaluation,
    options: dict[str, Any],
    compilation: float,
) -> None:
    """What came of one model."""
    total = evaluation.metrics.total
    evaluation.tell_warnings(console)
    _show(console, escaped(f"{model} on {', '.join(str(path) for path in files)}"), evaluation.metrics)
    evaluation.tell_rest(console, total.n_structures, total.n_atoms, options, compilation)
    if (grades := evaluation.grades) is not None:
        console.print(
            f"extrapolation grade above {grades.threshold:g}: {grades.above} of {total.n_structures} structures; the "
            f"largest is {grades.largest:.4g}{escaped(grades.where)}",
            soft_wrap=True,
        )


def _compare(console: Console, models: list[str], evaluations: list[_Evaluation]) -> None:
    """One line for each model: errors over all structures, and the cost of an atom."""
    table = new_table()
    _add_error_columns(table, "model")
    table.add_column("us/atom", justify="right", no_wrap=True)
    for model, evaluation in zip(models, evaluations, strict=True):
        total = evaluation.metrics.total
        cost = f"{1e6 * evaluation.seconds / total.n_atoms:.1f}" if total.n_atoms else "-"
        table.add_row(escaped(model), *_error_cells(total), cost)
    show_table(console, "side by side", table)


@dataclass
class _Grades:
    """How many structures have an extrapolation grade above the threshold, the largest grade and whose it is."""

    threshold: float
    above: int = 0
    largest: float = 0.0
    where: str = ""

    def add(self, grade: float, path: Path, index: int) -> None:
        self.above += grade > self.threshold
        if grade > self.largest:
            self.largest, self.where = grade, f" ({path} [{index}])"

    def as_dict(self) -> dict[str, float | int]:
        return {"threshold": self.threshold, "above": self.above, "largest": self.largest}


@dataclass
class _Evaluation(Findings):
    """With metrics over all files; `grades` of a model that gives them."""

    metrics: GroupedMetrics = field(kw_only=True)
    grades: _Grades | None = field(kw_only=True)


def _evaluate_files(
    potential: Potential, files: list[Path], reading: dict[str, Any], options: dict[str, Any], batch_atoms: int
) -> _Evaluation:
    from etn_gpu.potential.grade import THRESHOLD
    from etn_gpu.potential.label_checks import LabelChecks
    from etn_gpu.potential.metrics import GroupedMetrics
    from etn_gpu.screening import evaluate_each

    grades = None if potential.grade is None else _Grades(THRESHOLD)
    evaluation, checks = _Evaluation(metrics=GroupedMetrics(), grades=grades), LabelChecks()
    evaluate = partial(evaluate_each, potential, **options)
    for path in files:
        labels = evaluation.read(path, reading)
        for text in labels.audit(beside_model=True).warnings:
            evaluation.warn(str(path), text)
        for place, outcome in evaluation.outcomes(path, labels, potential.cutoff, batch_atoms, evaluate):
            if outcome.failed:
                evaluation.fail(path, labels.frames[place], outcome.message)
                continue
            results, given, atoms = outcome.results(), labels.of(place), labels.atoms[place]
            if evaluation.grades is not None and outcome.grade is not None:
                evaluation.grades.add(outcome.grade, path, labels.frames[place])
            evaluation.metrics.add(labels.config_type[place], results, **given)
            checks.add(results, numbers=atoms.numbers, volume=abs(atoms.cell.volume), **given)
    for text in checks.warnings():
        evaluation.warn(", ".join(map(str, files)), text)
    return evaluation


def _show(console: Console, title: str, metrics: GroupedMetrics) -> None:
    table = new_table()
    _add_error_columns(table, "group")
    table.add_row("all", *_error_cells(metrics.total), style="bold")
    for name, group in metrics.groups.items():
        table.add_row(escaped(name), *_error_cells(group))
    show_table(console, title, table)


def _units() -> dict[str, tuple[str, float, int]]:
    """Unit, factor from eV and A, and digits shown of each quantity."""
    from etn_gpu.structures.units import GPA

    return {"energy": ("meV/atom", 1e3, 2), "forces": ("eV/A", 1.0, 4), "stress": ("GPa", 1.0 / GPA, 3)}


def _add_error_columns(table: Table, first: str) -> None:
    table.add_column(first, overflow="fold")
    for heading in ("structures", "atoms"):
        table.add_column(heading, justify="right")
    for quantity, (unit, _, _) in _units().items():
        table.add_column(f"{quantity} MAE\n{unit}", justify="right", no_wrap=True)
        table.add_column(f"RMSE\n{unit}", justify="right", no_wrap=True)


def _error_cells(group: Metrics) -> list[str]:
    cells = [str(group.n_structures), str(group.n_atoms)]
    for quantity, (_, factor, digits) in _units().items():
        errors = getattr(group, quantity)
        cells += ["-" if value is None else f"{value * factor:.{digits}f}" for value in (errors.mae, errors.rmse)]
    return cells
