"""Contraction of many tensors: numpy's einsum as the oracle, and orders that suit the sectors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import opt_einsum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.plan import Cost
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor.batches import HOST
from etn_gpu.tensor.einsum import TensorNetwork, contraction_cost, multiplicities
from etn_gpu.tensor.structure import fuse_legs

LEGS = {
    "a": "1x0e+1x1o",
    "b": "2x0e+1x1o",
    "c": "1x0e+1x1e",
    "d": "1x1o",
    "e": "2x0e",
    "f": "1x0o+1x1o",
    "g": "1x0e+1x1o",
}

EQUATIONS = [
    "abc->cab",
    "abc,cd->abd",
    "ab,bc,ca->",
    "ab,bcd,d->ca",
    "ab,cd->cadb",
    "ab,ab,cd,d->c",
    "aab->b",
    "abb,ccd,d->a",
    "ab,bc,ac,de->ed",
    "abc,bgd,dea,f->cegf",
    "a,a->",
    "->",
    ",a->a",
]


def operands(equation: str, seed: int = 0) -> list[tn.Tensor]:
    rng = np.random.default_rng(seed)
    out = []
    for term in equation.split("->")[0].split(","):
        n_rows = int(rng.integers(0, len(term) + 1))
        legs = [LEGS[x] for x in term]
        out.append(tn.zeros(legs[:n_rows], legs[n_rows:]))
        numbers = rng.standard_normal(out[-1].structure.size)
        out[-1] = tn.Tensor(out[-1].structure, numbers)
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("equation", EQUATIONS)
def test_against_dense_einsum(equation: str, seed: int, assert_close: Any) -> None:
    tensors = operands(equation, seed)
    result = tn.einsum(equation, *tensors)
    expected = np.einsum(equation, *map(tn.to_dense, tensors))
    assert_close(tn.to_dense(result), expected)
    for rows in range(len(result.legs) + 1):
        regrouped = tn.einsum(equation, *tensors, rows=rows)
        assert regrouped.n_rows == rows
        assert_close(tn.to_dense(regrouped), expected)


@given(st.data())
def test_random_chain(
    legs: Callable[..., st.SearchStrategy[Irreps]],
    tensors: Callable[..., st.SearchStrategy[tn.Tensor]],
    assert_close: Any,
    data: st.DataObject,
) -> None:
    bonds = [data.draw(legs(2)) for _ in range(4)]
    chain = [data.draw(tensors(bonds[i : i + 2], dtypes=["float64"])) for i in range(3)]
    result = tn.einsum("ab,bc,cd->da", *chain)
    assert_close(tn.to_dense(result), np.linalg.multi_dot([tn.to_dense(t) for t in chain]).T, atol=1e-10)


def test_names_of_operands_do_not_clash() -> None:
    tensor = tn.identity(["1x1o"], names=("a", "b"))
    assert tn.einsum("ab,bc->ac", tensor, tensor).names == (None, None)


def test_the_order_follows_the_sectors_and_not_the_dimensions() -> None:
    # The 40x2e of leg c meet nothing on a, b and d. Counted densely they make the contraction over c the first.
    legs = {"a": "10x0e", "b": "30x0e", "c": "10x0e+40x2e", "d": "10x0e"}
    terms = ("ab", "bc", "cd")
    tensors = [tn.random([legs[x]], [legs[y]], rng=np.random.default_rng(0)) for x, y in map(tuple, terms)]
    shapes = [tensor.structure.dense_shape for tensor in tensors]
    dense_path, _ = opt_einsum.contract_path("ab,bc,cd->ad", *shapes, shapes=True, optimize="optimal")
    assert sorted(dense_path[0]) == [1, 2]
    plan = tn.plan_einsum("ab,bc,cd->ad", *tensors)
    assert sorted(plan.path[0]) == [0, 1]
    network = TensorNetwork(terms, tuple(tensor.legs for tensor in tensors))
    assert plan.cost == cost_of(network, [0, 1, 2])
    assert plan.cost.weight(HOST) < cost_of(network, [2, 1, 0]).weight(HOST)


def cost_of(network: TensorNetwork, order: list[int]) -> Cost:
    """Cost of contracting the nodes one after the other."""
    state, cost = network.initial(order[0]), Cost()
    for i in order[1:]:
        joined = network.join(state, network.initial(i))
        assert joined is not None
        state, own = joined
        cost = cost + own
    return cost


def test_long_chains_are_planned_fast() -> None:
    leg = "2x0e+1x1o"
    letters = [chr(97 + i) for i in range(15)]
    tensors = [tn.random([leg], [leg], rng=np.random.default_rng(i)) for i in range(14)]
    terms = [x + y for x, y in itertools.pairwise(letters)]
    result = tn.einsum(",".join(terms) + "->ao", *tensors)
    np.testing.assert_allclose(
        tn.to_dense(result), np.linalg.multi_dot([tn.to_dense(t) for t in tensors]), rtol=1e-10, atol=1e-8
    )


def test_cost_of_a_contraction_counts_the_matrices_of_the_sectors() -> None:
    first, second, third = Irreps("2x0e+3x1o"), Irreps("5x0e+1x1o"), Irreps("7x1o")
    cost = contraction_cost((first,), (second,), (third,))
    assert cost == Cost(2.0 * 3 * 1 * 7, (2 * 5 + 3 * 1) + 1 * 7 + 3 * 7, 1)


def test_multiplicities_are_those_of_the_fused_leg() -> None:
    legs = tuple(map(Irreps, ("2x0e+1x1o", "1x1o+1x2e", "3x1e")))
    assert multiplicities(legs) == {ir: fuse_legs(legs).leg.count(ir) for ir in multiplicities(legs)}
    assert multiplicities(()) == {Irrep(0, 1): 1}


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("ab,bc", "cannot read the equation 'ab,bc': expected letters"),
        ("a1,1c->ac", "cannot read the equation"),
        ("ab->ab", "has 1 operands, got 2 tensors"),
        ("ab,b->a", "operand 1 of 'ab,b->a' has the labels 'b', the tensor has 2 legs"),
        ("ab,bb->a", "the label 'b' stands 3 times among the operands of 'ab,bb->a' and 0 times in its output"),
        ("ab,bc->ab", "the label 'b' stands 2 times among the operands of 'ab,bc->ab' and 1 times in its output"),
        ("ab,bc->a", "the label 'c' stands 1 times among the operands of 'ab,bc->a' and 0 times in its output"),
        ("ab,bc->acd", "the label 'd' stands 0 times among the operands"),
    ],
)
def test_equations_that_do_not_fit(equation: str, message: str) -> None:
    tensor = tn.identity(["1x1o"])
    with pytest.raises(TensorError, match=message):
        tn.einsum(equation, tensor, tensor)


def test_no_operands() -> None:
    with pytest.raises(TensorError, match="got 0 tensors"):
        tn.einsum("->")


def test_legs_that_differ_name_both_and_the_sectors() -> None:
    first, second = tn.zeros(["1x0e"], ["2x1o"], names=("x", "y")), tn.zeros(["3x1o"])
    message = (
        r"leg 1 'y' \(2x1o\) of operand 0, label 'b', and leg 0 \(3x1o\) of operand 1, label 'b', do not match: "
        "sector 1o has multiplicity 2 on the first and 3 on the second"
    )
    with pytest.raises(TensorError, match=message):
        tn.einsum("ab,b->a", first, second)


def test_more_rows_than_legs() -> None:
    with pytest.raises(TensorError, match="rows must lie between 0 and the number of output legs, 2, got 3"):
        tn.einsum("ab->ba", tn.identity(["1x1o"]), rows=3)
