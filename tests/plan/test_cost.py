"""The symmetry-aware cost: only allowed triples, only nonzero coefficients."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.plan import Core, Cost, Machine
from etn_gpu.plan.cost import dot_cost, mix_cost, nonzeros, outer_cost
from etn_gpu.symmetry import Irreps, clebsch_gordan

CORE = Core("G", Irreps("2x0e+1x1o"), Irreps("3x0e+2x1o"), Irreps("2x0e+1x1o"))


@pytest.mark.parametrize(("ls", "expected"), [((0, 0, 0), 1), ((1, 1, 0), 3), ((0, 2, 2), 5), ((1, 1, 1), 6)])
def test_nonzeros(ls: tuple[int, int, int], expected: int) -> None:
    assert nonzeros(*ls) == expected == np.count_nonzero(clebsch_gordan(*ls))


def test_mixing_multiplies_each_weight_by_each_component() -> None:
    assert mix_cost(CORE.paths, "out").flops == 2 * (12 + 4 + 4 * 3 + 3 * 3)
    assert mix_cost(CORE.paths, "feature").flops == 2 * (12 * 1 + 4 * 3 + 4 * 3 + 3 * 1)
    assert mix_cost(CORE.paths, "left").flops == 2 * (12 * 1 + 4 * 3 + 4 * 1 + 3 * 3)


def test_coupling_keeps_all_pairs() -> None:
    cost = outer_cost(CORE.paths, ("left", "feature"))
    assert cost.flops == 3 * (6 * 1 + 2 * 3 + 4 * 3 + 3 * 3)
    assert cost.components == 6 * 1 + 2 * 1 + 4 * 3 + 3 * 3
    assert outer_cost(CORE.paths, ("feature", "out")).components == 6 * 1 + 4 * 3 + 2 * 1 + 3 * 3


def test_a_dot_product_is_linear_in_the_leg() -> None:
    assert dot_cost(Irreps("2x0e+1x1o")) == Cost(10.0, 10.0, 1)


def test_costs_add_and_are_weighed_by_the_machine() -> None:
    total = Cost(10.0, 3.0, 1) + Cost(5.0, 1.0, 2)
    assert total == Cost(15.0, 4.0, 3)
    assert total.weight(Machine(flops_per_component=2.0, flops_per_launch=50.0)) == 15 + 8 + 150
    assert total.weight(Machine(0.0, 0.0)) == 15


def test_a_forbidden_core_costs_nothing() -> None:
    empty = Core("G", Irreps("1x0e"), Irreps("1x1o"), Irreps("1x2e"))
    assert empty.paths == ()
    assert empty.size == 0
    assert mix_cost(empty.paths, "out") == Cost(0.0, 0.0, 1)
