"""The pool of freed buffers, and products written in tiles."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.tensor import memory
from etn_gpu.tensor.memory import BufferPool, multiply_into


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool(limit=10_000, smallest=1_000)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_once_nobody_holds_it(pool: BufferPool) -> None:
    first = pool.empty(500, np.float64)
    assert first.shape == (500,)
    assert first.dtype == np.float64
    where = address(first)
    view = first.reshape(50, 10)[3:, ::2].T
    del first
    gc.collect()
    assert pool.held == 0, "a view still holds the memory"
    assert address(pool.empty(500, np.float64)) != where
    gc.collect()
    view[...] = 1.0
    del view
    gc.collect()
    again = pool.empty(900, np.float32)
    assert again.shape == (900,)
    assert address(again) in {where, address(again)}
    assert pool.held == 4_000


def test_two_arrays_never_share_memory(pool: BufferPool) -> None:
    for _ in range(3):
        arrays = [pool.empty(200, np.float64) for _ in range(4)]
        assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_the_limit_is_kept_and_the_latest_stay(pool: BufferPool) -> None:
    arrays = [pool.empty(size, np.uint8) for size in (4_000, 5_000, 3_000)]
    last = address(arrays[-1])
    for _ in range(3):
        del arrays[0]
    gc.collect()
    assert pool.held == 8_000
    assert address(pool.empty(3_000, np.uint8)) == last
    pool.clear()
    assert pool.held == 0


def test_small_and_huge_arrays_are_numpys(pool: BufferPool) -> None:
    for size in (10, 20_000):
        array = pool.empty(size, np.uint8)
        assert array.base is None
        del array
    assert pool.held == 0


def test_much_larger_memory_is_not_handed_out(pool: BufferPool) -> None:
    pool.empty(9_000, np.uint8)
    gc.collect()
    assert pool.held == 9_000
    small = pool.empty(1_000, np.uint8)
    assert pool.held == 9_000
    del small


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 40), st.booleans(), st.booleans())
def test_tiled_products(rows: int, cols: int, summands: int, turn_a: bool, turn_b: bool) -> None:
    rng = np.random.default_rng(rows)
    a = rng.standard_normal((summands, rows)).T if turn_a else rng.standard_normal((rows, summands))
    b = rng.standard_normal((cols, summands)).T if turn_b else rng.standard_normal((summands, cols))
    out = np.full((rows, cols), np.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_TILED_FROM", 0)
        multiply_into(a, b, out)
    np.testing.assert_allclose(out, a @ b, atol=1e-12)
