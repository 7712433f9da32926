"""Warm start: a run that begins with the parameters of a model.

The new model has the sizes, ranks and radii of the initial one, and the elements of both the initial model and the
data, in the order of atomic numbers: what belongs to an element moves by its symbol, so that with the same elements the
network is identical.

An element that the model does not know begins as the average one. Its columns of U, W and A are the means of those of
the elements that the model knows. The site vector is linear in each of them, hence an atom of the new element
contributes to the site vectors around it the mean of what atoms of the known elements would, and its own site vector is
the mean of theirs. Its reference energy E0 is fitted to the labelled energies of the training structures that hold it,
by least squares, given what the network predicts for them; what these leave open is the mean of the known E0.

An element that the model knows and the data lack stays in the model. Nothing in the data tells how to change its
columns and its E0, and only the prior would pull at them: they are kept bit for bit, and so are its closest distances
and formation references. The rest of the network is shared by all elements and goes on learning, so that the errors for
such an element may grow: a run says so. What shall not be forgotten has to be among the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import NetworkError, TrainingError
from etn_gpu.network import MessageLayer
from etn_gpu.potential import Architecture, ETNPotential, Preset, preset_architecture
from etn_gpu.potential.file import load
from etn_gpu.potential.references import REFERENCES
from etn_gpu.structures.elements import SYMBOLS
from etn_gpu.training.config import TrainingConfig
from etn_gpu.training.fixed import EMBEDDINGS
from etn_gpu.training.initial import unheard_layers
from etn_gpu.training.problem import Problem

Array = NDArray[np.float64]
#: What a model file tells of a model that the one made from it should tell as well.
_ORIGIN = ("name", "licence", "citation", "training_data_origin", "training_data")


@dataclass(frozen=True)
class InitialModel:
    """A model to start from, and the file or name that it was read from."""

    name: str
    model: ETNPotential

    @staticmethod
    def load(config: TrainingConfig) -> InitialModel | None:
        """The initial model that the options name, None if they name none.

        Raises:
            ModelFileError: it cannot be read.
            TrainingError: it has no energy, or other sizes or another cutoff than the options ask for.
        """
        if config.init is None:
            return None
        initial = InitialModel(str(config.init), load(config.init, purpose="training", allow_large=config.allow_large))
        initial._check(config)
        return initial

    def _check(self, config: TrainingConfig) -> None:
        architecture = self.model.architecture
        if not self.model.is_energy:
            raise TrainingError(f"{self.name} cannot be trained on: it has the {self.model.output}, expected an energy")
        if config.cutoff is not None and config.cutoff != architecture.cutoff:
            raise TrainingError(
                f"the cutoff is that of the initial model, {architecture.cutoff:g} A ({self.name}), got "
                f"{config.cutoff:g} A: leave it out, or train without an initial model"
            )
        if config.preset is None:
            return
        asked = preset_architecture(config.preset, self.model.species, architecture.cutoff, architecture.inner)
        names = ("n_radial", "channels", "neighbour_rank", "centre_rank", "bonds")
        pairs = {name: (getattr(architecture, name), getattr(asked, name)) for name in names}
        if different := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
            changes = "; ".join(f"{name} is {has}, the preset has {wants}" for name, (has, wants) in different.items())
            raise TrainingError(
                f"the sizes are those of the initial model ({self.name}), and the preset given differs: {changes}. "
                "Leave it out, or train without an initial model."
            )

    @cached_property
    def checksum(self) -> str:
        """Architecture, parameters and closest distances in a few characters."""
        digest = hashlib.sha256(json.dumps(self.model.architecture.to_dict(), sort_keys=True).encode())
        for name in self.model.architecture.parameter_shapes:
            digest.update(self.model.parameters[name].tobytes())
        digest.update(self.model.minimum_distances.tobytes())
        return digest.hexdigest()[:16]

    def species_with(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """The elements of the model and ``symbols``, by atomic number."""
        return tuple(sorted({*self.model.species, *symbols}, key=SYMBOLS.index))

    def architecture(self, species: tuple[str, ...], layers: tuple[MessageLayer, ...] | None = None) -> Architecture:
        """That of the model, for other elements: ranks of embeddings stay as they are; with ``layers`` if given."""
        own = self.model.architecture
        return replace(own, species=species, layers=own.layers if layers is None else layers)

    def layers(self, config: TrainingConfig) -> tuple[MessageLayer, ...]:
        """The layers of the model, and behind them those that are asked for beyond.

        Raises:
            TrainingError: fewer layers than the model has, or others, are asked for.
        """
        a = self.model.architecture
        own = a.layers
        sizes = Preset(a.n_radial, a.channels, a.bonds, a.neighbour_rank, a.centre_rank, own)
        if config.preset is not None:
            sizes = replace(config.sizes, n_radial=a.n_radial, channels=a.channels)
        try:
            wanted = sizes.with_layers(config.layers, config.attention).layers
        except NetworkError as error:
            raise TrainingError(f"{error}. The initial model is {self.name}") from None
        if wanted[: len(own)] != own:
            had, asked = ("; ".join(map(str, layers)) or "no messages" for layers in (own, wanted))
            raise TrainingError(
                f"{self.name} has {len(own) + 1} layers ({had}), and {len(wanted) + 1} were asked for ({asked}): "
                "layers may be added behind its own, which stay as they are. Leave out the number of layers and of "
                "heads of attention, or train without an initial model."
            )
        return wanted

    def parameters(self, species: Sequence[str]) -> dict[str, Array]:
        """Those of the model for these elements, new ones as the average of the known ones, their E0 included."""
        return {
            name: self._columns(array, species) if name in (*EMBEDDINGS, REFERENCES) else array.copy()
            for name, array in self.model.parameters.items()
        }

    def _columns(self, array: Array, species: Sequence[str]) -> Array:
        known = self.model.species
        columns = [array[..., known.index(s)] if s in known else array.mean(axis=-1) for s in species]
        return np.stack(columns, axis=-1)

    def closest(self, species: Sequence[str]) -> Array:
        """The closest distances in A [n_species, n_species] that the model was trained on, inf where there are none."""
        found = np.full((len(species), len(species)), np.inf)
        places = [species.index(symbol) for symbol in self.model.species]
        distances = self.model.minimum_distances
        found[np.ix_(places, places)] = np.where(distances > 0, distances, np.inf)
        return found

    def told(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """What a model file tells, and what is still true of the initial model: references, and where it is from."""
        own = self.model.metadata
        references = ("formation_references", "formation_reference_structures")
        origin = {name: own[name] for name in _ORIGIN if name in own}
        return {
            **metadata,
            **{name: {**(own.get(name) or {}), **metadata[name]} for name in references},
            "initial_model": {"checksum": self.checksum, "species": [*self.model.species], **origin},
        }

    def messages(self, species: Sequence[str], *, held_out: bool) -> list[str]:
        """What becomes of new elements among ``species``; ``held_out``: structures of the training files are."""
        architecture, known = self.model.architecture, self.model.species
        found = [f"starting from {self.name} ({' '.join(known)}), with its sizes and its cutoff"]
        if new := [symbol for symbol in species if symbol not in known]:
            found.append(f"{', '.join(new)}: unknown to {self.name}, beginning as the average of {', '.join(known)}")
        ranks = architecture.neighbour_rank, architecture.centre_rank
        if new and len(known) in ranks:
            found.append(
                f"the ranks of the species embeddings stay those of {self.name}, {ranks[0]} and {ranks[1]}: with "
                f"{len(species)} elements a model trained from the beginning may have more"
            )
        if held_out:
            found.append(
                f"{self.name} may have been trained on structures that are held out now: errors on them may look too "
                "small; give --valid for others"
            )
        return found

    def warnings(self, trained: Sequence[str]) -> tuple[str, ...]:
        """What becomes of the elements that the model knows and the training data, which hold ``trained``, lack."""
        absent = [symbol for symbol in self.model.species if symbol not in trained]
        if not absent:
            return ()
        return (
            f"{', '.join(absent)}: known to {self.name}, and not among the training data. The model keeps what is "
            "theirs alone, but the network that they share with the others changes: add structures of them, or expect "
            "larger errors.",
        )


def warm_parameters(initial: InitialModel, problem: Problem) -> Array:
    """The vector to start from: parameters of the initial model, E0 of new elements fitted, fixed E0 as given."""
    species = problem.architecture.species
    # What new layers pass on is random, and nothing becomes of it yet: the model is what the initial one was.
    parameters = unheard_layers(problem.architecture, problem.scales, seed=0) | initial.parameters(species)
    fixed = problem.fixed.references
    parameters[REFERENCES] = np.where(np.isfinite(fixed), fixed, parameters[REFERENCES])
    new = np.array([symbol not in initial.model.species for symbol in species]) & np.isnan(fixed)
    theta = problem.layout.pack(parameters)
    if new.any():
        parameters[REFERENCES][new] += _missing_energies(problem, theta, new)
    return problem.layout.pack(parameters)


def _missing_energies(problem: Problem, theta: Array, new: NDArray[np.bool_]) -> Array:
    """What the ``new`` elements [n_species] lack in energy per atom (eV), as labels have it: [number of new ones]."""
    shares, missing = [np.empty((0, int(new.sum())))], [np.empty(0)]
    for piece in problem.train:
        batch = piece.batch
        counts = np.zeros((batch.n_structures, len(new)))
        np.add.at(counts, (batch.structure_of_atom, batch.species_index), 1.0)
        share = counts[:, new] / piece.atoms_per_structure[:, None]
        if not (share.any(axis=1) & np.isfinite(piece.energy)).any():
            continue
        error = problem.objective.errors(theta, piece).energy
        used = share.any(axis=1) & np.isfinite(error)
        shares.append(share[used])
        missing.append(-error[used])
    return np.linalg.lstsq(np.concatenate(shares), np.concatenate(missing), rcond=1e-6)[0]
