"""Which key is taken for which label, and which keys look like labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from etn_gpu.errors import DataError
from etn_gpu.structures import LabelKeys, collect_labels
from etn_gpu.structures.label_keys import KeyPlans, looks_like


def crystal(info: dict[Any, Any] | None = None, arrays: dict[str, Any] | None = None, **results: Any) -> Atoms:
    """fcc Al of four atoms with labels in three places."""
    atoms = bulk("Al", cubic=True)
    atoms.info |= info or {}
    for key, value in (arrays or {}).items():
        atoms.set_array(key, np.asarray(value))
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


#: From the one that is preferred to the last one.
ENERGIES = ["REF_energy", "ref_Energy", "dft_energy", "DFT_energy", "Dft_Energy", "Energy", "REF_free_energy"]


@pytest.mark.parametrize("place", range(len(ENERGIES) - 1))
def test_preference_among_energies(place: int) -> None:
    later = ENERGIES[place:]
    atoms = crystal({key: float(value) for value, key in reversed(list(enumerate(later)))})
    labels = collect_labels([atoms])
    assert labels.energy.tolist() == [0.0]
    assert labels.keys["energy"] == {later[0]: 1}


def test_what_a_calculator_holds_comes_after_prefixes_and_before_other_spellings() -> None:
    forces = np.ones((4, 3))
    atoms = crystal({"Energy": 2.0}, {"force": 2 * forces, "Forces": 3 * forces}, energy=1.0, forces=forces)
    labels = collect_labels([atoms])
    assert labels.keys["energy"] == {"calculator energy": 1}
    assert labels.keys["forces"] == {"calculator forces": 1}
    assert [key[2] for key in labels.disagreements] == ["Energy", "force", "Forces"]
    atoms.set_array("dft_force", 4 * forces)
    assert collect_labels([atoms]).keys["forces"] == {"dft_force": 1}


def test_a_stress_comes_before_a_virial_of_the_same_prefix() -> None:
    volume = bulk("Al", cubic=True).get_volume()
    stress = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.0])
    both = crystal({"REF_virial": -2 * stress * volume, "REF_stress": stress, "stress": 5 * stress})
    labels = collect_labels([both])
    assert labels.stress[0] == pytest.approx(stress)
    assert labels.disagreements["stress", "REF_stress", "REF_virial"].largest == pytest.approx(0.3)
    del both.info["REF_stress"]
    assert collect_labels([both]).stress[0] == pytest.approx(2 * stress)


def test_a_virial_without_volume_is_left_out() -> None:
    cluster = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.5]], info={"virial": np.eye(3), "energy": 1.0})
    flat = Atoms("Al", cell=[4, 4, 0], pbc=True, info={"virial": np.eye(3), "energy": 1.0})
    labels = collect_labels([cluster, flat])
    assert labels.n_stress_ignored == 2
    assert np.isnan(labels.stress).all()


LIKE = {
    "energy": ["Energy_total", "TotEnergy", "mace_energy", "E", "E0", "E_tot", "TOTEN", "etot", "u0", "energy:",
               "atomization_energy", "local_energies", "potentialEnergy", "dft-energy-corrected",
               "ground_state_energy"],
    "forces": ["forces_dft", "gap_force", "dft_grad", "my_force", "gradient", "dftforces", "F", "fx"],
    "stress": ["dft_stress_tensor", "stresses", "myStress"],
    "virial": ["local_virial", "Virial_GPa", "virialTensor"],
}  # fmt: skip
UNLIKE = ["config_type", "energy_weight", "forces_sigma", "stress_mask", "has_forces", "force_field", "temperature",
          "kinetic_energy", "energy_unit", "element", "edge", "free", "distance", "enforce", "magmom", "charge", "",
          "é", "force_constants", "fermi_energy", "energy_cutoff", "e_cut", "e_above_hull", "energyAboveHull",
          "n_energy", "energy_conv", "total_energy_error", "applied_stress", "e_kin", "band_gap_energy"]  # fmt: skip


@pytest.mark.parametrize(("quantity", "key"), [(quantity, key) for quantity, keys in LIKE.items() for key in keys])
def test_keys_like_labels(quantity: str, key: str) -> None:
    assert looks_like(key) == quantity


@pytest.mark.parametrize("key", UNLIKE)
def test_keys_unlike_labels(key: str) -> None:
    assert looks_like(key) is None


def test_values_decide_what_could_be_a_label() -> None:
    info = {"energy_origin": "PBE", "E_total": "-3.5", "my_energy": {"a": 1}, "Energy": True, "max_force": 0.2, 7: 1.0}
    labels = collect_labels([crystal(info, energy=1.0)])
    assert labels.unused == {"E_total": 1, "Energy": 1}


def test_one_number_is_no_stress_but_a_component_of_it() -> None:
    info = {"stress_free": 1, "virial_mode": 2.0, "stress_rate": "0.1", "stress_xx": 0.1, "virial_6": 3.0}
    assert collect_labels([crystal(info, energy=1.0)]).unused == {"stress_xx": 1, "virial_6": 1}


def test_energies_of_the_atoms_that_add_up_say_nothing_new() -> None:
    sound = crystal(energy=4.0, energies=np.ones(4))
    other = crystal(energy=5.0, energies=np.ones(4))
    assert collect_labels([sound]).unused == {}
    assert collect_labels([sound, other, other]).unused == {"calculator energies": 2}


NAMED = {
    "exact before case": (LabelKeys(energy="etot"), {"Etot": 1.0, "etot": 2.0}, 2.0),
    "case": (LabelKeys(energy="ETOT"), {"Etot": 1.0}, 1.0),
    "a result": (LabelKeys(energy="calculator free_energy"), {"free_energy": 1.0}, 8.0),
    "info before results": (LabelKeys(energy="free_energy"), {"free_energy": 1.0}, 1.0),
    "results": (LabelKeys(energy="free_energy"), {"REF_energy": 1.0}, 8.0),
}


@pytest.mark.parametrize("name", NAMED)
def test_keys_that_are_asked_for(name: str) -> None:
    keys, info, expected = NAMED[name]
    labels = collect_labels([crystal(info, energy=7.0, free_energy=8.0)], keys=keys)
    assert labels.energy.tolist() == [expected]
    assert labels.unused == {}
    assert labels.disagreements == {}


def test_a_key_that_is_asked_for_may_be_missing_from_some_structures() -> None:
    labels = collect_labels([crystal({"a": 1.0}), crystal({"energy": 2.0})], keys=LabelKeys(energy="a"))
    assert labels.energy[0] == 1.0
    assert np.isnan(labels.energy[1])


@pytest.mark.parametrize("quantity", ["energy", "forces", "stress", "virial"])
def test_a_key_that_is_nowhere(quantity: str) -> None:
    atoms = crystal({"total": 1.0}, {"my_forces": np.ones((4, 3))}, energy=1.0)
    with pytest.raises(
        DataError,
        match=rf"a.xyz: the key 'that', asked for as {quantity}, is in none of 1 structures. There are info keys "
        r"\['total'\], array keys \['my_forces'\] and results of a calculator \['energy'\]",
    ):
        collect_labels([atoms], "a.xyz", keys=LabelKeys(**{quantity: "that"}))


def test_keys_are_looked_up_once_for_all_structures_that_have_them() -> None:
    plans = KeyPlans()
    first, second, other = crystal({"energy": 1.0}), crystal({"energy": 2.0}), crystal({"Energy": 2.0})
    assert plans(first) is plans(second)
    assert plans(other) is not plans(first)
    assert len(plans.plans) == 2


def test_none_gives_way_and_nan_does_not() -> None:
    none = crystal({"REF_energy": None, "energy": 2.0})
    nan = crystal({"REF_energy": np.nan, "energy": 2.0})
    labels = collect_labels([none, nan])
    assert labels.energy[0] == 2.0
    assert np.isnan(labels.energy[1])
    assert labels.n_nan == {"energy": 1}
    assert "1 (1 NaN)" in str(labels.audit())


def test_a_flag_among_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="frame 1: REF_energy is True: expected one energy in eV"):
        collect_labels([crystal({"REF_energy": 1.0}), crystal({"REF_energy": True})])


def test_a_column_called_energy_is_none_of_the_structure() -> None:
    one, four = Atoms("Al"), crystal()
    for atoms in (one, four):
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results = {"energy": np.ones(len(atoms)), "forces": np.zeros((len(atoms), 3))}
    labels = collect_labels([one, four])
    assert labels.energy[0] == 1.0
    assert np.isnan(labels.energy[1])
    assert labels.unused == {"calculator energy": 1}
