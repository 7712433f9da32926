"""The terms beside the network on a device: the numbers of NumPy, the same bits whatever the order of threads."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.terms import DeviceTerms, TermKernels
from etn_gpu.backend.terms import SiteTerms
from etn_gpu.errors import BackendError
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.terms import Terms
from etn_gpu.structures import StructureBatch
from tests.emulator import run_in_order

pytestmark = pytest.mark.emulator

SPECIES, CUTOFF = ("Al", "Ni"), 4.5
TERMS = Terms(
    repulsion=np.array([[[0.6, 1.9], [0.5, 1.8]], [[0.5, 1.8], [0.0, 0.0]]]),
    density=np.array([[0.4, 1.2, 3.2, 4.7], [0.0, 0.0, 3.3, 5.0]]),
    distances=np.array([[[1.0, 2.0], [0.8, 1.7]], [[0.8, 1.7], [0.9, 1.75]]]),
    embedding=np.array([[-1.0, 3.0, 2.5, 0.0], [0.5, 4.0, 2.8, 1.5]]),
    bounds=np.array([[-3.0, -0.7, 0.5, 1.5], [-1.0, -0.5, 0.0, 0.2]]),
)


@pytest.fixture(scope="module")
def environments() -> Environments:
    """Atoms in every region: crystals from thin to collapsed, close pairs, an atom alone."""
    many = []
    for a in (2.6, 3.3, 3.7, 4.15, 4.9):
        crystal = bulk("Al", a=a, cubic=True)
        crystal.symbols[[1, 2]] = "Ni"
        crystal.rattle(0.05, seed=1)
        many.append(crystal)
    many += [Atoms(pair, [[0.0] * 3, [0.0, 0.6 * r, 0.8 * r]]) for pair in ("Al2", "AlNi", "Ni2") for r in (0.3, 1.5)]
    return Environments.of(StructureBatch.build([*many, Atoms("Al")], SPECIES, CUTOFF))


Given = tuple[NDArray[np.floating], NDArray[np.floating]]


def given(environments: Environments, dtype: str) -> Given:
    """Outputs and edge gradients of some network."""
    rng = np.random.default_rng(0)
    geometry = environments.geometry
    return rng.normal(size=geometry.n_atoms).astype(dtype), rng.normal(size=(geometry.n_edges, 3)).astype(dtype)


def on_device(device: Device, environments: Environments, dtype: str) -> dict[str, NDArray[np.floating]]:
    geometry = environments.geometry
    arrays = environments.vectors, geometry.edge_offsets, geometry.species, geometry.edge_species
    tables = TERMS.tables(SPECIES, CUTOFF)
    terms = DeviceTerms(TermKernels(device), tables).at(*(device.to_device(array) for array in arrays))
    outputs, gradient = (device.to_device(array) for array in given(environments, dtype))
    energies = terms.energies(outputs)
    terms.add_to_gradients(outputs, gradient)
    found = {"sites": terms.sites, "weights": terms.weights, "energies": energies, "gradient": gradient}
    return {name: device.to_host(array) for name, array in found.items()}


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_numbers_of_numpy(device: Device, environments: Environments, dtype: str, order: int) -> None:
    run_in_order(device, order)
    found = on_device(device, environments, dtype)
    oracle = SiteTerms(TERMS.tables(SPECIES, CUTOFF), environments.geometry, environments.vectors)
    assert set(np.sign(oracle.weights)) == {0.0, 1.0}
    assert ((oracle.weights > 0.1) & (oracle.weights < 0.9)).any()
    outputs, gradient = given(environments, dtype)
    before = gradient.copy()
    oracle.add_to_gradients(outputs, gradient)
    np.testing.assert_allclose(found["sites"], oracle.sites, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found["weights"][:, 0], found["sites"][:, 0])
    np.testing.assert_allclose(found["energies"], oracle.energies(outputs), rtol=1e-12, atol=1e-12)
    assert found["gradient"].dtype == dtype
    rounding = {"float32": 1e-6, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(found["gradient"], gradient, rtol=rounding, atol=rounding)
    same = (gradient == before).all(axis=1)
    assert same.any()
    np.testing.assert_array_equal(found["gradient"][same], before[same])

    run_in_order(device, 0)
    again = on_device(device, environments, dtype)
    assert all(np.array_equal(again[name], array) for name, array in found.items())


def test_a_network_without_weight_may_be_anything(device: Device, environments: Environments) -> None:
    geometry = environments.geometry
    arrays = environments.vectors, geometry.edge_offsets, geometry.species, geometry.edge_species
    tables = TERMS.tables(SPECIES, CUTOFF)
    terms = DeviceTerms(TermKernels(device), tables).at(*(device.to_device(array) for array in arrays))
    outputs, gradient = given(environments, "float64")
    without = device.to_host(terms.weights)[:, 0] == 0.0
    outputs[without] = np.nan
    gradient[np.repeat(without, np.diff(geometry.edge_offsets))] = np.inf
    values, on_edges = device.to_device(outputs), device.to_device(gradient)
    terms.add_to_gradients(values, on_edges)
    assert without.any()
    assert np.isfinite(device.to_host(terms.energies(values))).all()
    assert np.isfinite(device.to_host(on_edges)).all()


def test_no_atoms_and_outputs_of_another_type(device: Device) -> None:
    kernels = TermKernels(device)
    nothing = [device.zeros(shape, kind) for shape, kind in (((0, 3), "f8"), (1, "i8"), (0, "i4"), (0, "i4"))]
    terms = DeviceTerms(kernels, TERMS.tables(SPECIES, CUTOFF)).at(*nothing)
    assert terms.energies(device.zeros(0, np.float32)).shape == (0,)
    assert kernels.launches == 0
    with pytest.raises(BackendError, match="has no kernel 'site_energies_int64'"):
        terms.energies(device.zeros(0, np.int64))
