"""Polynomials as products that share factors: the same numbers, with few products."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.backend import Geometry, run
from etn_gpu.errors import PlanError
from etn_gpu.plan import ProgramBuilder, vjp
from etn_gpu.plan.polynomial_steps import product_steps
from etn_gpu.plan.polynomials import Monomial, share_products


@st.composite
def polynomials(draw: st.DrawFn) -> tuple[list[bool], list[Monomial]]:
    """Flags of variables, and monomials of them and their conjugates, some of them twice."""
    real = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    factors = st.integers(-len(real), len(real)).filter(bool)
    monomials = draw(st.lists(st.lists(factors, min_size=1, max_size=6).map(tuple), min_size=1, max_size=12))
    return real, monomials


def values(real: list[bool], n_atoms: int = 3) -> np.ndarray:
    rng = np.random.default_rng(len(real))
    z = rng.normal(size=(n_atoms, len(real))) + 1j * rng.normal(size=(n_atoms, len(real)))
    return np.where(real, z.real, z)


def monomial(z: np.ndarray, factors: Monomial) -> np.ndarray:
    """Its real part for each atom."""
    return np.asarray(
        prod((z[:, abs(v) - 1] if v > 0 else z[:, abs(v) - 1].conj() for v in factors), start=1.0 + 0j).real
    )


@given(case=polynomials())
def test_products_are_the_monomials(case: tuple[list[bool], list[Monomial]]) -> None:
    real, monomials = case
    plan = share_products(monomials, real)
    z = list(values(real).T)
    for a, b in plan.nodes:
        z.append(np.asarray(prod((z[abs(v) - 1] if v > 0 else z[abs(v) - 1].conj() for v in (a, b)), start=1.0 + 0j)))
    for flag, number in zip(plan.real, z, strict=True):
        if flag:
            np.testing.assert_allclose(number.imag, 0.0, atol=1e-12 * np.abs(number).max())
    for left, factors in zip(plan.monomials, monomials, strict=True):
        assert 1 <= len(left) <= 2
        np.testing.assert_allclose(
            monomial(np.array(z).T, left), monomial(values(real), factors), rtol=1e-12, atol=1e-12
        )


def test_what_is_shared_is_made_once() -> None:
    plan = share_products([(1, 2, 3), (1, 2, 4), (1, 2, 1, 2), (-1, -2, 5)], [False] * 5)
    assert plan.nodes == ((1, 2),)
    assert plan.monomials == ((3, 6), (4, 6), (6, 6), (5, -6))


def test_monomials_that_are_products_of_others_cost_nothing() -> None:
    plan = share_products([(1, 2, 3), (1, 2), (-1, -2)], [True, True, True])
    assert plan.nodes == ((1, 2),)
    assert plan.monomials == ((3, 4), (4,), (4,))


def test_a_number_times_its_conjugate_is_real() -> None:
    plan = share_products([(1, -1, 2), (1, -1, 3)], [False] * 3)
    assert plan.real[3]


def test_many_monomials_need_few_products() -> None:
    triples = [(i, j, k) for i in range(1, 11) for j in range(i, 11) for k in range(j, 11)]
    plan = share_products(triples, [True] * 10)
    assert len(plan.nodes) <= 55


@pytest.mark.parametrize("monomials", [[(1, 4)], [(0,)], [()]])
def test_factors_that_there_are_not(monomials: list[Monomial]) -> None:
    with pytest.raises(PlanError, match="a monomial is a product of one or more of 3 factors"):
        share_products(monomials, [True] * 3)


MONOMIALS: list[Monomial] = [
    (2,),
    (1, 1),
    (1, -1),
    (1, 2, 3),
    (-1, 2, 3),
    (1, 2),
    (1, 1, 3, 3, -3),
    (2, 2, 2, 2, 2, 2),
    (3, -1),
]


def test_steps_give_linear_forms_and_gradients(backend: str) -> None:
    real = [False, True, False]
    z = values(real, 20)
    x = np.stack([z[:, 0].real, z[:, 0].imag, z[:, 1].real, z[:, 2].real, z[:, 2].imag], axis=1)
    builder = ProgramBuilder()
    site = builder.input("x", "atom", 5)
    found = product_steps(
        builder, share_products(MONOMIALS, real), [(site, 0, 1), (site, 2, None), (site, 3, 4)]
    )  # fmt: skip
    coefficients = np.random.default_rng(1).normal(size=(2, 3, len(MONOMIALS)))
    table = np.concatenate([np.zeros((2, 4)), found.weights(coefficients)], axis=1)
    weights = builder.input("w", "param", table.size)
    out = builder.step("out", "atom", found.linear_forms(3, weights, 4, table.shape[1]))
    program = vjp(builder.build({"out": out.name}), {"out": "bar"}, {"x": "g"})
    species = (np.arange(20) % 2).astype(np.int32)
    geometry = Geometry(np.zeros(21, np.int64), species, np.zeros(0, np.int32))
    bar = np.random.default_rng(2).normal(size=(20, 3))

    def evaluate(x: np.ndarray) -> dict[str, np.ndarray]:
        return run(program, {"x": x, "w": table.ravel(), "bar": bar}, geometry, backend=backend)

    wanted = np.einsum("apm,am->ap", coefficients[species], np.stack([monomial(z, m) for m in MONOMIALS], axis=1))
    np.testing.assert_allclose(evaluate(x)["out"], wanted, rtol=1e-12, atol=1e-12)
    step = 1e-5 * np.random.default_rng(3).normal(size=x.shape)
    change = ((evaluate(x + step)["out"] - evaluate(x - step)["out"]) * bar).sum() / 2
    np.testing.assert_allclose((evaluate(x)["g"] * step).sum(), change, rtol=1e-7)
