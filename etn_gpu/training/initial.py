"""Starting values: atomic reference energies by least squares, a site vector of unit variance, a train of low order.

The cores in the middle of a train begin close to the identity on the constant of the site vector, so that the first
model is nearly a quadratic one; higher orders grow out of it. From cores that are random altogether a minimisation
may end in a region from which it does not find out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.plan import Core, ProgramBuilder
from etn_gpu.plan.cores import Path
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.programs import programs
from etn_gpu.potential.references import REFERENCES
from etn_gpu.symmetry import clebsch_gordan
from etn_gpu.training.data import Piece

Array = NDArray[np.float64]
#: Sizes of the random part of the first core, of those in the middle, of the last one, and of the shift.
CORE_GAIN, MIDDLE_GAIN, LAST_CORE_GAIN, SHIFT_GAIN = 0.5, 0.03, 0.02, 0.3
#: Size of the messages that the site vector begins with, beside its own.
MESSAGE_GAIN = 0.1
#: A basis sum that varies by less than the first share of the largest basis sum tells nothing about the scale of its
#: variations in other structures (a perfect crystal); the second share is assumed.
FLAT, USUAL = 0.005, 0.1
#: Size of the part of a radial function that depends on a species beside the part that all species share. Products of
#: many such parts, about which alloys with few elements tell little, are smaller still.
SPECIES_SHARE = 0.1


def radial_sizes(architecture: Architecture, piece: Piece, backend: str | None = None) -> dict[int, Array]:
    """Natural size [n_radial] of the coefficients of a radial function of degree l, for each l that has channels.

    With random coefficients of this size a site vector has about unit variance on ``piece``. It falls with the order
    of the basis function: smooth functions are likelier.
    """
    smooth = 1.0 / (1.0 + np.arange(architecture.n_radial))
    smooth /= np.sqrt(np.sum(smooth**2))
    spread = _basis_spread(architecture, piece, backend)
    return {l: smooth / spread[l] for l, n in enumerate(architecture.channels) if n}


def parameter_scales(architecture: Architecture, sizes: Mapping[int, Array]) -> dict[str, Array]:
    """Natural size of every parameter, in its shape, from those of radial functions.

    With random parameters of this size the site vector and the result of every core have about unit variance. The
    natural size of a radial coefficient falls by ``SPECIES_SHARE`` for each embedding of which it takes another
    component than the first, which is common to all species; reference energies are free (infinite size).
    """
    shapes = architecture.parameter_shapes
    scales = {name: np.ones(shape) for name, shape in shapes.items()}
    neighbour, centre = (
        np.where(np.arange(rank) > 0, SPECIES_SHARE, 1.0)
        for rank in (architecture.neighbour_rank, architecture.centre_rank)
    )
    species = neighbour[:, None] * centre
    for l, size in sizes.items():
        scales[f"B{l}"] *= size[:, None, None] * species
    for train in (architecture.train, *architecture.heads):
        for core in train.cores:
            for path in core.paths:
                scales[core.name][path.places] = path.row_stride**-0.5
    for number, layer in enumerate(architecture.layers, 1):
        for l, channels in layer.channels(architecture.degrees).items():
            size = sizes[l][: layer.n_radial, None, None] * channels**-0.5
            scales[f"M{number}_{l}"] *= size * centre
        if layer.attention:
            for place in layer.queries:
                scales[f"Q{number}"][place.at] = place.hidden.mul**-0.5
    if REFERENCES in shapes:
        scales[REFERENCES][:] = np.inf
    return scales


def initial_parameters(
    architecture: Architecture,
    scales: dict[str, Array],
    references: Array,
    seed: int,
    constant: float = 0.0,
    size: float = 1.0,
) -> dict[str, Array]:
    """Random parameters of natural size, cores smaller and in the middle of the train near the identity.

    ``references`` [n_species] are the atomic energies in eV; ``constant`` is what the network gives every atom beside,
    where these are not those of a fit; ``size`` is what outputs of an atom are expected to be like.
    """
    rng = np.random.default_rng(seed)
    cores = [core.name for core in architecture.train.cores]
    gains = dict.fromkeys(cores, MIDDLE_GAIN) | {cores[0]: CORE_GAIN, cores[-1]: LAST_CORE_GAIN * size, "A": SHIFT_GAIN}
    gains |= _gains_of_layers(architecture)
    parameters: dict[str, Array] = {}
    for name, shape in architecture.parameter_shapes.items():
        if name in ("U", "W"):
            parameters[name] = _embedding(rng, shape)
        elif name == REFERENCES:
            parameters[name] = references.copy()
        else:
            parameters[name] = gains.get(name, 1.0) * scales[name] * rng.normal(size=shape)
    for train in (architecture.train, *architecture.heads):
        for core in train.cores[1:-1]:
            parameters[core.name] += identity(core)
    if constant:
        _add_constant(architecture, parameters, constant)
    return parameters


def _gains_of_layers(architecture: Architecture) -> dict[str, float]:
    """Of layers of message passing: what h says matters, what becomes of it is small at first."""
    gains: dict[str, float] = {}
    for number, (layer, head) in enumerate(zip(architecture.layers, architecture.heads, strict=True), 1):
        gains |= dict.fromkeys((core.name for core in head.cores[1:-1]), MIDDLE_GAIN)
        gains |= {head.cores[0].name: CORE_GAIN, head.cores[-1].name: CORE_GAIN, f"P{number}": LAST_CORE_GAIN}
        gains |= {f"M{number}_{l}": MESSAGE_GAIN for l in layer.paths(architecture.degrees)}
    return gains


def unheard_layers(architecture: Architecture, scales: dict[str, Array], seed: int) -> dict[str, Array]:
    """Random parameters with layers of message passing that change nothing: nothing becomes of what is passed on."""
    found = initial_parameters(architecture, scales, np.zeros(architecture.n_species), seed)
    said = {core.name for head in architecture.heads for core in head.cores}
    for name in _gains_of_layers(architecture):
        if name in found and name not in said:
            found[name][:] = 0.0
    return found


def _add_constant(architecture: Architecture, parameters: dict[str, Array], constant: float) -> None:
    """The first scalar component of each bond hands on the constant of the site vector, which ends as this energy."""
    *before, last = architecture.train.cores
    for core in before:
        for path in core.paths:
            if (path.out.l, path.out.p) == (0, 1):
                parameters[core.name][path.places[0]] = 0.0
                if _all_scalar(path):
                    parameters[core.name][path.places[0, 0, 0]] = 1.0
    for path in last.paths:
        if _all_scalar(path):
            parameters[last.name][path.places[0, 0, 0]] = constant


def _all_scalar(path: Path) -> bool:
    return all((sector.l, sector.p) == (0, 1) for sector in (path.left, path.feature, path.out))


def identity(core: Core) -> Array:
    """Weights of the core that passes its left leg on to the right, times the constant in front of the site vector."""
    weights = np.zeros(core.size)
    for path in core.paths:
        if (path.feature.l, path.feature.p) == (0, 1) and (path.left.l, path.left.p) == (path.out.l, path.out.p):
            diagonal = np.arange(min(path.left.mul, path.out.mul))
            coefficient = float(clebsch_gordan(path.left.l, 0, path.left.l)[0, 0, 0])
            weights[path.places[diagonal, diagonal, 0]] = 1.0 / coefficient
    return weights


def reference_energies(pieces: list[Piece], n_species: int, given: Array | None = None) -> Array:
    """Energy per atom of each species, by least squares of the total energies on the compositions (eV).

    Those that are ``given`` [n_species] stay, and the others, which are nan there, are fitted beside them.
    """
    rows, energies = [], []
    for piece in pieces:
        batch = piece.batch
        counts = np.zeros((batch.n_structures, n_species))
        np.add.at(counts, (batch.structure_of_atom, batch.species_index), 1.0)
        known = np.isfinite(piece.energy)
        rows.append(counts[known] / counts[known].sum(1, keepdims=True))
        energies.append(piece.energy[known] / counts[known].sum(1))
    matrix, target = np.concatenate(rows), np.concatenate(energies)
    found = np.zeros(n_species) if given is None else np.nan_to_num(given)
    free = np.full(n_species, True) if given is None else np.isnan(given)
    if len(target) and free.any():
        found[free] = np.linalg.lstsq(matrix[:, free], target - matrix @ found, rcond=1e-6)[0]
    return found


def _embedding(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """First component 1 for every species, the others a random orthogonal code: similar but distinguishable."""
    rank, species = shape
    code = np.linalg.qr(rng.normal(size=(max(rank, species), max(rank, species))))[0][:rank, :species]
    code[0] = 1.0
    return code


def _basis_spread(architecture: Architecture, piece: Piece, backend: str | None) -> Array:
    """Root mean square over atoms and m of the radial basis sums S[l, b], all species together, [lmax+1, n_radial]."""
    energy = programs(architecture).energy
    probe = ProgramBuilder(energy).build({"S": "S"})
    environments = piece.environments
    out = backends.run(probe, {"x": environments.vectors}, environments.geometry, backend=backend)["S"]
    spread = np.zeros((architecture.lmax + 1, architecture.n_radial))
    start, largest = 0, 0.0
    for l, n in enumerate(architecture.channels):
        if n:
            size = architecture.n_species * architecture.n_radial * (2 * l + 1)
            block = out[:, start : start + size].reshape(
                len(out), architecture.n_species, architecture.n_radial, 2 * l + 1
            )
            centred = block.sum(axis=1)
            largest = max(largest, float(np.sqrt(np.mean(centred**2, axis=(0, 2))).max()))
            if l == 0:
                centred = centred - centred.mean(axis=0)
            spread[l] = np.sqrt(np.mean(centred**2, axis=(0, 2))) + 1e-12
            start += size
    return np.where(spread > FLAT * largest, spread, USUAL * largest) if largest > 0 else np.ones_like(spread)
