"""What a run leaves behind: the model with its metadata, a JSON report, learning curve and parity plots as a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.files import json_text, write_atomically
from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.calibration import Calibration
from etn_gpu.structures import LabelledSet
from etn_gpu.training.config import TrainingConfig
from etn_gpu.training.covariant_plot import plot_target
from etn_gpu.training.data import Piece
from etn_gpu.training.initial_model import InitialModel
from etn_gpu.training.references import formation_reference_structures, formation_references

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


#: Options that are files.
_FILES = ("train_file", "valid_file", "output", "init")
#: Pieces and the errors on them, by the name of the set.
Parity = dict[str, tuple[list[Piece], Any]]


class Ended(StrEnum):
    """Why a run ended: it had converged, errors on held-out structures had long ceased to fall, or a limit was met."""

    converged = "converged"
    held_out = "held_out"
    max_iterations = "max_iterations"
    time_limit = "time_limit"


@dataclass(frozen=True)
class TrainingReport:
    """Options, sizes, errors (energy in eV/atom, forces in eV/A, stress in eV/A^3) and the history of a run.

    ``seconds`` include those before a resume; ``valid`` is empty where nothing was held out. ``ended`` says why there
    were no further iterations; where it is the time limit, more time may give a better model. ``refits`` iterations on
    all structures, those held out included, came last: errors ``train`` are those of the model after them, the one that
    is written, and errors ``valid`` those of the model before them. ``warnings`` are those of the audit and of the run.
    ``groups`` are the same errors by group, for each set that has groups, and those of the structures ``left_out``
    because the weight of their group is 0. ``quantity`` is what was trained on where it is no energy; errors are then
    those of :func:`etn_gpu.training.evaluation.summary` for a target, in its unit.
    """

    options: dict[str, Any]
    architecture: dict[str, Any]
    n_parameters: int
    iterations: int
    seconds: float
    train: dict[str, float | None]
    valid: dict[str, float | None]
    history: list[dict[str, Any]]
    ended: Ended
    refits: int
    warnings: tuple[str, ...] = ()
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    quantity: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def build_model(
    parameters: dict[str, Array],
    architecture: Architecture,
    labels: LabelledSet,
    pieces: Sequence[Piece],
    report: TrainingReport,
    config: TrainingConfig,
    initial: InitialModel | None = None,
    calibration: Calibration | None = None,
) -> ETNPotential:
    """The trained potential with everything that its file should tell."""
    closest = np.min([piece.batch.minimum_distances() for piece in pieces], axis=0)
    options = {k: _bare(v) if k in _FILES else v for k, v in report.options.items()}
    told = {
        "training_data": {
            "file": ", ".join(path.name for path in config.train_files),
            "structures": len(labels),
            "atoms": sum(len(a) for a in labels.atoms),
            "label_keys": _label_keys(labels),
        },
        "formation_references": formation_references(labels),
        "formation_reference_structures": formation_reference_structures(labels),
        "errors": {"train": report.train, "valid": report.valid},
        "training": {
            "iterations": report.iterations,
            "refits": report.refits,
            "ended": report.ended.value,
            "seconds": round(report.seconds, 1),
            "options": options,
        },
    }
    if initial is not None:
        closest = np.minimum(closest, initial.closest(architecture.species))
        told = initial.told(told)
    if calibration is not None:
        told["calibration"] = calibration.to_dict()
    metadata = {**_encodable(told), **config.metadata}
    return ETNPotential(
        architecture,
        parameters,
        minimum_distances=np.where(np.isfinite(closest), closest, 0.0),
        metadata=metadata,
        terms=None if calibration is None else calibration.terms,
        quantity=None if labels.target is None else labels.target.quantity,
    )


def _label_keys(labels: LabelledSet) -> dict[str, dict[str, int]]:
    """For each property, or for the target, the keys under which its labels were found."""
    keys = labels.keys if labels.target is None else {labels.target.target.name: labels.target.keys}
    return {name: dict(counter) for name, counter in keys.items()}


def _bare(files: Any) -> Any:
    """Names only: a model file travels, the folders of the machine that trained it mean nothing elsewhere."""
    if isinstance(files, list):
        return [_bare(file) for file in files]
    return Path(files).name if files else files


def _encodable(value: Any) -> Any:
    """The same with names of files and groups that are no UTF-8 escaped (``\\udcff``), as a file can hold them."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value


def write_report(report: TrainingReport, output: Path, parity: Parity) -> list[str]:
    """``output`` with suffix .json and .png, each in one piece; what could not be written, with the reason.

    The model is written by then, and no fault of a report or a plot shall look as if it were not.
    """
    text = json_text(report.to_dict())
    faults = []
    for path, write in (
        (output.with_suffix(".json"), lambda path: write_atomically(path, text.encode(), TrainingError, "the report")),
        (output.with_suffix(".png"), lambda path: _plot(report, path, parity)),
    ):
        try:
            write(path)
        except TrainingError as error:
            faults.append(str(error))
        except Exception as error:  # drawing has many ways to fail: fonts, folders for caches, memory
            faults.append(f"cannot write {path}: {type(error).__name__}: {error}")
    return faults


def _plot(report: TrainingReport, path: Path, parity: Parity) -> None:
    """Learning curve, and predicted against reference energies and forces, or what else was trained on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    curve, first, second = figure.subplots(1, 3)
    if report.quantity is not None:
        _plot_curve(curve, report, "target_mae", f"MAE of {report.quantity['name']}")
        plot_target(first, second, report.quantity, parity)
    else:
        forces = report.train["forces_mae"] is not None
        key, label = ("forces_mae", "force MAE (eV/A)") if forces else ("energy_mae", "energy MAE (eV/atom)")
        _plot_curve(curve, report, key, label)
        _plot_parity(first, second, parity)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_atomically(path, picture.getvalue(), TrainingError, "the plots")


def _plot_curve(curve: Axes, report: TrainingReport, key: str, label: str) -> None:
    for name in ("train", "valid"):
        points = [(h["elapsed"] / 60, h[name].get(key)) for h in report.history if h[name].get(key)]
        if points:
            curve.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
    curve.set(xlabel="minutes", ylabel=label, title="learning curve")
    if curve.lines:
        curve.set_yscale("log")
        curve.legend()


def _plot_parity(energies: Axes, forces: Axes, parity: Parity) -> None:
    for name, (pieces, errors) in parity.items():
        if not pieces:
            continue
        reference = np.concatenate([p.energy / p.atoms_per_structure for p in pieces])
        energies.plot(reference, reference + errors.energy, ".", markersize=3, label=name)
        components = np.concatenate([p.forces.ravel() for p in pieces])
        forces.plot(components, components + errors.forces.ravel(), ".", markersize=1, label=name, rasterized=True)
    energies.set(xlabel="reference (eV/atom)", ylabel="predicted (eV/atom)", title="energy per atom")
    forces.set(xlabel="reference (eV/A)", ylabel="predicted (eV/A)", title="force components")
    for axes in (energies, forces):
        axes.axline((0, 0) if axes is forces else _corner(axes), slope=1, color="black", linewidth=0.5)
        axes.legend()


def _corner(axes: Any) -> tuple[float, float]:
    low = float(axes.get_xlim()[0])
    return low, low
