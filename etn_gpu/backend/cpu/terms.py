"""The terms of a potential beside its network as compiled loops: one pass over the edges of each atom, and another
where more than the network is at work. Formulas, units and shapes as in :mod:`etn_gpu.backend.terms`, the oracle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled, take
from etn_gpu.backend.cpu.threads import share, workers
from etn_gpu.backend.terms import (
    BOTTOM,
    BY_CLOSENESS,
    BY_DENSITY,
    CEILING,
    COHESION,
    COLUMNS,
    DECAYS,
    DENSITY,
    FLOOR,
    HIGH,
    HIGHEST,
    INNER,
    LOW,
    LOWEST,
    MEAN,
    OFF,
    ON,
    OUTER,
    OUTSIDE,
    PAIRS,
    SCREENING,
    SHARES,
    SLOPE,
    STIFFNESS,
    STRENGTH,
    TOP,
    WEIGHT,
    Array,
    SiteTerms,
)

#: Atoms that one thread takes at a time.
CHUNK = 256


class CompiledTerms(SiteTerms):
    """As :class:`SiteTerms`, in threads."""

    def energies(self, outputs: NDArray[np.floating]) -> Array:
        """See :meth:`SiteTerms.energies`."""
        energies = np.empty(len(self.sites))
        _energies(outputs, self.tables.species, self.geometry.species, self.sites, energies)
        return energies

    def add_to_gradients(self, outputs: NDArray[np.floating], gradient: NDArray[np.floating]) -> None:
        """See :meth:`SiteTerms.add_to_gradients`."""
        self._share(_add_to_gradients, self.tables.species, self.sites, outputs, gradient)

    def _sites(self) -> Array:
        sites = np.empty((len(self.geometry.species), COLUMNS))
        self._share(_site_terms, self.tables.species, sites)
        return sites

    def _share(self, loop: Any, *arguments: Any) -> None:
        geometry, tables = self.geometry, self.tables
        number = workers(self.threads, (geometry.n_atoms + CHUNK - 1) // CHUNK)
        share(
            loop, number, CHUNK, tables.pairs, tables.squared_reach, tables.cutoff, geometry.species,
            geometry.edge_species, self.vectors, geometry.edge_offsets, *arguments,
        )  # fmt: skip


@compiled
def _site_terms(
    counter: Any, worker: int, size: int, pairs: Any, reach: Any, cutoff: float, species: Any, edge_species: Any,
    vectors: Any, edge_offsets: Any, table: Any, sites: Any,
) -> None:  # fmt: skip
    n = len(edge_offsets) - 1
    inverse = 1.0 / (cutoff * cutoff)
    farthest = np.array([row.max() for row in reach])
    first = take(counter) * size
    while first < n:
        for i in range(first, min(n, first + size)):
            density, close_by, half, least = 0.0, 0.0, 0.0, np.inf
            for e in range(edge_offsets[i], edge_offsets[i + 1]):
                x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
                square = x * x + y * y + z * z
                t = max(1.0 - square * inverse, 0.0)
                density += t * t * t
                least = min(least, square)
            if least < farthest[species[i]]:  # rare: the loop above has nothing to decide
                close_by, half = _of_pairs(i, pairs, reach, species, edge_species, vectors, edge_offsets)
            _site(table[species[i]], density, close_by, half, sites[i])
        first = take(counter) * size


@compiled
def _of_pairs(
    i: int, pairs: Any, reach: Any, species: Any, edge_species: Any, vectors: Any, edge_offsets: Any
) -> tuple[float, float]:
    of_pairs, limits = pairs[species[i]], reach[species[i]]
    close_by = half = 0.0
    for e in range(edge_offsets[i], edge_offsets[i + 1]):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        square = x * x + y * y + z * z
        if square < limits[edge_species[e]]:
            r, pair = math.sqrt(square), of_pairs[edge_species[e]]
            close_by += _closeness(r, pair)[0]
            half += 0.5 * _repulsion(r, pair)[0]
    return close_by, half


@compiled
def _energies(outputs: Any, table: Any, species: Any, sites: Any, energies: Any) -> None:
    for i in range(len(energies)):
        weight = sites[i, WEIGHT]
        known = 0.0
        if weight > 0.0:
            known, _ = _bounded(np.float64(outputs[i]), table[species[i]])
        energies[i] = weight * known + (1.0 - weight) * sites[i, OUTSIDE] + sites[i, PAIRS]


@compiled
def _add_to_gradients(
    counter: Any, worker: int, size: int, pairs: Any, reach: Any, cutoff: float, species: Any, edge_species: Any,
    vectors: Any, edge_offsets: Any, table: Any, sites: Any, outputs: Any, gradient: Any,
) -> None:  # fmt: skip
    n = len(edge_offsets) - 1
    inverse = 1.0 / (cutoff * cutoff)
    first = take(counter) * size
    while first < n:
        for i in range(first, min(n, first + size)):
            site = sites[i]
            weight = site[WEIGHT]
            known = slope = 0.0
            if weight > 0.0:
                known, slope = _bounded(np.float64(outputs[i]), table[species[i]])
            excess = known - site[OUTSIDE] if weight > 0.0 else 0.0
            by_density = excess * site[BY_DENSITY] + (1.0 - weight) * site[SLOPE]
            by_closeness = excess * site[BY_CLOSENESS]
            if weight == 1.0 and slope == 1.0 and by_density == 0.0 and by_closeness == 0.0 and site[PAIRS] == 0.0:
                continue
            of_pairs, limits = pairs[species[i]], reach[species[i]]
            for e in range(edge_offsets[i], edge_offsets[i + 1]):
                x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
                square = x * x + y * y + z * z
                t = max(1.0 - square * inverse, 0.0)
                factor = by_density * (-6.0 * inverse) * (t * t)
                if square < limits[edge_species[e]]:
                    r, pair = math.sqrt(square), of_pairs[edge_species[e]]
                    factor += (by_closeness * _closeness(r, pair)[1] + 0.5 * _repulsion(r, pair)[1]) / r
                for k in range(3):
                    own = slope * np.float64(gradient[e, k]) if slope != 0.0 else 0.0
                    gradient[e, k] = own + factor * vectors[e, k]
        first = take(counter) * size


@compiled
def _site(row: Any, density: float, close_by: float, half: float, site: Any) -> None:
    a, b, c, d = row[LOWEST], row[LOW], row[HIGH], row[HIGHEST]
    rise = fall = apart = 1.0
    by_rise = by_fall = by_apart = 0.0
    if density < b:
        rise, by_rise = _smoothstep((density - a) / (b - a))
        by_rise /= b - a
    if density > c:
        fall, by_fall = _smoothstep((d - density) / (d - c))
        by_fall /= d - c
    if close_by > 0.0:
        apart, by_apart = _smoothstep(1.0 - close_by)
    beyond = density / row[DENSITY] - 1.0
    dense = max(beyond, 0.0)
    site[WEIGHT] = rise * fall * apart
    site[BY_DENSITY] = (by_rise * fall - rise * by_fall) * apart
    site[BY_CLOSENESS] = -(rise * fall * by_apart)
    site[OUTSIDE] = row[MEAN] + row[COHESION] * beyond * beyond + row[STIFFNESS] * (dense * dense * dense)
    site[SLOPE] = (2.0 * row[COHESION] * beyond + 3.0 * row[STIFFNESS] * (dense * dense)) / row[DENSITY]
    site[PAIRS] = half


@compiled
def _bounded(output: float, row: Any) -> tuple[float, float]:
    if output > row[TOP]:
        limit, width = row[TOP], row[CEILING] - row[TOP]
    elif output < row[BOTTOM]:
        limit, width = row[BOTTOM], row[BOTTOM] - row[FLOOR]
    else:
        return output, 1.0
    beyond = math.tanh((output - limit) / width)
    return limit + width * beyond, 1.0 - beyond * beyond


@compiled
def _smoothstep(x: float) -> tuple[float, float]:
    t = min(max(x, 0.0), 1.0)
    return t * t * t * (10.0 + t * (6.0 * t - 15.0)), 30.0 * (t * (1.0 - t)) * (t * (1.0 - t))


@compiled
def _closeness(r: float, pair: Any) -> tuple[float, float]:
    if r >= pair[ON]:
        return 0.0, 0.0
    width = pair[ON] - pair[OFF]
    t = (pair[ON] - r) / width
    return t * t * t, -3.0 * t * t / width


@compiled
def _repulsion(r: float, pair: Any) -> tuple[float, float]:
    if r >= pair[OUTER]:
        return 0.0, 0.0
    x, phi, slope = r * pair[SCREENING], 0.0, 0.0
    for k in range(len(SHARES)):
        part = SHARES[k] * math.exp(-DECAYS[k] * x)
        phi += part
        slope -= DECAYS[k] * part
    width = pair[OUTER] - pair[INNER]
    switch, by_x = _smoothstep((pair[OUTER] - r) / width)
    coulomb = pair[STRENGTH] / r
    by_r = coulomb * (pair[SCREENING] * slope - phi / r)
    return coulomb * phi * switch, by_r * switch - coulomb * phi * by_x / width
