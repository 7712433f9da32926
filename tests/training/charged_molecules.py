"""Random molecules with dipoles, vectors and numbers of atoms by a rule that is equivariant: of neighbours, and smooth.

The vector of atom i is sum_j q(z_i, z_j) f(r_ij) r_ij, its number c(z_i) + sum_j q(z_i, z_j) f(r_ij), and the dipole
the sum of the vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from numpy.typing import NDArray

from etn_gpu.potential import Preset
from etn_gpu.structures.targets import Target
from etn_gpu.training import TrainingConfig

Array = NDArray[np.float64]
CUTOFF = 3.0
SPECIES = ("H", "C")
#: Of pairs of centre and neighbour, and of centres.
CHARGES = {("H", "H"): 0.1, ("H", "C"): -0.4, ("C", "H"): 0.3, ("C", "C"): 0.2}
CONSTANTS = {"H": 0.5, "C": -2.0}
TINY = Preset(3, (2, 2), ("2x0e+2x1o",), 2, 2)
DIPOLE = Target("dipole")
VECTORS = Target("vectors", per_atom=True)
SHIFTS = Target("shifts", per_atom=True)


def labelled_molecule(atoms: Atoms) -> Atoms:
    """The structure with all three kinds of labels."""
    symbols, positions = atoms.get_chemical_symbols(), atoms.positions
    vectors, numbers = np.zeros((len(atoms), 3)), np.array([CONSTANTS[s] for s in symbols])
    for i, own in enumerate(symbols):
        for j, other in enumerate(symbols):
            away = positions[j] - positions[i]
            if i != j and (r := np.linalg.norm(away)) < CUTOFF:
                strength = CHARGES[own, other] * np.cos(0.5 * np.pi * r / CUTOFF) ** 2
                vectors[i] += strength * away
                numbers[i] += strength
    atoms.info["dipole"] = vectors.sum(axis=0)
    atoms.set_array("vectors", vectors)
    atoms.set_array("shifts", numbers)
    return atoms


def molecule(rng: np.random.Generator) -> Atoms:
    """Two to six atoms, each 1.0 to 1.5 A from another one and no closer to any."""
    places = [rng.normal(size=3)]
    while len(places) < rng.integers(2, 7):
        way = rng.normal(size=3)
        place = places[rng.integers(len(places))] + rng.uniform(1.0, 1.5) * way / np.linalg.norm(way)
        if min(np.linalg.norm(place - other) for other in places) > 0.95:
            places.append(place)
    return labelled_molecule(Atoms(rng.choice(list(SPECIES), len(places)), places))


def molecules(number: int, seed: int) -> list[Atoms]:
    """Independent ones."""
    rng = np.random.default_rng(seed)
    return [molecule(rng) for _ in range(number)]


def configuration(folder: Path, target: Target, **changes: Any) -> TrainingConfig:
    """A short run on 60 molecules, with 30 others to validate on, which are written to the folder."""
    for name, number, seed in (("train.xyz", 60, 1), ("valid.xyz", 30, 2)):
        write(folder / name, molecules(number, seed), format="extxyz")
    options: dict[str, Any] = {
        "train_file": folder / "train.xyz",
        "valid_file": folder / "valid.xyz",
        "output": folder / f"{target.name}.etn",
        "target": target,
        "preset": TINY,
        "cutoff": CUTOFF,
        "max_iterations": 3,
    }
    return TrainingConfig(**(options | changes))
