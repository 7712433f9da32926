"""What a training run starts from: its data, read, audited and split, and the architecture that fits them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture, preset_architecture
from etn_gpu.potential.size import too_large
from etn_gpu.structures import LabelledSet
from etn_gpu.structures.copies import fingerprint
from etn_gpu.structures.targets import Quantity
from etn_gpu.training.atomic_energies import cohesion_warnings, given_references
from etn_gpu.training.config import DEFAULT_SIGMA, Event, OnEvent, TrainingConfig
from etn_gpu.training.covariant_labels import target_weight
from etn_gpu.training.data import TARGET, Piece, checksum, cut_pieces, labelled, species_of, split_validation
from etn_gpu.training.fixed import Fixed
from etn_gpu.training.groups import check_groups, split_weightless, with_group_weights
from etn_gpu.training.initial import reference_energies
from etn_gpu.training.initial_model import InitialModel
from etn_gpu.training.neighbourhood import usual_cutoff
from etn_gpu.training.objective import Weights
from etn_gpu.training.reading import read_training_files, read_validation_file
from etn_gpu.training.references import formation_reference_structures, reference_warnings
from etn_gpu.training.terms import repulsion_radii, without_repulsion
from etn_gpu.training.tolerance import with_tolerances

#: Structures for each parameter below which a set is too small for a model.
FEWEST = 0.01


@dataclass(frozen=True)
class TrainingData:
    """All labels, the pieces to train and to validate on, those left out of both, and the architecture.

    ``initial`` is the model to start from, ``fixed`` the parameters that are not trained; ``repulsion`` the radii
    [n, n, 2] in A of what the labels of the pieces are without (:mod:`etn_gpu.training.terms`), None if of nothing.
    ``weights`` are those of the loss.
    """

    labels: LabelledSet
    train: list[Piece]
    valid: list[Piece]
    left_out: list[Piece]
    architecture: Architecture
    fixed: Fixed
    weights: Weights
    initial: InitialModel | None = None
    warnings: tuple[str, ...] = ()
    repulsion: NDArray[np.float64] | None = None

    @property
    def quantity(self) -> Quantity | None:
        """What is trained on where it is no energy."""
        return None if self.labels.target is None else self.labels.target.quantity

    def identity(self, *, grouped: bool) -> dict[str, Any]:
        """What a resumed run must share besides its options: the content of data, groups and initial model."""
        given = ~self.fixed.embedded & np.isfinite(self.fixed.references)
        energies = zip(self.architecture.species, self.fixed.references, given, strict=True)
        resolved = {symbol: float(energy) for symbol, energy, mine in energies if mine}
        return {
            "checksum of the data": checksum([*self.train, *self.valid], grouped=grouped),
            **({} if self.initial is None else {"init": self.initial.checksum}),
            **({"reference_energies": resolved} if resolved else {}),
        }


def loss_weights(config: TrainingConfig) -> Weights:
    """1/sigma^2 of every property, times the factors that the user gave."""
    factors = {name: (config.weights or {}).get(name, 1.0) for name in DEFAULT_SIGMA}
    return Weights(**{name: factors[name] / sigma**2 for name, sigma in DEFAULT_SIGMA.items()})


def read_data(
    config: TrainingConfig, weights: Weights, on_event: OnEvent, check: Callable[[], None] = lambda: None
) -> TrainingData:
    """Read, audit and split the data, and choose the architecture for them; what ``check`` raises ends the reading.

    ``weights`` are those of energies, forces and stresses; that of a target follows from its labels.
    """
    initial = InitialModel.load(config)
    labels, audit_warnings = read_training_files(config, on_event, check)
    quantity = None if labels.target is None else labels.target.quantity
    trained = [TARGET] if quantity else [name for name in DEFAULT_SIGMA if getattr(weights, name) > 0]
    check_groups(labels, config.group_weights)
    usable, weightless = split_weightless(labels, labelled(labels, trained), config.group_weights)
    if not usable.size:
        groups = ", in a group of such" if weightless else ""
        raise TrainingError(f"{labels.source} has no label of what has a weight above 0 ({', '.join(trained)}){groups}")
    # Elements without any label in use would come out at random: the model shall not know them.
    present = species_of(labels, usable)
    species = present if initial is None else initial.species_with(present)
    if initial is not None:
        cutoff = initial.model.cutoff
    else:
        cutoff = usual_cutoff(labels, usable) if config.cutoff is None else config.cutoff
    listed = [i for i in weightless if set(labels.atoms[i].symbols) <= {*species}]
    left_out = cut_pieces(labels, listed, species, cutoff)
    if len(listed) < len(weightless):
        text = (
            f"{len(weightless) - len(listed)} structures of groups with weight 0 hold elements that nothing in "
            "training has: the report has no errors for them"
        )
        on_event(Event("message", text=text))
    if config.valid_file is not None:
        chosen = [int(i) for i in np.random.default_rng(config.seed).permutation(usable)]
        valid_labels = read_validation_file(config.valid_file, config, species, trained, quantity, on_event, check)
        counted, unseen = split_weightless(valid_labels, np.arange(len(valid_labels)), config.group_weights)
        if not counted.size:
            raise TrainingError(f"{config.valid_file} holds only groups with weight 0: it cannot validate")
        valid = cut_pieces(valid_labels, [int(i) for i in counted], species, cutoff)
        left_out += cut_pieces(valid_labels, unseen, species, cutoff)
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
    if quantity is None and ("energy" not in trained or not np.isfinite(labels.energy[chosen]).any()):
        on_event(Event("message", text="no energies are trained on: energies will have an arbitrary zero"))
    train_pieces = cut_pieces(labels, chosen, species, cutoff)
    repulsion = repulsion_radii(train_pieces, species, cutoff, config)
    train_pieces, valid, left_out = (without_repulsion(pieces, repulsion) for pieces in (train_pieces, valid, left_out))
    references = reference_energies(train_pieces, len(species))
    train_pieces, valid = (
        with_group_weights(with_tolerances(pieces, references), config.group_weights)
        for pieces in (train_pieces, valid)
    )
    if quantity is not None:
        weights = Weights(0.0, 0.0, 0.0, target=target_weight(train_pieces, len(species)))
    if initial is None:
        closest = min(float(p.batch.minimum_distances().min()) for p in train_pieces)
        inner = min(0.9 * closest, 0.5 * cutoff) if np.isfinite(closest) else 0.0
        architecture = preset_architecture(config.sizes, species, cutoff, inner)
        if quantity is not None:
            architecture = replace(architecture, target=quantity.irreps)
    else:
        architecture = initial.architecture(species, initial.layers(config))
    if not config.allow_large and (reason := too_large(architecture)):
        raise TrainingError(f"{reason}, or choose smaller sizes")
    given = given_references(config, labels, present, cutoff, on_event)
    kept = {} if initial is None else initial.model.reference_energies
    fixed = Fixed.of(species, present, kept, given)
    on_event(
        Event(
            "message",
            text=f"training {'' if quantity is None else f'{quantity} '}on {len(chosen)} structures "
            f"({sum(p.batch.n_atoms for p in train_pieces)} atoms), "
            f"validating on {sum(p.batch.n_structures for p in valid)}; {architecture.n_parameters} parameters, "
            f"cutoff {cutoff:g} A",
        )
    )
    warnings = data_warnings(labels, len(chosen), valid, architecture, warm=initial is not None)
    if given:
        warnings += cohesion_warnings(train_pieces, reference_energies(train_pieces, len(species), fixed.references))
    if initial is not None:
        for text in initial.messages(species, held_out=config.valid_file is None and bool(valid)):
            on_event(Event("message", text=text))
        warnings += initial.warnings(present)
    for text in warnings:
        on_event(Event("message", text=f"warning: {text}"))
    return TrainingData(
        labels,
        train_pieces,
        valid,
        left_out,
        architecture,
        fixed,
        weights,
        initial,
        (*audit_warnings, *warnings),
        repulsion,
    )


def data_warnings(
    labels: LabelledSet, n_train: int, valid: list[Piece], architecture: Architecture, *, warm: bool = False
) -> tuple[str, ...]:
    """What the amount of data, its split and its pure elements leave to be wished for."""
    found = []
    parameters = architecture.n_parameters
    fewest = ceil(FEWEST * parameters)
    if n_train < fewest:
        remedy = "those that the initial model was trained on" if warm else "structures, or take a smaller preset"
        found.append(
            f"{n_train} training structures for {parameters} parameters, expected at least {fewest}: the "
            f"model will fit them and may fail on others; add {remedy}."
        )
    if not valid:
        found.append(
            "nothing is held out: there are no validation errors, and nothing tells when to stop; give --valid, or a "
            "larger --valid-fraction or more structures."
        )
    return (*found, *reference_warnings(formation_reference_structures(labels)))
