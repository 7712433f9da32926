"""What a run leaves behind: the model with its metadata, a JSON report, learning curve and parity plots as a PNG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.structures import LabelledSet
from etn_gpu.training.config import TrainingConfig
from etn_gpu.training.data import Piece
from etn_gpu.training.objective import Errors
from etn_gpu.training.references import formation_reference_structures, formation_references

Array = NDArray[np.float64]


#: Pieces and the errors on them, by the name of the set.
Parity = dict[str, tuple[list[Piece], Errors]]


@dataclass(frozen=True)
class TrainingReport:
    """Options, sizes, errors (energy in eV/atom, forces in eV/A, stress in eV/A^3) and the history of a run.

    ``seconds`` include those before a resume; ``valid`` is empty where nothing was held out; ``warnings`` are those of
    the audit and of the run.
    """

    options: dict[str, Any]
    architecture: dict[str, Any]
    n_parameters: int
    iterations: int
    seconds: float
    train: dict[str, float | None]
    valid: dict[str, float | None]
    history: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()

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
) -> ETNPotential:
    """The trained potential with everything that its file should tell."""
    closest = np.min([piece.batch.minimum_distances() for piece in pieces], axis=0)
    # Names only: a model file travels, the folders of the machine that trained it mean nothing elsewhere.
    options = {
        k: Path(v).name if k in ("train_file", "valid_file", "output") and v else v for k, v in report.options.items()
    }
    metadata = {
        "training_data": {
            "file": config.train_file.name,
            "structures": len(labels),
            "atoms": sum(len(a) for a in labels.atoms),
            "label_keys": {name: dict(counter) for name, counter in labels.keys.items()},
        },
        "formation_references": formation_references(labels),
        "formation_reference_structures": formation_reference_structures(labels),
        "errors": {"train": report.train, "valid": report.valid},
        "training": {"iterations": report.iterations, "seconds": round(report.seconds, 1), "options": options},
        **config.metadata,
    }
    return ETNPotential(
        architecture,
        parameters,
        minimum_distances=np.where(np.isfinite(closest), closest, 0.0),
        metadata=metadata,
    )


def write_report(report: TrainingReport, output: Path, parity: Parity) -> None:
    """``output`` with suffix .json and .png."""
    output.with_suffix(".json").write_text(json.dumps(report.to_dict(), indent=1))
    _plot(report, output.with_suffix(".png"), parity)


def _plot(report: TrainingReport, path: Path, parity: Parity) -> None:
    """Learning curve, and predicted against reference energies and forces."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    curve, energies, forces = figure.subplots(1, 3)
    key, label = ("forces_mae", "force MAE (eV/A)")
    if report.train["forces_mae"] is None:
        key, label = ("energy_mae", "energy MAE (eV/atom)")
    for name in ("train", "valid"):
        points = [(h["elapsed"] / 60, h[name].get(key)) for h in report.history if h[name].get(key)]
        if points:
            curve.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
    curve.set(xlabel="minutes", ylabel=label, title="learning curve")
    if curve.lines:
        curve.set_yscale("log")
        curve.legend()
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
    figure.savefig(path, dpi=150)


def _corner(axes: Any) -> tuple[float, float]:
    low = float(axes.get_xlim()[0])
    return low, low
