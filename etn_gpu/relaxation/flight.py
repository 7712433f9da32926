"""The structures that are relaxed at present, on a CPU: their arrays, one evaluation and one step of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential import ETNPotential
from etn_gpu.potential.finite import not_finite
from etn_gpu.relaxation.arithmetic import Ragged, arithmetic, optimiser
from etn_gpu.relaxation.held import Held
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.options import Options
from etn_gpu.relaxation.symmetries import Symmetries
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.admission import Admitted
from etn_gpu.structures.bounded import cut
from etn_gpu.structures.crowded import CrowdedError
from etn_gpu.structures.geometry import StructureArrays, cell_volumes
from etn_gpu.structures.validate import geometry_failures

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One evaluation of S structures: energies and enthalpies [S] in eV, volumes [S] in A^3 and pressures [S] in
    eV/A^3, nan unless periodic in all three directions; nearest [S] least distances in A; atoms and cell [S], the
    longest of their rows of generalised forces in eV/A; failures, why structures have none of all this."""

    energies: Array
    enthalpies: Array
    volumes: Array
    pressures: Array
    nearest: Array
    atoms: Array
    cell: Array
    failures: dict[int, str]


class Flight(Protocol):
    """Structures that are relaxed together; what it keeps of them are arrays of its backend."""

    @property
    def layout(self) -> Layout:
        """Sizes of the structures."""

    def enter(self, admitted: Admitted, held: Sequence[Held]) -> None:
        """Add structures after those that are there."""

    def leave(self, keep: NDArray[np.bool_]) -> None:
        """Keep some structures, ``keep`` [S]."""

    def measure(self) -> Measured:
        """Evaluate all of them."""

    def step(self) -> None:
        """Move all of them, by what was measured last."""

    def places(self, structures: NDArray[np.int64]) -> list[tuple[Array, Array]]:
        """Positions [n, 3] and cells [3, 3] of some structures as they were measured last."""


@dataclass
class _Arrays:
    """What stays the same of each structure, and its rows."""

    geometry: StructureArrays
    species: NDArray[np.int32]
    fixed: NDArray[np.bool_]
    spans: Array
    symmetries: list[Any]
    rows: Array
    state: Ragged


class CpuFlight:
    """See :class:`Flight`; for the backends numpy and numba.

    ``most_edges``: structures with more edges than this are evaluated in parts.
    """

    def __init__(
        self, model: ETNPotential, options: Options, backend: str, dtype: str | None, threads: int | None,
        most_edges: int,
    ) -> None:  # fmt: skip
        self._model, self._options, self._most_edges = model, options, most_edges
        self._evaluation: dict[str, Any] = {"backend": backend, "dtype": dtype, "threads": threads}
        self._arithmetic = arithmetic(backend, threads)
        self._optimiser = optimiser(options.optimizer)
        self._move = getattr(self._arithmetic, options.optimizer)
        self.layout = Layout(np.empty(0, np.int64))
        self._all = _no_arrays(self._optimiser.begin(self.layout))
        self._symmetries = Symmetries.of([])
        self._forces, self._enthalpies = np.empty((0, 3)), np.empty(0)

    def enter(self, admitted: Admitted, held: Sequence[Held]) -> None:
        """Add structures after those that are there."""
        geometry = admitted.geometry
        new = Layout(np.diff(geometry.atom_offsets))
        rows = np.zeros((int(new.row_offsets[-1]), 3))
        rows[new.atom_rows] = geometry.positions
        fixed = np.concatenate([np.empty((0, 3), np.bool_), *(one.fixed for one in held)])
        spans = spans_of(geometry.cells, geometry.pbc, relaxed=self._options.cell != "none")
        old = self._all
        self._all = _Arrays(
            StructureArrays(
                np.concatenate((old.geometry.atom_offsets, geometry.atom_offsets[1:] + old.geometry.atom_offsets[-1])),
                np.concatenate((old.geometry.numbers, geometry.numbers)),
                np.concatenate((old.geometry.positions, geometry.positions)),
                np.concatenate((old.geometry.cells, geometry.cells)),
                np.concatenate((old.geometry.pbc, geometry.pbc)),
            ),
            np.concatenate((old.species, admitted.species_index)),
            np.concatenate((old.fixed, fixed)),
            np.concatenate((old.spans, spans)),
            [*old.symmetries, *(one.symmetry for one in held)],
            np.concatenate((old.rows, rows)),
            old.state.joined(self._optimiser.begin(new)),
        )
        self._composed()

    def leave(self, keep: NDArray[np.bool_]) -> None:
        """Keep some structures, ``keep`` [S]."""
        old, atoms = self._all, keep[self.layout.structure_of_atom]
        rows = keep[self.layout.structure_of_row]
        self._all = _Arrays(
            old.geometry.select(keep),
            old.species[atoms],
            old.fixed[atoms],
            old.spans[keep],
            [one for one, stays in zip(old.symmetries, keep, strict=True) if stays],
            old.rows[rows],
            old.state.take(keep, rows),
        )
        self._forces, self._enthalpies = self._forces[rows], self._enthalpies[keep]
        self._composed()

    def _composed(self) -> None:
        self.layout = Layout(np.diff(self._all.geometry.atom_offsets))
        self._symmetries = Symmetries.of(self._all.symmetries)

    def measure(self) -> Measured:
        """Evaluate all of them."""
        own, start, layout = self._all, self._all.geometry, self.layout
        positions, cells, deformation = self._arithmetic.place(own.rows, start.cells, layout)
        geometry = StructureArrays(layout.atom_offsets, start.numbers, positions, cells, start.pbc)
        self._placed = positions, cells
        n, n_atoms = layout.n_structures, len(positions)
        energies, nearest = np.full(n, np.nan), np.full(n, np.nan)
        forces, virials = np.zeros((n_atoms, 3)), np.zeros((n, 6))
        faults = geometry_failures(geometry, own.species, self._model.species, self._model.cutoff)
        admitted = Admitted(geometry, own.species, np.arange(n)).without(faults)
        failures = {s: str(error) for s, error in admitted.failures.items()}
        for batch in self._batches(admitted):
            failures |= {s: str(error) for s, error in batch.failures.items()}
            if batch.n_structures == 0:
                continue
            results = self._model.evaluate_batch(batch, grade=False, **self._evaluation)
            failures |= {int(batch.kept[k]): str(error) for k, error in not_finite(results).items()}
            assert results.forces is not None
            assert results.virial is not None
            here = np.zeros(n, dtype=bool)
            here[batch.kept] = True
            energies[here], nearest[here], virials[here] = results.energy, batch.shortest, results.virial
            forces[here[layout.structure_of_atom]] = results.forces
        energies[list(failures)] = np.nan
        volumes = cell_volumes(cells, start.pbc)
        pressed = np.where(np.isfinite(volumes) & (self._options.cell != "none"), self._options.stress * volumes, 0.0)
        self._forces = self._arithmetic.generalised(
            own.rows, deformation, forces, virials, pressed, own.spans, own.fixed, self._symmetries, layout,
            self._options.cell == "volume",
        )  # fmt: skip
        self._enthalpies = energies + pressed
        atoms, cell = self._arithmetic.largest(self._forces, layout)
        pressures = -virials[:, :3].sum(axis=1) / (3.0 * volumes)
        return Measured(energies, self._enthalpies, volumes, pressures, nearest, atoms, cell, failures)

    def _batches(self, admitted: Admitted) -> Iterator[StructureBatch]:
        """The structures as one batch, or several where there would be too many edges."""
        species, cutoff = self._model.species, self._model.cutoff
        try:
            yield StructureBatch.of_admitted(admitted, species, cutoff, most_edges=self._most_edges)
        except CrowdedError as error:
            parts = cut(error.edges[admitted.kept], self._most_edges)
        else:
            return
        for first, end in parts:
            part = np.zeros(len(admitted.kept), dtype=bool)
            part[first:end] = True
            geometry, atoms = admitted.geometry.select(part), part[admitted.geometry.structure_of_atom]
            some = Admitted(geometry, admitted.species_index[atoms], admitted.kept[part])
            yield StructureBatch.of_admitted(some, species, cutoff)

    def step(self) -> None:
        """Move all of them, by what was measured last."""
        own = self._all
        step = self._move(own.state, own.rows, self._forces, self._enthalpies, self.layout)
        own.rows = self._arithmetic.advance(own.rows, step, own.fixed, self.layout)

    def places(self, structures: NDArray[np.int64]) -> list[tuple[Array, Array]]:
        """Positions [n, 3] and cells [3, 3] of some structures as they were measured last."""
        positions, cells = self._placed
        offsets = self.layout.atom_offsets
        return [(positions[offsets[s] : offsets[s + 1]].copy(), cells[s].copy()) for s in structures]


def spans_of(cells: Array, pbc: NDArray[np.bool_], *, relaxed: bool) -> Array:
    """Projectors [S, 3, 3] on what the periodic vectors of cells span, zero where the cell is not ``relaxed``."""
    spans = np.zeros(cells.shape)
    if not relaxed:
        return spans
    spans[pbc.all(axis=1)] = np.eye(3)
    for s in np.flatnonzero(pbc.any(axis=1) & ~pbc.all(axis=1)):
        basis = np.linalg.qr(cells[s][pbc[s]].T).Q
        spans[s] = basis @ basis.T
    return spans


def _no_arrays(state: Ragged) -> _Arrays:
    geometry = StructureArrays(
        np.zeros(1, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3, 3)), np.empty((0, 3), np.bool_)
    )
    return _Arrays(
        geometry, np.empty(0, np.int32), np.empty((0, 3), np.bool_), np.empty((0, 3, 3)), [], np.empty((0, 3)), state
    )
