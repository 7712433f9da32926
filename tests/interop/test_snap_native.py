"""SNAP against LAMMPS: energies, forces and stresses of 200 structures (see make_snap_references.py)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.interop.snap import read_snap, translate
from etn_gpu.interop.translation import Translation
from etn_gpu.interop.zbl import ZBL
from tests.interop.snap_cases import CASES, PUBLISHED, published_structures, seed

REFERENCES = json.loads((Path(__file__).parent / "references" / "snap.json").read_text())
#: Those that compile within a second.
QUICK = ("alloy", "quadratic bzero", "chem", "chem quadratic", "inner", "no switch")
Evaluate = Callable[..., Any]


def made(name: str) -> Translation:
    """The potential of a case."""
    case = CASES[name]
    return translate(case.file(seed(name)), case.species, ZBL(*case.zbl) if case.zbl else None)


def compare(translation: Translation, structures: Sequence[Atoms], expected: list[dict[str, Any]], found: Any) -> None:
    """Energies to 1e-9 eV/atom, forces to 1e-8 eV/A, stresses to 1e-9 eV/A^3; seen are 1e-13, 2e-12 and 4e-14."""
    for k, (atoms, reference) in enumerate(zip(structures, expected, strict=True)):
        of = slice(found.offsets[k], found.offsets[k + 1])
        assert np.sum(found.energies[of]) == pytest.approx(reference["energy"], abs=1e-10 * len(atoms))
        np.testing.assert_allclose(found.forces[of], reference["forces"], rtol=0, atol=1e-9)
        if "stress" in reference:
            np.testing.assert_allclose(found.stresses[k], reference["stress"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", QUICK)
def test_lammps_agrees(name: str, backend: str, evaluated: Evaluate) -> None:
    translation, structures = made(name), CASES[name].structures(seed(name))[:8]
    compare(translation, structures, REFERENCES["made"][name][:8], evaluated(translation, structures, backend))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_lammps_agrees_on_all_structures(name: str, backend: str, evaluated: Evaluate) -> None:
    translation, structures = made(name), CASES[name].structures(seed(name))
    compare(translation, structures, REFERENCES["made"][name], evaluated(translation, structures, backend))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_lammps_agrees_on_published_potentials(name: str, backend: str, evaluated: Evaluate) -> None:
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if not folder:
        pytest.skip("published potentials are looked for in the folder ETN_GPU_POTENTIALS")
    known = PUBLISHED[name]
    translation = read_snap(Path(folder) / known.coefficients, species=known.species, zbl=known.zbl)
    structures = published_structures(name)
    compare(translation, structures, REFERENCES["published"][name], evaluated(translation, structures, backend))
