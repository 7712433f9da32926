"""The demonstration set: random bcc alloys of the refractory metals Nb, Mo, Ta and W."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["DEMO_SPECIES", "demo_structures"]

# Lattice parameters of the bcc elements [A]: C. Kittel, Introduction to Solid State Physics, 8th ed., chapter 1.
_LATTICE_PARAMETERS = {"Nb": 3.30, "Mo": 3.15, "Ta": 3.30, "W": 3.16}

DEMO_SPECIES = tuple(_LATTICE_PARAMETERS)
"""The elements of the demonstration set."""

_EXPANSION = 0.03
_DISPLACEMENT = 0.01
_MIN_ATOMS, _MAX_ATOMS = 16, 128


def demo_structures(count: int = 2000, seed: int = 0) -> Iterator[Atoms]:
    """Random NbMoTaW bcc alloys, one by one; the same `seed` gives the same structures, whatever `count` is.

    Each is a supercell of 16 to 128 atoms of one to four of the elements. The composition is uniform on its simplex,
    the sites are shuffled, the lattice parameter is up to 3 % above Vegard's rule, and atoms are displaced by 0.01 A
    (standard deviation of a Cartesian component).
    """
    from ase import Atoms

    elements = np.array(DEMO_SPECIES)
    parameters = np.array([_LATTICE_PARAMETERS[element] for element in DEMO_SPECIES])
    supercells = [n for n in product(range(1, 9), repeat=3) if n == tuple(sorted(n)) and n[0] >= 2]
    supercells = [n for n in supercells if _MIN_ATOMS <= 2 * np.prod(n) <= _MAX_ATOMS]
    for child in (np.random.default_rng((seed, index)) for index in range(count)):
        repeats = np.array(supercells[child.integers(len(supercells))])
        chosen = np.sort(child.choice(len(elements), size=child.integers(1, len(elements) + 1), replace=False))
        n_atoms = 2 * int(np.prod(repeats))
        kinds = child.choice(chosen, size=n_atoms, p=child.dirichlet(np.ones(len(chosen))))
        lattice = parameters[kinds].mean() * (1.0 + child.uniform(0.0, _EXPANSION))

        corners = np.stack(np.meshgrid(*[np.arange(n) for n in repeats], indexing="ij"), axis=-1).reshape(-1, 3)
        sites = np.concatenate([corners, corners + 0.5]) * lattice
        positions = sites + child.normal(scale=_DISPLACEMENT, size=sites.shape)
        yield Atoms(symbols=elements[kinds].tolist(), positions=positions, cell=lattice * repeats, pbc=True)
