"""Labels of another sign or unit than the model predicts are named by `evaluate`, in its output and in JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.io import write

from etn_gpu.structures import GPA
from tests.cases.conftest import Evaluate, Labelled


def changed(alloys: list[Labelled], path: Path, *, stress: float = 1.0, forces: float = 1.0) -> Path:
    structures = []
    for alloy in alloys:
        atoms = alloy.atoms.copy()
        atoms.info |= {"REF_energy": alloy.energy, "REF_stress": stress * alloy.stress}
        atoms.arrays["REF_forces"] = forces * alloy.forces
        structures.append(atoms)
    write(path, structures, format="extxyz")
    return path


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"stress": -1.0}, "stresses look to have the opposite sign: they are -1 times those of the model"),
        ({"stress": 1 / GPA}, "stresses look to be in GPa: they are 160.22 times"),
        ({"stress": -10 / GPA}, "stresses look to be in kbar and to have the opposite sign: they are -1602.2 times"),
        ({"forces": -1.0}, "forces look to have the opposite sign"),
        ({"forces": 1 / 51.42207}, "forces look to be in Hartree/bohr"),
    ],
)
def test_named_beside_the_errors(
    evaluate: Evaluate, alloys: list[Labelled], tmp_path: Path, n: int, change: dict[str, float], text: str
) -> None:
    result = evaluate(changed(alloys[:n], tmp_path / "a.xyz", **change))
    assert result.code == 0, result.err
    assert f"warning: {text}" in result.out
    assert [found for found in result.numbers["warnings"] if text in found["message"]]


def test_right_labels(evaluate: Evaluate, alloys: list[Labelled], tmp_path: Path) -> None:
    result = evaluate(changed(alloys, tmp_path / "a.xyz"))
    assert result.code == 0, result.err
    assert [found for found in result.numbers["warnings"] if "look" in found["message"]] == []
