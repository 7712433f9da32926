"""Batches of matrices: what is merged, what padding leaves exact, and how numbers get in and out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.symmetry import Irrep
from etn_gpu.tensor import factors, products
from etn_gpu.tensor.batches import Batch, Gather, Shape, Stacks, form_batches

SHAPES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12)


def work(call: float) -> Any:
    """Time of a batch: a call, and the numbers in it."""

    def weight(count: int, shape: Shape) -> float:
        return call + count * math.prod(shape)

    return weight


@given(SHAPES, st.sampled_from([0.0, 20.0, 1e9]))
def test_every_matrix_is_in_one_batch_that_holds_it(shapes: list[Shape], call: float) -> None:
    batches = form_batches(shapes, work(call))
    assert sorted(k for batch in batches for k in batch.members) == list(range(len(shapes)))
    assert all(np.all(np.less_equal(shapes[k], batch.shape)) for batch in batches for k in batch.members)
    assert len(batches) <= len(set(shapes))
    if call == 1e9:
        assert len(batches) == min(1, len(shapes))
    separate = sum(work(call)(1, shape) for shape in shapes)
    assert sum(work(call)(len(batch.members), batch.shape) for batch in batches) <= separate


def test_equal_shapes_stay_apart_where_a_stack_takes_longer() -> None:
    def dear_stacks(count: int, shape: Shape) -> float:
        return 1.0 + (count if count == 1 else 3 * count) * math.prod(shape)

    assert form_batches([(2, 2), (2, 2)], dear_stacks) == (Batch((0,), (2, 2)), Batch((1,), (2, 2)))


def test_gather_pads_with_zeros_and_leaves_out_what_nobody_takes() -> None:
    parts = [np.full(2, np.nan), np.arange(4.0), np.arange(4.0, 6.0)]
    gather = Gather(4, (2, 4, 2), [(np.array([0, 3]), np.array([6, 3]))])
    np.testing.assert_array_equal(gather.apply(parts, parts[0]), [4.0, 0.0, 0.0, 1.0])
    view = Gather(4, (2, 4, 2), [(np.arange(4), np.arange(2, 6))]).apply(parts, parts[0])
    assert np.shares_memory(view, parts[1])
    out = np.empty(4)
    assert Gather(4, (4,), [(np.arange(4), np.arange(4))]).apply(parts[1:2], out, out=out) is out
    np.testing.assert_array_equal(out, parts[1])


def test_stacks_lie_one_after_the_other() -> None:
    stacks = Stacks([Batch((0, 2), (2, 3)), Batch((1,), (1, 2))], [(2, 3), (1, 2)])
    assert stacks.size == 14
    first, second = stacks.split(np.arange(14))
    assert (first.shape, second.shape) == ((2, 2, 3), (1, 1, 2))
    for k, matrix in ((0, first[0]), (2, first[1]), (1, second[0])):
        np.testing.assert_array_equal(stacks.of[k], matrix)


DEFICIENT = {
    "0e": np.outer([1.0, 2.0, 3.0], [1.0, 1.0]),
    "0o": np.zeros((1, 1)),
    "1o": 1e-9 * np.array([[1.0, 1.0, 2.0], [2.0, 2.0, 4.0]]),
    "2e": np.array([[0.0, 0.0], [0.0, 1e100]]),
}
ROWS, COLS = ["3x0e+1x0o+2x1o+2x2e"], ["2x0e+1x0o+3x1o+2x2e"]


@pytest.mark.parametrize("scale", [1.0, 1e150, 1e-150])
def test_padded_sectors_of_any_rank_and_size(lookalike: Any, scale: float) -> None:
    """Sectors of different shapes, ranks and magnitudes in one stack: isometries, and each sector by its own scale."""
    host = tn.from_blocks(ROWS, COLS, DEFICIENT) * scale
    device = host.to(lookalike)
    svd, cut = tn.svd(device), tn.truncated_svd(device, max_bond="9x0e+9x0o+9x1o+9x2e")
    qr, lq = tn.qr(device), tn.lq(device)
    for parts in ((svd.u, svd.s.tensor(), svd.v), (cut.u, cut.s.tensor(), cut.v), qr, lq):
        product, *others = (part.to(np) for part in parts)
        for other in others:
            product = tn.contract(product, other, [(-1, 0)])
        for ir, matrix in host.blocks.items():
            np.testing.assert_allclose(product.blocks[ir], matrix, rtol=0, atol=1e-14 * np.abs(matrix).max())
    for isometry in (svd.u, tn.adjoint(svd.v), qr.q, tn.adjoint(lq.q)):
        for matrix in isometry.to(np).blocks.values():
            np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-14)


def test_padded_eigenvalues(lookalike: Any) -> None:
    leg = "4x0e+1x0o+2x1o+3x2e"
    blocks = {"0e": np.diag([3.0, -1.0, 0.0, 1e-9]), "1o": np.full((2, 2), -1e8), "2e": np.eye(3)}
    values, vectors = tn.eigh(tn.from_blocks([leg], [leg], blocks).to(lookalike))
    expected = {"0e": [-1.0, 0.0, 1e-9, 3.0], "0o": [0.0], "1o": [-2e8, 0.0], "2e": [1.0] * 3}
    for ir, numbers in expected.items():
        np.testing.assert_allclose(values[ir].get(), numbers, rtol=1e-14, atol=1e-15 * max(map(abs, numbers)))
    for matrix in vectors.to(np).blocks.values():
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(len(matrix)), atol=1e-14)


def test_padded_inverse_of_deficient_sectors(lookalike: Any) -> None:
    host = tn.from_blocks(["3x0e+2x1o"], ["2x0e+3x1o"], {key: DEFICIENT[key] for key in ("0e", "1o")})
    inverse = tn.pinv(host.to(lookalike), cutoff=1e-12).to(np)
    for ir, matrix in inverse.blocks.items():
        np.testing.assert_allclose(matrix, np.linalg.pinv(host.blocks[ir], rcond=1e-12), rtol=1e-9)


def test_large_products_are_made_in_place_beside_stacks(lookalike: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []
    multiply = products.multiply

    def spy(given: Any, *buffers: Any) -> None:
        alone.append(len(given))
        multiply(given, *buffers)

    monkeypatch.setattr(products, "multiply", spy)
    rng = np.random.default_rng(0)
    first = tn.random(["900x0e+2x1o+1x2e+1x3o"], ["700x0e+3x1o+2x2e"], rng=rng)
    second = tn.random(["700x0e+3x1o+2x2e"], ["800x0e+2x1o+1x2e+1x3o"], rng=rng)
    result = tn.contract(first.to(lookalike), second.to(lookalike), [(1, 0)])
    assert alone == [1]
    np.testing.assert_allclose(result.to(np).data, tn.contract(first, second, [(1, 0)]).data, atol=1e-10)
    assert np.all(result.to(np).blocks[Irrep(3, -1)] == 0.0)


def test_ranks_above_what_cusolver_batches_are_not_padded() -> None:
    def shapes(*muls: int) -> list[Shape]:
        leg = "+".join(f"{mul}x{l}e" for l, mul in enumerate(muls))
        layout = tn.zeros([leg], [leg]).structure
        return [
            batch.shape
            for batch in form_batches(
                [(0, 0, block.shape[0]) for block in layout.blocks],
                lambda count, shape: factors._svd_weight(factors.ON_DEVICE, count, shape),
            )
        ]

    assert shapes(5, 32, 17) == [(0, 0, 32)]
    assert shapes(40, 33, 17, 5, 33) == [(0, 0, 40), (0, 0, 33), (0, 0, 17)]
