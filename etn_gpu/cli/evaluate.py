"""`etn-gpu evaluate`: errors of a model on labelled structures."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn_gpu.cli.console import SOME_FAILED, WrongUseError, new_table, output_console, show_table
from etn_gpu.cli.options import Backend, BatchAtoms, Dtype, Threads
from etn_gpu.cli.progress import structure_progress

if TYPE_CHECKING:
    from rich.console import Console

    from etn_gpu.potential import ETNPotential
    from etn_gpu.potential.metrics import GroupedMetrics, Metrics
    from etn_gpu.screening.batching import Candidate
    from etn_gpu.structures import LabelledSet

__all__ = ["evaluate"]

_FAILURES_SHOWN = 10


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a shipped model, or path of a model file (.etn).")
    ],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Labelled structures, in any format that ASE reads.")
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="OUT", help="Also write the numbers as JSON; overwritten if it exists."),
    ] = None,
    backend: Backend = None,
    dtype: Dtype = None,
    threads: Threads = None,
    batch_atoms: BatchAtoms = 4096,
) -> None:
    """Errors of a model on labelled structures: energy per atom, forces and
    stress, in total and by config_type.

    MAE is the mean absolute error, RMSE the root mean square error: of the
    energy per atom over structures, of the forces over Cartesian components, of
    the stress over the six Voigt components. Missing labels are left out.

    The table shows meV/atom, eV/A and GPa. JSON has, in eV/atom, eV/A and
    eV/A^3, the keys energy, forces and stress (each with mae, rmse and count;
    null without labels), n_structures, n_atoms, seconds (reading and
    compilation excluded), backend, groups, warnings, failures.

    Labels whose sign, unit or zero is not that of the model, though else they
    agree with it, are named in a warning.

    Exit codes: 0 all structures evaluated, 1 some failed and are listed, 2
    wrong use.

    \b
    Examples:
      etn-gpu evaluate nbmotaw test.extxyz.gz
      etn-gpu evaluate model.etn a.extxyz b.extxyz --json errors.json
    """
    import etn_gpu
    from etn_gpu.backend import resolve

    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise WrongUseError(f"cannot write --json {json_file}: it has to be a file in an existing folder")
    potential = etn_gpu.load(model)
    name = resolve(backend)
    options = {"backend": name, "dtype": potential.precision(name, dtype and dtype.value), "threads": threads}
    metrics, failures, seconds, warnings = _evaluate_files(potential, files, options, batch_atoms)

    console = output_console()
    _show(console, f"{model} on {', '.join(str(path) for path in files)}", metrics)
    for failure in failures[:_FAILURES_SHOWN]:
        console.print(
            f"failed: {failure['source']} [{failure['index']}]: {failure['message']}", style="red", soft_wrap=True
        )
    if len(failures) > _FAILURES_SHOWN:
        more = len(failures) - _FAILURES_SHOWN
        console.print(f"... and {more} more failed; --json lists all", style="red")
    for text in warnings:
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)
    total = metrics.total
    console.print(
        f"{total.n_structures} structures, {total.n_atoms} atoms, {seconds:.2f} s, backend {name}, {options['dtype']}"
    )
    if json_file is not None:
        report = {"model": model, "files": [str(path) for path in files], **metrics.as_dict()}
        report |= {"seconds": seconds, **options, "warnings": warnings, "failures": failures}
        _write_json(json_file, report)
    if failures:
        raise typer.Exit(SOME_FAILED)


def _evaluate_files(
    potential: ETNPotential, files: list[Path], options: dict[str, Any], batch_atoms: int
) -> tuple[GroupedMetrics, list[dict[str, Any]], float, list[str]]:
    """Metrics over all files, the structures that failed, the seconds that evaluation took, and warnings."""
    from etn_gpu.potential.label_checks import LabelChecks
    from etn_gpu.potential.metrics import GroupedMetrics
    from etn_gpu.screening import BatchLimits, evaluate_each
    from etn_gpu.screening.batching import batches

    metrics, seconds, checks = GroupedMetrics(), 0.0, LabelChecks()
    failures: list[dict[str, Any]] = []
    for path in files:
        labels, candidates = _read(path)
        failures += [{"source": c.source, "index": c.index, "message": c.error} for c in candidates if c.error]
        readable = [candidate for candidate in candidates if not candidate.error]
        indices = iter([index for index, candidate in enumerate(candidates) if not candidate.error])
        with structure_progress(len(readable)) as advance:
            for batch in batches(readable, potential.cutoff, BatchLimits.for_atoms(batch_atoms)):
                if not metrics.total.n_structures:
                    _warm_up(potential, batch, options)
                start = perf_counter()
                outcomes = evaluate_each(potential, [c.atoms for c in batch if c.atoms is not None], **options)
                seconds += perf_counter() - start
                for index, outcome in zip(islice(indices, len(batch)), outcomes, strict=True):
                    if outcome.failed:
                        failures.append({"source": str(path), "index": index, "message": outcome.message})
                        continue
                    results, given, atoms = outcome.results(), labels.of(index), labels.atoms[index]
                    metrics.add(labels.config_type[index], results, **given)
                    checks.add(results, numbers=atoms.numbers, volume=abs(atoms.cell.volume), **given)
                advance(len(batch), str(path))
    return metrics, failures, seconds, checks.warnings()


def _warm_up(potential: ETNPotential, batch: list[Candidate], options: dict[str, Any]) -> None:
    """Evaluates one structure, so that the compilation of a backend is not taken for evaluation."""
    from etn_gpu.screening import evaluate_each

    evaluate_each(potential, [c.atoms for c in batch[:1] if c.atoms is not None], **options)


def _read(path: Path) -> tuple[LabelledSet, list[Candidate]]:
    """The labels of all frames and the frames themselves; a broken frame is a candidate with an error.

    Raises:
        DataError: the file cannot be read at all, has no energy and no force anywhere, or a label of the wrong shape.
    """
    from ase import Atoms

    from etn_gpu.screening.batching import Candidate
    from etn_gpu.structures import collect_labels, read_structures

    candidates = [
        Candidate(str(path), frame.index, frame.atoms, "" if frame.error is None else str(frame.error))
        for frame in read_structures(path)
    ]
    # An empty structure stands for a broken frame, so that a complaint about a label counts frames as the file does.
    labels = collect_labels([c.atoms if c.atoms is not None else Atoms() for c in candidates], source=str(path))
    labels.audit()
    return labels, candidates


def _show(console: Console, title: str, metrics: GroupedMetrics) -> None:
    from etn_gpu.structures.units import GPA

    table = new_table()
    table.add_column("group", overflow="fold")
    for heading in ("structures", "atoms"):
        table.add_column(heading, justify="right")
    units = {"energy": ("meV/atom", 1e3, 2), "forces": ("eV/A", 1.0, 4), "stress": ("GPa", 1.0 / GPA, 3)}
    for quantity, (unit, _, _) in units.items():
        table.add_column(f"{quantity} MAE\n{unit}", justify="right", no_wrap=True)
        table.add_column(f"RMSE\n{unit}", justify="right", no_wrap=True)

    def add_row(name: str, group: Metrics, style: str | None = None) -> None:
        cells = []
        for quantity, (_, factor, digits) in units.items():
            errors = getattr(group, quantity)
            cells += ["-" if value is None else f"{value * factor:.{digits}f}" for value in (errors.mae, errors.rmse)]
        table.add_row(name, str(group.n_structures), str(group.n_atoms), *cells, style=style)

    add_row("all", metrics.total, "bold")
    for name, group in metrics.groups.items():
        add_row(name, group)
    show_table(console, title, table)


def _write_json(path: Path, report: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise WrongUseError(f"cannot write --json {path}: {error.strerror or error}") from error
