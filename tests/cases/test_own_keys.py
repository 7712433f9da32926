"""The yardstick of the other cases: labels under ASE's own keys, in ASE's own format, have errors of zero."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from .conftest import Evaluate, Labelled


def test_labels_in_ases_own_words_are_reproduced(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    frames = []
    for item in alloys:
        atoms = item.atoms.copy()
        atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces, stress=item.stress)
        frames.append(atoms)
    path = tmp_path / "own.extxyz"
    write(path, frames)
    result = evaluate(path)
    assert result.code == 0
    for name in ("energy", "forces", "stress"):
        assert result.error(name) == pytest.approx(0.0, abs=1e-7)
