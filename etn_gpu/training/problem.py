"""The minimisation problem of one architecture, and one iteration of the method for all parameters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.plan import Program
from etn_gpu.potential import Architecture
from etn_gpu.potential.grade_program import feature_program
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.potential.programs import programs
from etn_gpu.training.covariant_labels import mean_square, mean_values
from etn_gpu.training.covariant_objective import CovariantObjective
from etn_gpu.training.covariant_rows import CovariantRows
from etn_gpu.training.curvature import atoms_in_rows, gauss_newton_matrix
from etn_gpu.training.data import Piece
from etn_gpu.training.deadline import Deadline, TimeIsUp
from etn_gpu.training.fixed import Fixed
from etn_gpu.training.initial import parameter_scales, radial_sizes, reference_energies
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import LeastSquares, Objective, Weights, count_labels
from etn_gpu.training.optimizer import Point, Preconditioner, State, minimise, require_finite
from etn_gpu.training.partial import PartialKernel
from etn_gpu.training.prior import SMALLEST_NORM, Prior, usual_norm
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]

#: Rows of the Jacobian that a matrix is made of, for each parameter.
FORCE_ROWS, STRESS_ROWS = 3, 1
#: Cost of one atom in a row of the Jacobian, in single precision, over that of one in the loss and its gradient.
ROW_COST = 0.4
#: Strength of the prior beside the most probable one. On held-out structures of Mo (6000 parameters) about 0.08, 0.8
#: and 8 gave forces of 0.081, 0.078, 0.079 eV/A and energies of 1.8, 1.9, 2.2 meV; ethanol trained faster with less.
PRIOR_SHARE = 0.3
#: Problems that are remembered: sweeps come back to the ranks that they had.
REMEMBERED = 16


@dataclass(frozen=True)
class Model:
    """A point of the search: an architecture, whose ranks may change, and a value for each of its parameters."""

    architecture: Architecture
    parameters: Mapping[str, Array]


class Problem:
    """Objective, rows of its Jacobian and prior for the parameters of one architecture.

    Parameters: ``train``, all pieces that there are to train on; ``backend`` and ``threads``, None for the best backend
    and all cores; ``deadline``, after which computations end with TimeIsUp; ``fixed`` parameters, None for none.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Weights,
        train: Sequence[Piece],
        backend: str | None = None,
        threads: int | None = None,
        deadline: Deadline | None = None,
        fixed: Fixed | None = None,
    ) -> None:
        self.architecture = architecture
        self.fixed = fixed or Fixed.nothing(architecture.n_species)
        self.deadline = deadline or Deadline(None)
        self.weights = weights
        self.train = train
        self.backend = backend
        self.exact = Execution(backend, "float64", threads)
        self.fast = Execution(backend, "float32", threads)
        exact = Kernel(architecture, self.exact, self._before(self.exact))
        # Curvature only preconditions: single precision is enough.
        fast = Kernel(architecture, self.fast, self._before(self.fast))
        self.objective, self.rows = self._of(exact, fast)

    def _of(self, exact: Kernel, fast: Kernel) -> tuple[LeastSquares[Any], JacobianRows]:
        """Objective and rows of what is trained on: energies, or a target."""
        if self.weights.target:
            return CovariantObjective(exact, self.weights), CovariantRows(fast)
        return Objective(exact, self.weights), JacobianRows(fast)

    def part(self, names: tuple[str, ...]) -> tuple[LeastSquares[Any], JacobianRows]:
        """Objective and rows whose gradients are zero for all parameters but those called ``names``."""
        exact, fast = (
            PartialKernel(self.architecture, execution, names, self._before(execution))
            for execution in (self.exact, self.fast)
        )
        return self._of(exact, fast)

    def compile(self) -> None:
        """Compile all Programs of an iteration, on all cores.

        Raises:
            TimeIsUp: before they were done.
        """
        found = programs(self.architecture)
        if self.weights.target:
            exact, fast = [found.energy, found.energy_parameter_gradient], [found.energy_parameter_gradient]
        else:
            exact = [found.gradient, found.parameter_gradient, feature_program(self.architecture)]
            fast = [found.parameter_gradient, found.energy_parameter_gradient]
        self._prepare([(p, self.exact.dtype) for p in exact] + [(p, self.fast.dtype) for p in fast])

    def _before(self, execution: Execution) -> Callable[[Program], None]:
        """What comes before each execution of a Program: a look at the clock, and compilation under it."""

        def before_run(program: Program) -> None:
            self.deadline.check()
            self._prepare([(program, execution.dtype)])

        return before_run

    def _prepare(self, wanted: Sequence[tuple[Program, str]]) -> None:
        limit = None if self.deadline.limit is None else self.deadline.time_left
        if not backends.prepare(wanted, backend=self.backend, threads=self.exact.threads, time_left=limit):
            raise TimeIsUp

    @property
    def layout(self) -> ParameterVector:
        """Where each parameter lies in a vector."""
        return self.objective.layout

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """Which parameters of a vector are fixed."""
        return self.fixed.places(self.layout)

    @cached_property
    def references(self) -> Array:
        """Reference energies [n_species] in eV to begin with: those that are fixed, and a fit of the others.

        Of a target they are what its labels are in the mean.
        """
        if self.weights.target:
            return mean_values(self.train, self.architecture.n_species)
        return reference_energies(list(self.train), self.architecture.n_species, self.fixed.references)

    @cached_property
    def constant(self) -> float:
        """Energy in eV that atoms have beyond these in the mean; 0 where all are fitted, as it then nearly is."""
        if not np.isfinite(self.fixed.references).any():
            return 0.0
        excess = np.concatenate([piece.excess_energies(self.references) for piece in self.train])
        known = excess[np.isfinite(excess)]
        return float(np.median(known)) if known.size else 0.0

    @cached_property
    def scales(self) -> dict[str, Array]:
        """Natural size of every parameter."""
        return parameter_scales(self.architecture, self._radial_sizes)

    @cached_property
    def prior(self) -> Prior:
        """What the data leave open; :meth:`strength` goes with all of them."""
        return Prior(self.architecture, self.scales, self._radial_sizes)

    @cached_property
    def _radial_sizes(self) -> dict[int, Array]:
        return radial_sizes(self.architecture, self.train[0], self.backend)

    def strength(self, theta: Array) -> float:
        """Strength of the prior beside all of the training data, as the present parameters have it.

        The most probable strength is that at which the prior contributes to the loss half of the number of parameters
        that the data determine (D. J. C. MacKay, Neural Comput. 4, 415 (1992)). For independent residuals, that is:
        those here are what a model cannot represent, and ``PRIOR_SHARE`` of it is what held-out structures ask for. A
        coefficient tensor that is smaller than the labels make expect has not grown yet.
        """
        determined = 1.0 / (1.0 / self.layout.size + 1.0 / max(count_labels(self.weights, self.train), 1))
        return PRIOR_SHARE * determined / (self.prior.squared_norm(theta) + self._usual_norm)

    @property
    def size(self) -> float:
        """Size that outputs of an atom are expected to have: 1 eV, or that of the labels of a target."""
        return float(np.sqrt(self._usual_norm)) if self.weights.target else 1.0

    @cached_property
    def _usual_norm(self) -> float:
        if self.weights.target:
            return mean_square(self.train, self.references) or SMALLEST_NORM
        return usual_norm(self.train, self.references)

    def share(self, pieces: Sequence[Piece]) -> float:
        """Share of the training data, in atoms, that ``pieces`` are."""
        return sum(p.batch.n_atoms for p in pieces) / sum(p.batch.n_atoms for p in self.train)

    def model(self, theta: Array) -> Model:
        """The parameters of a vector."""
        return Model(self.architecture, self.layout.unpack(theta))

    def at(self, theta: Array, pieces: Sequence[Piece], strength: float) -> Point:
        """The loss, with a prior of this strength, and its gradient on request, zero for fixed parameters."""
        factor = strength * self.share(pieces)
        errors = [self.objective.errors(theta, piece) for piece in pieces]
        loss = self.objective.loss(pieces, errors) + factor * self.prior.value(theta)

        def gradient() -> Array:
            found = self.objective.gradient(theta, pieces, errors) + factor * self.prior.gradient(theta)
            found[self.held] = 0.0
            return found

        return Point(loss, gradient)

    def iterate(
        self,
        theta: Array,
        damping: float,
        pieces: Sequence[Piece],
        rng: np.random.Generator,
    ) -> tuple[float, State]:
        """A Gauss-Newton matrix at ``theta`` and the steps that it is good for; the loss before, and where they end.

        Raises:
            TrainingError: the loss is not finite.
            TimeIsUp: before the first step was done.
        """
        forces, stresses = FORCE_ROWS * self.layout.size, STRESS_ROWS * self.layout.size
        matrix = gauss_newton_matrix(
            self.rows, self.weights, theta, pieces, rng, force_rows=forces, stress_rows=stresses
        )
        strength = self.strength(theta)
        matrix += strength * self.share(pieces) * self.prior.curvature(theta)
        matrix[self.held] = matrix[:, self.held] = 0.0
        start = self.at(theta, pieces, strength)
        gradient = start.gradient()
        require_finite(start.loss if np.isfinite(gradient).all() else np.inf)
        state = State(theta, start.loss, gradient, damping)
        whole = bool(self.architecture.layers)
        atoms = atoms_in_rows(self.weights, pieces, force_rows=forces, stress_rows=stresses, whole=whole)
        cost = ROW_COST * atoms / sum(p.batch.n_atoms for p in pieces)
        minimise(
            state,
            lambda theta: self.at(theta, pieces, strength),
            Preconditioner(matrix, damping),
            cost,
            self.deadline.time_left,
        )
        if state.theta is theta:
            self.deadline.check()
        return start.loss, state


class Problems:
    """The problems of one run, one for each architecture it comes to: ``problems(architecture)``."""

    def __init__(
        self,
        weights: Weights,
        train: Sequence[Piece],
        backend: str | None = None,
        threads: int | None = None,
        deadline: Deadline | None = None,
        fixed: Fixed | None = None,
    ) -> None:
        self._make = lru_cache(REMEMBERED)(
            lambda architecture: Problem(architecture, weights, train, backend, threads, deadline, fixed)
        )

    def __call__(self, architecture: Architecture) -> Problem:
        return self._make(architecture)
