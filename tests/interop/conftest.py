"""Translated potentials evaluated on structures, and compared with numbers of native engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.interop.loading import translated
from etn_gpu.interop.translation import Translation
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluated:
    """Energies of atoms [N] in eV, forces [N, 3] in eV/A, stresses [S, 6] in eV/A^3 (nan unless fully periodic)."""

    energies: Array
    forces: Array
    stresses: Array
    offsets: NDArray[np.int64]


def evaluate_translation(
    translation: Translation, structures: Sequence[Atoms], backend: str, dtype: str = "float64"
) -> Evaluated:
    potential = translated(translation)
    batch = StructureBatch.build(list(structures), potential.species, potential.cutoff)
    found = potential.evaluate_batch(batch, backend=backend, dtype=dtype)
    assert found.forces is not None
    assert found.stress is not None
    return Evaluated(found.energies, found.forces, found.stress, batch.atom_offsets)


@pytest.fixture(scope="session")
def evaluated() -> Callable[..., Evaluated]:
    """``evaluated(translation, structures, backend, dtype)``."""
    return evaluate_translation
