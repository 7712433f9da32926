"""Translated potentials evaluated on structures, and compared with numbers of native engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.backend import run
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import vjp
from etn_gpu.potential.assembly import forces_and_virials, stresses
from etn_gpu.potential.kernel import Environments
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
    form = translation.formulation
    batch = StructureBatch.build(list(structures), form.species, form.cutoff)
    environments = Environments.of(batch)
    inputs = {"x": batch.vectors, **translation.parameters, "e_bar": np.ones((batch.n_atoms, 1))}
    program = vjp(form.energy, {"e": "e_bar"}, {"x": "g"})
    out = run(program, inputs, environments.geometry, backend=backend, dtype=dtype)
    energies = out["e"][:, 0] + translation.references[batch.species_index]
    forces, virials = forces_and_virials(batch, out["g"])
    return Evaluated(energies, forces, stresses(batch, virials), batch.atom_offsets)


@pytest.fixture(scope="session")
def evaluated() -> Callable[..., Evaluated]:
    """``evaluated(translation, structures, backend, dtype)``."""
    return evaluate_translation
