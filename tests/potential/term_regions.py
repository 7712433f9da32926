"""Terms beside the network of two elements, and structures that have atoms in every region of theirs."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.backend.terms import SiteTerms
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.terms import Terms
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]
SPECIES, CUTOFF = ("Al", "Ni"), 4.5
#: Al has a lower limit of density, Ni has none; pairs of Ni repel each other before they take weight from the network.
NUMBERS: dict[str, Any] = {
    "repulsion": [[[0.6, 1.9], [0.5, 1.8]], [[0.5, 1.8], [1.0, 2.2]]],
    "density": [[0.4, 1.2, 3.2, 4.7], [0.0, 0.0, 3.3, 5.0]],
    "distances": [[[1.0, 2.0], [0.8, 1.7]], [[0.8, 1.7], [0.9, 1.75]]],
    "embedding": [[-1.0, 3.0, 2.5, 2.0], [0.5, 4.0, 2.8, 0.0]],
    "bounds": [[-1.5, -0.3, 0.3, 0.6], [-12.0, -7.5, -6.4, -2.0]],
}
TERMS = Terms(**NUMBERS)


def crystal(a: float, rattle: float = 0.05) -> Atoms:
    """Two cells of fcc in which both elements are."""
    atoms = bulk("Al", a=a, cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 4, 5]] = "Ni"
    atoms.rattle(rattle, seed=1)
    return atoms


def with_close_pair(r: float) -> Atoms:
    """A crystal in which atom 1 is r from atom 0."""
    atoms = crystal(4.3, 0.02)
    atoms.positions[1] = atoms.positions[0] + r * np.array([0.1, 0.7, sqrt(0.5)])
    return atoms


def dimer(symbols: str, r: float) -> Atoms:
    return Atoms(symbols, [[0.0] * 3, [0.6 * r, 0.0, 0.8 * r]])


#: Structures that have atoms in every region, those between two included.
REGIONS = {
    "known": crystal(4.15, 0.02),
    "thin": crystal(4.9),
    "dense": crystal(3.75),
    "close pair": with_close_pair(1.4),
    "very close pair": with_close_pair(0.9),
    "repelled pair": dimer("Ni2", 2.0),
    "collapsed": crystal(2.9, 0.02),
    "isolated": Atoms("Al"),
    "chain": Atoms("AlNiAl", [[0.0, 0, 0], [1.5, 0.3, 0], [2.9, 0, 0.4]], cell=[4.4, 1, 1], pbc=(True, False, False)),
    "slab": Atoms("Al2", [[0.0, 0, 0], [1.5, 1.2, 1.3]], cell=[3.0, 3.1, 9.0], pbc=(True, True, False)),
}


def sites_of(atoms: Atoms, kind: type[SiteTerms] = SiteTerms, terms: Terms = TERMS) -> Array:
    batch = StructureBatch.build([atoms], SPECIES, CUTOFF)
    environments = Environments.of(batch)
    return kind(terms.tables(SPECIES, CUTOFF), environments.geometry, environments.vectors).sites


def assert_same_bits(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    for key in expected:
        assert np.array_equal(found[key], expected[key]), key
