"""Structures: layout of the buffer, fused legs, and the split of the metadata."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import IrrepsError, TensorError
from etn_gpu.plan import Core
from etn_gpu.symmetry import Irrep, Irreps, random_rotation
from etn_gpu.tensor.structure import fuse_legs, sector_trees, structure


@given(st.data())
def test_every_number_belongs_to_one_reduced_block(
    tensors: Callable[..., st.SearchStrategy[tn.Tensor]], data: st.DataObject
) -> None:
    layout = data.draw(tensors(max_legs=4)).structure
    index = np.concatenate([np.empty(0, int), *(b.index().reshape(-1) for b in layout.sector_blocks.values())])
    np.testing.assert_array_equal(np.sort(index), np.arange(layout.size))


@given(st.data())
def test_size_does_not_depend_on_the_division(
    tensors: Callable[..., st.SearchStrategy[tn.Tensor]], data: st.DataObject
) -> None:
    layout = data.draw(tensors(max_legs=4)).structure
    for n_rows in range(layout.n_legs + 1):
        assert structure(layout.legs[:n_rows], layout.legs[n_rows:]).size == layout.size


@given(st.data())
def test_fusing_legs_keeps_the_dimension(legs: Callable[..., st.SearchStrategy[Irreps]], data: st.DataObject) -> None:
    several = data.draw(st.lists(legs(), max_size=3))
    assert tn.fused_leg(several).dim == math.prod(leg.dim for leg in several)


def test_number_of_parameters_is_the_number_of_invariants() -> None:
    # A matrix D acts on the space; invariants are the common kernel of D(Q) - 1, found densely.
    legs = [Irreps("1x0e+1x1o"), Irreps("1x1o+1x1e"), Irreps("1x0o+1x2e")]
    rng = np.random.default_rng(0)
    rows = []
    for rotation in (random_rotation(rng), random_rotation(rng), -np.eye(3)):
        matrix: np.ndarray = np.eye(1)
        for leg in legs:
            matrix = np.kron(matrix, leg.wigner_d(rotation))
        rows.append(matrix - np.eye(len(matrix)))
    singular = np.linalg.svd(np.concatenate(rows), compute_uv=False)
    assert structure(tuple(legs[:1]), tuple(legs[1:])).size == np.count_nonzero(singular < 1e-10)


def test_fused_sectors_are_ascending_and_those_of_one_leg_in_its_order() -> None:
    assert str(tn.fused_leg(["1x1o", "2x1o"])) == "2x0e+2x1e+2x2e"
    assert str(tn.fused_leg(["1x1o+2x0e"])) == "1x1o+2x0e"
    assert str(tn.fused_leg([])) == "1x0e"
    assert str(tn.fused_leg(["2x1o", ""])) == ""


def test_trees_are_shared_by_all_multiplicities() -> None:
    irreps = ((Irrep(0, 1), Irrep(1, -1)), (Irrep(1, -1),))
    assert sector_trees(irreps) is sector_trees(irreps)
    small, large = (fuse_legs((Irreps(leg), Irreps("3x1o"))) for leg in ("1x0e+1x1o", "5x0e+2x1o"))
    for ir in small.trees:
        assert [tree.spine for tree in small.trees[ir]] == [tree.spine for tree in large.trees[ir]]
    assert [tree.shape for tree in large.trees[Irrep(1, -1)]] == [(5, 3)]


def test_structures_are_shared_and_equal_by_their_legs() -> None:
    first = tn.zeros(["2x0e"], ["1x0e+1x1o"]).structure
    assert first is tn.zeros(["2x0e"], [Irreps("1x0e+1x1o")]).structure
    assert first == tn.Structure(fuse_legs(first.rows.legs), fuse_legs(first.cols.legs))
    assert first != tn.zeros(["2x0e", "1x0e+1x1o"]).structure
    assert first != "2x0e"
    assert str(first) == "(2x0e | 1x0e+1x1o)"


def test_buffer_of_a_core_is_its_weight_array() -> None:
    # plan.Core lays out the reduced blocks G[c, a, b] of left x feature -> out in just this way.
    core = Core("G", Irreps("3x0e+2x1o"), Irreps("2x1o+4x0e"), Irreps("2x1o+3x0e+1x2e"))
    layout = tn.zeros([core.out], [core.left, core.feature]).structure
    assert layout.size == core.size
    for path in core.paths:
        sectors = tuple(
            next(k for k, block in enumerate(leg) if (block.ir.l, block.ir.p) == (sector.l, sector.p))
            for leg, sector in ((core.out, path.out), (core.left, path.left), (core.feature, path.feature))
        )
        index = layout.sector_blocks[sectors].index()[0]
        c, a, b = np.indices(index.shape)
        np.testing.assert_array_equal(index, path.weight + c * path.row_stride + a * path.feature.mul + b)


def test_empty_blocks_of_a_leg_are_dropped() -> None:
    assert str(tn.zeros(["0x0e+2x1o"], ["2x1o"]).legs[0]) == "2x1o"


def test_an_irrep_in_two_blocks() -> None:
    with pytest.raises(TensorError, match=r"the leg 1x0e\+1x1o\+2x0e holds 0e in more than one block.*sort\(\)"):
        tn.zeros(["1x0e+1x1o+2x0e"])


def test_one_leg_instead_of_a_sequence() -> None:
    with pytest.raises(TensorError, match=r"rows must be a sequence of legs, got the single leg '1x0e'"):
        tn.zeros("1x0e")
    with pytest.raises(TensorError, match=r"cols must be a sequence of legs"):
        tn.zeros(["1x0e"], Irreps("1x0e"))  # type: ignore[arg-type]


def test_a_leg_that_cannot_be_read() -> None:
    with pytest.raises(IrrepsError, match="cannot read '2x' in the irreps"):
        tn.zeros(["2x"])
