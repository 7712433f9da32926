"""The label audit: counts, ranges, text and warnings."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from etn_gpu.errors import DataError
from etn_gpu.structures import GPA, LabelledSet, collect_labels


def example() -> LabelledSet:
    """Three structures: one with everything, one with forces only, one with nothing."""
    full = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[5.0] * 3, pbc=True)
    full.info |= {"REF_energy": -4.0, "REF_stress": [0.1, 0.0, 0.0, 0.0, 0.0, -0.2]}
    full.arrays["REF_forces"] = np.array([[0.0, 3.0, 4.0], [0.0, -3.0, -4.0]])
    forces_only = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 2.5]])
    forces_only.arrays["REF_forces"] = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 6.0]])
    return collect_labels([full, forces_only, Atoms("Ni3", positions=np.eye(3) * 3)], source="a.xyz")


def crystals(pressure_sign: float = 1.0, factor: float = 1.0) -> LabelledSet:
    """Strained fcc Al with EMT's labels, the stress changed as told."""
    structures = []
    for strain in np.linspace(-0.03, 0.03, 12):
        atoms = bulk("Al", cubic=True)
        atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        atoms.rattle(0.01, seed=1)
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.info["REF_stress"] = pressure_sign * factor * atoms.get_stress()
        structures.append(atoms)
    return collect_labels(structures)


def test_counts_and_ranges() -> None:
    audit = example().audit()
    assert (audit.n_structures, audit.n_atoms, audit.smallest, audit.largest) == (3, 7, 2, 3)
    assert (audit.energy.n_structures, audit.energy.keys) == (1, {"REF_energy": 1})
    assert (audit.energy.minimum, audit.energy.maximum) == (-2.0, -2.0)
    assert audit.forces.n_structures == 2
    assert (audit.forces.minimum, audit.forces.maximum) == (-4.0, 6.0)
    assert audit.forces.rms == pytest.approx(np.sqrt((2 * 25 + 36) / 12))
    assert (audit.stress.minimum, audit.stress.maximum) == (-0.2, 0.1)
    aluminium, nickel = audit.elements
    assert (aluminium.symbol, aluminium.n_structures, aluminium.n_atoms, aluminium.n_forces) == ("Al", 2, 3, 3)
    assert aluminium.force_maximum == pytest.approx(5.0)
    assert aluminium.force_rms == pytest.approx(np.sqrt(50 / 9))
    assert (nickel.symbol, nickel.n_structures, nickel.n_atoms, nickel.n_forces) == ("Ni", 2, 4, 1)
    assert audit.warnings == ()


def test_text() -> None:
    assert str(example().audit()).splitlines() == [
        "a.xyz: 3 structures, 7 atoms (2 to 3 each)",
        "  property  structures  missing  minimum  maximum  rms      unit     found as",
        "  energy    1           2        -2       -2       2        eV/atom  REF_energy (1)",
        "  forces    2           1        -4       6        2.677    eV/A     REF_forces (2)",
        "  stress    1           2        -0.2     0.1      0.09129  eV/A^3   REF_stress (1)",
        "  element  structures  atoms  with forces  force rms  force maximum",
        "  Al       2           3      3            2.357      5",
        "  Ni       2           4      1            3.464      6",
    ]


def test_a_property_that_is_nowhere() -> None:
    atoms = bulk("Al")
    atoms.info["energy"] = -3.5
    text = str(collect_labels([atoms]).audit())
    assert "  forces    0           1        -        -        -    eV/A     nowhere" in text
    assert "(1 each)" in text


@pytest.mark.parametrize("extra", [{}, {"config_type": "bulk", "total_energy": 1.0}])
def test_no_labels_anywhere(extra: dict[str, object]) -> None:
    atoms = bulk("Al")
    atoms.info |= extra
    atoms.arrays["my_forces"] = np.zeros((1, 3))
    atoms.info["REF_stress"] = np.zeros(6)
    labels = collect_labels([atoms, atoms], source="train.xyz")
    with pytest.raises(
        DataError, match=r"train.xyz: no energy and no forces in any of 2 .*REF_energy.*my_forces"
    ) as error:
        labels.audit()
    assert all(key in str(error.value) for key in extra)


def test_no_structures() -> None:
    with pytest.raises(DataError, match="no structures; expected at least one"):
        collect_labels([], source="train.xyz").audit()


def warnings_of(labels: LabelledSet) -> str:
    audit = labels.audit()
    assert all(f"  warning: {text}" in str(audit) for text in audit.warnings)
    return "\n".join(audit.warnings)


def test_clean_labels_raise_no_warning() -> None:
    assert warnings_of(crystals()) == ""


def test_stress_with_the_sign_of_a_pressure() -> None:
    assert "sign of the stress looks like that of a pressure" in warnings_of(crystals(pressure_sign=-1.0))


def test_a_stress_that_is_too_large_where_nothing_else_tells() -> None:
    labels = crystals(factor=10 / GPA)
    labels = collect_labels(labels.atoms[:2])
    largest = np.abs(labels.stress).max()
    assert (
        f"a stress of {largest:.3g} eV/A^3 is {largest / GPA:.3g} GPa: are the labels in GPa or kbar?"
        in warnings_of(labels)
    )


def test_labels_from_different_keys() -> None:
    first, second = bulk("Al"), bulk("Al")
    first.info["REF_energy"] = -1.0
    second.info["dft_energy"] = -2.0
    assert "energy comes from different keys (REF_energy, dft_energy)" in warnings_of(collect_labels([first, second]))


def test_zero_labels_and_stress_of_slabs() -> None:
    slab = bulk("Al", cubic=True)
    slab.pbc = (True, True, False)
    slab.info |= {"REF_energy": 0.0, "REF_stress": np.ones(6)}
    slab.arrays["REF_forces"] = np.zeros((4, 3))
    text = warnings_of(collect_labels([slab]))
    assert "all forces are exactly zero in 1 structures" in text
    assert "the energy is exactly zero in 1 structures" in text
    assert "stress ignored in 1 structures not periodic in all three directions" in text
