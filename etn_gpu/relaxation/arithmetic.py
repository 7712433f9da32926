"""What a backend computes in a step beside energies, forces and virials, and the state of the optimisers.

The formulas stand in :mod:`etn_gpu.relaxation.oracle`; a sum over a structure runs over its own rows in their order, so
what becomes of it does not depend on the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.symmetries import Symmetries

Array = NDArray[np.float64]
#: No atom moves further in one step, in A, as in ASE; no row of the strain of a cell changes by more.
LONGEST_STEP, LARGEST_STRAIN = 0.2, 0.04


@dataclass
class Ragged(ABC):
    """Arrays whose second last axis, or the only one, runs over rows, or over structures where it says so."""

    @classmethod
    @abstractmethod
    def begin(cls, layout: Layout) -> Self:
        """The state of structures that have not moved."""

    #: Names of the arrays with an entry for each structure in their last axis; the others are rows [..., M, 3].
    of_structures: ClassVar[tuple[str, ...]] = ()

    def take(self, keep: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Self:
        """The state of some structures, ``keep`` [S], whose ``rows`` [M] are these."""
        taken = {}
        for name in self._names:
            array = getattr(self, name)
            some = array[..., keep] if name in self.of_structures else array[..., rows, :]
            taken[name] = np.ascontiguousarray(some)  # which indexing does not promise
        return type(self)(**taken)

    def joined(self, other: Self) -> Self:
        """The state of these structures and the others after them."""
        return type(self)(
            **{
                name: np.concatenate(
                    (getattr(self, name), getattr(other, name)), axis=-1 if name in self.of_structures else -2
                )
                for name in self._names
            }
        )

    @property
    def _names(self) -> list[str]:
        return [field.name for field in fields(self)]


@dataclass
class Lbfgs(Ragged):
    """Limited-memory BFGS with a diagonal first guess, scaled by the latest curvature.

    last_rows and last_forces [M, 3] of the step before; moves and changes [MEMORY, M, 3] are differences of rows and of
    gradients, the latest in the slot ``newest`` [S], and weights [MEMORY, S] one over their products, 0 where there is
    none; scales [S]; enthalpies [S] before the last step, infinite before the first.
    """

    #: Differences that are remembered, at most 32: alloys need no more than 10, slabs with these a fifth fewer steps.
    MEMORY = 25
    #: Curvature at first, in eV/A^2 of an atom, and in eV per atom of the strain of a cell: about what metals have.
    STIFFNESS, BULK = 40.0, 30.0
    #: Energies of one structure, in eV/atom, are compared with this tolerance.
    TOLERANCE = 1e-5
    #: The least share of a step that is left of it where the energy rose.
    SHORTEST = 0.1

    last_rows: Array
    last_forces: Array
    moves: Array
    changes: Array
    weights: Array
    newest: NDArray[np.int64]
    scales: Array
    enthalpies: Array

    of_structures: ClassVar[tuple[str, ...]] = ("weights", "newest", "scales", "enthalpies")

    @classmethod
    def begin(cls, layout: Layout) -> Self:
        """The state of structures that have not moved."""
        n, rows = layout.n_structures, int(layout.row_offsets[-1])
        return cls(
            np.zeros((rows, 3)), np.zeros((rows, 3)), np.zeros((cls.MEMORY, rows, 3)), np.zeros((cls.MEMORY, rows, 3)),
            np.zeros((cls.MEMORY, n)), np.zeros(n, np.int64), np.ones(n), np.full(n, np.inf),
        )  # fmt: skip


@dataclass
class Fire(Ragged):
    """FIRE with the parameters of ASE: velocities [M, 3]; time_steps, mixing and downhill (steps) [S]; the latter is
    -1 before the first step."""

    LONGEST_TIME, GROWTH, SHRINKAGE, MIXING, LESS_MIXING, PATIENCE = 1.0, 1.1, 0.5, 0.1, 0.99, 5
    FIRST_TIME = 0.1

    velocities: Array
    time_steps: Array
    mixing: Array
    downhill: NDArray[np.int64]

    of_structures: ClassVar[tuple[str, ...]] = ("time_steps", "mixing", "downhill")

    @classmethod
    def begin(cls, layout: Layout) -> Self:
        """The state of structures that have not moved."""
        n, rows = layout.n_structures, int(layout.row_offsets[-1])
        return cls(
            np.zeros((rows, 3)), np.full(n, cls.FIRST_TIME), np.full(n, cls.MIXING), np.full(n, -1, np.int64)
        )  # fmt: skip


class Arithmetic(Protocol):
    """How a backend computes on ragged rows, see :mod:`etn_gpu.relaxation.oracle`; arrays are C-contiguous."""

    def place(self, rows: Array, start_cells: Array, layout: Layout) -> tuple[Array, Array, Array]:
        """Positions [N, 3], cells [S, 3, 3] and deformations F [S, 3, 3] of rows [M, 3]."""

    def generalised(
        self, rows: Array, deformation: Array, forces: Array, virials: Array, pressed: Array, spans: Array,
        fixed: NDArray[np.bool_], symmetries: Symmetries, layout: Layout, hydrostatic: bool,
    ) -> Array:  # fmt: skip
        """Generalised forces [M, 3] from forces [N, 3] in eV/A and dE/d(strain) [S, 6] in eV; ``pressed`` [S] is the
        external pressure times the volume in eV."""

    def largest(self, rows: Array, layout: Layout) -> tuple[Array, Array]:
        """Lengths of the longest of the rows [M, 3] of atoms, and of those of the cell, in each structure: [S] each."""

    def lbfgs(self, state: Lbfgs, rows: Array, forces: Array, enthalpies: Array, layout: Layout) -> Array:
        """A step [M, 3] from ``rows`` where there are ``forces`` [M, 3]; ``state`` is changed."""

    def fire(self, state: Fire, rows: Array, forces: Array, enthalpies: Array, layout: Layout) -> Array:
        """A step [M, 3], see :meth:`lbfgs`; enthalpies do not matter."""

    def advance(self, rows: Array, step: Array, fixed: NDArray[np.bool_], layout: Layout) -> Array:
        """The rows after a step, in which Cartesian components that are ``fixed`` [N, 3] move with the cell alone."""


def arithmetic(backend: str, threads: int | None) -> Arithmetic:
    """The arithmetic of a backend that runs on a CPU."""
    if backend == "numpy":
        from etn_gpu.relaxation.oracle import NumpyArithmetic

        return NumpyArithmetic()
    from etn_gpu.relaxation.compiled import CompiledArithmetic

    return CompiledArithmetic(threads)


def optimiser(name: str) -> Any:
    """The class of the state of the optimiser of that name."""
    return {"lbfgs": Lbfgs, "fire": Fire}[name]
