"""One energy far off, and copies: named by their index, and no alarm for what is as it should be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.structures import collect_labels
from tests.structures.test_audit_signs import SETS

REFERENCES = {"Cu": -3.0, "Au": -4.0, "Ag": -5e4, "Pd": -1e5}


def alloys(n: int = 40, seed: int = 0) -> list[Atoms]:
    """All-electron energies of alloys of different sizes, forces of some eV/A."""
    rng = np.random.default_rng(seed)
    structures = []
    for k in range(n):
        atoms = bulk("Cu", cubic=True) * (1 + k % 3, 1, 1)
        atoms.symbols[:] = rng.choice(list(REFERENCES), len(atoms))
        atoms.rattle(0.1, seed=k)
        energy = sum(REFERENCES[symbol] for symbol in atoms.symbols) + rng.normal(0, 0.05) * len(atoms)
        atoms.info["REF_energy"] = energy
        structures.append(atoms)
    return structures


def warnings_of(structures: list[Atoms]) -> str:
    return "\n".join(collect_labels(structures).audit().warnings)


@pytest.mark.parametrize("off", [-1000.0, 1000.0, 100.0, -60.0])
@pytest.mark.parametrize("n", [12, 40])
def test_one_energy_far_off(n: int, off: float) -> None:
    structures = alloys(n)
    assert warnings_of(structures) == ""
    structures[7].info["REF_energy"] += off
    text = warnings_of(structures)
    assert "the energy is far from that of the other structures for its composition: structure 7 by " in text
    deviation = float(text.split("structure 7 by ")[1].split()[0])
    assert deviation == pytest.approx(off / len(structures[7]), rel=0.2)


@pytest.mark.parametrize("name", SETS)
def test_right_energies(name: str) -> None:
    assert "the energy is far" not in warnings_of(SETS[name]())


@pytest.mark.parametrize("name", ["alloys", "slabs", "one volume"])
def test_one_energy_far_off_does_not_hide_the_sign(name: str) -> None:
    structures = SETS[name]()
    structures[3].info["REF_energy"] -= 1000.0
    for atoms in structures:
        atoms.info["REF_stress"] = -atoms.info["REF_stress"]
    text = warnings_of(structures)
    assert "structure 3 by -" in text
    assert "the sign of the stress looks like that of a pressure" in text


def test_atoms_alone_and_compressed_crystals_are_high_for_a_reason() -> None:
    structures = alloys()
    structures.append(Atoms("Cu", info={"REF_energy": 0.5}))
    structures.append(Atoms("Cu2", [[0.0] * 3, [0.0, 0.0, 2.2]], cell=[15.0] * 3, pbc=True, info={"REF_energy": -2.0}))
    compressed = alloys(1, seed=9)[0]
    compressed.info["REF_energy"] += 10.0 * len(compressed)
    compressed.arrays["REF_forces"] = np.full((len(compressed), 3), 30.0)
    assert warnings_of([*structures, compressed]) == ""


def test_two_kinds_of_calculation_are_not_outliers() -> None:
    structures = alloys()
    for atoms in structures[::2]:
        atoms.info["REF_energy"] += 5.0 * len(atoms)
    assert "the energy is far" not in warnings_of(structures)


def shifted(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.info["REF_energy"] += 1.0
    return copy


@pytest.mark.parametrize(
    ("copied", "text"),
    [
        (Atoms.copy, "10 of 30 structures are copies of others (structure 20 of 0, counted from 0)"),
        (shifted, "10 copies have other labels than their first (structures 0 and 20, 1 and 21, 2 and 22 and 7 more"),
    ],
)
def test_a_third_are_copies(copied: Callable[[Atoms], Atoms], text: str) -> None:
    structures = alloys(20)
    found = warnings_of([*structures, *(copied(atoms) for atoms in structures[:10])])
    assert text in found
    assert "10 of 30 structures are copies" in found


def test_few_copies_count_only_where_their_labels_differ() -> None:
    structures = alloys(40)
    assert warnings_of([*structures, structures[3].copy()]) == ""
    assert "1 copies have other labels" in warnings_of([*structures, shifted(structures[3])])
