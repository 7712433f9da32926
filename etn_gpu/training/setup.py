"""What a training run starts from: its data, read, audited and split, and the architecture that fits them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture, preset_architecture
from etn_gpu.potential.size import too_large
from etn_gpu.structures import LabelledSet, read_labelled
from etn_gpu.structures.copies import fingerprint
from etn_gpu.training.config import DEFAULT_SIGMA, Event, TrainingConfig
from etn_gpu.training.data import Piece, cut_pieces, labelled, species_of, split_validation
from etn_gpu.training.initial import reference_energies
from etn_gpu.training.neighbourhood import usual_cutoff
from etn_gpu.training.objective import Weights
from etn_gpu.training.references import formation_reference_structures, reference_warnings
from etn_gpu.training.tolerance import with_tolerances

OnEvent = Callable[[Event], None]
#: Structures for each parameter below which a set is too small for a model.
FEWEST = 0.01


@dataclass(frozen=True)
class TrainingData:
    """All labels, the pieces to train and to validate on, and the architecture."""

    labels: LabelledSet
    train: list[Piece]
    valid: list[Piece]
    architecture: Architecture
    warnings: tuple[str, ...] = ()


def loss_weights(config: TrainingConfig) -> Weights:
    """1/sigma^2 of every property, times the factors that the user gave."""
    factors = {name: (config.weights or {}).get(name, 1.0) for name in DEFAULT_SIGMA}
    return Weights(**{name: factors[name] / sigma**2 for name, sigma in DEFAULT_SIGMA.items()})


def read_data(
    config: TrainingConfig, weights: Weights, on_event: OnEvent, check: Callable[[], None] = lambda: None
) -> TrainingData:
    """Read, audit and split the data, and choose the architecture for them; what ``check`` raises ends the reading."""
    labels = _read(config.train_file, config, check)
    audit = labels.audit()
    on_event(Event("audit", text=str(audit)))
    trained = [name for name in DEFAULT_SIGMA if getattr(weights, name) > 0]
    usable = labelled(labels, trained)
    if not usable.size:
        raise TrainingError(f"{labels.source} has no label of what has a weight above 0 ({', '.join(trained)})")
    # Elements without any label in use would come out at random: the model shall not know them.
    species = species_of(labels, usable)
    cutoff = usual_cutoff(labels, usable) if config.cutoff is None else config.cutoff
    if config.valid_file is not None:
        chosen = [int(i) for i in np.random.default_rng(config.seed).permutation(usable)]
        valid_labels = _read_validation(config.valid_file, config, species, trained, on_event, check)
        valid = cut_pieces(valid_labels, range(len(valid_labels)), species, cutoff)
        seen = {fingerprint(labels.atoms[i]) for i in chosen}
        if copies := sum(fingerprint(atoms) in seen for atoms in valid_labels.atoms):
            on_event(
                Event(
                    "message",
                    text=f"{copies} of {len(valid_labels)} structures in {config.valid_file} are copies of training "
                    "structures: errors on it will look too small",
                )
            )
    else:
        chosen, held = split_validation(labels, config.valid_fraction, config.seed, usable)
        valid = cut_pieces(labels, held, species, cutoff)
    if "energy" not in trained or not np.isfinite(labels.energy[chosen]).any():
        on_event(Event("message", text="no energies are trained on: energies will have an arbitrary zero"))
    train_pieces = cut_pieces(labels, chosen, species, cutoff)
    references = reference_energies(train_pieces, len(species))
    train_pieces, valid = (with_tolerances(pieces, references) for pieces in (train_pieces, valid))
    closest = min(float(p.batch.minimum_distances().min()) for p in train_pieces)
    inner = min(0.9 * closest, 0.5 * cutoff) if np.isfinite(closest) else 0.0
    architecture = preset_architecture(config.preset, species, cutoff, inner)
    if not config.allow_large and (reason := too_large(architecture)):
        raise TrainingError(f"{reason}, or choose smaller sizes")
    on_event(
        Event(
            "message",
            text=f"training on {len(chosen)} structures ({sum(p.batch.n_atoms for p in train_pieces)} atoms), "
            f"validating on {sum(p.batch.n_structures for p in valid)}; {architecture.n_parameters} parameters, "
            f"cutoff {cutoff:g} A",
        )
    )
    warnings = data_warnings(labels, len(chosen), valid, architecture)
    for text in warnings:
        on_event(Event("message", text=f"warning: {text}"))
    return TrainingData(labels, train_pieces, valid, architecture, (*audit.warnings, *warnings))


def data_warnings(labels: LabelledSet, n_train: int, valid: list[Piece], architecture: Architecture) -> tuple[str, ...]:
    """What the amount of data, its split and its pure elements leave to be wished for."""
    found = []
    parameters = architecture.n_parameters
    fewest = ceil(FEWEST * parameters)
    if n_train < fewest:
        found.append(
            f"{n_train} training structures for {parameters} parameters, expected at least {fewest}: the "
            "model will fit them and may fail on others; add structures, or take a smaller preset."
        )
    if not valid:
        found.append(
            "nothing is held out: there are no validation errors, and nothing tells when to stop; give --valid, or a "
            "larger --valid-fraction or more structures."
        )
    return (*found, *reference_warnings(formation_reference_structures(labels)))


def _read(path: Path, config: TrainingConfig, check: Callable[[], None]) -> LabelledSet:
    return read_labelled(path, keys=config.label_keys, before_frame=check, format=config.format, species=config.species)


def _read_validation(
    path: Path,
    config: TrainingConfig,
    species: tuple[str, ...],
    trained: list[str],
    on_event: OnEvent,
    check: Callable[[], None],
) -> LabelledSet:
    """The structures to validate on, checked against what is trained."""
    labels = _read(path, config, check)
    on_event(Event("audit", text=str(labels.audit())))
    if unknown := [symbol for symbol in species_of(labels, range(len(labels))) if symbol not in species]:
        raise TrainingError(
            f"{path} holds elements that the labelled structures of {config.train_file} lack: {', '.join(unknown)}"
        )
    if not labelled(labels, trained).size:
        raise TrainingError(f"{path} has no label of what is trained on ({', '.join(trained)}): it cannot validate")
    return labels
