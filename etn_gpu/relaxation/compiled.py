"""The arithmetic of relaxations by compiled loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.threads import share, workers
from etn_gpu.relaxation import loops
from etn_gpu.relaxation.arithmetic import LARGEST_STRAIN, LONGEST_STEP, Fire, Lbfgs
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.symmetries import Symmetries

Array = NDArray[np.float64]


class CompiledArithmetic:
    """See :class:`~etn_gpu.relaxation.arithmetic.Arithmetic`."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads

    def _share(self, loop: Any, layout: Layout, *arguments: Any) -> None:
        number = workers(self._threads, -(-layout.n_structures // loops.CHUNK))
        share(loop, number, loops.CHUNK, *arguments)

    def place(self, rows: Array, start_cells: Array, layout: Layout) -> tuple[Array, Array, Array]:
        """Positions, cells, deformations."""
        n = layout.n_structures
        positions, cells = np.empty((int(layout.atom_offsets[-1]), 3)), np.empty((n, 3, 3))
        deformations = np.empty((n, 3, 3))
        self._share(loops.place, layout, rows, start_cells, layout.atom_offsets, positions, cells, deformations)
        return positions, cells, deformations

    def generalised(
        self, rows: Array, deformation: Array, forces: Array, virials: Array, pressed: Array, spans: Array,
        fixed: NDArray[np.bool_], symmetries: Symmetries, layout: Layout, hydrostatic: bool,
    ) -> Array:  # fmt: skip
        """Generalised forces [M, 3]."""
        out = np.empty_like(rows)
        self._share(
            loops.generalised, layout, rows, deformation, forces, virials, pressed, spans, fixed, layout.atom_offsets,
            hydrostatic, out,
        )  # fmt: skip
        if len(symmetries.structures):
            loops.symmetrise(
                out, layout.atom_offsets, symmetries.structures, symmetries.rotations, symmetries.rotation_offsets,
                symmetries.sources, symmetries.source_offsets,
            )  # fmt: skip
        return out

    def largest(self, rows: Array, layout: Layout) -> tuple[Array, Array]:
        """Longest rows of atoms and of the cell [S] each."""
        atoms, cell = np.empty(layout.n_structures), np.empty(layout.n_structures)
        loops.largest(rows, layout.atom_offsets, atoms, cell)
        return atoms, cell

    def lbfgs(self, state: Lbfgs, rows: Array, forces: Array, enthalpies: Array, layout: Layout) -> Array:
        """A step [M, 3] of L-BFGS."""
        step = np.empty_like(rows)
        memory = len(state.weights)
        self._share(
            loops.lbfgs, layout, rows.reshape(-1), forces.reshape(-1), enthalpies, layout.atom_offsets,
            state.last_rows.reshape(-1), state.last_forces.reshape(-1), state.moves.reshape(memory, -1),
            state.changes.reshape(memory, -1), state.weights, state.newest, state.scales, state.enthalpies,
            state.STIFFNESS, state.BULK, state.TOLERANCE, state.SHORTEST, LONGEST_STEP, LARGEST_STRAIN,
            step.reshape(-1),
        )  # fmt: skip
        return step

    def fire(self, state: Fire, rows: Array, forces: Array, enthalpies: Array, layout: Layout) -> Array:
        """A step [M, 3] of FIRE."""
        step = np.empty_like(rows)
        self._share(
            loops.fire, layout, forces.reshape(-1), layout.atom_offsets, state.velocities.reshape(-1),
            state.time_steps, state.mixing, state.downhill, state.LONGEST_TIME, state.GROWTH, state.SHRINKAGE,
            state.MIXING, state.LESS_MIXING, state.PATIENCE, LONGEST_STEP, step.reshape(-1),
        )  # fmt: skip
        return step

    def advance(self, rows: Array, step: Array, fixed: NDArray[np.bool_], layout: Layout) -> Array:
        """The rows after a step."""
        new = np.empty_like(rows)
        loops.advance(rows, step, fixed, layout.atom_offsets, new)
        return new
