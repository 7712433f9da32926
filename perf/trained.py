"""Models that scripts train once and then find again, what they cost, and how far they are off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ase import Atoms
from common import machine, timed
from peers.environments import CACHE

from etn_gpu import ETNPotential
from etn_gpu.potential import load
from etn_gpu.potential.metrics import Metrics
from etn_gpu.structures import LabelledSet, StructureBatch
from etn_gpu.structures.units import GPA
from etn_gpu.training import Event, TrainingConfig, train

#: Where accuracy.py puts its models, <set>-<preset>.etn, unless it is told another folder.
MODELS = CACHE.parent / "accuracy"
Trainer = Callable[[TrainingConfig, Callable[[Event], None]], object]


def show(event: Event) -> None:
    """One line per event."""
    if event.kind in ("audit", "message"):
        print(event.text, flush=True)
    elif event.kind == "iteration":
        errors = {name: event.valid.get(name) for name in ("energy_mae", "forces_mae", "stress_mae")}
        print(f"{event.iteration:4d} {event.elapsed:7.0f} s  loss {event.loss:.4g}  validation {errors}", flush=True)


def trained(config: TrainingConfig, force: bool = False, trainer: Trainer = train) -> ETNPotential:
    """The model at ``config.output``, trained first unless it is there; a run that was interrupted goes on.

    With ``force`` it is trained from the beginning, whatever is there. The model remembers the machine and the commit
    that trained it. A model that is there already is taken as it is, whatever its options were.
    """
    if force or not config.output.exists():
        config.output.parent.mkdir(parents=True, exist_ok=True)
        resume = config.checkpoint if config.checkpoint.exists() and not force else None
        print(f"training {config.output}", flush=True)
        metadata = {**config.metadata, "trained": machine()}
        trainer(replace(config, resume=resume, overwrite=True, metadata=metadata), show)
    return load(config.output)


def mean_errors(model: ETNPotential, labels: LabelledSet, indices: Sequence[int] | None = None) -> dict[str, Any]:
    """MAE and RMSE of energy (meV/atom), forces (eV/A) and stress (GPa) over some structures, None where unlabelled."""
    chosen = list(range(len(labels)) if indices is None else indices)
    metrics = Metrics()
    results = model.evaluate([labels.atoms[i] for i in chosen], backend="numba", dtype="float64") if chosen else []
    for i, result in zip(chosen, results, strict=True):
        metrics.add(result, **labels.of(i))
    units = {"energy": 1e-3, "forces": 1.0, "stress": GPA}
    errors = {
        f"{name}_{kind}": None if (error := getattr(getattr(metrics, name), kind)) is None else error / unit
        for name, unit in units.items()
        for kind in ("mae", "rmse")
    }
    return {"structures": len(chosen), **errors}


def evaluation_cost(model: ETNPotential, structures: Sequence[Atoms], repeats: int) -> dict[str, float]:
    """Microseconds per atom of energy, forces and stress: float64, one thread, without the neighbour list."""
    batch = StructureBatch.build(structures, model.species, model.cutoff)
    evaluate = partial(model.evaluate_batch, batch, backend="numba", dtype="float64", threads=1)
    cpu, wall = timed(evaluate, repeats).per(batch.n_atoms)
    return {"cpu": cpu, "wall": wall, "atoms": batch.n_atoms, "neighbours": batch.n_edges / batch.n_atoms}


def provenance(model: ETNPotential) -> dict[str, Any]:
    """Sizes of a model and what its file tells of its training."""
    training = model.metadata.get("training", {})
    return {
        "parameters": model.n_parameters,
        "architecture": model.architecture.to_dict(),
        "seconds": training.get("seconds"),
        "iterations": training.get("iterations"),
        "options": training.get("options"),
        "trained": model.metadata.get("trained"),
    }
