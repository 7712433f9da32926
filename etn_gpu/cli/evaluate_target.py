"""`etn-gpu evaluate` of models whose output is no energy: errors of a dipole or of a quantity of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu.cli.console import WrongUseError, new_table, show_table
from etn_gpu.cli.findings import Findings
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from etn_gpu.potential import Potential
    from etn_gpu.potential.target_metrics import TargetMetrics
    from etn_gpu.structures.targets import Quantity

__all__ = ["common_quantity", "evaluate_target"]


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
class _Evaluation(Findings):
    metrics: TargetMetrics = field(kw_only=True)


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
    metrics = evaluation.metrics
    evaluation.tell_warnings(console)
    _show(console, escaped(f"{model} on {', '.join(map(str, files))}"), metrics)
    evaluation.tell_rest(console, metrics.n_structures, metrics.n_atoms, options, compilation)
    return {
        **metrics.as_dict(),
        "seconds": evaluation.seconds,
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

    evaluation, checks = _Evaluation(metrics=TargetMetrics(quantity)), DipoleChecks()
    evaluate = partial(potential.evaluate_each, **options)
    for path in files:
        labels = evaluation.read(path, reading)
        assert labels.target is not None
        for text in labels.target_audit().warnings:
            evaluation.warn(str(path), text)
        if not (found := labels.target.quantity).agrees(quantity):
            raise DataError(f"{path} has {found}, and the model gives {quantity}: expected the same.")
        if found.unit != quantity.unit:
            text = (
                f"no unit of {found.name} is stated: read as {quantity.unit}."
                if quantity.unit
                else (f"{found.name} is in {found.unit}, and no unit was stated for what the model was trained on.")
            )
            evaluation.warn(str(path), text)
        for place, outcome in evaluation.outcomes(path, labels, potential.cutoff, batch_atoms, evaluate):
            if isinstance(outcome, StructureError):
                evaluation.fail(path, labels.frames[place], str(outcome))
                continue
            predicted, label = outcome[quantity.name], labels.target.values[place]
            evaluation.metrics.add(labels.config_type[place], predicted, label, len(labels.atoms[place]))
            if not quantity.per_atom:
                checks.add(predicted, label)
    for text in checks.warnings():
        evaluation.warn(", ".join(map(str, files)), text)
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
