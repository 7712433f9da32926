"""What a training run is told, and the events that it reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from etn_gpu.errors import NetworkError, TrainingError
from etn_gpu.potential import PRESETS, Preset
from etn_gpu.structures import LabelKeys
from etn_gpu.structures.elements import SYMBOLS
from etn_gpu.structures.targets import Target

#: Errors that count alike: 0.75 meV/atom, 0.1 eV/A, 0.003 eV/A^3 (0.5 GPa).
DEFAULT_SIGMA = {"energy": 0.00075, "forces": 0.1, "stress": 0.003}
METHODS = ("sweeps", "gradient")
DEFAULT_PRESET = "standard"
#: Where reference energies of the elements come from, if they are not given.
FITTED, ISOLATED = "fit", "isolated"
#: What holds atoms apart beside the network.
ZBL = "zbl"
REPULSIONS = (ZBL, "none")
MOST_REACH = 2.0


@dataclass(frozen=True)
class TrainingConfig:
    """Options of :func:`etn_gpu.training.train`.

    ``train_file`` is one file or several; ``init`` the file of a model, or the name of a shipped one, to start from
    (:mod:`etn_gpu.training.initial_model`), with whose sizes and cutoff a ``preset`` and a ``cutoff`` must then agree;
    ``preset`` the name of a preset or sizes of one's own, None for 'standard' or the sizes of ``init``; ``layers`` and
    heads of ``attention`` in each instead of the preset's or of those of ``init``, to which layers may be added: 1 is a
    network without message passing; ``method``
    'sweeps' adapts the ranks to the data with two-site sweeps between Gauss-Newton iterations, 'gradient' keeps the
    ranks there are; ``cutoff`` in A, None for one that fits the density of the data
    (:mod:`etn_gpu.training.neighbourhood`) or that of ``init``; ``weights`` multiply the default weight of each
    property (1 keeps it, 0 leaves the property out); ``group_weights`` multiply the loss of the structures of a group
    (:mod:`etn_gpu.training.groups`; 0 leaves it out of the training); ``reference_energies`` are energies E0 in eV of
    some elements, which stay as they are, 'isolated' for those of the isolated atoms among the structures, or 'fit'
    (:mod:`etn_gpu.training.atomic_energies`); ``repulsion`` 'zbl' gives the model terms that hold atoms apart and take
    over where the network knows nothing (:mod:`etn_gpu.potential.calibration`), 'none' leaves it the network alone;
    ``repulsion_reach`` the distance at which repulsion begins, over the closest in the data: above 1 it reaches into
    them, and the network is trained on what is left of the labels; ``time_limit`` in seconds for the whole run,
    reading, compilation, report and resumed parts included: what is under way then ends, and the model is that of
    the last step; ``resume`` a checkpoint of the same run; ``overwrite`` whether the files of an earlier run may be
    replaced, as those of the resumed run always are; ``allow_large`` accepts sizes whose compilation may take
    minutes and gigabytes (:mod:`etn_gpu.potential.size`); ``label_keys`` keys of labels to use instead of the usual
    ones; ``target`` a dipole or a quantity of atoms, which is then trained on alone (:mod:`etn_gpu.structures.targets`;
    such a model has no repulsion); ``format`` and ``species`` of the files, as
    :func:`etn_gpu.structures.read_structures` takes them; ``metadata`` goes into the model file.

    Raises:
        TrainingError: an option that cannot be meant.
    """

    train_file: Path | tuple[Path, ...]
    output: Path
    valid_file: Path | None = None
    valid_fraction: float = 0.1
    init: str | Path | None = None
    preset: str | Preset | None = None
    layers: int | None = None
    attention: int | None = None
    method: str = "gradient"
    cutoff: float | None = None
    weights: dict[str, float] | None = None
    group_weights: dict[str, float] = field(default_factory=dict)
    reference_energies: str | dict[str, float] = FITTED
    repulsion: str = ZBL
    repulsion_reach: float = 1.0
    time_limit: float | None = None
    seed: int = 0
    resume: Path | None = None
    backend: str | None = None
    threads: int | None = None
    max_iterations: int | None = None
    overwrite: bool = False
    allow_large: bool = False
    label_keys: LabelKeys = field(default_factory=LabelKeys)
    target: Target | None = None
    format: str | None = None
    species: tuple[str, ...] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("output", "valid_file", "resume"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))
        self._set_train_files()
        if not (self.init is None or isinstance(self.init, str | os.PathLike)):
            raise TrainingError(f"the initial model must be the name of a shipped model or a file, got {self.init!r}")
        if self.cutoff is not None and not (isfinite(self.cutoff) and self.cutoff > 0):
            raise TrainingError(f"the cutoff must be a positive number of A, got {self.cutoff}")
        if unknown := sorted(set(self.weights or {}) - set(DEFAULT_SIGMA)):
            raise TrainingError(f"unknown weights {unknown}: choose from {', '.join(DEFAULT_SIGMA)}")
        if bad := {k: v for k, v in (self.weights or {}).items() if not (isfinite(v) and v >= 0)}:
            raise TrainingError(f"weights must be numbers >= 0, got {bad}")
        if self.weights and set(self.weights) == set(DEFAULT_SIGMA) and not any(self.weights.values()):
            raise TrainingError("all weights are zero: nothing would be trained")
        if bad := {k: v for k, v in self.group_weights.items() if not (isfinite(v) and v >= 0)}:
            raise TrainingError(f"weights of groups must be numbers >= 0, got {bad}")
        self._check_reference_energies()
        self._check_repulsion()
        self._check_target()
        if self.time_limit is not None and not self.time_limit > 0:
            raise TrainingError(f"the time limit must be positive, got {self.time_limit} s")
        if not 0 <= self.valid_fraction < 1:
            raise TrainingError(f"the validation fraction must be in [0, 1), got {self.valid_fraction}")
        if not (self.preset is None or isinstance(self.preset, Preset) or self.preset in list(PRESETS)):
            raise TrainingError(
                f"{self.preset!r} is not a preset; choose one of {', '.join(PRESETS)}, or give a Preset with sizes of "
                "your own"
            )
        self._check_layers()
        if self.method not in METHODS:
            raise TrainingError(f"{self.method!r} is not a method of training; choose one of {', '.join(METHODS)}")
        self._check_counts()
        try:
            json.dumps(self.metadata, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"the metadata cannot be written as JSON: {error}") from None

    def _set_train_files(self) -> None:
        """One file is a path, several are a tuple of paths."""
        given: Any = self.train_file
        files = tuple(map(Path, (given,) if isinstance(given, str | os.PathLike) else given))
        if not files:
            raise TrainingError("there is no file to train on: give one or more")
        if twice := [str(file) for k, file in enumerate(files) if file in files[:k]]:
            raise TrainingError(
                f"{', '.join(twice)} is given twice to train on; weight its groups to let it count more"
            )
        object.__setattr__(self, "train_file", files[0] if len(files) == 1 else files)

    def _check_reference_energies(self) -> None:
        given = self.reference_energies
        if isinstance(given, str):
            if given not in (FITTED, ISOLATED):
                raise TrainingError(
                    f"{given!r} is no source of reference energies; choose '{FITTED}' or '{ISOLATED}', or give the "
                    "energy of each element in eV"
                )
            return
        if unknown := [symbol for symbol in given if symbol not in SYMBOLS]:
            raise TrainingError(
                f"reference energies are given by chemical symbol, and there is no {', '.join(unknown)}"
            )
        if bad := {symbol: energy for symbol, energy in given.items() if not isfinite(energy)}:
            raise TrainingError(f"reference energies must be finite numbers (eV), got {bad}")

    def _check_repulsion(self) -> None:
        if self.repulsion not in REPULSIONS:
            raise TrainingError(f"{self.repulsion!r} is no repulsion; choose one of {', '.join(REPULSIONS)}")
        if not 1.0 <= self.repulsion_reach <= MOST_REACH:
            raise TrainingError(
                f"the repulsion must reach from 1 to {MOST_REACH:g} times as far as the closest pairs of the data, got "
                f"{self.repulsion_reach:g}"
            )
        if self.repulsion != ZBL and self.repulsion_reach != 1.0:
            raise TrainingError(
                f"a reach of {self.repulsion_reach:g} is given, but no repulsion: leave one of them out"
            )

    def _check_target(self) -> None:
        """Nothing that is about energies beside a target."""
        if self.target is None:
            return
        if not isinstance(self.target, Target):
            raise TrainingError(f"the target must be a Target, got {self.target!r}: write Target.parse('dipole')")
        about_energies = {
            "weights": self.weights,
            "reference energies": self.reference_energies != FITTED,
            "a reach of the repulsion": self.repulsion_reach != 1.0,
            "keys of energies, forces or stresses": self.label_keys.given(),
            "an initial model": self.init is not None,
        }
        if given := [name for name, value in about_energies.items() if value]:
            raise TrainingError(f"the target is {self.target}, no energy: leave out {', '.join(given)}")
        object.__setattr__(self, "repulsion", "none")

    def _check_layers(self) -> None:
        if self.init is not None and self.preset is None:
            return  # what can be added is known when the model is read
        try:
            _ = self.sizes
        except NetworkError as error:
            raise TrainingError(str(error)) from None

    @property
    def sizes(self) -> Preset:
        """The preset with the layers that were asked for."""
        preset = self.preset or DEFAULT_PRESET
        return (PRESETS[preset] if isinstance(preset, str) else preset).with_layers(self.layers, self.attention)

    def _check_counts(self) -> None:
        for name, least in (("seed", 0), ("threads", 1), ("max_iterations", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise TrainingError(f"{name} must be at least {least}, got {value}")

    @property
    def train_files(self) -> tuple[Path, ...]:
        """All files to train on."""
        return self.train_file if isinstance(self.train_file, tuple) else (self.train_file,)

    @property
    def checkpoint(self) -> Path:
        """Where checkpoints go."""
        return self.output.with_suffix(".ckpt.npz")

    @property
    def written(self) -> tuple[Path, ...]:
        """All files that a run writes: model, report, plots, checkpoint."""
        return self.output, self.output.with_suffix(".json"), self.output.with_suffix(".png"), self.checkpoint

    def identity(self) -> dict[str, Any]:
        """The options that a resumed run must share with the run that wrote the checkpoint, as JSON gives them back."""
        names = ("train_file", "valid_file", "valid_fraction", "preset", "method", "cutoff", "weights", "seed")
        options = asdict(self)
        chosen = {name: options[name] for name in names}
        if self.init is None:
            chosen["preset"] = options["preset"] or DEFAULT_PRESET
        else:  # sizes and cutoff are those of the model, whether they are given as well or not
            chosen |= {"init": str(self.init), "preset": None, "cutoff": None}
        # Only where they are given: checkpoints of runs without any are older than these options.
        if given := self.label_keys.given():
            chosen["label_keys"] = given
        for name in ("layers", "attention"):
            if options[name] is not None:
                chosen[name] = options[name]
        if self.target is not None:
            chosen["target"] = asdict(self.target)
        if self.group_weights:
            chosen["group_weights"] = self.group_weights
        if self.reference_energies != FITTED:
            chosen["reference_energies"] = self.reference_energies
        if self.repulsion != ZBL:
            chosen["repulsion"] = self.repulsion
        if self.repulsion_reach != 1.0:
            chosen["repulsion_reach"] = self.repulsion_reach
        identity: dict[str, Any] = json.loads(json.dumps(chosen, default=str))
        return identity


@dataclass(frozen=True)
class Event:
    """Something to show: ``kind`` is 'audit', 'message', 'iteration', 'sweep', 'unwritten' or 'done'.

    Other fields belong to some kinds only.

    iteration: ``loss`` per structure, errors ``train`` and ``valid`` (energy_mae in eV/atom, forces_mae in eV/A,
    stress_mae in eV/A^3), seconds ``elapsed`` and ``remaining`` (None without a time limit). unwritten: ``text`` says
    what of the report could not be written. done: ``report``.
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


OnEvent = Callable[[Event], None]
