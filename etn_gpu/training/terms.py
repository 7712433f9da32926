"""What a model has beside its network: the repulsion that labels are reduced by, and at the end terms and grades.

With radii that follow from the training data the repulsion vanishes on all of them: training is that of the network
alone. Where it is asked to reach further, labels are trained on without it: energies, forces and stresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.terms import repulsion, screening
from etn_gpu.potential import ETNPotential, assembly
from etn_gpu.potential.calibration import Calibration, calibrated_terms
from etn_gpu.potential.grade import graded
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.potential.settings import ROOM, closest_approach
from etn_gpu.structures.elements import SYMBOLS
from etn_gpu.training.config import ZBL, TrainingConfig
from etn_gpu.training.data import Piece
from etn_gpu.training.objective import LeastSquares, Objective
from etn_gpu.training.problem import Problem
from etn_gpu.training.references import formation_references

if TYPE_CHECKING:
    from etn_gpu.training.setup import TrainingData

Array = NDArray[np.float64]
#: Where the repulsion is whole, over the closest approach of the elements.
INNER = 0.75


def repulsion_radii(
    pieces: Sequence[Piece], species: Sequence[str], cutoff: float, config: TrainingConfig
) -> Array | None:
    """Radii in A [n, n, 2] of a repulsion that does not vanish on these structures; None where it is to vanish."""
    if config.repulsion != ZBL or config.repulsion_reach == 1.0:
        return None
    observed = np.min([piece.batch.minimum_distances() for piece in pieces], axis=0)
    closest = np.minimum(closest_approach(species, observed, observed / ROOM), cutoff / config.repulsion_reach)
    return np.stack([INNER * closest, config.repulsion_reach * closest], axis=-1)


def without_repulsion(pieces: Sequence[Piece], radii: Array | None) -> list[Piece]:
    """The pieces with what the repulsion leaves of their labels, all of it where there are no radii."""
    return list(pieces) if radii is None else [_changed(piece, radii, -1.0) for piece in pieces]


def with_repulsion(pieces: Sequence[Piece], radii: Array | None) -> list[Piece]:
    """The inverse: pieces with whole labels."""
    return list(pieces) if radii is None else [_changed(piece, radii, 1.0) for piece in pieces]


def calibrated(problem: Problem, theta: Array, pieces: Sequence[Piece], data: TrainingData) -> Calibration:
    """Terms for the network with parameters ``theta``, which was trained on these pieces of the data."""
    network = ETNPotential(problem.architecture, problem.layout.unpack(theta))
    return calibrated_terms(
        network,
        (piece.batch for piece in pieces),
        isolated=_isolated(pieces, network.species),
        references=formation_references(data.labels),
        repulsion=data.repulsion,
        before=None if data.initial is None else data.initial.model,
        execution=problem.exact,
    )


def objective_with(problem: Problem, calibration: Calibration | None) -> LeastSquares[Any]:
    """That of a problem, for errors of the network with its terms."""
    if calibration is None:
        return problem.objective
    architecture = problem.architecture
    tables = calibration.terms.tables(architecture.species, architecture.cutoff)
    return Objective(Kernel(architecture, problem.exact, tables=tables), problem.weights)


def with_grade(model: ETNPotential, pieces: Sequence[Piece], execution: Execution) -> ETNPotential:
    """The model with what extrapolation grades need, from all structures that it was trained on."""
    if not model.is_energy:
        return model
    batches = [piece.batch for piece in pieces]
    return model.with_grade(graded(model, batches, backend=execution.backend, threads=execution.threads))


def told(calibration: Calibration) -> str:
    """What a user should know of the terms."""
    if not calibration.falls:
        return f"atoms are held apart: energies rise along all {calibration.checked} paths on which they come closer"
    worst = sorted(calibration.falls, key=lambda fall: -fall.energy)[:3]
    names = ", ".join(f"{fall.kind} of {fall.path.name} by {fall.energy:.2g} eV" for fall in worst)
    share = f"{len(calibration.falls)} of {calibration.checked} paths"
    return f"energies fall along {share} on which atoms come closer: {names}"


def _isolated(pieces: Sequence[Piece], species: Sequence[str]) -> dict[str, float]:
    """Labelled energies in eV of structures that are one atom without neighbours, the lowest of each element."""
    found: dict[str, float] = {}
    for piece in pieces:
        batch = piece.batch
        first = batch.atom_offsets[:-1]
        alone = (np.diff(batch.atom_offsets) == 1) & (np.diff(batch.edge_offsets)[first] == 0)
        for s in np.flatnonzero(alone & np.isfinite(piece.energy)):
            symbol, energy = species[batch.species_index[first[s]]], float(piece.energy[s])
            found[symbol] = min(found.get(symbol, energy), energy)
    return found


def _changed(piece: Piece, radii: Array, sign: float) -> Piece:
    energy, forces, stress = _pairs(piece, radii)
    return replace(
        piece,
        energy=piece.energy + sign * energy,
        forces=piece.forces + sign * forces,
        stress=piece.stress + sign * stress,
    )


def _pairs(piece: Piece, radii: Array) -> tuple[Array, Array, Array]:
    """Energies [S] in eV, forces [N, 3] in eV/A and stresses [S, 6] in eV/A^3 of the repulsion."""
    batch = piece.batch
    numbers = np.array([SYMBOLS.index(symbol) + 1 for symbol in batch.species])
    table = np.concatenate([radii, np.zeros_like(radii), screening(numbers)], axis=-1)
    centre = batch.centre
    length = np.linalg.norm(batch.vectors, axis=1)
    kinds = batch.species_index[centre], batch.species_index[batch.neighbour]
    close = np.flatnonzero(length < radii[kinds][:, 1])
    values, slopes = repulsion(length[close], table[kinds[0][close], kinds[1][close]])
    energies: Array = np.bincount(centre[close], 0.5 * values, batch.n_atoms).astype(np.float64)
    gradient = np.zeros_like(batch.vectors)
    gradient[close] = (0.5 * slopes / length[close])[:, None] * batch.vectors[close]
    forces, virials = assembly.forces_and_virials(batch, gradient)
    total = assembly.segment_sum(energies[:, None], batch.atom_offsets)[:, 0]
    return total, forces, assembly.stresses(batch, virials)
