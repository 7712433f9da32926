"""`etn-gpu evaluate` of models whose output is no energy: errors of a dipole or of a quantity of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from etn_gpu.cli.console import WrongUseError, compiled, new_table, per_atom, show_table
from etn_gpu.cli.progress import structure_progress
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from etn_gpu.potential import Potential
    from etn_gpu.potential.target_metrics import TargetMetrics
    from etn_gpu.structures import Frame
    from etn_gpu.structures.targets import Quantity

__all__ = ["common_quantity", "evaluate_target"]

_FAILURES_SHOWN = 10


def common_quantity(models: Sequence[str], potentials: Sequence[Potential]) -> Quantity | None:
    """What all of the models give, None for energies.

    Raises:
        WrongUseError: they give different quantities, or one whose meaning is not known.
    """
    for name, potential in zip(models, potentials, strict=True):
        if potential.quantity is None and not potential.is_energy:
            raise WrongUseError(
                f"{name} has the {potential.output}, and its file does not tell of what: there are no labels to "
                "compare it with"
            )
        if potential.quantity != potentials[0].quantity:
            given = " and ".join(str(p.quantity or "an energy") for p in (potentials[0], potential))
            raise WrongUseError(f"{models[0]} and {name} give {given}: evaluate them one after the other")
    return potentials[0].quantity


@dataclass
class _Evaluation:
    metrics: TargetMetrics
    failures: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, path: Path, index: int, text: str) -> None:
        self.failures.append({"source": str(path), "index": index, "message": text})


def evaluate_target(
    console: Console,
    model: str,
    potential: Potential,
    files: Sequence[Path],
    reading: dict[str, Any],
    key: str | None,
    options: dict[str, Any],
    batch_atoms: int,
    compilation: float,
) -> dict[str, Any]:
    """Evaluate one model on labelled structures, show its errors, and return what JSON has of it.

    Raises:
        DataError: a file that cannot be read, or has no label of what the model gives.
    """
    quantity = potential.quantity
    assert quantity is not None
    evaluation = _evaluate(
        potential, quantity, files, {**reading, "target": replace(quantity.target, key=key)}, options, batch_atoms
    )
    for warning in evaluation.warnings:
        console.print(escaped(f"{warning['source']}: warning: {warning['message']}"), style="yellow", soft_wrap=True)
    metrics, seconds = evaluation.metrics, evaluation.seconds
    _show(console, escaped(f"{model} on {', '.join(map(str, files))}"), metrics)
    for failure in evaluation.failures[:_FAILURES_SHOWN]:
        where = escaped(f"{failure['source']} [{failure['index']}]: {failure['message']}")
        console.print(f"failed: {where}", style="red", soft_wrap=True)
    if (more := len(evaluation.failures) - _FAILURES_SHOWN) > 0:
        console.print(f"... and {more} more failed; --json lists all", style="red")
    n_atoms = metrics.n_atoms
    console.print(
        f"{metrics.n_structures} structures, {n_atoms} atoms, {seconds:.2f} s{per_atom(seconds, n_atoms)}, "
        f"backend {options['backend']}, {options['dtype']}{compiled(compilation)}",
        soft_wrap=True,
    )
    return {
        **metrics.as_dict(),
        "seconds": seconds,
        "warnings": evaluation.warnings,
        "failures": evaluation.failures,
    }


def _evaluate(
    potential: Potential,
    quantity: Quantity,
    files: Sequence[Path],
    reading: dict[str, Any],
    options: dict[str, Any],
    batch_atoms: int,
) -> _Evaluation:
    from etn_gpu.errors import DataError, StructureError
    from etn_gpu.potential.label_checks import DipoleChecks
    from etn_gpu.potential.target_metrics import TargetMetrics
    from etn_gpu.screening import BatchLimits
    from etn_gpu.screening.batching import Candidate, batches
    from etn_gpu.structures import read_labelled

    evaluation = _Evaluation(TargetMetrics(quantity))
    checks = DipoleChecks()
    for path in files:
        broken: list[Frame] = []
        labels = read_labelled(path, broken=broken, **reading)
        assert labels.target is not None
        for text in labels.target_audit().warnings:
            evaluation.warnings.append({"source": str(path), "message": text})
        if not (found := labels.target.quantity).agrees(quantity):
            raise DataError(f"{path} has {found}, and the model gives {quantity}: expected the same.")
        if found.unit != quantity.unit:
            text = (
                f"no unit of {found.name} is stated: read as {quantity.unit}."
                if quantity.unit
                else (f"{found.name} is in {found.unit}, and no unit was stated for what the model was trained on.")
            )
            evaluation.warnings.append({"source": str(path), "message": text})
        for frame in broken:
            evaluation.fail(path, frame.index, "" if frame.error is None else frame.error.reason)
        candidates = [Candidate(str(path), *pair) for pair in zip(labels.frames, labels.atoms, strict=True)]
        places = iter(range(len(candidates)))
        with structure_progress(len(candidates)) as advance:
            for batch in batches(candidates, potential.cutoff, BatchLimits.for_atoms(batch_atoms)):
                start = perf_counter()
                outcomes = potential.evaluate_each([c.atoms for c in batch if c.atoms is not None], **options)
                evaluation.seconds += perf_counter() - start
                for place, outcome in zip(islice(places, len(batch)), outcomes, strict=True):
                    if isinstance(outcome, StructureError):
                        evaluation.fail(path, labels.frames[place], str(outcome))
                        continue
                    predicted, label = outcome[quantity.name], labels.target.values[place]
                    evaluation.metrics.add(labels.config_type[place], predicted, label, len(labels.atoms[place]))
                    if not quantity.per_atom:
                        checks.add(predicted, label)
                advance(len(batch), str(path))
    for text in checks.warnings():
        evaluation.warnings.append({"source": ", ".join(map(str, files)), "message": text})
    return evaluation


def _show(console: Console, title: str, metrics: TargetMetrics) -> None:
    quantity = metrics.quantity
    table = new_table()
    table.add_column("group", overflow="fold")
    for heading in ("structures", "atoms"):
        table.add_column(heading, justify="right")
    for heading in (quantity.name, "length")[: 1 + quantity.is_vector]:
        for kind in (f"{heading} MAE", "RMSE"):
            unit = f"\n{escaped(quantity.unit)}" if quantity.unit else ""
            table.add_column(f"{escaped(kind)}{unit}", justify="right", no_wrap=True)
    table.add_row("all", *_cells(metrics), style="bold")
    for name, group in metrics.groups.items():
        table.add_row(escaped(name), *_cells(group))
    show_table(console, title, table)


def _cells(metrics: TargetMetrics) -> list[str]:
    sums = (metrics.target, metrics.target_length)[: 1 + metrics.quantity.is_vector]
    values = [value for errors in sums for value in (errors.mae, errors.rmse)]
    numbers = ["-" if value is None else f"{value:.4g}" for value in values]
    return [str(metrics.n_structures), str(metrics.n_atoms), *numbers]
