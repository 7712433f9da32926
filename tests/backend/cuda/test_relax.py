"""The kernels of relaxations against the arithmetic in NumPy."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

from etn_gpu.backend.cuda.device import Device
from etn_gpu.relaxation.arithmetic import Fire, Lbfgs, Ragged
from etn_gpu.relaxation.device import DeviceFlight, RelaxationKernels
from etn_gpu.relaxation.flight import CpuFlight, Flight
from etn_gpu.relaxation.held import Held
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.options import Options
from etn_gpu.relaxation.oracle import NumpyArithmetic
from etn_gpu.structures.admission import admit
from tests.emulator import run_in_order
from tests.potential.conftest import random_potential
from tests.relaxation.test_arithmetic import generalised, random_case

pytestmark = pytest.mark.emulator
ORACLE = NumpyArithmetic()
SIZES = [1, 40, 3, 2, 11, 1]


@pytest.fixture(scope="session")
def kernels(device: Device) -> RelaxationKernels:
    return RelaxationKernels(device)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_places_and_forces(device: Device, kernels: RelaxationKernels, order: int) -> None:
    case = random_case(SIZES, 4)
    assert len(case.symmetries.structures)
    run_in_order(device, order)
    put = device.to_device
    offsets, rows = put(case.layout.atom_offsets), put(case.rows)
    found = [device.to_host(a) for a in kernels.place(rows, put(case.cells), offsets)]
    expected = ORACLE.place(case.rows, case.cells, case.layout)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    given = {
        "rows": rows, "deformations": put(expected[2]), "forces": put(case.forces), "virials": put(case.virials),
        "pressed": put(case.pressed), "spans": put(case.spans), "fixed": put(case.fixed), "atom_offsets": offsets,
    }  # fmt: skip
    names = ("rotations", "rotation_offsets", "sources", "source_offsets")
    symmetries = {name: put(getattr(case.symmetries, name)) for name in names}
    places = np.full(len(SIZES), -1, np.int64)
    places[case.symmetries.structures] = np.arange(len(case.symmetries.structures))
    symmetries["places"] = put(places)
    for cell in ("full", "volume"):
        forces = kernels.generalised(given, symmetries, cell)
        right = generalised(ORACLE, case, expected[2], cell == "volume")
        np.testing.assert_allclose(device.to_host(forces), right, rtol=1e-9, atol=1e-9)
    largest = device.to_host(kernels.largest(forces, offsets))
    np.testing.assert_allclose(largest, np.stack(ORACLE.largest(right, case.layout), axis=1), rtol=1e-9, atol=1e-12)
    step = 0.1 * case.rows[::-1].copy()
    new = device.to_host(kernels.advance(rows, put(step), put(case.fixed), offsets))
    np.testing.assert_allclose(new, ORACLE.advance(case.rows, step, case.fixed, case.layout), rtol=1e-9, atol=1e-9)


def test_rows_that_are_not_finite_are_seen(device: Device, kernels: RelaxationKernels) -> None:
    layout = Layout(np.array([2, 40, 1]))
    rows = np.ones((int(layout.row_offsets[-1]), 3))
    rows[layout.row_offsets[1] + 37, 2] = np.nan
    rows[-1, 0] = np.inf
    found = device.to_host(kernels.largest(device.to_device(rows), device.to_device(layout.atom_offsets)))
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("kind", [Lbfgs, Fire])
def test_steps(device: Device, kernels: RelaxationKernels, kind: type[Ragged], order: int) -> None:
    """On quadratic wells, with rises of the energy; some structures leave and others come halfway."""
    rng = np.random.default_rng(0)
    run_in_order(device, order)
    layout, name = Layout(np.array(SIZES)), kind.__name__.lower()
    rows = rng.normal(size=(int(layout.row_offsets[-1]), 3))
    stiffness = rng.uniform(5.0, 90.0, size=rows.shape)
    state = kind.begin(layout)
    on_device = {f.name: device.to_device(getattr(state, f.name)) for f in fields(state)}
    for k in range(13):
        forces, energies = -stiffness * rows, rng.normal(size=layout.n_structures)
        expected = getattr(ORACLE, name)(state, rows, forces, energies, layout)
        given = [device.to_device(a) for a in (rows, forces, energies, layout.atom_offsets)]
        step = device.to_host(getattr(kernels, name)(on_device, *given))
        np.testing.assert_allclose(step, expected, rtol=1e-6, atol=1e-9)
        rows = rows + expected
        if k == 11:
            keep = np.array([True, True, False, True, True, False])
            of_rows, more = keep[layout.structure_of_row], Layout(np.array([2]))
            state = state.take(keep, of_rows).joined(kind.begin(more))
            structures = np.append(np.flatnonzero(keep), -1)
            kept = np.concatenate((np.flatnonzero(of_rows), np.full(5, -1)))
            for f in fields(state):
                fill = getattr(kind.begin(more), f.name).ravel()[0].item()
                single = f.name in kind.of_structures
                array = kernels.gather(on_device[f.name], structures if single else kept, fill, 1 if single else 3)
                np.testing.assert_allclose(device.to_host(array), getattr(state, f.name), rtol=1e-6, atol=1e-9)
                on_device[f.name] = array
            layout = Layout(np.append(layout.sizes[keep], 2))
            rows = np.concatenate((rows[of_rows], rng.normal(size=(5, 3))))
            stiffness = np.concatenate((stiffness[of_rows], rng.uniform(5.0, 90.0, size=(5, 3))))


def test_a_flight_on_a_device_is_one_on_a_cpu(device: Device) -> None:
    """Some enter, one leaves, another enters."""
    model = random_potential(n_species=2)
    rng = np.random.default_rng(0)
    structures = []
    for size in (1, 2, 1, 1):
        atoms = bulk(model.species[0], "bcc", a=3.3, cubic=True) * (size, 1, 1)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.1 * rng.normal(size=(len(atoms), 3))
        structures.append(atoms)
    structures[1].set_constraint(FixAtoms([0]))
    structures[2].pbc = True, True, False
    options = Options(cell="full")
    flights: list[Flight] = [
        DeviceFlight(model, options, "float64", device),
        CpuFlight(model, options, "numba", "float64", 1, 10**7),
    ]

    def enter(some: list[Atoms]) -> None:
        for flight in flights:
            flight.enter(admit(some, model.species, model.cutoff), [Held.of(atoms) for atoms in some])

    def same() -> None:
        found, expected = (flight.measure() for flight in flights)
        for name in ("energies", "enthalpies", "volumes", "pressures", "nearest", "atoms", "cell"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-8, equal_nan=True, err_msg=name
            )
        assert found.failures.keys() == expected.failures.keys()
        every = np.arange(flights[0].layout.n_structures)
        for one, other in zip(flights[0].places(every), flights[1].places(every), strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-9)
        for flight in flights:
            flight.step()

    enter(structures[:3])
    same()
    same()
    for flight in flights:
        flight.leave(np.array([True, False, True]))
    enter(structures[3:])
    same()
    same()
