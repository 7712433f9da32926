"""The structures that are relaxed at present, on a CPU: their arrays, one evaluation and one step of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential import Potential
from etn_gpu.potential.finite import not_finite
from etn_gpu.relaxation.arithmetic import arithmetic, optimiser
from etn_gpu.relaxation.composition import Composition, nobody
from etn_gpu.relaxation.held import Held
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.options import Options
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


class Flight(ABC):
    """Structures that are relaxed together; what it keeps of them are arrays of its backend."""

    #: The structures that are there.
    _all: Composition

    @property
    def layout(self) -> Layout:
        """Sizes of the structures."""
        return self._all.layout

    @abstractmethod
    def enter(self, admitted: Admitted, held: Sequence[Held]) -> None:
        """Add structures after those that are there."""

    @abstractmethod
    def leave(self, keep: NDArray[np.bool_]) -> None:
        """Keep some structures, ``keep`` [S]."""

    @abstractmethod
    def measure(self) -> Measured:
        """Evaluate all of them."""

    @abstractmethod
    def step(self) -> None:
        """Move all of them, by what was measured last."""

    @abstractmethod
    def placed(self) -> tuple[Array, Array]:
        """Positions [N, 3] and cells [S, 3, 3] of all of them as they were measured last."""

    def places(self, structures: NDArray[np.int64]) -> list[tuple[Array, Array]]:
        """Positions [n, 3] and cells [3, 3] of some structures as they were measured last."""
        positions, cells = self.placed()
        offsets = self.layout.atom_offsets
        return [(positions[offsets[s] : offsets[s + 1]].copy(), cells[s].copy()) for s in structures]


class CpuFlight(Flight):
    """See :class:`Flight`; for the backends numpy and numba.

    ``most_edges``: structures with more edges than this are evaluated in parts.
    """

    def __init__(
        self,
        model: Potential,
        options: Options,
        backend: str,
        dtype: str | None,
        threads: int | None,
        most_edges: int,
    ) -> None:
        self._model, self._options, self._most_edges = model, options, most_edges
        self._evaluation: dict[str, Any] = {"backend": backend, "dtype": dtype, "threads": threads}
        self._arithmetic = arithmetic(backend, threads)
        self._optimiser = optimiser(options.optimizer)
        self._move = getattr(self._arithmetic, options.optimizer)
        self._all = nobody()
        self._rows, self._state = np.empty((0, 3)), self._optimiser.begin(self._all.layout)
        self._forces, self._enthalpies = np.empty((0, 3)), np.empty(0)

    def enter(self, admitted: Admitted, held: Sequence[Held]) -> None:
        """Add structures after those that are there."""
        new = Composition.of(admitted, held, relaxed=self._options.cell != "none")
        self._all = self._all.joined(new)
        self._rows = np.concatenate((self._rows, new.rows))
        self._state = self._state.joined(self._optimiser.begin(new.layout))

    def leave(self, keep: NDArray[np.bool_]) -> None:
        """Keep some structures, ``keep`` [S]."""
        rows = keep[self.layout.structure_of_row]
        self._all, self._rows, self._state = self._all.take(keep), self._rows[rows], self._state.take(keep, rows)
        self._forces, self._enthalpies = self._forces[rows], self._enthalpies[keep]

    def measure(self) -> Measured:
        """Evaluate all of them."""
        own, start, layout = self._all, self._all.start, self.layout
        positions, cells, deformation = self._arithmetic.place(self._rows, start.cells, layout)
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
            self._rows, deformation, forces, virials, pressed, own.spans, own.fixed, own.symmetries, layout,
            self._options.cell == "volume",
        )  # fmt: skip
        self._enthalpies = energies + pressed
        atoms, cell = self._arithmetic.largest(self._forces, layout)
        return Measured(
            energies, self._enthalpies, volumes, pressures_of(virials, volumes), nearest, atoms, cell, failures
        )

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
        step = self._move(self._state, self._rows, self._forces, self._enthalpies, self.layout)
        self._rows = self._arithmetic.advance(self._rows, step, self._all.fixed, self.layout)

    def placed(self) -> tuple[Array, Array]:
        """Positions [N, 3] and cells [S, 3, 3] of all of them as they were measured last."""
        return self._placed


def pressures_of(virials: Array, volumes: Array) -> Array:
    """Pressures [S] in eV/A^3 of dE/d(strain) [S, 6] in eV and volumes [S] in A^3."""
    pressures: Array = -virials[:, :3].sum(axis=1) / (3.0 * volumes)
    return pressures
