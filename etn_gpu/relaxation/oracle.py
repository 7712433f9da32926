"""The arithmetic of relaxations in NumPy: what loops and kernels are compared with.

Rows, in the form of ASE's FrechetCellFilter: a structure of n atoms in the cell C0 (one vector a row) has n rows z of
positions in the undeformed cell, then three rows n U. With F = exp(U) positions are z F^T and the cell C0 F^T. Let f be
the forces, W = -dE/d(strain) - p V, both without what is held. Then minus the gradient of the enthalpy by the rows is

    f F for the atoms, and L(U^T, W F^-T) / n for the cell,

where L(A, X), the derivative of exp at A along X, is its own adjoint up to the transpose. P [3, 3] projects on what
the periodic vectors of a cell span, zero for a cell that is not relaxed, and W is P W P, or P tr(P W P)/tr(P) where the
cell keeps its shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etn_gpu.relaxation.arithmetic import LARGEST_STRAIN, LONGEST_STEP, Fire, Lbfgs
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.symmetries import Symmetries
from etn_gpu.structures.units import matrix_from_voigt

Array = NDArray[np.float64]
#: exp(A) is exp(A / 2^HALVINGS) squared so often, that a Taylor polynomial of this degree: exact for |A| up to 8.
HALVINGS, DEGREE = 4, 14


def exponential(a: Array, x: Array) -> tuple[Array, Array]:
    """exp(A) and its derivative at A along X, of matrices [S, 3, 3] each."""
    a, x = a / 2.0**HALVINGS, x / 2.0**HALVINGS
    power, power_by = np.broadcast_to(np.eye(3), a.shape), np.zeros_like(a)
    value, by = power.copy(), power_by.copy()
    for k in range(1, DEGREE + 1):
        power_by = (power_by @ a + power @ x) / k
        power = power @ a / k
        value, by = value + power, by + power_by
    for _ in range(HALVINGS):
        by = value @ by + by @ value
        value = value @ value
    return value, by


def segment_sum(values: Array, layout: Layout) -> Array:
    """Sums [S] of numbers [M] of rows, in an order that knows nothing of other structures."""
    sums: Array = np.add.reduceat(values, layout.row_offsets[:-1])
    return sums


def dot(a: Array, b: Array, layout: Layout) -> Array:
    """Inner products [S] of rows [M, 3]."""
    return segment_sum(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2], layout)


def lengths(rows: Array) -> Array:
    """Lengths [M] of rows [M, 3]."""
    return np.sqrt(rows[:, 0] * rows[:, 0] + rows[:, 1] * rows[:, 1] + rows[:, 2] * rows[:, 2])


class NumpyArithmetic:
    """See :class:`~etn_gpu.relaxation.arithmetic.Arithmetic`."""

    def place(self, rows: Array, start_cells: Array, layout: Layout) -> tuple[Array, Array, Array]:
        """Positions [N, 3] and cells [S, 3, 3] of rows [M, 3], and the deformations F [S, 3, 3]."""
        u = rows[layout.cell_rows] / layout.sizes[:, None, None]
        deformation, _ = exponential(u, np.zeros_like(u))
        turned = deformation.swapaxes(1, 2)
        positions = np.einsum("ni,nij->nj", rows[layout.atom_rows], turned[layout.structure_of_atom])
        return positions, start_cells @ turned, deformation

    def generalised(
        self, rows: Array, deformation: Array, forces: Array, virials: Array, pressed: Array, spans: Array,
        fixed: NDArray[np.bool_], symmetries: Symmetries, layout: Layout, hydrostatic: bool,
    ) -> Array:  # fmt: skip
        """Generalised forces [M, 3] from forces [N, 3] and dE/d(strain) [S, 6]; ``pressed`` [S] is p V."""
        out = np.empty_like(rows)
        free = np.where(fixed, 0.0, forces)
        out[layout.atom_rows] = np.einsum("ni,nij->nj", free, deformation[layout.structure_of_atom])
        work = spans @ (-matrix_from_voigt(virials) - pressed[:, None, None] * np.eye(3)) @ spans
        if hydrostatic:
            dimensions = np.trace(spans, axis1=1, axis2=2)
            mean = np.trace(work, axis1=1, axis2=2) / np.where(dimensions > 0.0, dimensions, 1.0)
            work = mean[:, None, None] * spans
        u = rows[layout.cell_rows] / layout.sizes[:, None, None]
        _, by = exponential(u.swapaxes(1, 2), work @ np.linalg.inv(deformation).swapaxes(1, 2))
        out[layout.cell_rows] = by / layout.sizes[:, None, None]
        symmetries.apply(out, layout)
        return out

    def largest(self, rows: Array, layout: Layout) -> tuple[Array, Array]:
        """Longest rows of atoms and of the cell [S] each."""
        length = lengths(rows)
        atoms = np.maximum.reduceat(length[layout.atom_rows], layout.atom_offsets[:-1])
        return atoms, length[layout.cell_rows].max(axis=1)

    def lbfgs(self, state: Lbfgs, rows: Array, forces: Array, enthalpies: Array, layout: Layout) -> Array:
        """Nocedal and Wright, Numerical Optimization (Springer, 2006), algorithm 7.4.

        Where the enthalpy rose, the step is taken back in part, to the minimum of a parabola, and nothing is learned;
        neither is where the curvature is negative; a direction that is not downhill gives way to the steepest one.
        """
        of_row, memory = layout.structure_of_row, len(state.weights)
        metric = _inverse_stiffness(layout)[:, None]
        begun = np.isfinite(state.enthalpies)
        move, change = rows - state.last_rows, state.last_forces - forces
        rise = np.where(begun, enthalpies - state.enthalpies, 0.0)
        risen = rise > state.TOLERANCE * layout.sizes
        fall = dot(state.last_forces, move, layout)
        kept = np.clip(0.5 * fall / np.where(risen, rise + fall, 1.0), state.SHORTEST, 0.5)

        product, square = dot(move, change, layout), dot(change, change * metric, layout)
        curved = begun & (product > 1e-10 * np.sqrt(dot(move, move, layout) * dot(change, change, layout)))
        onward = np.flatnonzero(~risen)
        state.newest[:] = np.where(begun & ~risen, (state.newest + 1) % memory, state.newest)
        every, those = np.arange(len(rows)), np.flatnonzero(~risen[of_row])
        learned = np.flatnonzero((begun & ~risen)[of_row])
        slots = state.newest[of_row[learned]]
        state.moves[slots, learned], state.changes[slots, learned] = move[learned], change[learned]
        one = np.where(curved, product, 1.0)
        state.weights[state.newest[onward], onward] = np.where(curved, 1.0 / one, 0.0)[onward]
        scales = np.where(curved, one / np.where(curved, square, 1.0), state.scales)
        state.scales[onward], state.enthalpies[onward] = scales[onward], enthalpies[onward]
        state.last_rows[those], state.last_forces[those] = rows[those], forces[those]

        step, shares = forces.copy(), np.zeros_like(state.weights)
        structures = np.arange(layout.n_structures)
        order = [(state.newest - k) % memory for k in range(memory)]
        for slot in order:
            share = state.weights[slot, structures] * dot(state.moves[slot[of_row], every], step, layout)
            shares[slot, structures] = share
            step -= share[of_row, None] * state.changes[slot[of_row], every]
        step *= state.scales[of_row, None] * metric
        for slot in reversed(order):
            other = state.weights[slot, structures] * dot(state.changes[slot[of_row], every], step, layout)
            step += (shares[slot, structures] - other)[of_row, None] * state.moves[slot[of_row], every]
        uphill = ~(dot(step, forces, layout) > 0.0)
        state.weights[:, uphill & ~risen] = 0.0
        step = np.where(uphill[of_row, None], metric * forces, step)
        beyond = np.maximum.reduceat(lengths(step) / _longest(layout), layout.row_offsets[:-1])
        step = step / np.maximum(beyond, 1.0)[of_row, None]
        return np.where(risen[of_row, None], (kept - 1.0)[of_row, None] * move, step)

    def fire(self, state: Fire, rows: Array, forces: Array, enthalpies: Array, layout: Layout) -> Array:
        """Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), step by step as ASE has it."""
        of_row = layout.structure_of_row
        begun = state.downhill >= 0
        down = dot(forces, state.velocities, layout) > 0.0
        turn = begun & down
        norm = np.sqrt(dot(forces, forces, layout))
        speed = np.sqrt(dot(state.velocities, state.velocities, layout))
        share = np.where(turn, state.mixing * speed / np.where(norm > 0.0, norm, 1.0), 0.0)
        kept = np.where(turn, 1.0 - state.mixing, 0.0)
        state.velocities[:] = kept[of_row, None] * state.velocities + share[of_row, None] * forces
        faster = turn & (state.downhill > state.PATIENCE)
        stopped = begun & ~down
        grown = np.minimum(state.time_steps * state.GROWTH, state.LONGEST_TIME)
        state.time_steps[:] = np.where(faster, grown, np.where(stopped, state.SHRINKAGE, 1.0) * state.time_steps)
        state.mixing[:] = np.where(
            faster, state.mixing * state.LESS_MIXING, np.where(stopped, state.MIXING, state.mixing)
        )
        state.downhill[:] = np.where(turn, state.downhill + 1, 0)
        state.velocities += state.time_steps[of_row, None] * forces
        step = state.time_steps[of_row, None] * state.velocities
        beyond = np.sqrt(dot(step, step, layout)) / LONGEST_STEP
        return step / np.maximum(beyond, 1.0)[of_row, None]

    def advance(self, rows: Array, step: Array, fixed: NDArray[np.bool_], layout: Layout) -> Array:
        """The rows after a step."""
        new = rows + step
        if (partly := fixed.any(axis=1)).any():
            u = new[layout.cell_rows] / layout.sizes[:, None, None]
            deformation = exponential(u, np.zeros_like(u))[0][layout.structure_of_atom[partly]]
            moved = np.einsum("nij,nj->ni", deformation, step[layout.atom_rows[partly]])
            moved[fixed[partly]] = 0.0
            back = np.einsum("nij,nj->ni", np.linalg.inv(deformation), moved)
            new[layout.atom_rows[partly]] = rows[layout.atom_rows[partly]] + back
        return new


def _inverse_stiffness(layout: Layout) -> Array:
    """The first guess of the inverse Hessian [M], diagonal."""
    inverse = np.full(int(layout.row_offsets[-1]), 1.0 / Lbfgs.STIFFNESS)
    inverse[layout.cell_rows] = (layout.sizes / Lbfgs.BULK)[:, None]
    return inverse


def _longest(layout: Layout) -> Array:
    """How long rows [M] of a step may be."""
    longest = np.full(int(layout.row_offsets[-1]), LONGEST_STEP)
    longest[layout.cell_rows] = np.maximum(LONGEST_STEP, LARGEST_STRAIN * layout.sizes)[:, None]
    return longest
