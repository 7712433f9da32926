"""What the constraints of a structure hold in place, as arrays; constraints that cannot be kept are named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

#: Names of ASE's constraints that are kept.
KEPT = ("FixAtoms", "FixCartesian", "FixSymmetry")


@dataclass(frozen=True)
class Symmetry:
    """Operations of a space group on n atoms: rotations [o, 3, 3] in Cartesian coordinates, acting on columns, and for
    each atom and operation the atom that is brought there, sources [n, o]."""

    rotations: NDArray[np.float64]
    sources: NDArray[np.int64]


@dataclass(frozen=True)
class Held:
    """What may not change: Cartesian components of atoms, fixed [n, 3], and the symmetry, if any is kept."""

    fixed: NDArray[np.bool_]
    symmetry: Symmetry | None

    @staticmethod
    def of(atoms: Atoms) -> Held:
        """What the constraints of a structure hold, in the sense that ASE gives them.

        FixAtoms and FixCartesian hold atoms in space, and under a change of the cell where it takes them; FixSymmetry
        keeps the operations that it found when it was made.

        Raises:
            StructureError: a constraint that is none of those, that is of other atoms, or two that do not go together.
        """
        fixed = np.zeros((len(atoms), 3), dtype=bool)
        symmetry = None
        for constraint in atoms.constraints:
            name = type(constraint).__name__
            if name not in KEPT:
                raise StructureError(
                    f"the constraint {name} cannot be kept in a relaxation of many structures: expected "
                    f"{', '.join(KEPT)}. Remove it, or relax this structure with ASE."
                )
            if name == "FixSymmetry":
                if symmetry is not None:
                    raise StructureError("two constraints FixSymmetry: expected one.")
                symmetry = _symmetry(atoms, constraint)
                continue
            index = np.asarray(constraint.index)
            if index.size and (index.min() < -len(atoms) or index.max() >= len(atoms)):
                raise StructureError(
                    f"the constraint {name} holds atom {index.max()}, there are {len(atoms)}, counted from 0."
                )
            components = np.asarray(constraint.mask) if name == "FixCartesian" else np.ones(3, dtype=bool)
            fixed[index] |= components
        if symmetry is not None and not _is_symmetric(fixed, symmetry):
            raise StructureError(
                "atoms are held that are not all of those which the symmetry makes equal: hold all of them, and "
                "wholly (FixAtoms), or none."
            )
        return Held(fixed, symmetry)


def _symmetry(atoms: Atoms, constraint: Any) -> Symmetry:
    maps = np.asarray(constraint.symm_map)
    if maps.ndim != 2 or maps.shape[1] != len(atoms):
        raise StructureError(
            f"the constraint FixSymmetry is of a structure of {maps.shape[-1]} atoms, this one has {len(atoms)}: make "
            "it anew."
        )
    if not atoms.pbc.all():
        raise StructureError("FixSymmetry needs periodicity in all three directions.")
    cell = atoms.cell.array.T
    rotations = cell @ np.asarray(constraint.rotations, np.float64) @ np.linalg.inv(cell)
    return Symmetry(np.ascontiguousarray(rotations), np.ascontiguousarray(np.argsort(maps, axis=1).T))


def _is_symmetric(fixed: NDArray[np.bool_], symmetry: Symmetry) -> bool:
    wholly: NDArray[np.bool_] = np.asarray(fixed.all(axis=1))
    return bool((fixed.any(axis=1) == wholly).all() and (wholly[symmetry.sources] == wholly[:, None]).all())
