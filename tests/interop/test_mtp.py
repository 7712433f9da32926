"""Moment tensor potentials against motep, and against what every potential keeps."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interop.mtp_cases import CASES, COUNT, REAL, Tables, level_8, structures

from etn_gpu.backend import run
from etn_gpu.interop.mtp import mtp_file, read_mtp, translate, write_mtp
from etn_gpu.interop.mtp_file import MtpFile, read_mtp_file
from etn_gpu.interop.mtp_moments import moments_of
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import jvp
from etn_gpu.plan.operations import EdgeSum, Products
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import StructureBatch

REFERENCES = Path(__file__).parent / "references"
Evaluate = Callable[..., Any]


@lru_cache
def references(name: str) -> list[dict[str, Any]]:
    content = json.loads(gzip.decompress((REFERENCES / "mtp.json.gz").read_bytes()))
    found: list[dict[str, Any]] = content[name]
    return found


@lru_cache
def made(name: str) -> Translation:
    return read_mtp(REFERENCES / "mtp" / f"{name}.mtp", species=CASES[name].species)


def compare(evaluated: Evaluate, translation: Translation, atoms: Sequence[Atoms], name: str, backend: str) -> None:
    found = evaluated(translation, atoms, backend)
    expected = references(name)[: len(atoms)]
    energies = np.add.reduceat(found.energies, found.offsets[:-1])
    for k, (structure, reference) in enumerate(zip(atoms, expected, strict=True)):
        assert energies[k] == pytest.approx(reference["energy"], rel=0, abs=1e-9 * len(structure)), k
        forces = found.forces[found.offsets[k] : found.offsets[k + 1]]
        np.testing.assert_allclose(forces, reference["forces"], rtol=0, atol=1e-8, err_msg=str(k))
        if structure.pbc.all():
            np.testing.assert_allclose(found.stresses[k], reference["stress"], rtol=0, atol=1e-9, err_msg=str(k))


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_motep(name: str, backend: str, evaluated: Evaluate) -> None:
    atoms = structures(CASES[name].species, 14, CASES[name].seed)
    compare(evaluated, made(name), atoms, name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_motep_on_all_structures(name: str, backend: str, evaluated: Evaluate) -> None:
    compare(evaluated, made(name), structures(CASES[name].species, COUNT[name], CASES[name].seed), name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_published_potentials_agree_with_motep(name: str, backend: str, evaluated: Evaluate) -> None:
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if not folder:
        pytest.skip("ETN_GPU_POTENTIALS names no folder of published potentials")
    species = REAL[name]
    translation = read_mtp(Path(folder) / name, species=species)
    compare(evaluated, translation, structures(species, COUNT[name], 7), name, backend)


def test_all_structures_are_two_hundred() -> None:
    assert sum(COUNT.values()) == 200
