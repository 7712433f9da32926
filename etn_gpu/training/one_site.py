r"""One-site step: the regularised linear least-squares problem in one core.

The energy is linear in each core, so that with all other cores fixed the loss is a quadratic function of the weights g
of this one and of the reference energies:

    L(g) = 1/2 |J g - y|_W^2 + 1/2 g^T R g.

R comes from the prior, the squared norm of the coefficient tensor, which is quadratic in the core too: with the core at
the centre of the canonical form it is near a multiple of the identity, and the problem as well conditioned as it can
be. It is solved by conjugate gradients with exact products J^T W J p (a difference of two
exact gradients, since the function is quadratic), preconditioned by J^T W J of a sample of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from etn_gpu.plan import Core
from etn_gpu.potential.references import REFERENCES
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.training.curvature import gauss_newton_matrix
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import LeastSquares
from etn_gpu.training.optimizer import Preconditioner, require_finite
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Rows of the sample, force and stress components, for each unknown.
FORCE_ROWS, STRESS_ROWS = 3.0, 0.5
#: Damping of the preconditioner, which is rank deficient where the data are.
DAMPING = 1e-3


@dataclass(frozen=True)
class Unknowns:
    """The unknowns of a one-site problem: the weights of a core, and the reference energies.

    ``places`` [n] in the parameter vector; ``ridge`` [n, n], a quadratic form that is added to the loss; ``along`` a
    leg of the core: for each sector triple the irrep of that leg, and which unknowns [multiplicity, others] belong to
    each of its components.
    """

    places: Indices
    ridge: Array
    along: tuple[tuple[Irrep, Indices], ...]

    @staticmethod
    def of(
        layout: ParameterVector,
        core: Core,
        ridge: Array,
        leg: str,
        kept: Irreps | None = None,
        held: NDArray[np.bool_] | None = None,
    ) -> Unknowns:
        """Unknowns of a core: of each sector of its leg 'left' or 'out' the first components, as many as ``kept`` has.

        ``ridge`` [size, size] is that on the weights of the core. Reference energies are free, but for those among the
        ``held`` parameters [P], which stay.
        """
        start = layout.slices[core.name].start
        references = layout.slices.get(REFERENCES, slice(0, 0))
        free = np.arange(references.start, references.stop)
        places, along = [free if held is None else free[~held[references]]], []
        n = len(places[0])
        for path in core.paths:
            grid = start + path.places
            sector, grid = (path.left, grid.swapaxes(0, 1)) if leg == "left" else (path.out, grid)
            ir = Irrep(sector.l, sector.p)
            chosen = grid if kept is None else grid[: kept.count(ir)]
            if chosen.size:
                places.append(chosen.ravel())
                along.append((ir, n + np.arange(chosen.size).reshape(len(chosen), -1)))
                n += chosen.size
        at = np.concatenate(places)
        of_core = at[len(places[0]) :] - start
        form = np.zeros((n, n))
        form[len(places[0]) :, len(places[0]) :] = ridge[np.ix_(of_core, of_core)]
        return Unknowns(at, form, tuple(along))

    def value(self, theta: Array) -> float:
        """The ridge's contribution to the loss."""
        at = theta[self.places]
        return 0.5 * float(at @ self.ridge @ at)

    def turn(self, turns: Mapping[Irrep, Array]) -> scipy.sparse.csr_array:
        """The matrix [n, n] that turns the components of each sector by an orthogonal matrix."""
        n = len(self.places)
        rows, cols, values = [], [], []
        for ir, members in self.along:
            count, others = members.shape
            shape = (count, count, others)
            rows.append(np.broadcast_to(members[:, None], shape).ravel())
            cols.append(np.broadcast_to(members[None], shape).ravel())
            values.append(np.broadcast_to(turns[ir][:, :, None], shape).ravel())
        turned = np.concatenate(rows)
        free = np.setdiff1d(np.arange(n), turned)
        rows, cols, values = [*rows, free], [*cols, free], [*values, np.ones(len(free))]
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols)))
        return scipy.sparse.csr_array(entries, shape=(n, n))

    def component(self, ir: Irrep, index: int) -> Indices:
        """The unknowns that belong to one component of the leg."""
        return np.concatenate([members[index] for irrep, members in self.along if irrep == ir])


@dataclass(frozen=True)
class Solution:
    """Minimiser, regularised loss before and after, and its second derivatives [n, n] as the sample gives them."""

    theta: Array
    before: float
    loss: float
    matrix: Array
    iterations: int


def solve(
    objective: LeastSquares[Any],
    rows: JacobianRows,
    theta: Array,
    unknowns: Unknowns,
    pieces: Sequence[Piece],
    rng: np.random.Generator,
    *,
    tolerance: float,
    max_iterations: int,
    time_left: Callable[[], bool] = lambda: True,
) -> Solution:
    """Minimise the loss and the ridge over ``unknowns``, from their present values.

    ``objective`` and ``rows`` need to know the gradients of the unknowns only.
    The iteration ends when the norm of the gradient, as the preconditioner measures it, is ``tolerance`` times that at
    the beginning. It never ends above where it began.

    Raises:
        TrainingError: the loss is not finite.
    """
    places, n = unknowns.places, len(unknowns.places)

    @np.errstate(over="ignore", invalid="ignore")
    def function(shift: Array) -> tuple[float, Array]:
        at = theta.copy()
        at[places] += shift
        loss, gradient = objective.loss_and_gradient(at, pieces)
        return loss + unknowns.value(at), gradient[places] + unknowns.ridge @ at[places]

    before, start = function(np.zeros(n))
    require_finite(before)
    matrix = gauss_newton_matrix(
        rows, objective.weights, theta, pieces, rng,
        force_rows=int(FORCE_ROWS * n), stress_rows=int(STRESS_ROWS * n), columns=places,
    )  # fmt: skip
    matrix += unknowns.ridge
    preconditioner = Preconditioner(matrix, DAMPING)

    shift, residual = np.zeros(n), -start
    step = preconditioner.solve(residual)
    square = first = float(residual @ step)
    iterations = 0
    while iterations < max_iterations and square > tolerance**2 * first and time_left():
        _, ahead = function(step)
        product = ahead - start
        curvature = float(step @ product)
        if not curvature > 0:
            break
        shift += square / curvature * step
        residual -= square / curvature * product
        better = preconditioner.solve(residual)
        square, last = float(residual @ better), square
        step = better + square / last * step
        iterations += 1
    found = theta.copy()
    found[places] += shift
    # Of a quadratic function the gradients at both ends give the decrease.
    return Solution(
        found, before, before + 0.5 * float(shift @ (start - residual)), preconditioner.damped(), iterations
    )
