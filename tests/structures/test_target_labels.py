"""Labels of dipoles and of quantities of atoms: where they are found, in what units, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.structures import LabelledSet, collect_labels, read_labelled
from etn_gpu.structures.joined import join_labelled
from etn_gpu.structures.targets import Target

DIPOLE, CHARGES = Target("dipole"), Target("charges", per_atom=True)
MOMENT = np.array([0.1, -0.2, 0.3])


def water(**info: Any) -> Atoms:
    return Atoms("OH2", [[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]], info=info)


def charged(values: Any, name: str = "charges") -> Atoms:
    atoms = water()
    atoms.set_array(name, np.asarray(values))
    return atoms


def value(atoms: Atoms, target: Target = DIPOLE) -> Any:
    """The label that is read from one structure."""
    labels = collect_labels([atoms], target=target)
    assert labels.target is not None
    return labels.target.values[0]


@pytest.mark.parametrize("key", ["dipole", "REF_dipole", "DIPOLE", "dft_dipole", "dipole_moment", "Ref-Dipole"])
def test_usual_keys(key: str) -> None:
    np.testing.assert_array_equal(value(water(**{key: MOMENT})), MOMENT)


def test_results_of_a_calculator() -> None:
    atoms = water()
    atoms.calc = SinglePointCalculator(atoms, dipole=MOMENT, charges=[-0.8, 0.4, 0.4])
    np.testing.assert_array_equal(value(atoms), MOMENT)
    np.testing.assert_array_equal(value(atoms, CHARGES), [-0.8, 0.4, 0.4])


def test_the_preferred_key_is_taken_and_the_other_told() -> None:
    labels = collect_labels([water(dipole=MOMENT, REF_dipole=2 * MOMENT), water(REF_dipole=MOMENT)], target=DIPOLE)
    assert labels.target is not None
    np.testing.assert_array_equal(labels.target.values, [2 * MOMENT, MOMENT])
    assert dict(labels.target.keys) == {"REF_dipole": 2}
    assert (
        labels.target_audit().warnings[0]
        == "REF_dipole was taken as the dipole; dipole is there as well and differs in 1 structure."
    )


def test_a_second_source_that_is_nonsense_is_told() -> None:
    labels = collect_labels([water(dipole="nonsense", REF_dipole=MOMENT)], target=DIPOLE)
    assert labels.target is not None
    assert dict(labels.target.n_disagreeing) == {("REF_dipole", "dipole"): 1}


def test_a_key_of_ones_own() -> None:
    atoms = water(mu=MOMENT, dipole=3 * MOMENT)
    np.testing.assert_array_equal(value(atoms, Target("dipole", key="MU")), MOMENT)
    atoms.set_array("q", np.array([-1, 0, 1]))
    np.testing.assert_array_equal(value(atoms, Target("charges", per_atom=True, key="q")), [-1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("info", "size", "shown"),
    [
        ({"dipole_unit": "debye"}, units.Debye, " in debye"),
        ({"dipole-units": "D"}, units.Debye, " in D"),
        ({"dipole_unit": "e*bohr"}, units.Bohr, " in e*bohr"),
        ({"units": "atomic"}, units.Bohr, " in atomic"),
        ({"dipole_unit": "e*A"}, 1.0, ""),
        ({"units": "eV, Angstrom"}, 1.0, ""),
        ({"REF_dipole_unit": "debye"}, 1.0, ""),
    ],
)
def test_stated_units_of_dipoles(info: dict[str, str], size: float, shown: str) -> None:
    labels = collect_labels([water(dipole=MOMENT, **info)], target=DIPOLE)
    assert labels.target is not None
    assert labels.target.values[0] is not None
    np.testing.assert_allclose(labels.target.values[0], size * MOMENT, rtol=1e-15)
    assert labels.target.unit == "e*A"
    assert dict(labels.target.keys) == {f"dipole{shown}": 1}


def test_the_unit_of_a_quantity_of_atoms_is_told() -> None:
    atoms = charged([1.0, 2.0, 3.0], "shift")
    atoms.info["shift_unit"] = "ppm"
    labels = collect_labels([atoms], target=Target("shift", per_atom=True))
    assert labels.target is not None
    assert str(labels.target.quantity) == "shift (a number for each atom, ppm)"


@pytest.mark.parametrize(
    ("values", "irreps", "shape"),
    [([1, 2, 3], "1x0e", (3,)), ([[1.0], [2.0], [3.0]], "1x0e", (3,)), (np.ones((3, 3)), "1x1o", (3, 3))],
)
def test_numbers_and_vectors_of_atoms(values: Any, irreps: str, shape: tuple[int, ...]) -> None:
    labels = collect_labels([charged(values)], target=CHARGES)
    assert labels.target is not None
    assert labels.target.quantity.irreps == irreps
    assert labels.target.values[0] is not None
    assert labels.target.values[0].shape == shape


def test_missing_labels() -> None:
    structures = [water(dipole=MOMENT), water(), water(dipole=[0.1, np.nan, 0.0]), water(dipole="None")]
    labels = collect_labels(structures, target=DIPOLE)
    assert labels.target is not None
    assert [v is None for v in labels.target.values] == [False, True, True, True]
    assert labels.target_audit().warnings[0] == "dipole NaN or empty in 2 structures: left out as missing."
    labels = collect_labels([charged([[1.0, 2, 3], [1, np.nan, 3], [0, 0, 1]]), charged([np.nan] * 3)], target=CHARGES)
    assert labels.target is not None
    np.testing.assert_array_equal(labels.target.values[0], [[1, 2, 3], [np.nan] * 3, [0, 0, 1]])
    assert labels.target.values[1] is None
    audit = labels.target_audit()
    assert (audit.n_labelled, audit.n_values) == (1, 2)
    assert "charges NaN for some atoms of 1 structure: these atoms are left out." in audit.warnings


def labelled(structures: list[Atoms], target: Target = DIPOLE) -> LabelledSet:
    return collect_labels(structures, "file.xyz", target=target)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([0.1, 0.2], r"dipole has shape \(2,\): expected a dipole moment x, y, z in e\*A"),
        (0.5, r"dipole has shape \(\): expected"),
        (np.eye(3), r"dipole has shape \(3, 3\).*A tensor is a sum of irreps \(0e and 2e\), and a network has one"),
        ([np.inf, 0, 0], "dipole holds inf: expected .*, all finite"),
        ("yes", "dipole is 'yes': expected a dipole moment"),
        (True, "dipole is 'True': expected a dipole moment"),
        ([{}, 1, 2], "dipole is .*: expected a dipole moment"),
    ],
)
def test_what_is_no_dipole(label: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"file.xyz, frame 1: {message}"):
        labelled([water(dipole=MOMENT), water(dipole=label)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 2)), r"charges has shape \(3, 2\): expected a number for each of 3 atoms, or a vector"),
        (np.ones((3, 3, 3)), r"charges has shape \(3, 3, 3\).*A tensor is a sum of irreps"),
        (np.ones((3, 9)), "A tensor is a sum of irreps"),
        (["a", "b", "c"], "charges is .*: expected a number for each of 3 atoms"),
        ([True, False, True], "charges is .*: expected a number for each of 3 atoms"),
        ([1.0, np.inf, 2.0], "charges holds inf"),
    ],
)
def test_what_is_no_quantity_of_atoms(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled([charged(values)], CHARGES)


def test_one_kind_of_value_and_one_unit_in_all_structures() -> None:
    with pytest.raises(DataError, match="frame 1: charges has 3 values for each atom, and 1 in structures before"):
        labelled([charged([1.0, 2, 3]), charged(np.ones((3, 3)))], CHARGES)
    second = charged([1.0, 2, 3])
    second.info["charges_unit"] = "me"
    with pytest.raises(DataError, match="frame 1: charges is in me, and in structures before in no stated unit"):
        labelled([charged([1.0, 2, 3]), second], CHARGES)
    with pytest.raises(
        DataError, match=r"dipole_unit=eV is no unit of a dipole .*: known are e\*A, e\*bohr \(au\), deb"
    ):
        labelled([water(dipole=MOMENT, dipole_unit="eV")])


def test_periodic_and_charged_structures_have_no_dipole() -> None:
    periodic = water(dipole=MOMENT)
    periodic.set_cell([9.0] * 3)
    periodic.pbc = (False, True, False)
    with pytest.raises(
        DataError, match=r"frame 0: dipole is of a structure with pbc = \[False, True, False\], and a per"
    ):
        labelled([periodic])
    del periodic.info["dipole"]
    labelled([periodic, water(dipole=MOMENT)])
    with pytest.raises(
        DataError, match=r"total_charge=-1, and the dipole moment of a charged structure depends on the o"
    ):
        labelled([water(dipole=MOMENT, total_charge=-1)])
    labelled([water(dipole=MOMENT, charge=0.0)])
    labelled([charged([1.0, 2, 3]), Atoms("H", cell=[3.0] * 3, pbc=True)], CHARGES)


def test_no_label_at_all() -> None:
    with pytest.raises(
        DataError, match=r"file.xyz: no dipole in any of 2 structures. Looked for REF_dipole, dipole.*tar"
    ):
        labelled([water(), water(mu=MOMENT)]).target_audit()
    with pytest.raises(
        DataError, match=r"no atomic:charges in any of 1 structures; all that is there is NaN. Looked for"
    ):
        labelled([charged([np.nan] * 3)], CHARGES).target_audit()
    with pytest.raises(
        DataError, match=r"Looked for mu among the info.*found info keys \['dipole'\].*Name the key with"
    ):
        labelled([water(dipole=MOMENT)], Target("dipole", key="mu")).target_audit()


def test_energies_are_not_looked_at() -> None:
    labels = labelled([water(dipole=MOMENT, energy="nonsense")])
    assert np.isnan(labels.energy).all()
    assert labels.forces == [None]


def test_files_and_the_audit(tmp_path: Path) -> None:
    """Read as ASE writes them: dipoles go through a calculator, arrays through columns."""
    structures = [water(), water()]
    for atoms in structures:
        atoms.info["dipole"] = MOMENT
        atoms.set_array("mu", np.arange(9.0).reshape(3, 3))
        atoms.positions += 0.1 * len(atoms.info)
    structures[1].positions[0] += 0.3
    write(tmp_path / "a.xyz", structures, format="extxyz")
    labels = read_labelled(tmp_path / "a.xyz", target=DIPOLE)
    assert labels.target is not None
    np.testing.assert_allclose(np.concatenate(labels.target.known), [MOMENT, MOMENT])
    text = str(labels.target_audit())
    assert "2 structures, 6 atoms" in text.splitlines()[0]
    assert text.splitlines()[1].split() == [
        *["target", "structures", "structures", "missing", "smallest", "length", "largest", "rms"],
        "unit",
        "found",
        "as",
    ]
    assert text.splitlines()[2].split() == [
        "dipole",
        "2",
        "2",
        "0",
        "0.3742",
        "0.3742",
        "0.3742",
        "e*A",
        "dipole",
        "(2)",
    ]
    labels = read_labelled(tmp_path / "a.xyz", target=Target("mu", per_atom=True))
    assert labels.target is not None
    np.testing.assert_array_equal(labels.target.values[0], np.arange(9.0).reshape(3, 3))


def test_several_sets_are_joined() -> None:
    one, two = labelled([water(dipole=MOMENT)]), labelled([water(), water(REF_dipole=2 * MOMENT)])
    joined = join_labelled([one, two])
    assert joined.target is not None
    assert [v is None for v in joined.target.values] == [False, True, False]
    assert dict(joined.target.keys) == {"dipole": 1, "REF_dipole": 1}
    numbers, vectors = (labelled([charged(v)], CHARGES) for v in (np.ones(3), np.ones((3, 3))))
    with pytest.raises(
        DataError, match=r"atomic:charges is charges \(a vector for each atom\), and in .* it is charges"
    ):
        join_labelled([numbers, vectors])


def test_labels_that_are_all_zero_are_told() -> None:
    assert "charges is exactly zero everywhere" in labelled([charged(np.zeros(3))], CHARGES).target_audit().warnings[0]
