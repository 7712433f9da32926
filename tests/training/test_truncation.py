"""Which components of a bond are dropped: against minimisations without them, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.training.truncation import Component, eliminate

Array = NDArray[np.float64]
SCALAR, VECTOR = Irrep(0, 1), Irrep(1, -1)
SIZE = 4


@pytest.fixture
def components() -> list[Component]:
    """Three scalars and two vectors with four weights each; two more unknowns belong to none."""
    labels = [(SCALAR, 0), (SCALAR, 1), (SCALAR, 2), (VECTOR, 0), (VECTOR, 1)]
    return [Component(ir, k, np.arange(SIZE) + SIZE * n) for n, (ir, k) in enumerate(labels)]


@pytest.fixture
def quadratic(components: list[Component]) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    n = SIZE * len(components) + 2
    root = rng.normal(size=(2 * n, n))
    return root.T @ root, rng.normal(size=n)


def without(matrix: Array, x: Array, dropped: NDArray[np.int64]) -> tuple[Array, float]:
    """The minimum with some unknowns zero, and how much higher the function is there."""
    kept = np.setdiff1d(np.arange(len(x)), dropped)
    y = np.zeros_like(x)
    y[kept] = x[kept] + np.linalg.solve(matrix[np.ix_(kept, kept)], matrix[np.ix_(kept, dropped)] @ x[dropped])
    return y, 0.5 * float((y - x) @ matrix @ (y - x))


def dimension(bond: Irreps) -> float:
    return float(bond.dim)


@pytest.mark.parametrize("most", [9.0, 8.0, 5.0, 2.0])
def test_minimum_and_rise_are_those_of_the_smaller_problem(
    most: float, components: list[Component], quadratic: tuple[Array, Array]
) -> None:
    matrix, x = quadratic
    found = eliminate(matrix, x, components, dimension, most, 0.0)
    assert sum(component.ir.dim for component in found.kept) <= most
    dropped = [component for component in components if component not in found.kept]
    places = np.concatenate([component.unknowns for component in dropped]) if dropped else np.empty(0, dtype=np.int64)
    expected, rise = without(matrix, x, places)
    np.testing.assert_allclose(found.x, expected, atol=1e-10)
    assert found.rise == pytest.approx(rise, abs=1e-10)


def test_the_first_to_go_costs_least_for_what_it_saves(
    components: list[Component], quadratic: tuple[Array, Array]
) -> None:
    matrix, x = quadratic
    found = eliminate(matrix, x, components, dimension, 8.0, 0.0)
    [dropped] = [component for component in components if component not in found.kept]
    ratios = [without(matrix, x, component.unknowns)[1] / component.ir.dim for component in components]
    assert components[int(np.argmin(ratios))] is dropped


def test_what_the_loss_does_not_need_goes_although_there_is_room(
    components: list[Component], quadratic: tuple[Array, Array]
) -> None:
    matrix, x = quadratic
    x = x.copy()
    for k in (1, 4):
        x[components[k].unknowns] = 0.0
    found = eliminate(matrix, x, components, dimension, 100.0, 1e-9)
    assert [components.index(component) for component in found.kept] == [0, 2, 3]
    assert found.rise < 1e-12
    np.testing.assert_allclose(found.x, x, atol=1e-12)


def test_a_scalar_stays(components: list[Component], quadratic: tuple[Array, Array]) -> None:
    """Also one that the loss needs less than anything else."""
    matrix, x = quadratic
    x = x.copy()
    x[: 3 * SIZE] *= 1e-6
    found = eliminate(matrix, x, components, dimension, 4.0, 0.0)
    assert sorted(component.ir for component in found.kept) == [SCALAR, VECTOR]
    alone = eliminate(matrix, x, components, dimension, 0.0, 0.0)
    assert [component.ir for component in alone.kept] == [SCALAR]
