"""What a potential adds to its network: the formulas, on tables of numbers, in NumPy; this is the oracle.

    E_i = E0 + g_i B(e_i) + (1 - g_i) F(n_i) + 1/2 sum_j V(r_ij)

e_i comes from the Program of a network. The weight g_i is 1 where the network knows the surroundings of atom i, and F
and V stand in for it elsewhere. All of it is float64, whatever the dtype of the Program.

    n_i = sum_j (1 - r^2/rc^2)^3 below the cutoff rc: how dense it is around i
    p_i = sum_j ((on - r)/(on - off))^3 where r < on: whether pairs are closer than any that the network knows
    g_i = S((n_i - a)/(b - a)) (1 - S((n_i - c)/(d - c))) (1 - S(p_i)), without the first factor where b = 0
    F(n) = e + c x^2 + k max(x, 0)^3 with x = n/n0 - 1: an embedding function in universal form, stiffer with k
    B(e) = e from low to high, high + w tanh((e - high)/w) with w = ceiling - high above, and so down to the floor:
        a network that goes wild between its data stays within bounds
    V(r) = K Z Z' / r phi(r/l) (1 - S((r - inner)/(outer - inner))): universal screening; Ziegler, Biersack and
        Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985)

with the quintic smoothstep S. Energies have two continuous derivatives everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.geometry import Geometry

Array = NDArray[np.float64]
Integers = NDArray[np.integer]

#: Columns of what is known of a site before its energy: weight g, dg/dn, dg/dp, F, F' and 1/2 sum V.
WEIGHT, BY_DENSITY, BY_CLOSENESS, OUTSIDE, SLOPE, PAIRS = range(6)
COLUMNS = 6
#: Columns of the table of pairs: radii in A, K Z Z' in eV A, 1/l in 1/A.
INNER, OUTER, OFF, ON, STRENGTH, SCREENING = range(6)
#: Columns of the table of species: densities a to d, then e and c in eV, n0, k in eV, then bounds in eV.
LOWEST, LOW, HIGH, HIGHEST, MEAN, COHESION, DENSITY, STIFFNESS, FLOOR, BOTTOM, TOP, CEILING = range(12)
#: Coulomb's constant times the square of the elementary charge in eV A; Bohr radius in A times 0.8854.
COULOMB, SCREENING_LENGTH = 14.399645, 0.8854 * 0.529177
#: phi(x) = sum of shares exp(-decays x).
SHARES = (0.18175, 0.50986, 0.28022, 0.02817)
DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)


@dataclass(frozen=True)
class TermTables:
    """The numbers of the terms as loops and kernels read them: pairs [n, n, 6], species [n, 12], columns as above.

    ``cutoff`` in A is that of the density.
    """

    pairs: Array
    species: Array
    cutoff: float

    @cached_property
    def reach(self) -> Array:
        """Where pairs of species begin to matter one by one, [n, n] in A."""
        return np.maximum(self.pairs[..., OUTER], self.pairs[..., ON])

    @cached_property
    def squared_reach(self) -> Array:
        """Its squares."""
        return self.reach * self.reach


def screening(numbers: Integers) -> Array:
    """Strengths and inverse lengths of the repulsion between elements of some atomic numbers [n]: [n, n, 2]."""
    charges = np.asarray(numbers, np.float64)
    powers = charges**0.23
    strengths = COULOMB * charges[:, None] * charges
    return np.stack([strengths, (powers[:, None] + powers) / SCREENING_LENGTH], axis=-1)


def smoothstep(x: Array) -> tuple[Array, Array]:
    """The quintic S(x) from 0 at 0 to 1 at 1, with two derivatives that vanish at both, and its derivative."""
    t = np.clip(x, 0.0, 1.0)
    return t * t * t * (10.0 + t * (6.0 * t - 15.0)), 30.0 * (t * (1.0 - t)) * (t * (1.0 - t))


def repulsion(r: Array, pairs: Array) -> tuple[Array, Array]:
    """V(r) in eV and V'(r) in eV/A at distances [m] in A, from the rows [m, 6] of the table of pairs."""
    inner, outer, strength, inverse = (pairs[:, k] for k in (INNER, OUTER, STRENGTH, SCREENING))
    x = r * inverse
    phi = slope = np.zeros_like(r)
    for share, decay in zip(SHARES, DECAYS, strict=True):
        part = share * np.exp(-decay * x)
        phi, slope = phi + part, slope - decay * part
    width = np.where(outer > 0.0, outer - inner, 1.0)
    switch, by_x = smoothstep((outer - r) / width)
    coulomb = strength / r
    by_r = coulomb * (inverse * slope - phi / r)
    return coulomb * phi * switch, by_r * switch - coulomb * phi * by_x / width


def closeness(r: Array, pairs: Array) -> tuple[Array, Array]:
    """((on - r)/(on - off))^3, 0 from ``on`` outwards, and its derivative; arguments as those of :func:`repulsion`."""
    off, on = pairs[:, OFF], pairs[:, ON]
    width = np.where(on > 0.0, on - off, 1.0)
    t = np.maximum(on - r, 0.0) / width
    return t * t * t, -3.0 * t * t / width


def bounded(outputs: NDArray[np.floating], species: Array) -> tuple[Array, Array]:
    """B(e) of outputs [m] in eV and its derivative, from the rows [m, 12] of the table of species."""
    floor, bottom, top, ceiling = (species[:, k] for k in (FLOOR, BOTTOM, TOP, CEILING))
    above = outputs > top
    limit = np.where(above, top, bottom)
    width = np.where(above, ceiling - top, bottom - floor)
    beyond = np.tanh((outputs - limit) / width)
    wild = above | (outputs < bottom)
    return np.where(wild, limit + width * beyond, outputs).astype(np.float64), np.where(
        wild, 1.0 - beyond * beyond, 1.0
    )


def squares(vectors: Array) -> Array:
    """Squared lengths [E] of edge vectors [E, 3]."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    return x * x + y * y + z * z


def densities(vectors: Array, edge_offsets: Integers, cutoff: float) -> Array:
    """n_i of atoms [N] from the edge vectors [E, 3] in A: the edges of an atom are consecutive."""
    t = np.maximum(1.0 - squares(vectors) / (cutoff * cutoff), 0.0)
    return _sum(t * t * t, _centres(edge_offsets), len(edge_offsets) - 1)


class SiteTerms:
    """The terms of the atoms of a batch.

    Args:
        tables: their numbers.
        geometry: edges of atoms, species as indices into the tables.
        vectors: edge vectors [E, 3] in A.
        threads: at most so many, where they are used.

    Sums run in the order of the edges: what comes out for an atom does not depend on the others.
    """

    def __init__(self, tables: TermTables, geometry: Geometry, vectors: Array, threads: int | None = None) -> None:
        self.tables, self.geometry, self.vectors, self.threads = tables, geometry, vectors, threads
        #: What is known of each site before its energy, [N, 6], columns as named above.
        self.sites = self._sites()

    @property
    def weights(self) -> Array:
        """Weights g of the network [N]: what the gradient Program takes as ``e_bar``."""
        return self.sites[:, WEIGHT]

    def energies(self, outputs: NDArray[np.floating]) -> Array:
        """Energies beyond the references [N] in eV, from the ``outputs`` e [N] of the Program.

        Where the weight is 0 the output does not matter: it may be anything where atoms collapse, infinite included.
        """
        weight = self.weights
        known, _ = self._bounded(outputs)
        energies: Array = weight * known + (1.0 - weight) * self.sites[:, OUTSIDE] + self.sites[:, PAIRS]
        return energies

    def add_to_gradients(self, outputs: NDArray[np.floating], gradient: NDArray[np.floating]) -> None:
        """Make edge gradients [E, 3] of the Program, with the weights as ``e_bar``, those of all terms, in place.

        ``outputs`` as for :meth:`energies`; gradients in eV/A. Atoms where no term but that of the network is at work
        keep the bits of their edges.
        """
        weight, sites, centres = self.weights, self.sites, self._centres()
        known, slope = self._bounded(outputs)
        off, wild = ((slope == 0.0)[centres], np.flatnonzero((slope < 1.0)[centres]))
        gradient[wild] *= slope[centres[wild], None]
        gradient[off] = 0.0
        excess = np.where(weight > 0.0, known - sites[:, OUTSIDE], 0.0)
        by_density = excess * sites[:, BY_DENSITY] + (1.0 - weight) * sites[:, SLOPE]
        by_closeness = excess * sites[:, BY_CLOSENESS]

        factors = np.zeros(len(self.vectors))
        edges = np.flatnonzero((by_density != 0.0)[centres])
        limit = self.tables.cutoff * self.tables.cutoff
        t = np.maximum(1.0 - squares(self.vectors[edges]) / limit, 0.0)
        factors[edges] = by_density[centres[edges]] * (-6.0 / limit) * (t * t)
        close, centre, r, pairs = self._close()
        factors[close] += (by_closeness[centre] * closeness(r, pairs)[1] + 0.5 * repulsion(r, pairs)[1]) / r
        added = np.flatnonzero(factors)
        gradient[added] += factors[added, None] * self.vectors[added]

    def _bounded(self, outputs: NDArray[np.floating]) -> tuple[Array, Array]:
        """B(e) of the outputs [N] and its derivative, both 0 where the network has no weight."""
        values: Array = np.where(self.weights > 0.0, outputs.astype(np.float64), 0.0)
        known, slope = bounded(values, self.tables.species[self.geometry.species])
        return np.where(self.weights > 0.0, known, 0.0), np.where(self.weights > 0.0, slope, 0.0)

    def _sites(self) -> Array:
        species = self.geometry.species
        n_atoms = len(species)
        density = self._densities()
        _, centre, r, pairs = self._close()
        close_by = _sum(closeness(r, pairs)[0], centre, n_atoms)
        half = _sum(0.5 * repulsion(r, pairs)[0], centre, n_atoms)

        a, b, c, d, mean, cohesion, usual, stiffness = self.tables.species[species, :FLOOR].T
        bounded = b > 0.0
        width = np.where(bounded, b - a, 1.0)
        rise, by_rise = smoothstep(np.where(bounded, (density - a) / width, 1.0))
        fall, by_fall = smoothstep((d - density) / (d - c))
        apart, by_apart = smoothstep(1.0 - close_by)
        beyond = density / usual - 1.0
        dense = np.maximum(beyond, 0.0)

        out = np.empty((n_atoms, COLUMNS))
        out[:, WEIGHT] = rise * fall * apart
        out[:, BY_DENSITY] = (by_rise / width * fall - rise * (by_fall / (d - c))) * apart
        out[:, BY_CLOSENESS] = -(rise * fall * by_apart)
        out[:, OUTSIDE] = mean + cohesion * beyond * beyond + stiffness * (dense * dense * dense)
        out[:, SLOPE] = (2.0 * cohesion * beyond + 3.0 * stiffness * (dense * dense)) / usual
        out[:, PAIRS] = half
        return out

    def _densities(self) -> Array:
        return densities(self.vectors, self.geometry.edge_offsets, self.tables.cutoff)

    def _close(self) -> tuple[Integers, Integers, Array, Array]:
        """Edges of pairs that matter one by one: their places, centres, lengths and rows of the table of pairs."""
        species, edge_species, centres = self.geometry.species, self.geometry.edge_species, self._centres()
        r = np.sqrt(squares(self.vectors))
        close = np.flatnonzero(r < self.tables.reach[species[centres], edge_species])
        centre = centres[close]
        return close, centre, r[close], self.tables.pairs[species[centre], edge_species[close]]

    def _centres(self) -> Integers:
        return _centres(self.geometry.edge_offsets)


def _centres(edge_offsets: Integers) -> Integers:
    return np.repeat(np.arange(len(edge_offsets) - 1), np.diff(edge_offsets))


def _sum(values: Array, centres: Integers, n_atoms: int) -> Array:
    """Sums over edges, one after the other: other orders would depend on how many there are."""
    return np.asarray(np.bincount(centres, values, n_atoms), np.float64)
