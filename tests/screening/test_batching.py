"""Batches keep the order, lose nothing and stay inside their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.screening.batching import BatchLimits, Candidate, batches, expected_edges, number_densities
from etn_gpu.structures import StructureBatch


def number_density(atoms: Atoms) -> float:
    """Of one structure, by singular values."""
    periodic = np.asarray(atoms.cell)[np.asarray(atoms.pbc)]
    if not (np.isfinite(periodic).all() and np.isfinite(atoms.positions).all()) or not len(atoms):
        return math.nan
    _, lengths, directions = np.linalg.svd(periodic, full_matrices=True)
    extents = np.ptp(atoms.positions @ directions[len(periodic) :].T, axis=0)
    volume = float(np.prod(lengths) * np.prod(np.maximum(extents, 2.0)))
    return len(atoms) / volume if volume > 0.0 else math.inf


def box(n_atoms: int, density: float = 0.06, pbc: bool = True) -> Atoms:
    length = (n_atoms / density) ** (1 / 3)
    return Atoms(
        f"W{n_atoms}", positions=np.random.default_rng(0).random((n_atoms, 3)) * length, cell=[length] * 3, pbc=pbc
    )


@given(
    sizes=st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=30),
    atoms=st.integers(1, 60),
    edges=st.integers(1, 4000),
)
def test_order_and_limits(sizes: list[int | None], atoms: int, edges: int) -> None:
    candidates = [
        Candidate("file", index, None if size is None else Atoms(f"W{size}" if size else "", cell=[9.0] * 3, pbc=True))
        for index, size in enumerate(sizes)
    ]
    found = list(batches(candidates, 5.0, BatchLimits(atoms=atoms, edges=edges)))
    assert [candidate for batch in found for candidate in batch] == candidates
    assert all(found)
    for batch in found:
        n_atoms = sum(max(1, len(candidate.atoms)) if candidate.atoms is not None else 1 for candidate in batch)
        n_edges = sum(expected_edges([candidate.atoms], 5.0)[0] for candidate in batch if candidate.atoms is not None)
        assert len(batch) == 1 or (n_atoms <= atoms and n_edges <= edges)


def test_stream_is_not_read_ahead() -> None:
    read = 0

    def stream() -> Iterator[Candidate]:
        nonlocal read
        for index in range(1000):
            read += 1
            yield Candidate("file", index, box(10))

    next(batches(stream(), 5.0, BatchLimits.for_atoms(50)))
    assert read == 6


@pytest.mark.parametrize("pbc", [True, False])
@pytest.mark.parametrize("density", [0.02, 0.06, 0.2, 1.0])
def test_expected_edges_bound_the_real_ones(density: float, pbc: bool) -> None:
    atoms = box(60, density, pbc)
    real = StructureBatch.build([atoms], ("W",), 5.0).n_edges
    assert expected_edges([atoms], 5.0)[0] > 0.8 * real


def test_vacuum_does_not_hide_a_dense_part() -> None:
    slab = box(60, 0.08)
    slab.cell[2] *= 50.0
    assert expected_edges([slab], 5.0)[0] >= StructureBatch.build([slab], ("W",), 5.0).n_edges


def test_densities_of_many_structures_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    many = [Atoms(), Atoms("W", positions=[[math.nan] * 3], pbc=True), Atoms("W", cell=[math.inf] * 3, pbc=True)]
    for pbc in np.ndindex(2, 2, 2):
        for size in (1, 2, 30):
            atoms = box(size, 0.05)
            atoms.set_cell(atoms.cell.array + rng.normal(size=(3, 3)), scale_atoms=False)
            atoms.pbc = pbc
            many.append(atoms)
    found = number_densities(many)
    assert found == pytest.approx([number_density(atoms) for atoms in many], rel=1e-12, nan_ok=True)
    assert number_densities([]).shape == (0,)


@pytest.mark.parametrize("pbc", [True, False, (True, True, False), (False, True, False)])
def test_density_with_any_periodicity(pbc: bool | tuple[bool, ...]) -> None:
    atoms = box(400, 0.05)
    atoms.pbc = pbc
    assert number_densities([atoms])[0] == pytest.approx(0.05, rel=0.1)
    skewed = atoms.copy()
    skewed.set_cell(atoms.cell.array @ np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.3, 1.0]]), scale_atoms=False)
    if np.all(pbc):
        assert number_densities([skewed])[0] == pytest.approx(0.05, rel=1e-10)


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms(),
        Atoms("W", pbc=True),
        Atoms("W", positions=[[math.nan] * 3]),
        Atoms("W", cell=[math.inf] * 3, pbc=True),
        Atoms("W2", positions=np.zeros((2, 3)), cell=[1.0, 1.0, 0.0], pbc=True),
    ],
)
def test_senseless_structures_need_no_room(atoms: Atoms) -> None:
    assert expected_edges([atoms], 5.0)[0] == 0.0


def test_limits_for_atoms_scale_together() -> None:
    small, large = BatchLimits.for_atoms(100), BatchLimits.for_atoms(200)
    assert large.edges == 2 * small.edges
    assert BatchLimits() == BatchLimits.for_atoms(4096)
