"""Contraction of many tensors, in the order that the symmetry-aware optimizer of :mod:`etn_gpu.plan` finds.

The cost of a pairwise contraction counts the products of the matrices of the coupled sectors, the numbers moved and the
calls made, so that the order suits the blocks and not the dense dimensions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from opt_einsum import get_symbol
from opt_einsum.paths import linear_to_ssa, ssa_to_linear

from etn_gpu.errors import TensorError
from etn_gpu.plan import Cost, SymmetricOptimizer
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor.arrays import namespace
from etn_gpu.tensor.batches import HOST
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.create import identity
from etn_gpu.tensor.legs import describe_leg, require_equal_legs
from etn_gpu.tensor.permute import permute
from etn_gpu.tensor.tensor import Tensor

Terms = tuple[str, ...]


@dataclass(frozen=True)
class EinsumPlan:
    """Pairwise contractions as opt_einsum's linear path, and their total cost."""

    path: tuple[tuple[int, int], ...]
    cost: Cost


def einsum(equation: str, *tensors: Tensor, rows: int | None = None) -> Tensor:
    """Contract tensors as ``"abc,cde->abde"`` says: one letter per leg, rows first; nothing is conjugated.

    A letter stands twice among the operands (contracted; on one operand: the trace) or once there and once in the
    output. The first `rows` legs of the result are its rows; by default the division is the one that the last
    contraction leaves. The result has no leg names.

    Raises :class:`~etn_gpu.errors.TensorError` for an equation that cannot be read or does not fit the operands, and
    for contracted legs that differ (naming both and the sectors that differ).
    """
    terms, output = _parse(equation, tensors)
    _require_matching(terms, tensors)
    operands = [tensor.rename((None,) * len(tensor.legs)) for tensor in tensors]
    terms, operands = _open_traces(terms, operands)
    items = list(zip(terms, operands, strict=True))
    for i, j in _plan(terms, tuple(tensor.legs for tensor in operands)).path:
        second, first = items.pop(max(i, j)), items.pop(min(i, j))
        items.append(_contract(first, second, output))
    ((labels, result),) = items
    if labels == output and rows in (None, result.n_rows):
        return result
    n_rows = min(result.n_rows, len(output)) if rows is None else rows
    if not 0 <= n_rows <= len(output):
        raise TensorError(f"rows must lie between 0 and the number of output legs, {len(output)}, got {rows}")
    order = [labels.index(label) for label in output]
    return permute(result, order[:n_rows], order[n_rows:])


def plan_einsum(equation: str, *tensors: Tensor) -> EinsumPlan:
    """The order and the cost of :func:`einsum` with the same arguments, without contracting anything."""
    terms, _ = _parse(equation, tensors)
    _require_matching(terms, tensors)
    terms, operands = _open_traces(terms, list(tensors))
    return _plan(terms, tuple(tensor.legs for tensor in operands))


@dataclass(frozen=True)
class _Open:
    """A partial contraction: its open labels and their irreps."""

    labels: str
    legs: tuple[Irreps, ...]

    def pick(self, labels: str) -> tuple[Irreps, ...]:
        return tuple(leg for label, leg in zip(self.labels, self.legs, strict=True) if label in labels)


@dataclass(frozen=True)
class TensorNetwork:
    """What the optimizer asks about a network: its nodes, and result and cost of contracting two of its parts."""

    terms: Terms
    legs: tuple[tuple[Irreps, ...], ...]

    def initial(self, index: int) -> _Open:
        """A node by itself."""
        return _Open(self.terms[index], self.legs[index])

    def join(self, a: _Open, b: _Open) -> tuple[_Open, Cost] | None:
        """The contraction of two parts over all labels that they share; None if they share none."""
        shared = "".join(label for label in a.labels if label in b.labels)
        if not shared:
            return None
        free = "".join(x for x in a.labels if x not in shared), "".join(x for x in b.labels if x not in shared)
        left, right = a.pick(free[0]), b.pick(free[1])
        return _Open(free[0] + free[1], left + right), contraction_cost(left, a.pick(shared), right)


def contraction_cost(left: tuple[Irreps, ...], contracted: tuple[Irreps, ...], right: tuple[Irreps, ...]) -> Cost:
    """Cost of one pairwise contraction: 2 m k n flops for the matrices m x k and k x n of each coupled sector."""
    m, k, n = multiplicities(left), multiplicities(contracted), multiplicities(right)
    sectors = [ir for ir in m if ir in k and ir in n]
    flops = sum(2.0 * m[ir] * k[ir] * n[ir] for ir in sectors)
    sizes = (sum(a[ir] * b[ir] for ir in a if ir in b) for a, b in ((m, k), (k, n), (m, n)))
    return Cost(flops, float(sum(sizes)), len(sectors))


@lru_cache(maxsize=65536)
def multiplicities(legs: tuple[Irreps, ...]) -> dict[Irrep, int]:
    """How often each irrep occurs in the product of legs, without making its trees."""
    if not legs:
        return {Irrep(0, 1): 1}
    found: Counter[Irrep] = Counter()
    for ir, count in multiplicities(legs[:-1]).items():
        for mul, other in legs[-1]:
            for coupled in ir * other:
                found[coupled] += count * mul
    return dict(found)


@lru_cache(maxsize=1024)
def _plan(terms: Terms, legs: tuple[tuple[Irreps, ...], ...]) -> EinsumPlan:
    """Connected parts are contracted each in its best order, then multiplied with one another."""
    counts = Counter("".join(terms))
    ssa: list[tuple[int, ...]] = []
    cost = Cost()
    results: list[tuple[int, tuple[Irreps, ...]]] = []
    for part in _components(terms):
        network = TensorNetwork(tuple(terms[i] for i in part), tuple(legs[i] for i in part))
        optimizer = SymmetricOptimizer(network, HOST)
        steps = linear_to_ssa(optimizer([frozenset(term) for term in network.terms], frozenset(), {}))
        ids = [*part, *range(len(terms) + len(ssa), len(terms) + len(ssa) + len(steps))]
        ssa += [tuple(ids[i] for i in step) for step in steps]
        cost = cost + optimizer.cost
        nodes = [network.initial(i) for i in range(len(part))]
        open_legs = tuple(leg for x in nodes for label, leg in zip(x.labels, x.legs, strict=True) if counts[label] == 1)
        results.append((ids[-1], open_legs))
    current, left = results[0]
    for other, right in results[1:]:
        cost = cost + contraction_cost(left, (), right)
        ssa.append((current, other))
        current, left = len(terms) + len(ssa) - 1, left + right
    return EinsumPlan(tuple((i, j) for i, j in ssa_to_linear(ssa)), cost)


def _components(terms: Terms) -> list[list[int]]:
    """Positions of the terms that hang together, part by part."""
    parts: list[list[int]] = []
    for i, term in enumerate(terms):
        joined = [part for part in parts if any(set(terms[k]) & set(term) for k in part)]
        parts = [part for part in parts if part not in joined]
        parts.append([k for part in joined for k in part] + [i])
    return parts


def _contract(first: tuple[str, Tensor], second: tuple[str, Tensor], output: str) -> tuple[str, Tensor]:
    """Contract over all shared labels; the operand whose legs come first in the output goes first."""
    free = [
        "".join(x for x in labels if x not in other) for labels, other in ((first[0], second[0]), (second[0], first[0]))
    ]
    if output == free[1] + free[0]:
        first, second, free = second, first, free[::-1]
    pairs = [(first[0].index(x), second[0].index(x)) for x in first[0] if x in second[0]]
    return free[0] + free[1], contract(first[1], second[1], pairs)


def _parse(equation: str, tensors: Sequence[Tensor]) -> tuple[Terms, str]:
    """The labels of the operands and of the output, checked against each other and the numbers of legs."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = tuple(inputs.split(","))
    if not arrow or not all(term.isalpha() or not term for term in (*terms, output)):
        raise TensorError(f"cannot read the equation {equation!r}: expected letters such as 'abc,cde->abde'")
    if len(terms) != len(tensors) or not tensors:
        raise TensorError(f"the equation {equation!r} has {len(terms)} operands, got {len(tensors)} tensors")
    for i, (term, tensor) in enumerate(zip(terms, tensors, strict=True)):
        if len(term) != len(tensor.legs):
            raise TensorError(
                f"operand {i} of {equation!r} has the labels {term!r}, the tensor has {len(tensor.legs)} legs"
            )
    counts = Counter("".join(terms))
    for label in sorted({*counts, *output}):
        if counts[label] + output.count(label) != 2 or counts[label] == 0:
            raise TensorError(
                f"the label {label!r} stands {counts[label]} times among the operands of {equation!r} and "
                f"{output.count(label)} times in its output; expected 2 and 0, or 1 and 1"
            )
    return terms, output


def _require_matching(terms: Terms, tensors: Sequence[Tensor]) -> None:
    """TensorError if the two legs of a contracted label differ."""
    seen: dict[str, tuple[Irreps, str]] = {}
    for i, (term, tensor) in enumerate(zip(terms, tensors, strict=True)):
        for axis, label in enumerate(term):
            text = f"{describe_leg(tensor.legs, tensor.names, axis)} of operand {i}, label {label!r},"
            if label in seen:
                require_equal_legs(seen[label][0], tensor.legs[axis], seen[label][1], text)
            seen[label] = (tensor.legs[axis], text)


def _open_traces(terms: Terms, tensors: list[Tensor]) -> tuple[Terms, list[Tensor]]:
    """Replace the second of two equal labels on one operand by a new one, joined to the first by an identity."""
    new_terms, extra_terms, extra = [], [], []
    used = set("".join(terms))
    for term, tensor in zip(terms, tensors, strict=True):
        labels = list(term)
        for axis, label in enumerate(term):
            if label in term[:axis]:
                labels[axis] = next(x for x in map(get_symbol, range(len(used) + 1)) if x not in used)
                used.add(labels[axis])
                extra_terms.append(label + labels[axis])
                extra.append(identity((tensor.legs[axis],), dtype=tensor.dtype, xp=namespace(tensor.data)))
        new_terms.append("".join(labels))
    return (*new_terms, *extra_terms), tensors + extra
