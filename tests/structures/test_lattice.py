"""Passes over cells and positions against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.structures.faults import NO_VOLUME, SOUND, find_faults
from etn_gpu.structures.geometry import StructureArrays, cell_volumes, frames
from etn_gpu.structures.moving import furthest_moved
from etn_gpu.structures.validate import SMALLEST_RELATIVE_VOLUME

PERIODIC = st.tuples(st.booleans(), st.booleans(), st.booleans())


def arrays(seed: int, pbc: tuple[bool, bool, bool]) -> StructureArrays:
    """Three structures of 2, 0 and 3 atoms."""
    rng = np.random.default_rng(seed)
    cells = 4.0 * np.eye(3) + rng.normal(size=(3, 3, 3))
    offsets = np.array([0, 2, 2, 5])
    positions = rng.normal(scale=9.0, size=(5, 3))
    return StructureArrays(offsets, np.full(5, 13), positions, cells, np.array([pbc] * 3))


@given(seed=st.integers(0, 10**6), pbc=PERIODIC)
def test_bases_inverses_and_volumes(seed: int, pbc: tuple[bool, bool, bool]) -> None:
    geometry = arrays(seed, pbc)
    basis = frames(geometry.cells, geometry.pbc)
    inverse = np.linalg.inv(basis)
    np.testing.assert_allclose(geometry.to_basis, inverse, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(geometry.heights, 1.0 / np.linalg.norm(inverse, axis=1), rtol=1e-10)
    expected = np.concatenate([geometry.positions[:2] @ inverse[0], geometry.positions[2:] @ inverse[2]])
    np.testing.assert_allclose(geometry.coordinates(), expected, rtol=1e-9, atol=1e-9)
    volumes = cell_volumes(geometry.cells, geometry.pbc)
    if all(pbc):
        np.testing.assert_allclose(volumes, np.abs(np.linalg.det(geometry.cells)), rtol=1e-12)
    else:
        assert np.isnan(volumes).all()


@given(seed=st.integers(0, 10**6), pbc=PERIODIC, scale=st.sampled_from([0.5, 2.0]))
def test_what_is_no_volume(seed: int, pbc: tuple[bool, bool, bool], scale: float) -> None:
    """A vector of the plane of the others, and a little beside it."""
    rng = np.random.default_rng(seed)
    periodic = np.flatnonzero(pbc)
    cell = 4.0 * np.eye(3) + rng.normal(scale=0.3, size=(3, 3))
    fault = SOUND
    if len(periodic) > 1:
        last, others = periodic[-1], cell[periodic[:-1]]
        normal = np.linalg.svd(others)[2][-1]
        flat = others.sum(axis=0)
        fraction = np.prod(np.linalg.norm(others, axis=1)) * np.linalg.norm(flat)
        spanned = np.sqrt(np.linalg.det(others @ others.T))
        cell[last] = flat + scale * SMALLEST_RELATIVE_VOLUME * fraction / spanned * normal
        fault = NO_VOLUME if scale < 1.0 else SOUND
    found = np.empty(1, np.int64)
    limits = (1e7, 1e-3, SMALLEST_RELATIVE_VOLUME, 1e8, np.inf, np.inf)
    one = (np.array([0, 1]), np.zeros((1, 3)), cell[None], np.array([pbc]), np.zeros(1, np.int32))
    assert find_faults(*one, 5.0, *limits, found) == (fault != SOUND)
    assert found[0] == fault


@given(seed=st.integers(0, 10**6))
def test_how_far_atoms_have_moved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    old, forward = rng.normal(size=(7, 3)), np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    shifts = rng.normal(size=(7, 3))
    new = old @ forward + shifts + 100.0
    expected = np.linalg.norm(shifts - shifts.mean(axis=0), axis=1).max()
    assert furthest_moved(new, old, forward, 1e7) == pytest.approx(expected, rel=1e-9)
    assert furthest_moved(new, old, forward, 50.0) == np.inf
    new[3, 1] = np.nan
    assert furthest_moved(new, old, forward, 1e7) == np.inf
