"""Sign and unit of stress and forces, told within a set from a rough fit, without a model."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from etn_gpu.structures import GPA, LabelledSet, collect_labels, read_labelled
from etn_gpu.structures.consistency import consistency_warnings
from etn_gpu.structures.rough_fit import RoughFit

HARTREE, BOHR = 27.211386, 0.52917721
Change = Callable[[LabelledSet], LabelledSet]


def labelled(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    atoms.info |= {"REF_energy": atoms.get_potential_energy(), "REF_stress": atoms.get_stress()}
    atoms.arrays["REF_forces"] = atoms.get_forces()
    atoms.calc = None
    return atoms


def strained(symbols: list[str], n: int, strain: float = 0.03, rattle: float = 0.1) -> list[Atoms]:
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(n):
        atoms = bulk(symbols[0], cubic=True) * (2, 2, 1)
        atoms.symbols[:] = rng.choice(symbols, len(atoms))
        cell = np.eye(3) * (1 + strain * rng.normal()) + strain * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell @ cell, scale_atoms=True)
        atoms.positions += rattle * rng.normal(size=atoms.positions.shape)
        structures.append(labelled(atoms))
    return structures


def slabs() -> list[Atoms]:
    """Surfaces, periodic in all directions, with a vacuum."""
    structures = []
    for seed in range(12):
        atoms = fcc111("Al", (2, 2, 3), vacuum=5)
        atoms.pbc = True
        atoms.rattle(0.1, seed=seed)
        atoms.set_cell(atoms.cell.array * (1 + 0.02 * np.sin(seed)), scale_atoms=True)
        structures.append(labelled(atoms))
    return structures


def hydrostatic() -> list[Atoms]:
    """Perfect crystals under pressure and tension: no forces, no shear."""
    structures = []
    for scale in np.linspace(0.96, 1.04, 12):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        structures.append(labelled(atoms))
    return structures


def one_volume() -> list[Atoms]:
    """Thermal displacements in one cell."""
    structures = []
    for seed in range(15):
        atoms = bulk("Pt", cubic=True) * (2, 2, 2)
        atoms.rattle(0.15, seed=seed)
        structures.append(labelled(atoms))
    return structures


SETS: dict[str, Callable[[], list[Atoms]]] = {
    "alloys": lambda: strained(["Cu", "Au", "Ag", "Pd"], 12),
    "many elements": lambda: strained(["Au", "Cu", "Ag", "Pd", "Pt", "Ni", "Al"], 30),
    "calm": lambda: strained(["Al"], 15, strain=0.004, rattle=0.02),
    "five": lambda: strained(["Cu"], 5),
    "slabs": slabs,
    "hydrostatic": hydrostatic,
    "one volume": one_volume,
}


@cache
def made(name: str) -> LabelledSet:
    return collect_labels(SETS[name]())


def changed(
    labels: LabelledSet, *, stress: float = 1.0, forces: float = 1.0, energy: float = 1.0, virial: bool = False
) -> LabelledSet:
    result = copy(labels)
    result.stress = stress * labels.stress
    if virial:
        result.stress = -labels.stress * np.array([[atoms.get_volume()] for atoms in labels.atoms])
    result.energy = energy * labels.energy
    result.forces = [None if f is None else forces * f for f in labels.forces]
    return result


def warnings_of(labels: LabelledSet, **changes: Any) -> str:
    found = changed(labels, **changes).audit().warnings
    # the published sets have perfect crystals
    return "\n".join(text for text in found if not text.startswith("all forces are exactly zero"))


@pytest.mark.parametrize("name", SETS)
def test_right_labels(name: str) -> None:
    assert "looks like" not in warnings_of(made(name))
    assert "look like" not in warnings_of(made(name))


@pytest.mark.parametrize("name", SETS)
def test_sign_of_the_stress(name: str) -> None:
    text = warnings_of(made(name), stress=-1.0)
    assert "the sign of the stress looks like that of a pressure: it is -" in text
    assert "times what a rough fit to energies and forces predicts" in text
    assert "turn its sign" in text


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (1 / GPA, "the stress looks like GPa: it is 1"),
        (10 / GPA, "the stress looks like kbar: it is 1"),
        (-10 / GPA, "the stress looks like kbar, with the sign of a pressure: it is -1"),
        (-1 / GPA, "the stress looks like GPa, with the sign of a pressure: it is -1"),
        (BOHR**3 / HARTREE, "the stress looks like Hartree/bohr^3"),
    ],
)
def test_unit_of_the_stress(name: str, factor: float, text: str) -> None:
    found = warnings_of(made(name), stress=factor)
    assert text in found
    # said once
    assert "are the labels in GPa or kbar" not in found


def test_a_virial_in_the_place_of_the_stress() -> None:
    assert "looks like a virial in eV" in "\n".join(changed(made("alloys"), virial=True).audit().warnings)


@pytest.mark.parametrize("name", ["slabs", "one volume"])
def test_sign_and_unit_of_forces(name: str) -> None:
    labels = made(name)
    turned = warnings_of(labels, forces=-1.0)
    assert "look like derivatives, of the opposite sign" in turned
    assert "the stress" not in turned
    assert "Hartree/bohr beside energies in eV" in warnings_of(labels, forces=BOHR / HARTREE)
    both = warnings_of(labels, forces=BOHR / HARTREE, energy=1 / HARTREE)
    assert "Hartree/bohr beside energies in Hartree" in both


def test_energies_in_hartree_beside_stresses() -> None:
    assert "looks like eV/A^3 beside energies and forces in Hartree" in warnings_of(
        made("hydrostatic"), energy=1 / HARTREE
    )


def test_energies_only_and_few_structures() -> None:
    labels = copy(made("alloys"))
    labels.forces = [None] * len(labels)
    assert warnings_of(labels) == ""
    assert warnings_of(collect_labels(SETS["alloys"]()[:3]), stress=-1.0) == ""


def test_energies_that_the_composition_explains_say_nothing_of_forces() -> None:
    """Of four elements in four structures, and of copies, only rounding is left of the energies."""
    metals = strained(["Cu", "Ag", "Au", "Pt"], 4)
    copies = [metals[0].copy() for _ in range(6)]
    for n, atoms in enumerate(copies):
        atoms.info["REF_energy"] += 1e-9 * n
    for structures in (metals, copies):
        labels = collect_labels(structures)
        fit = RoughFit.of(labels)
        assert fit is not None
        assert fit.force_labels.any()
        assert not fit.energy_labels.any()
        assert consistency_warnings(labels)[0] == []


def test_structures_that_cannot_be_evaluated_are_left_out() -> None:
    structures = SETS["alloys"]()
    structures[0].positions[1] = structures[0].positions[0]
    labels = changed(collect_labels([*structures, Atoms()]), stress=-1.0)
    assert "sign of the stress" in "\n".join(labels.audit().warnings)


@pytest.mark.parametrize("name", ["nbmotaw", "zuo2020_Mo", "zuo2020_Si"])
def test_published_sets(data_dir: Path, name: str) -> None:
    labels = read_labelled(data_dir / name / "train.extxyz.gz", "::20" if name == "nbmotaw" else ":")
    assert warnings_of(labels) == ""
    assert "the sign of the stress looks like that of a pressure" in warnings_of(labels, stress=-1.0)
    assert "the stress looks like GPa: it is" in warnings_of(labels, stress=1 / GPA)
    assert "the stress looks like kbar: it is" in warnings_of(labels, stress=10 / GPA)
    assert "looks like kbar, with the sign of a pressure" in warnings_of(labels, stress=-10 / GPA)
    assert "look like derivatives, of the opposite sign" in warnings_of(labels, forces=-1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nbmotaw", "zuo2020_Mo", "zuo2020_Si"])
@pytest.mark.parametrize("n", [12, 60])
def test_parts_of_published_sets(data_dir: Path, name: str, n: int) -> None:
    whole = read_labelled(data_dir / name / "train.extxyz.gz", "::20" if name == "nbmotaw" else ":")
    fired = 0
    for seed in range(4):
        part = np.random.default_rng(seed).permutation(len(whole))[:n]
        atoms, forces = [whole.atoms[i] for i in part], [whole.forces[i] for i in part]
        labels = LabelledSet(
            whole.source,
            atoms,
            whole.energy[part],
            forces,
            whole.stress[part],
            [whole.config_type[i] for i in part],
            [whole.frames[i] for i in part],
        )
        assert warnings_of(labels) == ""
        fired += "the sign of the stress" in warnings_of(labels, stress=-1.0)
        assert "the stress looks like kbar" in warnings_of(labels, stress=10 / GPA)
    assert fired >= 3


@pytest.mark.parametrize("name", ["acac", "ethanol_rmd17"])
def test_molecules(data_dir: Path, name: str) -> None:
    labels = read_labelled(data_dir / name / "train.extxyz.gz", "::3")
    assert warnings_of(labels) == ""
    assert "of the opposite sign" in warnings_of(labels, forces=-1.0)
