"""What a training run is told, and the events that it reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from etn_gpu.errors import TrainingError

#: Errors that count alike: 1.5 meV/atom, 0.1 eV/A, 0.003 eV/A^3 (0.5 GPa).
DEFAULT_SIGMA = {"energy": 0.0015, "forces": 0.1, "stress": 0.003}


@dataclass(frozen=True)
class TrainingConfig:
    """Options of :func:`etn_gpu.training.train`.

    ``weights`` multiply the default weight of each property (1 keeps it, 0 leaves the property out); ``time_limit`` in seconds for the whole run;
    ``cutoff`` in A; ``resume`` a checkpoint of the same run.
    """

    train_file: Path
    output: Path
    valid_file: Path | None = None
    valid_fraction: float = 0.1
    preset: str = "standard"
    cutoff: float = 5.0
    weights: dict[str, float] | None = None
    time_limit: float | None = None
    seed: int = 0
    resume: Path | None = None
    backend: str | None = None
    threads: int | None = None
    max_iterations: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isfinite(self.cutoff) and self.cutoff > 0):
            raise TrainingError(f"the cutoff must be a positive number of A, got {self.cutoff}")
        if unknown := sorted(set(self.weights or {}) - set(DEFAULT_SIGMA)):
            raise TrainingError(f"unknown weights {unknown}: choose from {', '.join(DEFAULT_SIGMA)}")
        if bad := {k: v for k, v in (self.weights or {}).items() if not (isfinite(v) and v >= 0)}:
            raise TrainingError(f"weights must be numbers >= 0, got {bad}")
        if self.weights and set(self.weights) == set(DEFAULT_SIGMA) and not any(self.weights.values()):
            raise TrainingError("all weights are zero: nothing would be trained")
        if self.time_limit is not None and self.time_limit <= 0:
            raise TrainingError(f"the time limit must be positive, got {self.time_limit} s")

    def identity(self) -> dict[str, Any]:
        """The options that a resumed run must share with the run that wrote the checkpoint."""
        names = ("train_file", "valid_file", "valid_fraction", "preset", "cutoff", "weights", "seed")
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items() if k in names}


@dataclass(frozen=True)
class Event:
    """Something to show: ``kind`` is 'audit', 'message', 'iteration' or 'done'; the other fields belong to some kinds only.

    iteration: ``loss``, errors ``train`` and ``valid`` (energy_mae in eV/atom, forces_mae in eV/A, stress_mae in eV/A^3), seconds ``elapsed`` and
    ``remaining`` (None without a time limit).
    """

    kind: str
    text: str = ""
    iteration: int = 0
    loss: float = 0.0
    train: dict[str, float | None] = field(default_factory=dict)
    valid: dict[str, float | None] = field(default_factory=dict)
    elapsed: float = 0.0
    remaining: float | None = None
    report: dict[str, Any] = field(default_factory=dict)
