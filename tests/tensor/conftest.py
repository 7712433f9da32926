"""Random legs and tensors, and the action of O(3) on dense arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu import tensor as tn
from etn_gpu.symmetry import Irrep, Irreps
from tests.tensor.lookalike import make_lookalike

DENSE_LIMIT = 40_000
SECTORS = [Irrep(l, p) for l in range(3) for p in (1, -1)]


@st.composite
def legs_of(draw: st.DrawFn, max_sectors: int = 3) -> Irreps:
    """A leg of at most three sectors with l <= 2, multiplicities 0..3 (an empty leg now and then), dimension <= 12."""
    sectors = draw(st.lists(st.sampled_from(SECTORS), max_size=max_sectors, unique=True))
    blocks, dim = [], 0
    for ir in sectors:
        mul = draw(st.integers(0, 3))
        if dim + mul * ir.dim <= 12:
            blocks.append((mul, ir))
            dim += mul * ir.dim
    return Irreps(blocks).simplify()


@st.composite
def tensors_of(
    draw: st.DrawFn,
    legs: Sequence[Irreps] | None = None,
    *,
    min_legs: int = 0,
    max_legs: int = 4,
    dtypes: Sequence[str] = ("float64", "complex128"),
) -> tn.Tensor:
    """A tensor over `legs` or over random ones, divided at random; zero where nothing else is equivariant."""
    if legs is None:
        count = draw(st.integers(min_legs, max_legs))
        legs = []
        while len(legs) < count:
            leg = draw(legs_of())
            if np.prod([x.dim for x in legs], dtype=float) * leg.dim > DENSE_LIMIT:
                leg = Irreps("1x0e+1x1o")
            legs.append(leg)
    n_rows = draw(st.integers(0, len(legs)))
    dtype = draw(st.sampled_from(dtypes))
    zero = tn.zeros(legs[:n_rows], legs[n_rows:], dtype=dtype)
    if not zero.structure.size:
        return zero
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tn.random(legs[:n_rows], legs[n_rows:], rng=rng, dtype=dtype)


@pytest.fixture(scope="session")
def legs() -> Callable[..., st.SearchStrategy[Irreps]]:
    """Strategy for legs."""
    return legs_of


@pytest.fixture(scope="session")
def tensors() -> Callable[..., st.SearchStrategy[tn.Tensor]]:
    """Strategy for tensors: over given legs, or over ``min_legs`` to ``max_legs`` random ones."""
    return tensors_of


@pytest.fixture(scope="session")
def rotate() -> Callable[[NDArray[Any], Sequence[Irreps], NDArray[Any]], NDArray[Any]]:
    """Let an orthogonal matrix act on every axis of a dense array: ``rotate(dense, legs, rotation)``."""

    def act(dense: NDArray[Any], legs: Sequence[Irreps], rotation: NDArray[Any]) -> NDArray[Any]:
        for axis, leg in enumerate(legs):
            dense = np.moveaxis(np.tensordot(leg.wigner_d(rotation), dense, axes=(1, axis)), 0, axis)
        return dense

    return act


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """assert_allclose with an absolute tolerance, by default far above rounding and far below the numbers."""
    return partial(np.testing.assert_allclose, rtol=0.0, atol=1e-11)


@pytest.fixture
def lookalike(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library of arrays that are not NumPy's, with the functions that NumPy and CuPy both have."""
    module = make_lookalike()
    monkeypatch.setitem(sys.modules, "lookalike", module)
    return module
