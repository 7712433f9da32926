"""What is made around a structure: elements, periodicity and spacing are kept, and all of the range is used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.learning.bare import bare
from etn_gpu.learning.perturbations import RATTLE, STRAIN, grown, perturbed
from etn_gpu.learning.spacing import CLOSER, OF_RADII


def structures() -> dict[str, Atoms]:
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    alloy = bulk("Nb", cubic=True, a=3.25) * 2
    alloy.numbers[::2] = 74
    left_handed = bulk("Si")
    left_handed.cell = left_handed.cell.array[[1, 0, 2]]
    wire = Atoms("Au2", [[0, 0, 0], [0.3, 0, 2.6]], cell=[0, 0, 5.2], pbc=(False, False, True))
    return {
        "primitive": bulk("Cu"),
        "salt": salt,
        "alloy": alloy,
        "left-handed": left_handed,
        "slab": fcc111("Al", (2, 2, 3), vacuum=6.0),
        "skewed slab": fcc111("Al", (1, 1, 4), a=4.0),
        "wire": wire,
        "molecule": molecule("CH3CH2OH"),
        "atom": Atoms("He"),
        "dense": bulk("Fe", cubic=True, a=1.6),
    }


NAMES = sorted(structures())
anything = given(name=st.sampled_from(NAMES), seed=st.integers(0, 10**6))


def distances(atoms: Atoms) -> NDArray[np.float64]:
    """All distances between atoms and between their images, of a cell repeated along its periodic directions."""
    many = bare(atoms).repeat(tuple(3 if periodic else 1 for periodic in atoms.pbc))
    lengths = np.linalg.norm(many.positions[:, None] - many.positions, axis=2)
    return lengths + np.where(np.eye(len(many)), np.inf, 0.0)


def relative_spacing(atoms: Atoms) -> float:
    """The least distance over the sum of covalent radii."""
    radii = covalent_radii[bare(atoms).repeat(tuple(3 if periodic else 1 for periodic in atoms.pbc)).numbers]
    return float((distances(atoms) / (radii[:, None] + radii)).min())


@anything
def test_a_perturbed_structure_is_still_that_structure(name: str, seed: int) -> None:
    atoms = structures()[name]
    before = atoms.copy()
    found = perturbed(atoms, np.random.default_rng(seed))
    assert atoms == before
    assert np.array_equal(found.numbers, atoms.numbers)
    assert np.array_equal(found.pbc, atoms.pbc)
    assert np.linalg.det(found.cell.array) * np.linalg.det(atoms.cell.array) >= 0
    assert perturbed(atoms, np.random.default_rng(seed)) == found


@anything
def test_strain_is_bounded_and_only_along_periodic_directions(name: str, seed: int) -> None:
    atoms = structures()[name]
    found = perturbed(atoms, np.random.default_rng(seed), rattle=0.0)
    if not atoms.pbc.any():
        np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-12)
        return
    old, new = atoms.cell.array[atoms.pbc], found.cell.array[atoms.pbc]
    # Lengths of all vectors of the periodic lattice change by at most both strains together.
    vectors = np.random.default_rng(0).normal(size=(50, len(old)))
    ratios = np.log(np.linalg.norm(vectors @ new, axis=1) / np.linalg.norm(vectors @ old, axis=1))
    assert 0 < np.abs(ratios).max() <= 2 * STRAIN
    measures = [np.sqrt(np.linalg.det(rows @ rows.T)) for rows in (old, new)]
    assert abs(np.log(measures[1] / measures[0])) <= len(old) * STRAIN + 1e-12
    # The deformation is no rotation, and nothing happens across.
    deformation = np.linalg.lstsq(old, new, rcond=None)[0]
    np.testing.assert_allclose(deformation, deformation.T, atol=1e-10)
    across = np.eye(3) - np.linalg.pinv(old) @ old
    np.testing.assert_allclose(found.positions @ across, atoms.positions @ across, atol=1e-10)


@anything
def test_atoms_never_come_too_close(name: str, seed: int) -> None:
    """Even where displacements are as large as the distance of neighbours."""
    atoms = structures()[name]
    least = min(OF_RADII, CLOSER * relative_spacing(atoms))
    rng = np.random.default_rng(seed)
    assert relative_spacing(perturbed(atoms, rng, rattle=1.0, strain=0.2)) >= least - 1e-9


def test_weakly_bound_atoms_keep_their_distance() -> None:
    """Covalent radii say nothing about argon."""
    argon = bulk("Ar", cubic=True) * 2
    for seed in range(4):
        found = perturbed(argon, np.random.default_rng(seed), rattle=0.5)
        assert distances(found).min() >= 0.75 * distances(argon).min() - 1e-9


def test_the_whole_range_is_used() -> None:
    atoms = bulk("W", cubic=True, a=3.165) * 2
    rng = np.random.default_rng(0)
    volumes, deviations, shapes = [], [], []
    for _ in range(150):
        found = perturbed(atoms, rng)
        volumes.append(found.get_volume() / atoms.get_volume() - 1)
        deformation = np.linalg.solve(atoms.cell.array, found.cell.array)
        shapes.append(np.linalg.norm(deformation - np.trace(deformation) / 3 * np.eye(3)))
        left = found.positions - atoms.positions @ deformation
        deviations.append(np.std(left) / (0.866 * 3.165))
    assert -0.12 < min(volumes) < -0.1
    assert 0.10 < max(volumes) < 0.13
    assert abs(np.mean(volumes)) < 0.01
    assert 0.9 * STRAIN < max(shapes) < 1.1 * STRAIN
    assert min(deviations) < 0.1 * RATTLE
    assert 0.9 * RATTLE < max(deviations) < 1.25 * RATTLE  # of 48 numbers


def test_displacements_follow_the_neighbours_of_each_atom() -> None:
    """Hydrogen in a molecule moves less than the metal that the molecule is far from."""
    atoms = Atoms("H2Au2", [[0, 0, 0], [0, 0, 0.74], [20, 0, 0], [22.6, 0, 0]])
    rng = np.random.default_rng(1)
    moved = np.array([perturbed(atoms, rng).positions - atoms.positions for _ in range(200)])
    assert np.std(moved[:, 2:]) / np.std(moved[:, :2]) == pytest.approx(2.6 / 0.74, rel=0.1)


@pytest.mark.parametrize(
    ("name", "least", "repeats"),
    [
        ("primitive", 32, (4, 3, 3)),
        ("alloy", 16, (1, 1, 1)),
        ("alloy", 17, (2, 1, 1)),
        ("slab", 20, (2, 1, 1)),
        ("slab", 100, (3, 3, 1)),
        ("wire", 9, (1, 1, 5)),
        ("molecule", 100, (1, 1, 1)),
        ("atom", 2, (1, 1, 1)),
    ],
)
def test_cells_grow_along_periodic_directions(name: str, least: int, repeats: tuple[int, int, int]) -> None:
    atoms = structures()[name]
    found = grown(atoms, least)
    assert len(found) == len(atoms) * np.prod(repeats)
    np.testing.assert_allclose(found.cell.array, atoms.cell.array * np.array(repeats)[:, None])
    assert np.array_equal(found.pbc, atoms.pbc)
    assert distances(found).min() == pytest.approx(distances(atoms).min())


def test_long_cells_grow_sideways() -> None:
    column = Atoms("Fe4", scaled_positions=[[0, 0, i / 4] for i in range(4)], cell=[2.9, 2.9, 11.6], pbc=True)
    np.testing.assert_allclose(grown(column, 64).cell.lengths(), 11.6)


@pytest.mark.parametrize(
    ("state", "size"), [({"charge": 1}, 1), ({"spin": 3}, 1), ({"charge": 0, "spin": 1}, 8), ({"spin": 0}, 8)]
)
def test_a_total_charge_belongs_to_the_cell_as_it_is(state: dict[str, int], size: int) -> None:
    atoms = bulk("Cu")
    atoms.info |= state
    grew = grown(atoms, 8)
    assert len(grew) == size
    assert grew.info == state


def test_nothing_of_the_input_that_could_be_taken_for_labels_is_left() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.info |= {"energy": -1.0, "charge": 1, "spin": 3, "name": "x"}
    atoms.new_array("REF_forces", np.ones((4, 3)))
    atoms.set_initial_charges([0.1, 0.2, 0.3, 0.4])
    atoms.set_momenta(np.ones((4, 3)))
    atoms.set_constraint(FixAtoms([0]))
    rng = np.random.default_rng(0)
    for found in (grown(atoms, 8), perturbed(atoms, rng)):
        assert found.info == {"charge": 1, "spin": 3}
        assert set(found.arrays) == {"numbers", "positions", "initial_charges"}
        assert not found.constraints


@pytest.mark.parametrize(
    "make",
    [
        lambda atoms: grown(atoms, 10),
        lambda atoms: perturbed(atoms, np.random.default_rng(0)),
    ],
    ids=["grown", "perturbed"],
)
@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (Atoms("Fe", cell=[2.8, 2.8, 0.0], pbc=True), "span no volume"),
        (Atoms("Fe2", [[0, 0, 0], [0, 0, np.nan]]), "expected finite positions"),
        (Atoms("X"), "unknown element"),
        (Atoms("Fe2", [[0, 0, 0], [0, 0, 0]]), "at one place"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(make: Callable[[Atoms], Atoms], atoms: Atoms, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        make(atoms)
