"""ASE's constraint FixSymmetry without spglib, for crystals with cubic axes."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry


def fix_symmetry(atoms: Atoms) -> FixSymmetry:
    """The constraint with all operations that signed permutations of the axes and translations can give."""
    scaled, numbers = atoms.get_scaled_positions(), atoms.numbers
    rotations, translations, maps = [], [], []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        rotation = np.zeros((3, 3), int)
        rotation[range(3), order] = signs
        metric = atoms.cell.array @ atoms.cell.array.T
        if not np.allclose(rotation.T @ metric @ rotation, metric, atol=1e-6):
            continue
        turned = scaled @ rotation.T
        for other in np.flatnonzero(numbers == numbers[0]):
            shift = scaled[other] - turned[0]
            away = turned[:, None] + shift - scaled[None]
            same = (np.abs(away - np.round(away)) < 1e-6).all(axis=2) & (numbers[:, None] == numbers)
            if (same.sum(axis=1) == 1).all():
                rotations.append(rotation)
                translations.append(shift)
                maps.append(same.argmax(axis=1))
    constraint = FixSymmetry.__new__(FixSymmetry)
    constraint.atoms, constraint.symprec, constraint.verbose = atoms.copy(), 0.01, False
    constraint.rotations, constraint.translations = np.array(rotations), np.array(translations)
    constraint.symm_map, constraint.do_adjust_positions, constraint.do_adjust_cell = maps, True, True
    return constraint
