"""Ragged batches, a complete ETN potential, and inputs for any Program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry
from etn_gpu.plan import Program
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.programs import Programs, programs

Inputs = dict[str, NDArray[np.float64]]

#: Edges of each atom, and the number of species.
CASES: dict[str, tuple[Sequence[int], int]] = {
    "ragged": ([0, 1, 70, 3, 130, 0, 64, 65] + [5] * 70, 3),  # beyond 64 edges, beyond a block of 32 and of 64 atoms
    "one-species": ([8, 9, 0, 17], 1),
    "five-species": ([12] * 6, 5),
    "one-atom": ([4], 2),
    "no-edges": ([0, 0, 0], 2),
    "no-atoms": ([], 1),
}


def make_geometry(edges: Sequence[int], n_species: int, seed: int = 0) -> Geometry:
    """Random species; the edges of an atom are sorted by species, as in a neighbour list."""
    rng = np.random.default_rng(seed)
    neighbours = [np.sort(rng.integers(0, n_species, count)) for count in edges]
    return Geometry(
        np.concatenate(([0], np.cumsum(edges, dtype=np.int64))).astype(np.int64),
        rng.integers(0, n_species, len(edges)).astype(np.int32),
        np.concatenate([np.empty(0, int), *neighbours]).astype(np.int32),
    )


def make_inputs(program: Program, geometry: Geometry, seed: int = 1) -> Inputs:
    """Random numbers for every input of a Program; vectors are a few A long."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for value in program.inputs:
        lead = () if value.space == "param" else (geometry.count(value.space),)
        inputs[value.name] = rng.standard_normal((*lead, value.size)) * (1.6 if value.name == "x" else 1.0)
    return inputs


@pytest.fixture(scope="session", params=CASES)
def geometry(request: pytest.FixtureRequest) -> Geometry:
    """Every kind of batch, one after the other."""
    return make_geometry(*CASES[request.param])


@pytest.fixture(scope="session")
def ragged() -> Geometry:
    """The most irregular batch."""
    return make_geometry(*CASES["ragged"])


@pytest.fixture(scope="session")
def geometry_of() -> Callable[..., Geometry]:
    """``geometry_of(edges, n_species, seed)``."""
    return make_geometry


@pytest.fixture(scope="session")
def inputs_for() -> Callable[..., Inputs]:
    """``inputs_for(program, geometry, seed)``."""
    return make_inputs


@pytest.fixture(scope="session")
def potential() -> Callable[[int], Programs]:
    """The Programs of an order-4 ETN potential with a number of species."""

    def build(n_species: int) -> Programs:
        bonds = ("3x0e+2x1o+1x2e", "2x0e+1x1o+1x1e+2x2e", "3x0e+2x1o")
        symbols = ("Nb", "Mo", "Ta", "W", "V")[:n_species]
        return programs(Architecture(symbols, 5.0, 0.5, 4, (3, 2, 2), 2, 2, bonds))

    return build


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """``assert_close(results, expected, relative)``: same names and shapes; tolerance relative to the largest."""

    def check(results: dict[str, Any], expected: dict[str, Any], relative: float) -> None:
        assert results.keys() == expected.keys()
        for name, wanted in expected.items():
            assert results[name].shape == wanted.shape
            scale = np.abs(wanted).max(initial=0.0)
            np.testing.assert_allclose(results[name], wanted, rtol=0, atol=relative * scale, err_msg=name)

    return check
