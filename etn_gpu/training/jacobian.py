"""Rows of the Jacobian of energies, forces and stresses with respect to the parameters.

A row is the parameter gradient of a directional derivative: the force on atom j along alpha is minus the derivative of
the energy along a displacement of j, and only j and its neighbours take part. So a row costs one parameter gradient of
a few dozen atoms, and any subset of rows can be computed. Where messages are passed, what a displacement changes
reaches further with each layer, soon as far as the structures of a training set: there all atoms of one take part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential import assembly
from etn_gpu.potential.kernel import Environments, Kernel, ranges
from etn_gpu.training.data import Piece
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
#: Seconds that a run of rows takes at most, about: between runs the clock is looked at. No row depends on others.
RUN_SECONDS = 0.5
#: Rows of the first run, before it is known how long one takes.
FIRST_RUN = 1


@dataclass(frozen=True)
class RowSample:
    """Environments that take part in some rows, the range of atoms of each row, and the edge tangents of the rows."""

    environments: Environments
    samples: Indices
    dx: Array


class JacobianRows:
    """Rows of the Jacobian for the parameters of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.layout = ParameterVector(kernel.form.parameter_shapes)
        self._per_run = FIRST_RUN

    def energies(self, theta: Array, piece: Piece) -> Array:
        """d(E_s/N_s)/d(theta) for all structures of a piece, [S, P]."""
        return self._in_runs(piece.batch.n_structures, lambda run: self._energies(theta, piece, run))

    def forces(self, theta: Array, piece: Piece, atoms: Indices, axes: Indices) -> Array:
        """dF[atom, axis]/d(theta) for the given atoms and axes of a piece, [n, P]."""
        rows = whole_force_rows if self.kernel.programs.energy.gathers else force_rows
        return self._in_runs(len(atoms), lambda run: self._rows(theta, rows(piece, atoms[run], axes[run])))

    def stresses(self, theta: Array, piece: Piece, structures: Indices, components: Indices) -> Array:
        """d(stress)/d(theta) for the given structures and Voigt components of a piece, [n, P]."""
        return self._in_runs(
            len(structures), lambda run: self._rows(theta, stress_rows(piece, structures[run], components[run]))
        )

    def _in_runs(self, number: int, rows: Callable[[slice], Array]) -> Array:
        """``number`` rows, as many at a time as a run may take."""
        found = np.empty((number, self.layout.size))
        start = 0
        while start < number:
            run = slice(start, min(start + self._per_run, number))
            begin = perf_counter()
            found[run] = rows(run)
            seconds = perf_counter() - begin
            if seconds > RUN_SECONDS:
                self._per_run = max(1, self._per_run // 2)
            elif run.stop - start == self._per_run and seconds < 0.5 * RUN_SECONDS:
                self._per_run *= 2
            start = run.stop
        return found

    def _energies(self, theta: Array, piece: Piece, run: slice) -> Array:
        offsets = piece.batch.atom_offsets
        sizes = np.diff(offsets)[run]
        environments, _, _ = piece.environments.gather_runs(offsets[run], offsets[1:][run])
        weight = np.repeat(1.0 / piece.atoms_per_structure[run], sizes)
        return self.layout.join(
            self.kernel.parameter_gradient(self.layout.unpack(theta), environments, weight, None, _offsets(sizes))
        )

    def _rows(self, theta: Array, rows: RowSample) -> Array:
        zero = np.zeros(rows.environments.geometry.n_atoms)
        parameters = self.layout.unpack(theta)
        return self.layout.join(
            self.kernel.parameter_gradient(parameters, rows.environments, zero, rows.dx, rows.samples)
        )


def force_rows(piece: Piece, atoms: Indices, axes: Indices) -> RowSample:
    """For each (atom j, axis): j and its neighbours, with the edge tangents of *minus* a displacement of j."""
    batch, n = piece.batch, piece.batch.n_atoms
    start, stop = batch.edge_offsets[atoms], batch.edge_offsets[atoms + 1]
    rows = np.arange(len(atoms))
    neighbours = np.repeat(rows, stop - start) * n + batch.neighbour[ranges(start, stop)]
    pairs = np.unique(np.concatenate((rows * n + atoms, neighbours)))
    row_of, atom_of = pairs // n, pairs % n
    environments, edges = piece.environments.gather(atom_of)
    dx = _displaced(piece, environments, row_of, atom_of, edges, atoms, axes)
    return RowSample(environments, _offsets(np.bincount(row_of, minlength=len(atoms))), dx)


def whole_force_rows(piece: Piece, atoms: Indices, axes: Indices) -> RowSample:
    """As :func:`force_rows`, with all atoms of the structure of each atom j."""
    batch = piece.batch
    structures = batch.structure_of_atom[atoms]
    start, stop = batch.atom_offsets[structures], batch.atom_offsets[structures + 1]
    environments, atom_of, edges = piece.environments.gather_runs(start, stop)
    row_of = np.repeat(np.arange(len(atoms)), stop - start)
    dx = _displaced(piece, environments, row_of, atom_of, edges, atoms, axes)
    return RowSample(environments, _offsets(stop - start), dx)


def _displaced(
    piece: Piece,
    environments: Environments,
    row_of: Indices,
    atom_of: Indices,
    edges: Indices,
    atoms: Indices,
    axes: Indices,
) -> Array:
    """Edge tangents [E, 3] of minus a displacement of ``atoms[row]`` along ``axes[row]``, in the rows of atoms."""
    counts = np.diff(environments.geometry.edge_offsets)
    row_of_edge = np.repeat(row_of, counts)
    displaced = atoms[row_of_edge]
    dx = np.zeros((len(edges), 3))
    is_centre, is_neighbour = np.repeat(atom_of, counts) == displaced, piece.batch.neighbour[edges] == displaced
    dx[np.arange(len(edges)), axes[row_of_edge]] = is_centre.astype(np.float64) - is_neighbour
    return dx


def stress_rows(piece: Piece, structures: Indices, components: Indices) -> RowSample:
    """For each (structure, Voigt component): all its atoms, with the edge tangents of a strain over the volume."""
    batch = piece.batch
    start, stop = batch.atom_offsets[structures], batch.atom_offsets[structures + 1]
    environments, _, _ = piece.environments.gather_runs(start, stop)
    strain = assembly.conjugate_strains(np.eye(6)[components] / batch.volumes[structures, None])
    row_of = np.repeat(np.arange(len(structures)), stop - start)
    row_of_edge = np.repeat(row_of, np.diff(environments.geometry.edge_offsets))
    return RowSample(
        environments, _offsets(stop - start), np.einsum("eij,ej->ei", strain[row_of_edge], environments.vectors)
    )


def _offsets(counts: Indices) -> Indices:
    return np.concatenate(([0], np.cumsum(counts)))
