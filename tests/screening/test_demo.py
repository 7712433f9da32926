"""The demonstration set is what the command line promises."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.screening.demo import DEMO_SPECIES, demo_structures


def test_sizes_elements_and_lattice() -> None:
    structures = list(demo_structures(300))
    assert len(structures) == 300
    sizes = {len(atoms) for atoms in structures}
    assert min(sizes) == 16
    assert max(sizes) == 128
    assert {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()} == set(DEMO_SPECIES)
    assert {len(set(atoms.get_chemical_symbols())) for atoms in structures} == {1, 2, 3, 4}
    for atoms in structures:
        assert atoms.pbc.all()
        assert 3.15 <= (2.0 * atoms.get_volume() / len(atoms)) ** (1 / 3) <= 3.30 * 1.03 + 1e-9


def test_bcc_neighbours() -> None:
    for atoms in demo_structures(20):
        lattice = (2.0 * atoms.get_volume() / len(atoms)) ** (1 / 3)
        distances = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)]
        assert abs(distances.min() - 0.5 * np.sqrt(3.0) * lattice) < 0.6


def test_seeded_and_independent_of_count() -> None:
    few, many, other = list(demo_structures(3)), list(demo_structures(10)), list(demo_structures(3, seed=1))
    for a, b, c in zip(few, many, other, strict=False):
        assert a == b
        assert a != c


@pytest.mark.parametrize("count", [0, 1])
def test_count(count: int) -> None:
    assert len(list(demo_structures(count))) == count
