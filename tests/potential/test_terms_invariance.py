"""What the terms beside the network do not depend on: frame, order, the rest of a batch, threads, the backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.backend.cpu.terms import CompiledTerms
from etn_gpu.backend.terms import SiteTerms
from etn_gpu.errors import StructureError
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.terms import Terms
from etn_gpu.structures import StructureBatch
from tests.potential.term_regions import CUTOFF, REGIONS, SPECIES, TERMS, Array, assert_same_bits, crystal, sites_of


@pytest.fixture(scope="module")
def potential(plain: ETNPotential) -> ETNPotential:
    return plain.with_terms(TERMS)


def test_rotation_inversion_and_order_of_atoms(
    backend: str, potential: ETNPotential, random_orthogonal: Callable[[int], Array]
) -> None:
    q, rng = random_orthogonal(2), np.random.default_rng(0)
    for name, atoms in REGIONS.items():
        order = rng.permutation(len(atoms))
        moved = Atoms(
            atoms.numbers[order], atoms.positions[order] @ q.T + 1.0, cell=atoms.cell.array @ q.T, pbc=atoms.pbc
        )
        before, after = potential.evaluate([atoms, moved], backend=backend)
        scale = 1 + np.abs(before["energies"]).max() + np.abs(before["forces"]).max()
        np.testing.assert_allclose(
            after["energies"], before["energies"][order], rtol=0, atol=1e-11 * scale, err_msg=name
        )
        np.testing.assert_allclose(
            after["forces"], before["forces"][order] @ q.T, rtol=0, atol=1e-11 * scale, err_msg=name
        )


@pytest.mark.parametrize("kind", [SiteTerms, CompiledTerms])
def test_the_order_of_the_elements_does_not_matter(kind: type[SiteTerms]) -> None:
    pairs = (TERMS.repulsion[::-1, ::-1], TERMS.distances[::-1, ::-1])
    other = Terms(pairs[0], TERMS.density[::-1], pairs[1], TERMS.embedding[::-1], TERMS.bounds[::-1])
    for atoms in REGIONS.values():
        environments = Environments.of(StructureBatch.build([atoms], SPECIES[::-1], CUTOFF))
        tables = other.tables(SPECIES[::-1], CUTOFF)
        found = kind(tables, environments.geometry, environments.vectors).sites
        np.testing.assert_allclose(found, sites_of(atoms), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_others_of_a_batch_do_not_matter(backend: str, dtype: str, potential: ETNPotential) -> None:
    many = list(REGIONS.values())
    for alone, together in zip(many, potential.evaluate(many, backend=backend, dtype=dtype), strict=True):
        assert_same_bits(together, potential.evaluate(alone, backend=backend, dtype=dtype)[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_threads_do_not_matter(dtype: str, potential: ETNPotential) -> None:
    large = crystal(3.5, 0.1).repeat((5, 8, 8))
    large.rattle(0.2, seed=3)
    weights = sites_of(large)[:, 0]
    assert weights.min() == 0.0
    assert weights.max() > 0.9
    one, two = (potential.evaluate(large, backend="numba", dtype=dtype, threads=n)[0] for n in (1, 2))
    assert_same_bits(two, one)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_nothing_is_at_work_no_bit_changes(
    backend: str, dtype: str, plain: ETNPotential, potential: ETNPotential
) -> None:
    for gradients in (True, False):
        before, after = (
            p.evaluate(REGIONS["known"], forces=gradients, stress=gradients, backend=backend, dtype=dtype)[0]
            for p in (plain, potential)
        )
        assert_same_bits(after, before)


def test_edges_beyond_the_cutoff_do_not_matter(backend: str, potential: ETNPotential) -> None:
    many = list(REGIONS.values())
    near, far = (StructureBatch.build(many, SPECIES, cutoff) for cutoff in (CUTOFF, CUTOFF + 0.7))
    expected, found = (potential.evaluate_batch(batch, backend=backend) for batch in (near, far))
    assert expected.forces is not None
    assert found.forces is not None
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-12)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-11 * np.abs(expected.forces).max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_backends_agree(backend: str, dtype: str, potential: ETNPotential) -> None:
    tolerance = {"float64": 1e-11, "float32": 2e-5}[dtype]
    many = list(REGIONS.values())
    oracle = potential.evaluate(many, backend="numpy", dtype="float64")
    for expected, found in zip(oracle, potential.evaluate(many, backend=backend, dtype=dtype), strict=True):
        for key, values in expected.items():
            scale = 1 + np.abs(values).max()
            np.testing.assert_allclose(found[key], values, rtol=0, atol=tolerance * scale, err_msg=key)


@given(
    places=st.lists(st.tuples(*3 * [st.floats(-2.0, 2.0)]), min_size=1, max_size=5),
    nickel=st.integers(0, 31),
    cell=st.none() | st.floats(2.0, 6.0),
)
def test_any_few_atoms(
    places: list[tuple[float, float, float]], nickel: int, cell: float | None, potential: ETNPotential
) -> None:
    positions = np.array(places)
    symbols = [SPECIES[nickel >> k & 1] for k in range(len(places))]
    atoms = Atoms(symbols, positions, cell=None if cell is None else 3 * [cell], pbc=cell is not None)
    oracle, found = (potential.evaluate_each([atoms], backend=name)[0] for name in ("numpy", "numba"))
    if isinstance(oracle, StructureError) or isinstance(found, StructureError):
        assert "are at one place" in str(oracle)
        assert str(oracle) == str(found)
        return
    for key, values in oracle.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-10 * (1 + np.abs(values).max()), err_msg=key)
    scale = 1 + np.abs(found["forces"]).max()
    np.testing.assert_allclose(found["forces"].sum(axis=0), 0.0, atol=1e-10 * scale)
