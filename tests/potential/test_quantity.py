"""Networks whose output is a dipole or a quantity of atoms: results, files, the calculator, and who refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write
from safetensors.numpy import load_file

import etn_gpu
from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import ModelFileError, NetworkError, StructureError, TrainingError
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.content import listed_terms
from etn_gpu.potential.file import FORMAT, pack
from etn_gpu.relaxation import relax
from etn_gpu.screening import screen
from etn_gpu.structures.targets import Quantity
from etn_gpu.training import TrainingConfig, train

MakePotential = Callable[..., ETNPotential]
DIPOLE = Quantity("dipole", "1x1o", False, "e*A")
VECTORS = Quantity("moments", "1x1o", True, "")
CHARGES = Quantity("charges", "1x0e", True, "e")
ALL = pytest.mark.parametrize("quantity", [DIPOLE, VECTORS, CHARGES], ids=str)


@pytest.fixture
def make(make_potential: MakePotential) -> Callable[[Quantity], ETNPotential]:
    """A random potential with this output."""

    def build(quantity: Quantity) -> ETNPotential:
        model = make_potential(2, target=quantity.irreps)
        return ETNPotential(model.architecture, model.parameters, quantity=quantity, metadata={"name": "random"})

    return build


@pytest.fixture
def cluster(make_structures: Callable[[int], dict[str, Atoms]]) -> Atoms:
    return make_structures(2)["cluster"]


@ALL
def test_results_are_cartesian_sums_or_values_of_atoms(
    backend: str, quantity: Quantity, make: Callable[[Quantity], ETNPotential], cluster: Atoms
) -> None:
    model = make(quantity)
    components = model.covariants(cluster, backend=backend)[0]
    (result,) = model.evaluate(cluster, backend=backend)
    assert set(result) == {quantity.name}
    atomic = components[:, [2, 0, 1]] if quantity.is_vector else components[:, 0]
    expected = atomic.sum(axis=0) if quantity == DIPOLE else atomic
    np.testing.assert_allclose(result[quantity.name], expected, rtol=1e-12, atol=1e-13)
    assert not result.extrapolating


@ALL
def test_other_structures_do_not_change_a_bit(
    backend: str,
    quantity: Quantity,
    make: Callable[[Quantity], ETNPotential],
    make_structures: Callable[[int], dict[str, Atoms]],
) -> None:
    model = make(quantity)
    structures = [a for a in make_structures(2).values() if not a.pbc.any()]
    together = model.evaluate(structures, backend=backend)
    for atoms, found in zip(structures, together, strict=True):
        (alone,) = model.evaluate(atoms, backend=backend)
        np.testing.assert_array_equal(found[quantity.name], alone[quantity.name])


def test_periodic_structures_have_quantities_of_atoms_and_no_dipole(
    make: Callable[[Quantity], ETNPotential], make_structures: Callable[[int], dict[str, Atoms]]
) -> None:
    structures = make_structures(2)
    crystal, cluster = structures["crystal"], structures["cluster"]
    (found,) = make(CHARGES).evaluate(crystal, backend="numpy")
    assert found["charges"].shape == (len(crystal),)
    message = (
        r"structure 1 \(of 2, counted from 0\): a periodic structure has no dipole: expected no pbc, got \(True, Tr"
    )
    with pytest.raises(StructureError, match=message):
        make(DIPOLE).evaluate([cluster, crystal], backend="numpy")
    outcomes = make(DIPOLE).evaluate_each([crystal, cluster, Atoms("U")], backend="numpy")
    assert [isinstance(outcome, StructureError) for outcome in outcomes] == [True, False, True]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_quantity_that_is_not_finite(make: Callable[[Quantity], ETNPotential], cluster: Atoms) -> None:
    model = make(DIPOLE)
    huge = {name: 1e200 * array for name, array in model.parameters.items()}
    with pytest.raises(StructureError, match="dipole came out as not a finite number"):
        ETNPotential(model.architecture, huge, quantity=DIPOLE).evaluate(cluster, backend="numpy")


def test_closer_than_the_training_data(make: Callable[[Quantity], ETNPotential], cluster: Atoms) -> None:
    model = make(CHARGES)
    far = ETNPotential(model.architecture, model.parameters, quantity=CHARGES, minimum_distances=np.full((2, 2), 4.0))
    (result,) = far.evaluate(cluster, backend="numpy")
    assert result.extrapolating
    assert 1.0 < result.closest < 4.0


# -- files -----------------------------------------------------------------------------------------------------------


@ALL
def test_files(tmp_path: Path, quantity: Quantity, make: Callable[[Quantity], ETNPotential], cluster: Atoms) -> None:
    model = make(quantity)
    model.save(tmp_path / "m.etn")
    again = etn_gpu.load(str(tmp_path / "m.etn"))
    assert again.quantity == quantity
    assert not again.is_energy
    assert again.checksum() == model.checksum()
    name = quantity.name
    found, expected = (m.evaluate(cluster, backend="numpy")[0][name] for m in (again, model))
    np.testing.assert_array_equal(found, expected)
    again.save(tmp_path / "again.etn")
    assert (tmp_path / "again.etn").read_bytes() == (tmp_path / "m.etn").read_bytes()


def document(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        found: dict[str, Any] = json.loads((file.metadata() or {})[FORMAT])
    return found


def test_older_versions_do_not_take_charges_for_energies(
    tmp_path: Path, make: Callable[[Quantity], ETNPotential], make_potential: MakePotential
) -> None:
    make(CHARGES).save(tmp_path / "charges.etn")
    make_potential(2).save(tmp_path / "energies.etn")
    assert document(tmp_path / "charges.etn")["format_version"] == 4
    assert document(tmp_path / "charges.etn")["quantity"] == {
        "name": "charges", "irreps": "1x0e", "of": "atom", "unit": "e"
    }  # fmt: skip
    assert document(tmp_path / "energies.etn")["format_version"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"irreps": "1x0e"}, "the output of this potential is 1x1o"),
        ({"irreps": "1x3o"}, r"quantity\.irreps is '1x3o', expected one of 1x0e, 1x1o"),
        ({"of": "cell"}, r"quantity\.of is 'cell', expected one of atom, structure"),
        ({"unit": None}, r"quantity\.unit is None, expected a string"),
        ({"more": 1}, r"quantity has the unknown entry 'more'"),
    ],
)
def test_a_file_with_another_quantity(
    tmp_path: Path, changes: dict[str, Any], message: str, make: Callable[[Quantity], ETNPotential]
) -> None:
    path = tmp_path / "m.etn"
    make(DIPOLE).save(path)
    content, tensors = document(path), load_file(path)
    del content["checksum"]
    content["quantity"] |= changes
    path.write_bytes(pack(content, tensors))
    with pytest.raises(ModelFileError, match=message):
        etn_gpu.load(str(path))


# -- the calculator --------------------------------------------------------------------------------------------------


def test_the_calculator_has_the_dipole_alone(
    backend: str, tmp_path: Path, make: Callable[[Quantity], ETNPotential], cluster: Atoms
) -> None:
    model = make(DIPOLE)
    cluster.calc = ETNCalculator(model, backend=backend)
    assert cluster.calc.implemented_properties == ["dipole"]
    expected = model.evaluate(cluster, backend=backend)[0]["dipole"]
    np.testing.assert_array_equal(cluster.get_dipole_moment(), expected)
    cluster.rotate(90, "z")
    np.testing.assert_allclose(cluster.get_dipole_moment(), [-expected[1], expected[0], expected[2]], atol=1e-11)
    with pytest.raises(PropertyNotImplementedError):
        cluster.get_potential_energy()
    write(tmp_path / "a.xyz", cluster, format="extxyz")
    (written,) = read(tmp_path / "a.xyz", ":")
    np.testing.assert_allclose(written.get_dipole_moment(), cluster.get_dipole_moment(), atol=1e-7)
    cluster.pbc, cluster.cell = True, [30.0] * 3
    with pytest.raises(StructureError, match="a periodic structure has no dipole"):
        cluster.get_dipole_moment()


def test_the_calculator_has_quantities_of_atoms(make: Callable[[Quantity], ETNPotential], cluster: Atoms) -> None:
    for quantity in (CHARGES, VECTORS):
        cluster.calc = ETNCalculator(make(quantity), backend="numpy")
        expected = make(quantity).evaluate(cluster, backend="numpy")[0][quantity.name]
        np.testing.assert_array_equal(cluster.calc.get_property(quantity.name, cluster), expected)
    assert dict(cluster.calc.export_properties()) == {}  # ASE knows no such name
    cluster.calc = ETNCalculator(make(CHARGES), backend="numpy")
    np.testing.assert_array_equal(cluster.get_charges(), cluster.calc.results["charges"])
    assert "charges" in cluster.calc.export_properties()
    assert "energy" in ETNCalculator.implemented_properties


# -- who needs an energy ---------------------------------------------------------------------------------------------


@ALL
def test_what_needs_an_energy_refuses(
    tmp_path: Path, quantity: Quantity, make: Callable[[Quantity], ETNPotential], cluster: Atoms
) -> None:
    model = make(quantity)
    words = rf"output {quantity.name} \(a \w+ for each \w+(, \S+)?\)"
    with pytest.raises(NetworkError, match=f"{words}; a relaxation needs an energy"):
        relax(model, cluster)
    with pytest.raises(NetworkError, match=f"{words}; screening needs an energy"):
        screen(model, [cluster], tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()
    with pytest.raises(NetworkError, match=f"grades are of energies; this potential has the {words}"):
        model.evaluate(cluster, grade=True)
    model.save(tmp_path / "m.etn")
    write(tmp_path / "train.xyz", cluster, format="extxyz")
    with pytest.raises(TrainingError, match=rf"m\.etn cannot be trained on: it has the {words}, expected an energy"):
        train(TrainingConfig(tmp_path / "train.xyz", tmp_path / "new.etn", init=tmp_path / "m.etn"))


def test_what_no_potential_can_be(make: Callable[[Quantity], ETNPotential], make_potential: MakePotential) -> None:
    model = make_potential(2)
    with pytest.raises(NetworkError, match=r"the output of this potential is 1x0e; dipole \(a vector .*\) needs 1x1o"):
        ETNPotential(model.architecture, model.parameters, quantity=DIPOLE)
    assert listed_terms(make(CHARGES)) == [{"kind": "network"}]
