"""The structures that a run begins with, read without anything that could be taken for a label, and those held out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.errors import DataError, LearningError
from etn_gpu.learning.bare import bare, distinct
from etn_gpu.learning.config import LearningConfig
from etn_gpu.structures import StructureBatch, read_structures

if TYPE_CHECKING:
    from ase import Atoms

#: Share of the given structures that only the comparison at the end sees, where there are enough of them.
HELD_OUT = 0.2
ENOUGH = 10
#: Neighbours within this distance, in A, are looked for where no cutoff is given: what is checked is the structure.
CUTOFF = 5.0


def read_given(config: LearningConfig) -> tuple[list[Atoms], list[Atoms]]:
    """Structures to learn from and structures held out, each once; an element of the held-out is one of the others too.

    Raises:
        DataError: a file that cannot be read, a frame that is no structure, named by its place.
        LearningError: a structure that cannot be evaluated, isolated atoms alone, or elements to exchange that no
            structure has.
    """
    structures = distinct((atoms for path in config.structures for atoms in _read(path, config)), lambda atoms: atoms)
    if not any(len(atoms) > 1 or atoms.pbc.any() for atoms in structures):
        names = ", ".join(map(str, config.structures))
        raise LearningError(
            f"{names}: expected a crystal, a surface or a molecule to begin with, found nothing but isolated atoms"
        )
    present = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    if missing := [symbol for group in config.exchange for symbol in group if symbol not in present]:
        raise LearningError(
            f"exchange: none of the given structures has {' or '.join(missing)}, found {', '.join(sorted(present))}; "
            "give one that has, a crystal of the element for instance"
        )
    if len(structures) < ENOUGH or not config.test_number:
        return structures, []
    rng = np.random.default_rng([config.seed, 2])
    order = rng.permutation(len(structures)).tolist()
    held_out = set(order[: int(HELD_OUT * len(structures))])
    kept = [atoms for k, atoms in enumerate(structures) if k not in held_out]
    known = {symbol for atoms in kept for symbol in atoms.get_chemical_symbols()}
    needed = {k for k in held_out if not set(structures[k].get_chemical_symbols()) <= known}
    kept += [structures[k] for k in sorted(needed)]
    return kept, [structures[k] for k in sorted(held_out - needed)]


def _read(path: Path, config: LearningConfig) -> list[Atoms]:
    found = []
    for frame in read_structures(path, format=config.format, species=config.species):
        if frame.error is not None:
            raise DataError(frame.error.reason, f"{path} [{frame.index}]")
        assert frame.atoms is not None
        found.append(bare(frame.atoms))
    species = sorted({symbol for atoms in found for symbol in atoms.get_chemical_symbols()})
    batch = StructureBatch.build(found, species, config.cutoff or CUTOFF, on_error="collect")
    for index, error in sorted(batch.failures.items()):
        raise LearningError(f"{path} [{index}]: {error}")
    return found
