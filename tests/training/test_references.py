"""What formation energies are relative to, and what is said of it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.structures.labels import LabelledSet, collect_labels
from etn_gpu.structures.units import GPA
from etn_gpu.training.references import (
    formation_reference_structures,
    formation_references,
    reference_indices,
    reference_warnings,
)


def frame(symbols: str, energy: float | None, *, a: float = 4.0, **labels: Any) -> Atoms:
    n = len(Atoms(symbols))
    atoms = Atoms(symbols, np.arange(n)[:, None] * np.array([2.5, 0.0, 0.0]), cell=[2.5 * n, a, a], pbc=True)
    if energy is not None:
        atoms.info["REF_energy"] = energy
    for name, value in labels.items():
        if name == "forces":
            atoms.arrays["REF_forces"] = np.full((n, 3), value)
        elif name == "stress":
            atoms.info["REF_stress"] = np.array([value, 0, 0, 0, 0, 0])
        else:
            atoms.info[name] = value
    return atoms


def example(**labels: Any) -> LabelledSet:
    frames = [
        frame("Cu2", -7.0),
        frame("Cu4", -14.4, **labels),
        frame("CuAu", -9.0),
        frame("Au", None),
        frame("Cu", None),
    ]
    return collect_labels(frames)


def test_the_lowest_pure_energies() -> None:
    labels = example()
    assert formation_references(labels) == {"Cu": -3.6}
    assert reference_indices(labels) == {"Cu": 1}


def test_of_equal_energies_the_first() -> None:
    assert reference_indices(collect_labels([frame("Cu", -3.0), frame("Cu2", -6.0)])) == {"Cu": 0}


def test_description() -> None:
    described = formation_reference_structures(example(forces=0.001, stress=0.2 * GPA, config_type="bulk"))
    assert json.loads(json.dumps(described)) == described
    assert described["Cu"] == {
        "formula": "Cu4",
        "index": 1,
        "config_type": "bulk",
        "volume_per_atom": pytest.approx(40.0),
        "max_force": pytest.approx(0.001 * np.sqrt(3)),
        "max_stress": pytest.approx(0.2),
        "relaxed": True,
    }
    assert reference_warnings(described) == []


@pytest.mark.parametrize(
    ("labels", "relaxed", "text"),
    [
        ({"forces": 0.5, "stress": 0.0}, False, r"not relaxed: Cu \(structure 1, force 0.866 eV/A, stress 0 GPa\)"),
        ({"forces": 0.0, "stress": -8 * GPA}, False, "not relaxed: Cu .structure 1, force 0 eV/A, stress 8 GPa"),
        ({"stress": 8 * GPA}, False, "stress 8 GPa"),
        ({"forces": 0.0}, None, "cannot be told without forces and stresses: Cu .structure 1"),
        ({}, None, "cannot be told"),
    ],
)
def test_strained_references_are_named(labels: dict[str, float], relaxed: bool | None, text: str) -> None:
    described = formation_reference_structures(example(**labels))
    assert described["Cu"]["relaxed"] is relaxed
    [found] = reference_warnings(described)
    assert re.search(text, found), found


def test_clusters_need_no_stress() -> None:
    atoms = frame("Cu2", -6.0, forces=0.0)
    atoms.pbc = False
    [described] = formation_reference_structures(collect_labels([atoms])).values()
    assert (described["relaxed"], described["volume_per_atom"], described["max_stress"]) == (True, None, None)
