"""Every structure that cannot be evaluated is refused with a reason, never with a wrong number or a crash."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from etn_gpu.errors import StructureError
from etn_gpu.structures import StructureBatch

SPECIES = ("Al", "Ni")


def crystal(**changes: object) -> Atoms:
    """fcc Al, four atoms, with attributes set as told."""
    atoms = bulk("Al", cubic=True)
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


def positions_with(value: float) -> np.ndarray:
    positions = crystal().positions.copy()
    positions[2, 1] = value
    return positions


REFUSED = {
    "no atoms": (Atoms(cell=[4.0] * 3, pbc=True), "no atoms: expected at least one"),
    "unknown element": (molecule("CH3CH2OH"), "unknown element H, C, O: the known species are Al, Ni"),
    "dummy element": (Atoms("XAl", positions=[[0, 0, 0], [0, 0, 2]]), "unknown element X: the known species"),
    "atomic number beyond the table": (Atoms(numbers=[200]), "unknown element number 200"),
    "negative atomic number": (Atoms(numbers=[-1]), "unknown element number -1"),
    "nan position": (crystal(positions=positions_with(np.nan)), r"atom 2 is at \(.*nan.*\) A: expected finite"),
    "infinite position": (crystal(positions=positions_with(-np.inf)), r"atom 2 is at \(.*-inf.*\) A: expected finite"),
    "absurd position": (crystal(positions=positions_with(1e30)), r"atom 2 is at \(.*1e\+30.*\).*within 1e\+07 A"),
    "nan cell": (crystal(cell=[4.0, np.nan, 4.0]), r"cell .*nan.* A: expected finite vectors"),
    "infinite cell": (crystal(cell=[4.0, np.inf, 4.0]), r"cell .*inf.* A: expected finite vectors"),
    "infinite cell of a molecule": (crystal(cell=[np.inf] * 3, pbc=False), r"cell .*inf.* A: expected finite vectors"),
    "no cell": (crystal(cell=np.zeros((3, 3))), "periodic along a, b, c, but these vectors span no volume"),
    "no volume": (crystal(cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]]), "periodic along a, b, c, .* span no volume"),
    "hardly any volume": (crystal(cell=[[4, 0, 0], [0, 4, 0], [4, 4, 1e-5]]), "span no volume"),
    "no area": (crystal(cell=[[4, 0, 0], [0, 4, 0], [8, 0, 0]], pbc=(1, 0, 1)), "periodic along a, c, .* no volume"),
    "no length": (crystal(cell=[4.0, 0.0, 4.0], pbc=(0, 1, 0)), "periodic along b, .* span no volume"),
    "denormal length": (crystal(cell=[4.0, 1e-300, 4.0]), "span no volume"),
    "two atoms at one place": (
        Atoms("AlNi", positions=[[1, 1, 1], [1, 1, 1]]),
        r"atom 0 \(Al\) and atom 1 \(Ni\) are at one place \(0.0e\+00 A apart\): expected at least 0.001 A",
    ),
    "two atoms at one place through the cell": (
        Atoms("Al2", positions=[[0, 0, 0], [8, 4, 4.0005]], cell=[4.0] * 3, pbc=True),
        r"atom \d \(Al\) and atom \d \(Al\) are at one place \(5.0e-04 A apart\)",
    ),
    "lengths in metres": (crystal(cell=[4e-3] * 3), "neighbours per atom inside the cutoff of 5 A: expected at most"),
    "nearly coplanar vectors": (
        Atoms("Al", cell=[[50, 0, 0.0017], [-25, 43.3013, 0.0017], [-25, -43.3013, 0.0067]], pbc=True),
        r"about 1e\+09 images of the cell .* within the cutoff of 5 A: expected at most 1e\+07. Take a reduced cell",
    ),
    "everything at the origin": (crystal(positions=np.zeros((4, 3)), pbc=False), "at one place"),
    "a great many atoms at the origin": (Atoms("Al30000"), r"about 3e\+04 neighbours per atom .* in Angstrom"),
    "far outside a small cell": (
        Atoms("Al", positions=[[9e6, 0, 0]], cell=[0.05, 60.0, 60.0], pbc=(1, 0, 0)),
        r"9e\+06 A from the origin of a cell 0.05 A high.*Wrap the positions",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    atoms, message = REFUSED[case]
    with pytest.raises(StructureError, match=r"structure 1 \(of 2, counted from 0\): .*" + message):
        StructureBatch.build([crystal(), atoms], SPECIES, 5.0)
    batch = StructureBatch.build([atoms, crystal()], SPECIES, 5.0, on_error="collect")
    assert batch.kept.tolist() == [1]
    assert list(batch.failures) == [0]


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf, 1e3, None, "near"])
def test_bad_cutoff(cutoff: object) -> None:
    for on_error in ("raise", "collect"):
        with pytest.raises(StructureError, match=r"cutoff = .*expected a radius above 0"):
            StructureBatch.build([crystal()], SPECIES, cutoff, on_error=on_error)  # type: ignore[arg-type]


@pytest.mark.parametrize("species", [(), ("Al", "Al"), ("Al", "Unobtainium"), ("X",)])
def test_bad_species(species: tuple[str, ...]) -> None:
    with pytest.raises(StructureError, match=r"species = .*expected chemical symbols"):
        StructureBatch.build([crystal()], species, 5.0)


def test_an_atom_at_the_place_of_its_own_image() -> None:
    atoms = Atoms("Al", cell=[[4, 0, 0], [4, 9e-4, 0], [0, 0, 4]], pbc=(1, 1, 0))
    with pytest.raises(StructureError, match=r"atom 0 \(Al\) and its own periodic image are at one place \(9.0e-04 A"):
        StructureBatch.build([atoms], SPECIES, 0.5)


def test_a_lone_structure_instead_of_a_list() -> None:
    with pytest.raises(StructureError, match=r"expected an ase\.Atoms"):
        StructureBatch.build(crystal(), SPECIES, 5.0)  # type: ignore[arg-type]


def test_odd_but_fine() -> None:
    close = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 0.002]])
    needle = Atoms("Al", cell=[[0.5, 0, 0], [0, 0.5, 0], [0, 0, 500.0]], pbc=True)
    negative = crystal(positions=crystal().positions - 1e5)
    ignored_vector = Atoms(
        "Al2", positions=[[0, 0, 0], [0, 0, 2]], cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=(1, 1, 0)
    )
    batch = StructureBatch.build([close, needle, negative, ignored_vector], SPECIES, 5.0)
    assert batch.n_structures == 4
