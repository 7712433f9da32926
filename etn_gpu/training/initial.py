"""Starting values: atomic reference energies by least squares, a site vector of unit variance, random cores of unit gain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.plan import ProgramBuilder
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.kernel import XYZ_TO_YZX
from etn_gpu.potential.programs import programs
from etn_gpu.training.data import Piece

Array = NDArray[np.float64]
#: Scale of the random cores: below 1, so that high orders start small where a compressed structure has a long site vector.
CORE_GAIN, LAST_CORE_GAIN = 0.5, 0.02


def initial_parameters(architecture: Architecture, piece: Piece, references: Array, seed: int) -> dict[str, Array]:
    """Random parameters whose site vector has unit variance on ``piece``; ``references`` [n_species] are the atomic energies in eV."""
    rng = np.random.default_rng(seed)
    shapes = architecture.parameter_shapes
    parameters: dict[str, Array] = {}
    spread = _basis_spread(architecture, piece)
    for l, n in enumerate(architecture.channels):
        if n:
            smooth = 1.0 / (1.0 + np.arange(architecture.n_radial))
            scale = smooth / spread[l] / np.sqrt(np.sum(smooth**2))
            parameters[f"B{l}"] = rng.normal(size=shapes[f"B{l}"]) * scale[None, :, None, None]
    parameters["U"] = _embedding(rng, shapes["U"])
    parameters["W"] = _embedding(rng, shapes["W"])
    if "A" in shapes:
        parameters["A"] = 0.3 * rng.normal(size=shapes["A"])
    cores = architecture.train.cores
    for core in cores:
        weights = rng.normal(size=core.size)
        for path in core.paths:
            row = path.row_stride
            for c in range(path.out.mul):
                at = path.weight + c * row
                weights[at : at + path.left.mul * path.feature.mul] /= np.sqrt(row)
        parameters[core.name] = weights * (LAST_CORE_GAIN if core is cores[-1] else CORE_GAIN)
    if "E0" in shapes:
        parameters["E0"] = references.copy()
    return {name: parameters[name] for name in shapes}


def reference_energies(pieces: list[Piece], n_species: int) -> Array:
    """Energy per atom of each species, by least squares of the total energies on the compositions (eV)."""
    rows, energies = [], []
    for piece in pieces:
        batch = piece.batch
        counts = np.zeros((batch.n_structures, n_species))
        np.add.at(counts, (batch.structure_of_atom, batch.species_index), 1.0)
        known = np.isfinite(piece.energy)
        rows.append(counts[known] / counts[known].sum(1, keepdims=True))
        energies.append(piece.energy[known] / counts[known].sum(1))
    matrix, target = np.concatenate(rows), np.concatenate(energies)
    return np.linalg.lstsq(matrix, target, rcond=1e-6)[0] if len(target) else np.zeros(n_species)


def _embedding(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """First component 1 for every species, the others a random orthogonal code: species start similar but distinguishable."""
    rank, species = shape
    code = np.linalg.qr(rng.normal(size=(max(rank, species), max(rank, species))))[0][:rank, :species]
    code[0] = 1.0
    return code


def _basis_spread(architecture: Architecture, piece: Piece) -> Array:
    """Root mean square over atoms and m of the radial basis sums S[l, b], all species together, [lmax+1, n_radial]."""
    energy = programs(architecture).energy
    probe = ProgramBuilder(energy).build({"S": "S"})
    environments = piece.environments
    out = backends.run(probe, {"x": environments.vectors[:, XYZ_TO_YZX]}, environments.geometry, backend="numba")["S"]
    spread = np.ones((architecture.lmax + 1, architecture.n_radial))
    start = 0
    for l, n in enumerate(architecture.channels):
        if n:
            size = architecture.n_species * architecture.n_radial * (2 * l + 1)
            block = out[:, start : start + size].reshape(len(out), architecture.n_species, architecture.n_radial, 2 * l + 1)
            centred = block.sum(axis=1)
            if l == 0:
                centred = centred - centred.mean(axis=0)
            spread[l] = np.sqrt(np.mean(centred**2, axis=(0, 2))) + 1e-12
            start += size
    return spread
