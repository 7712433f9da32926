"""What a calculator and a potential keep between calls changes no bit of any result, whatever changes in between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from etn_gpu import ETNCalculator
from etn_gpu.potential import ETNPotential, Potential


def assert_as_fresh(calculator: ETNCalculator, atoms: Atoms) -> None:
    """All results are those of a calculator that has seen nothing else, bit for bit."""
    fresh = ETNCalculator(calculator.model, **calculator.parameters)
    stress = () if not atoms.pbc.all() else ("stress", "stresses")
    for name in ("forces", "energies", "energy", *stress):
        found, expected = (np.asarray(one.get_property(name, atoms)) for one in (calculator, fresh))
        assert found.tobytes() == expected.tobytes(), name


def moved(atoms: Atoms) -> None:
    atoms.positions += 0.03 * np.random.default_rng(1).normal(size=atoms.positions.shape)


def far_moved(atoms: Atoms) -> None:
    atoms.positions[0] += 0.9


def strained(atoms: Atoms) -> None:
    strain = np.array([[0.01, 0.02, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -0.03]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)


def cell_in_place(atoms: Atoms) -> None:
    atoms.cell.array[1, 0] += 0.2


def other_element(atoms: Atoms) -> None:
    atoms.numbers[2] = 13 if atoms.numbers[2] == 28 else 28


def two_exchanged(atoms: Atoms) -> None:
    one, other = np.flatnonzero(atoms.numbers == 13)[0], np.flatnonzero(atoms.numbers == 28)[0]
    atoms.numbers[[one, other]] = atoms.numbers[[other, one]]


def open_along_c(atoms: Atoms) -> None:
    atoms.pbc[2] = False


def periodic_again(atoms: Atoms) -> None:
    atoms.pbc = True


def fewer(atoms: Atoms) -> None:
    del atoms[-3:]


def more(atoms: Atoms) -> None:
    atoms.extend(Atoms("Ni", positions=[atoms.positions[0] + [0.0, 0.0, 1.8]]))


CHANGES: tuple[Callable[[Atoms], Any], ...] = (
    moved, strained, two_exchanged, moved, cell_in_place, other_element, open_along_c, moved, periodic_again, far_moved,
    fewer, moved, more, strained,
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_whatever_changes_in_place(backend: str, dtype: str, potential: ETNPotential, alloy: Atoms) -> None:
    calculator = ETNCalculator(potential, backend=backend, dtype=dtype, skin=0.5)
    assert_as_fresh(calculator, alloy)
    for change in CHANGES:
        change(alloy)
        assert_as_fresh(calculator, alloy)


def test_results_that_are_written_to(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(potential, backend=backend)
    forces = alloy.get_forces()
    for array in (alloy.calc.results["forces"], alloy.calc.results["energies"], alloy.calc.results["stress"]):
        array[...] = np.nan
    moved(alloy)
    assert_as_fresh(alloy.calc, alloy)
    assert np.isfinite(forces).all()


def test_two_models_in_turns(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
    """The same Programs with other numbers, and others of the same name."""
    numbers = {name: 1.01 * values for name, values in potential.parameters.items()}
    other = ETNPotential(potential.architecture, numbers)
    calculators = [ETNCalculator(model, backend=backend) for model in (potential, other)]
    energies = set()
    for _ in range(3):
        moved(alloy)
        for calculator in calculators:
            assert_as_fresh(calculator, alloy)
            energies.add(calculator.get_property("energy", alloy))
    assert len(energies) == 6
    numbers["E0"] += 1.0  # the potential has its own
    moved(alloy)
    (first,), (second,) = (
        model.evaluate(alloy, backend=backend) for model in (other, ETNPotential(other.form, numbers))
    )
    assert second["energy"] == pytest.approx(first["energy"] + len(alloy))


def test_a_list_survives_the_cells_of_a_relaxation(
    backend: str, keeps_lists: bool, potential: ETNPotential, alloy: Atoms
) -> None:
    if not keeps_lists:
        pytest.skip("this backend searches neighbours every time")
    calculator = alloy.calc = ETNCalculator(potential, backend=backend)
    target: Any = FrechetCellFilter(alloy)
    optimiser = BFGS(target, logfile=None)
    cells = []
    for _ in optimiser.irun(fmax=0.005, steps=25):
        cells.append(alloy.cell.array.copy())
        assert_as_fresh(calculator, alloy)
    changes = [np.abs(a - b).max() for a, b in pairwise(cells)]
    assert min(changes) > 0.0, "the cell changes in every step"
    assert calculator.statistics.evaluations > 10
    assert calculator.statistics.neighbour_lists < 0.3 * calculator.statistics.evaluations


def test_a_list_survives_a_cell_and_its_return(backend: str, keeps_lists: bool, potential: ETNPotential) -> None:
    """A cell of one atom, which has nothing but images; periodic in three directions and in two."""
    for pbc in (True, (True, False, True)):
        atoms = bulk("Al", a=4.0)
        atoms.pbc = pbc
        calculator = ETNCalculator(potential, backend=backend)
        cell = atoms.cell.array.copy()
        for scale in (1.0, 1.03, 0.96, 1.0):
            atoms.set_cell(scale * cell, scale_atoms=True)
            assert_as_fresh(calculator, atoms)
        if keeps_lists:
            assert calculator.statistics.neighbour_lists == 1


def test_threads_share_a_model_and_what_it_keeps(potential: ETNPotential, backend: str) -> None:
    """Structures of different sizes at the same time, on a model that has not been used yet."""
    model = Potential(potential.form, potential.parameters)
    structures = [bulk("Al", cubic=True, a=4.0 + 0.01 * k) * (1, 1, 1 + k % 3) for k in range(12)]
    expected = [potential.evaluate(atoms, backend=backend)[0] for atoms in structures]

    def evaluate(k: int) -> bool:
        (found,) = model.evaluate(structures[k], backend=backend, threads=1 + k % 2)
        return all(np.array_equal(found[name], values) for name, values in expected[k].items())

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(evaluate, [k for _ in range(3) for k in range(12)]))
