"""Fusion trees: bases of the invariant tensors, isometric and complete, and the moves between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.symmetry import random_rotation, wigner_d
from etn_gpu.symmetry.fusion_trees import coupled_degree, recoupling_matrix, spines, tree_pairs, tree_tensor

degree_lists = st.lists(st.integers(0, 2), max_size=4).map(tuple)


def invariant(
    rows: tuple[int, ...], cols: tuple[int, ...], pair: tuple[tuple[int, ...], tuple[int, ...]]
) -> np.ndarray:
    """The dense invariant tensor of a two-sided tree."""
    return np.tensordot(tree_tensor(rows, pair[0]), tree_tensor(cols, pair[1]), axes=(-1, -1))


def combine(
    rows: tuple[int, ...],
    cols: tuple[int, ...],
    pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    coefficients: np.ndarray,
) -> np.ndarray:
    start = np.zeros([2 * l + 1 for l in rows + cols])
    return sum((x * invariant(rows, cols, pair) for x, pair in zip(coefficients, pairs, strict=True)), start)


def test_spines_of_few_degrees() -> None:
    assert spines(()) == ((),)
    assert spines((2,)) == ((2,),)
    assert spines((1, 1)) == ((1, 0), (1, 1), (1, 2))
    assert spines((1, 1, 1))[:3] == ((1, 0, 1), (1, 1, 0), (1, 1, 1))
    assert coupled_degree(()) == 0
    assert coupled_degree((1, 1, 2)) == 2


@given(degree_lists)
def test_trees_fill_the_product_of_the_irreps(degrees: tuple[int, ...]) -> None:
    dim = int(np.prod([2 * l + 1 for l in degrees]))
    columns = [tree_tensor(degrees, spine).reshape(dim, -1) for spine in spines(degrees)]
    matrix = np.concatenate(columns, axis=1)
    assert matrix.shape == (dim, dim)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(dim), atol=1e-13)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple), st.integers(0, 2**32 - 1))
def test_trees_are_equivariant(degrees: tuple[int, ...], seed: int) -> None:
    rotation = random_rotation(np.random.default_rng(seed))
    for spine in spines(degrees):
        tensor = tree_tensor(degrees, spine)
        turned = tensor
        for axis, l in enumerate((*degrees, coupled_degree(spine))):
            turned = np.moveaxis(np.tensordot(wigner_d(l, rotation), turned, axes=(1, axis)), 0, axis)
        np.testing.assert_allclose(turned, tensor, atol=1e-13)


@given(st.lists(st.integers(0, 2), max_size=3).map(tuple), st.lists(st.integers(0, 2), max_size=2).map(tuple))
def test_pairs_are_orthogonal_with_squared_norm_2c_plus_1(rows: tuple[int, ...], cols: tuple[int, ...]) -> None:
    pairs = tree_pairs(rows, cols)
    dim = int(np.prod([2 * l + 1 for l in rows + cols]))
    flat = np.array([invariant(rows, cols, pair) for pair in pairs]).reshape(len(pairs), dim)
    np.testing.assert_allclose(flat @ flat.T, np.diag([2 * coupled_degree(left) + 1 for left, _ in pairs]), atol=1e-12)


@given(st.data(), st.lists(st.integers(0, 2), max_size=5).map(tuple))
def test_recoupling_is_a_transposition_of_the_dense_tensor(data: st.DataObject, degrees: tuple[int, ...]) -> None:
    n_old, n_new = (data.draw(st.integers(0, len(degrees))) for _ in range(2))
    axes = tuple(data.draw(st.permutations(range(len(degrees)))))
    old, new = (degrees[:n_old], degrees[n_old:]), (axes[:n_new], axes[n_new:])
    pairs = tree_pairs(*old)
    coefficients = np.random.default_rng(len(pairs)).standard_normal(len(pairs))
    matrix = recoupling_matrix(*old, *new)
    new_degrees = tuple(degrees[i] for i in new[0]), tuple(degrees[i] for i in new[1])
    expected = combine(*old, pairs, coefficients).transpose(axes)
    np.testing.assert_allclose(
        combine(*new_degrees, tree_pairs(*new_degrees), matrix @ coefficients), expected, atol=1e-12
    )
    weights = np.sqrt([[2 * coupled_degree(left) + 1 for left, _ in tree_pairs(*side)] for side in (old, new_degrees)])
    orthogonal = weights[1][:, None] * matrix / weights[0]
    np.testing.assert_allclose(orthogonal @ orthogonal.T, np.eye(len(pairs)), atol=1e-12)


def test_three_legs_only_permute_and_scale() -> None:
    for degrees in itertools.product(range(3), repeat=3):
        for axes in itertools.permutations(range(3)):
            for n_old, n_new in itertools.product(range(4), repeat=2):
                matrix = recoupling_matrix(degrees[:n_old], degrees[n_old:], axes[:n_new], axes[n_new:])
                assert np.count_nonzero(np.abs(matrix) > 1e-12) == len(matrix)


def test_caches_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tree_tensor((1, 1), (1, 0))[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        recoupling_matrix((1,), (1,), (1,), (0,))[0] = 1.0
