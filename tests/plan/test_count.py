"""Floating-point operations of Programs, counted by hand."""

from __future__ import annotations

from etn_gpu.plan import Program, prune, vjp
from etn_gpu.plan.cost import nonzeros
from etn_gpu.plan.count import Work, work


def test_every_operation_by_hand(full_program: Program) -> None:
    square, outer, edge_sum = 3 * 3, 3 * 9, 2 * (3 * 3 + 3 * 1)
    mix = 2 * (2 * 6 * 3 + 3 * 3 * 1)
    couple = 3 * (nonzeros(1, 1, 2) + 2 * nonzeros(1, 1, 0))
    norm = 3 * (nonzeros(2, 2, 0) + 1)
    products = 3 * 3
    assert work(full_program) == Work(mix + couple + norm + products, square + outer + 2 * edge_sum + products)
    assert work(prune(full_program, ("weights",))) == Work(0.0, 0.0)


def test_a_reverse_pass_costs_each_term_once_for_each_of_its_factors(full_program: Program) -> None:
    energy = prune(full_program, ("energy",))
    forward = work(energy)
    parameters = vjp(energy, {"energy": "bar"}, {"w": "w_bar"})
    mix, couple, norm = 2 * (2 * 6 * 3 + 3 * 3 * 1), 3 * (nonzeros(1, 1, 2) + 2 * nonzeros(1, 1, 0)), 18
    # both factors of couplings; of the mixing only the weights, over which atoms are summed
    products, slopes = 9, 3 * 12
    expected = forward.per_atom + mix + 2 * couple + 2 * norm + 2 * products + slopes
    assert work(parameters) == Work(expected, forward.per_edge)


def test_total_of_a_batch() -> None:
    assert Work(10.0, 2.0).total(n_atoms=3, n_edges=100) == 230.0
