"""Sweeps: two-site least squares along the train, by which the ranks of its bonds adapt to the data.

At each bond, with the train in mixed canonical form (White, Phys. Rev. Lett. 69, 2863; Holtz, Rohwedder, Schneider,
SIAM J. Sci. Comput. 34, A683):

1. the bond gets new components in the directions of the gradient (:mod:`etn_gpu.network.expansion`): all of the
   two-site space where it is small, the most promising part of it where it is large;
2. the core at the centre, which has got the new freedom, is solved for (:mod:`etn_gpu.training.one_site`);
3. the bond is truncated to what the loss needs and the cost allows (:mod:`etn_gpu.training.truncation`).

A sweep moves the centre from core 2 to core d, or from core d - 1 to core 1. Radial functions and species embeddings
stay as they are: the energy is not linear in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etn_gpu.network import (
    TensorTree,
    Train,
    balance,
    canonicalise,
    from_train,
    probe,
    room,
    select,
    sort_by_gradient,
    to_train,
    turn_to_singular,
    turn_towards,
)
from etn_gpu.network.expansion import near_node
from etn_gpu.plan import Core
from etn_gpu.plan.cost import mix_cost, outer_cost
from etn_gpu.potential.references import REFERENCES
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor import Tensor
from etn_gpu.training.data import Piece
from etn_gpu.training.one_site import Solution, Unknowns, solve
from etn_gpu.training.problem import Model, Problem, Problems
from etn_gpu.training.truncation import Component, eliminate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Budget:
    """What trains may cost, relative to one of them: half by operations of an evaluation, half by parameters.

    Operations are those for one atom, core by core: coupling the site vector to a bond and mixing to the next, from
    the left to the right of the core or the other way, whatever is less.
    """

    operations: float
    parameters: float

    @staticmethod
    def of(train: Train) -> Budget:
        """The budget of which ``train`` costs 1."""
        return Budget(sum(map(_operations, train.cores)), sum(core.size for core in train.cores))

    def __call__(self, *cores: Core) -> float:
        return sum(_operations(core) / self.operations + core.size / self.parameters for core in cores) / 2.0


def _operations(core: Core) -> float:
    ways = (("left", "out"), ("out", "left"))
    return min(
        outer_cost(core.paths, (source, "feature")).flops + mix_cost(core.paths, target).flops
        for source, target in ways
    )


@dataclass(frozen=True)
class SweepOptions:
    """How far sweeps go.

    The train costs at most 1 in units of ``budget``, and at one bond it grows by at most ``growth``. A truncation that
    the budget does not ask for may raise the loss by the share ``rise``. ``extra`` new components are tried in each
    sector of a bond, and at most ``taken`` of them used, those with the largest gradient. A step solves to
    ``tolerance``, in ``max_iterations``.
    """

    budget: Budget
    growth: float = 0.15
    rise: float = 1e-3
    extra: int = 2
    taken: int = 12
    tolerance: float = 0.05
    max_iterations: int = 6


@dataclass(frozen=True)
class BondUpdate:
    """One step of a sweep: the bond 1 ... d - 1, the core that was solved for, irreps of the bond before and after.

    Losses include the ridge: ``before`` the step, ``solved`` with the expanded bond. The truncation changed the
    coefficient tensor by the squared norm ``discarded_weight`` and raises the loss by ``rise``, as the sampled second
    derivatives have it.
    """

    bond: int
    centre: int
    old: Irreps
    new: Irreps
    before: float
    solved: float
    discarded_weight: float
    rise: float


@dataclass(frozen=True)
class Sweep:
    """What a sweep made of a model: the model in the balanced gauge, and every step of the way."""

    model: Model
    updates: tuple[BondUpdate, ...]


def sweep(
    problems: Problems,
    model: Model,
    pieces: Sequence[Piece],
    rng: np.random.Generator,
    options: SweepOptions,
    *,
    strength: float,
    backwards: bool = False,
    time_left: Callable[[], bool] = lambda: True,
) -> Sweep:
    """A sweep over all bonds from left to right or ``backwards``, or over as many as there is time for.

    ``strength`` of the prior beside all of the training data.

    Raises:
        TrainingError: the loss is not finite.
    """
    order = model.architecture.train.order
    network = from_train(model.architecture.train, model.parameters)
    updates: list[BondUpdate] = []
    for bond in range(order - 1, 0, -1) if backwards else range(1, order):
        if updates and not time_left():
            break
        centre = bond if backwards else bond + 1
        step = _Step(problems, model, pieces, rng, options, strength, bond, centre)
        network, model, update = step.run(canonicalise(network, f"G{centre}"), time_left)
        updates.append(update)
    return Sweep(_replaced(model, balance(network)), tuple(updates))


@dataclass
class _Step:
    problems: Problems
    model: Model
    pieces: Sequence[Piece]
    rng: np.random.Generator
    options: SweepOptions
    strength: float
    bond: int
    centre: int

    @property
    def _name(self) -> str:
        return f"bond{self.bond}"

    @property
    def _names(self) -> tuple[str, ...]:
        """Parameters that take part: the cores at both ends of the bond, and the reference energies."""
        free = (REFERENCES,) if self.model.architecture.is_energy else ()
        return (f"G{self.bond}", f"G{self.bond + 1}", *free)

    def run(self, network: TensorTree, time_left: Callable[[], bool]) -> tuple[TensorTree, Model, BondUpdate]:
        """The network with the centre where it was, the model, and what happened."""
        options = self.options
        network = self._laid_out(network)
        old = network.leg(self._name)
        cost = options.budget(*self._cores(network))
        network, kept = self._expand(network, old)
        model = _replaced(self.model, network)
        problem = self.problems(model.architecture)
        core = model.architecture.train.cores[self.centre - 1]
        theta = problem.layout.pack(model.parameters)
        ridge = self.strength * problem.share(self.pieces) * problem.prior.core_curvature(theta, core.name)
        leg = "left" if self.bond < self.centre else "out"
        unknowns = Unknowns.of(problem.layout, core, ridge, leg, kept, problem.held)
        solution = solve(
            *problem.part(self._names), theta, unknowns, self.pieces, self.rng,
            tolerance=options.tolerance, max_iterations=options.max_iterations, time_left=time_left,
        )  # fmt: skip
        most = min(1.0, cost + options.growth)
        network, model, weight, rise = self._truncate(problem, kept, unknowns, solution, most)
        update = BondUpdate(
            self.bond, self.centre, old, network.leg(self._name), solution.before, solution.loss, weight, rise
        )
        return network, model, update

    def _expand(self, network: TensorTree, old: Irreps) -> tuple[TensorTree, Irreps]:
        """The network with new components of the bond, and those that the step shall use, the old ones included."""
        name, options = self._name, self.options
        lmax = self.model.architecture.lmax
        extra = Irreps([(min(mul, options.extra), ir) for mul, ir in room(network, name) if ir.l <= lmax])
        if not extra.dim:
            return network, old
        near = near_node(network, name)
        network = self._laid_out(probe(network, name, extra, self.rng))
        network = self._laid_out(turn_towards(network, name, old, self._gradient(network, near)))
        network, promised = sort_by_gradient(network, name, old, self._gradient(network, f"G{self.centre}"))
        slopes = sorted(((value, ir) for ir, values in promised.items() for value in values if value > 0), reverse=True)
        chosen = [(1, ir) for _, ir in slopes[: options.taken]]
        return self._laid_out(network), (old + Irreps(chosen)).sort().simplify()

    def _truncate(
        self, problem: Problem, used: Irreps, unknowns: Unknowns, solution: Solution, most: float
    ) -> tuple[TensorTree, Model, float, float]:
        """The network and the model with the truncated bond, the discarded weight and the rise of the loss."""
        name = self._name
        solved = problem.model(solution.theta)
        network, turns = turn_to_singular(_at(solved, self.centre), name, used)
        turn = unknowns.turn(turns)
        budget, cores = self.options.budget, solved.architecture.train.cores
        left, right = cores[self.bond - 1], cores[self.bond]
        rest = budget(*(core for core in cores if core not in (left, right)))

        def cost(bond: Irreps) -> float:
            return rest + budget(replace(left, out=bond), replace(right, left=bond))

        elimination = eliminate(
            turn.T @ solution.matrix @ turn, turn.T @ solution.theta[unknowns.places],
            [Component(ir, k, unknowns.component(ir, k)) for mul, ir in used for k in range(mul)],
            cost, most, self.options.rise * solution.loss,
        )  # fmt: skip
        theta = problem.layout.pack(_replaced(solved, network).parameters)
        theta[unknowns.places] = elimination.x
        model = problem.model(theta)
        cut = _at(model, self.centre)
        weight = (network.nodes[f"G{self.centre}"] - cut.nodes[f"G{self.centre}"]).squared_norm()
        chosen: dict[Irrep, list[int]] = {}
        for component in elimination.kept:
            chosen.setdefault(component.ir, []).append(component.index)
        cut = select(cut, name, chosen)
        return cut, _replaced(model, cut), weight, elimination.rise

    def _gradient(self, network: TensorTree, node: str) -> Tensor:
        """Gradient of the loss with respect to a node, as a tensor: in the metric of the norm of tensors."""
        model = _replaced(self.model, network)
        problem = self.problems(model.architecture)
        objective, _ = problem.part(self._names)
        _, gradient = objective.loss_and_gradient(problem.layout.pack(model.parameters), self.pieces)
        tensor = network.nodes[node]
        flat = gradient[problem.layout.slices[node]].copy()
        for block in tensor.structure.blocks:
            flat[block.where] /= block.ir.dim
        return Tensor(tensor.structure, flat, tensor.names)

    def _cores(self, network: TensorTree) -> tuple[Core, ...]:
        return _replaced(self.model, network).architecture.train.cores

    def _laid_out(self, network: TensorTree) -> TensorTree:
        """The network laid out as the parameters of an architecture are."""
        return _at(_replaced(self.model, network), self.centre)


def _at(model: Model, centre: int) -> TensorTree:
    """The network of a model whose centre is known."""
    return TensorTree(from_train(model.architecture.train, model.parameters).nodes, f"G{centre}")


def _replaced(model: Model, network: TensorTree) -> Model:
    """The model with another train."""
    train, weights = to_train(network)
    architecture = replace(model.architecture, bonds=tuple(map(str, train.bonds)))
    return Model(architecture, {**model.parameters, **weights})
