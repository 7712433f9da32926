"""Generalised forces, placements and steps: loops against NumPy, NumPy against ASE, SciPy and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.filters import FrechetCellFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import expm, expm_frechet

from etn_gpu.calculator import ETNCalculator
from etn_gpu.potential import ETNPotential
from etn_gpu.relaxation.arithmetic import Arithmetic, Fire, Lbfgs, Ragged
from etn_gpu.relaxation.compiled import CompiledArithmetic
from etn_gpu.relaxation.held import Symmetry
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.oracle import NumpyArithmetic, exponential
from etn_gpu.relaxation.symmetries import Symmetries
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]
LOOPS, ORACLE = CompiledArithmetic(2), NumpyArithmetic()


@dataclass
class Case:
    """Ragged structures with random rows."""

    layout: Layout
    rows: Array
    cells: Array
    forces: Array
    virials: Array
    pressed: Array
    spans: Array
    fixed: NDArray[np.bool_]
    symmetries: Symmetries


def random_case(sizes: list[int], seed: int) -> Case:
    rng = np.random.default_rng(seed)
    layout = Layout(np.array(sizes, np.int64))
    n, n_atoms, n_rows = len(sizes), int(layout.atom_offsets[-1]), int(layout.row_offsets[-1])
    rows = rng.normal(size=(n_rows, 3))
    rows[layout.cell_rows] *= 0.3 * layout.sizes[:, None, None]
    bases = [np.linalg.qr(rng.normal(size=(3, 3))).Q[:, : rng.integers(0, 4)] for _ in sizes]
    symmetries: list[Symmetry | None] = []
    for size in sizes:
        order = int(rng.integers(1, 5))
        sources = np.stack([rng.permutation(size) for _ in range(order)], axis=1)
        symmetries.append(Symmetry(rng.normal(size=(order, 3, 3)), sources) if rng.random() < 0.5 else None)
    return Case(
        layout, rows, rng.normal(size=(n, 3, 3)), rng.normal(size=(n_atoms, 3)), rng.normal(size=(n, 6)),
        rng.normal(size=n), np.stack([basis @ basis.T for basis in bases]), rng.random((n_atoms, 3)) < 0.2,
        Symmetries.of(symmetries),
    )  # fmt: skip


def generalised(arithmetic: Arithmetic, case: Case, deformation: Array, hydrostatic: bool) -> Array:
    return arithmetic.generalised(
        case.rows, deformation, case.forces, case.virials, case.pressed, case.spans, case.fixed, case.symmetries,
        case.layout, hydrostatic,
    )  # fmt: skip


@settings(max_examples=10)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), seed=st.integers(0, 2**32 - 1))
def test_loops_give_what_numpy_gives(sizes: list[int], seed: int) -> None:
    case = random_case(sizes, seed)
    placed, expected = (a.place(case.rows, case.cells, case.layout) for a in (LOOPS, ORACLE))
    for found, right in zip(placed, expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)
    deformation = expected[2]
    for hydrostatic in (False, True):
        found = generalised(LOOPS, case, deformation, hydrostatic)
        right = generalised(ORACLE, case, deformation, hydrostatic)
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-9)
    for found, right in zip(LOOPS.largest(case.rows, case.layout), ORACLE.largest(case.rows, case.layout), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-14)
    step = 0.1 * case.rows[::-1].copy()
    found, right = (a.advance(case.rows, step, case.fixed, case.layout) for a in (LOOPS, ORACLE))
    np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [Lbfgs, Fire])
@settings(max_examples=10)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), seed=st.integers(0, 2**32 - 1))
def test_steps_of_loops_are_those_of_numpy(kind: type[Ragged], sizes: list[int], seed: int) -> None:
    """On quadratic wells, which some leave halfway, with a rise of the energy now and then."""
    rng = np.random.default_rng(seed)
    case = random_case(sizes, seed)
    layout, rows = case.layout, case.rows
    stiffness = rng.uniform(5.0, 90.0, size=rows.shape)
    states = [kind.begin(layout), kind.begin(layout)]
    for k in range(14):
        forces = -stiffness * rows
        energies = rng.normal(size=layout.n_structures)
        steps = [
            getattr(arithmetic, kind.__name__.lower())(state, rows, forces, energies, layout)
            for arithmetic, state in zip((LOOPS, ORACLE), states, strict=True)
        ]
        np.testing.assert_allclose(steps[0], steps[1], rtol=1e-6, atol=1e-9)
        rows = rows + steps[1]
        if k == 6 and layout.n_structures > 1:
            keep = np.arange(layout.n_structures) % 2 == 0
            of_rows = keep[layout.structure_of_row]
            states = [state.take(keep, of_rows) for state in states]
            layout, rows, stiffness = Layout(layout.sizes[keep]), rows[of_rows], stiffness[of_rows]


def test_lbfgs_minimises_a_quadratic_well() -> None:
    layout = Layout(np.array([5]))
    rng = np.random.default_rng(0)
    stiffness, rows = rng.uniform(10.0, 90.0, size=(8, 3)), rng.normal(scale=0.1, size=(8, 3))
    state = Lbfgs.begin(layout)
    for _ in range(60):
        energy = np.array([0.5 * (stiffness * rows**2).sum()])
        rows = rows + LOOPS.lbfgs(state, rows, -stiffness * rows, energy, layout)
    assert np.abs(rows).max() < 1e-6


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.floats(1e-9, 6.0))
def test_exponential_and_its_derivative(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    a, x = rng.normal(size=(2, 4, 3, 3))
    a *= size / np.linalg.norm(a, axis=(1, 2))[:, None, None]
    value, by = exponential(a, x)
    for k in range(4):
        np.testing.assert_allclose(value[k], expm(a[k]), rtol=1e-11, atol=1e-12 * np.exp(size))
        np.testing.assert_allclose(by[k], expm_frechet(a[k], x[k])[1], rtol=1e-10, atol=1e-11 * np.exp(size))


@pytest.fixture
def strained(alloys: Callable[..., list[Atoms]]) -> tuple[list[Atoms], Array]:
    """Alloys, and rows of theirs with another strain."""
    structures = alloys(3)
    rng = np.random.default_rng(1)
    parts = []
    for atoms in structures:
        parts += [
            atoms.positions + 0.02 * rng.normal(size=(len(atoms), 3)),
            0.05 * len(atoms) * rng.normal(size=(3, 3)),
        ]
    return structures, np.concatenate(parts)


@pytest.mark.parametrize("options", [{}, {"hydrostatic_strain": True}, {"scalar_pressure": 0.3}], ids=str)
def test_forces_are_those_of_the_filter_of_ase(
    model: ETNPotential, strained: tuple[list[Atoms], Array], options: dict[str, Any]
) -> None:
    structures, rows = strained
    layout = Layout(np.array([len(atoms) for atoms in structures]))
    cells = np.stack([atoms.cell.array for atoms in structures])
    positions, new_cells, deformation = ORACLE.place(rows, cells, layout)
    expected, placed = [], []
    for s, atoms in enumerate(structures):
        moving = atoms.copy()
        moving.calc = ETNCalculator(model, grade=0)
        of_ase = FrechetCellFilter(moving, **options)
        of_structure = rows[layout.row_offsets[s] : layout.row_offsets[s + 1]].copy()
        # versions of ASE differ by the constant that its rows of an undeformed cell are
        of_structure[-3:] += of_ase.get_positions()[-3:]
        of_ase.set_positions(of_structure)
        expected.append(of_ase.get_forces())
        placed.append(moving)
    np.testing.assert_allclose(positions, np.concatenate([moving.positions for moving in placed]), atol=1e-12)
    np.testing.assert_allclose(new_cells, np.stack([moving.cell.array for moving in placed]), atol=1e-12)
    result = model.evaluate_batch(StructureBatch.build(placed, model.species, model.cutoff))
    assert result.forces is not None
    assert result.virial is not None
    found = ORACLE.generalised(
        rows, deformation, result.forces, result.virial, options.get("scalar_pressure", 0.0) * result.volumes,
        np.tile(np.eye(3), (3, 1, 1)), np.zeros((len(positions), 3), bool), Symmetries.of([None] * 3), layout,
        "hydrostatic_strain" in options,
    )  # fmt: skip
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-9)


def test_forces_are_the_gradient_of_the_enthalpy(model: ETNPotential, strained: tuple[list[Atoms], Array]) -> None:
    structures, rows = strained[0][:2], strained[1][: len(strained[0][0]) + len(strained[0][1]) + 6]
    structures[1].pbc = True, True, False
    layout = Layout(np.array([len(atoms) for atoms in structures]))
    cells = np.stack([atoms.cell.array for atoms in structures])
    normal = np.linalg.qr(cells[1][:2].T, mode="complete").Q[:, 2]
    spans = np.stack([np.eye(3), np.eye(3) - np.outer(normal, normal)])
    rows[layout.cell_rows[1]] = spans[1] @ rows[layout.cell_rows[1]] @ spans[1]
    pressure = np.array([0.2, 0.0])

    def evaluate(rows: Array) -> tuple[Array, Any, Array, Array]:
        positions, moved, deformation = ORACLE.place(rows, cells, layout)
        placed = []
        for s, atoms in enumerate(structures):
            placed.append(atoms.copy())
            placed[s].set_cell(moved[s])
            placed[s].positions = positions[layout.atom_offsets[s] : layout.atom_offsets[s + 1]]
        result = model.evaluate_batch(StructureBatch.build(placed, model.species, model.cutoff), grade=False)
        pressed = np.where(pressure > 0.0, pressure * result.volumes, 0.0)
        return result.energy + pressed, result, deformation, pressed

    _, result, deformation, pressed = evaluate(rows)
    forces = ORACLE.generalised(
        rows, deformation, result.forces, result.virial, pressed, spans,
        np.zeros((int(layout.atom_offsets[-1]), 3), bool), Symmetries.of([None] * 2), layout, False,
    )  # fmt: skip
    rng = np.random.default_rng(2)
    for _ in range(4):
        along = rng.normal(size=rows.shape)
        for s in range(2):
            along[layout.cell_rows[s]] = spans[s] @ along[layout.cell_rows[s]] @ spans[s]
        step = 1e-4
        slope = (evaluate(rows + step * along)[0] - evaluate(rows - step * along)[0]) / (2.0 * step)
        products = np.add.reduceat((forces * along).sum(axis=1), layout.row_offsets[:-1])
        np.testing.assert_allclose(-products, slope, rtol=1e-5, atol=1e-5)
