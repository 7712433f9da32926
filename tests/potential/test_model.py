"""ETNPotential: batches of many structures, precision, backends, results, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from etn_gpu.errors import BackendError, NetworkError, StructureError
from etn_gpu.potential import Architecture, ETNPotential, Result, base, preset_architecture
from etn_gpu.structures import StructureBatch

MakePotential = Callable[..., ETNPotential]


def assert_same(found: Result, expected: Result, relative: float) -> None:
    """Equal up to ``relative`` times the largest value (at least 1) of each property; 0 means bit for bit."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        scale = max(1.0, np.abs(values).max())
        np.testing.assert_allclose(found[name], values, rtol=0, atol=relative * scale, err_msg=name)


def test_a_result_has_the_names_shapes_and_units_of_ase(backend: str, make_potential: MakePotential) -> None:
    atoms = bulk("Al", cubic=True)
    (result,) = make_potential(2).evaluate(atoms, backend=backend)
    shapes = {name: np.shape(value) for name, value in result.items()}
    expected = {"energy": (), "free_energy": (), "energies": (4,), "forces": (4, 3), "stress": (6,), "stresses": (4, 6)}
    assert shapes == expected
    assert result["energy"] == result["free_energy"] == pytest.approx(result["energies"].sum(), rel=1e-14)
    assert isinstance(result["energy"], float)
    assert not result.extrapolating


def test_only_what_is_asked_for(backend: str, make_potential: MakePotential) -> None:
    potential, atoms = make_potential(2), bulk("Al", cubic=True)
    (everything,) = potential.evaluate(atoms, backend=backend)
    (energy,) = potential.evaluate(atoms, forces=False, stress=False, backend=backend)
    assert set(energy) == {"energy", "free_energy", "energies"}
    assert energy["energy"] == pytest.approx(everything["energy"], rel=1e-13)
    (forces,) = potential.evaluate(atoms, stress=False, backend=backend)
    assert set(everything) - set(forces) == {"stress", "stresses"}
    assert np.array_equal(forces["forces"], everything["forces"])


def test_many_structures_give_what_each_gives_alone(
    backend: str, potential: ETNPotential, structures: dict[str, Atoms]
) -> None:
    """Up to the order of sums, which depends on where the edges of an atom lie in a block."""
    shuffled = np.random.default_rng(0).permutation(list(structures) * 3)
    together = potential.evaluate([structures[name] for name in shuffled], backend=backend)
    alone = {name: potential.evaluate(atoms, backend=backend)[0] for name, atoms in structures.items()}
    assert len(together) == len(shuffled)
    for name, result in zip(shuffled, together, strict=True):
        assert_same(result, alone[name], 1e-13)


def test_chunks_change_nothing(
    backend: str, monkeypatch: pytest.MonkeyPatch, potential: ETNPotential, structures: dict[str, Atoms]
) -> None:
    many = list(structures.values()) * 2
    whole = potential.evaluate(many, backend=backend)
    for constant in ("BATCH_ATOMS", "DEVICE_BATCH_ATOMS"):
        monkeypatch.setattr(base, constant, 9)
    monkeypatch.setattr(base, "BATCH_EDGES", 700)
    for found, expected in zip(potential.evaluate(many, backend=backend), whole, strict=True):
        assert_same(found, expected, 1e-13)
    many.insert(7, Atoms("Xe"))
    with pytest.raises(StructureError, match=r"structure 7 \(of 19, counted from 0\): unknown element Xe"):
        potential.evaluate(many, backend=backend)


def test_backends_agree(backend: str, potential: ETNPotential, structures: dict[str, Atoms]) -> None:
    many = list(structures.values())
    for dtype, tolerance in (("float64", 1e-10), ("float32", 2e-5)):
        expected = potential.evaluate(many, backend="numpy", dtype="float64")
        found = potential.evaluate(many, backend=backend, dtype=dtype)
        energies = np.abs(np.concatenate([r["energies"] for r in expected])).max()
        forces = np.abs(np.concatenate([r["forces"] for r in expected])).max()
        stress = max(np.abs(r["stress"]).max() for r in expected if "stress" in r)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a["energies"], b["energies"], rtol=0, atol=tolerance * energies)
            np.testing.assert_allclose(a["forces"], b["forces"], rtol=0, atol=tolerance * forces)
            if "stress" in b:
                np.testing.assert_allclose(a["stress"], b["stress"], rtol=0, atol=tolerance * stress)


def test_the_precision_belongs_to_the_model(backend: str, make_potential: MakePotential) -> None:
    if backend == "cuda":
        pytest.skip("on a device the precision is that of the device unless another one is asked for")
    double, atoms = make_potential(2), bulk("Al", cubic=True)
    single = ETNPotential(double.architecture, double.parameters, dtype="float32")
    batch = StructureBatch.build([atoms], double.species, double.cutoff)
    out = single.evaluate_batch(batch, backend=backend)
    assert (out.dtype, out.backend) == ("float32", backend)
    assert out.energies.dtype == np.float64
    again = double.evaluate_batch(batch, backend=backend, dtype="float32")
    assert np.array_equal(out.energies, again.energies)
    assert not np.array_equal(out.energies, double.evaluate_batch(batch, backend=backend).energies)


def test_the_number_of_threads_changes_nothing(
    backend: str, potential: ETNPotential, structures: dict[str, Atoms]
) -> None:
    many = list(structures.values())
    one, two = (potential.evaluate(many, backend=backend, threads=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert_same(a, b, 0.0)


def test_an_atom_without_neighbours_has_an_energy_of_its_own(backend: str, make_potential: MakePotential) -> None:
    potential = make_potential(4)
    atoms = [Atoms(symbol) for symbol in potential.species]
    results = potential.evaluate(atoms, backend=backend)
    assert len({r["energy"] for r in results}) == 4
    for result in results:
        assert np.array_equal(result["forces"], np.zeros((1, 3)))
        assert "stress" not in result
    far = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 50]])
    (pair,) = potential.evaluate(far, backend=backend)
    assert pair["energy"] == pytest.approx(results[0]["energy"] + results[1]["energy"], rel=1e-14)


def test_reference_energies_shift_the_energy_of_each_atom(backend: str, make_potential: MakePotential) -> None:
    potential, atoms = make_potential(2), Atoms("AlNi2", positions=[[0, 0, 0], [2, 0, 1], [0, 2, 2]])
    shift = np.array([10.0, -3.0])
    parameters = {**potential.parameters, "E0": potential.parameters["E0"] + shift}
    (before,) = potential.evaluate(atoms, backend=backend)
    (after,) = ETNPotential(potential.architecture, parameters).evaluate(atoms, backend=backend)
    np.testing.assert_allclose(after["energies"] - before["energies"], [10.0, -3.0, -3.0], rtol=1e-12)
    assert potential.reference_energies == dict(zip(("Al", "Ni"), potential.parameters["E0"], strict=True))


@pytest.mark.parametrize("order", [2, 4, 5])
def test_other_orders_are_invariant_too(
    backend: str, order: int, make_potential: MakePotential, make_structures: Callable[[int], dict[str, Atoms]],
    random_orthogonal: Callable[[int], np.ndarray],
) -> None:  # fmt: skip
    potential = make_potential(2, bonds=("2x0e+1x1o+1x2e",) * (order - 1))
    atoms = make_structures(2)["crystal"]
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ random_orthogonal(5).T, scale_atoms=True)
    a, b = potential.evaluate([atoms, moved], backend=backend)
    np.testing.assert_allclose(b["energies"], a["energies"], rtol=1e-10)
    assert np.ptp(a["energies"]) > 1e-3


def test_extrapolation_is_flagged(backend: str, make_potential: MakePotential) -> None:
    base = make_potential(2)
    closest = np.array([[2.0, 2.4], [2.4, 0.0]])
    potential = ETNPotential(base.architecture, base.parameters, minimum_distances=closest)

    def dimer(symbols: str, distance: float) -> Atoms:
        return Atoms(symbols, positions=[[0, 0, 0], [0, distance, 0]])

    cases = [("Al2", 2.1), ("Al2", 1.9), ("AlNi", 2.5), ("AlNi", 2.3), ("Ni2", 1.0)]
    results = potential.evaluate([dimer(*c) for c in cases], backend=backend)
    assert [r.extrapolating for r in results] == [False, True, False, True, False]


def test_parameters_grow_linearly_with_the_number_of_species() -> None:
    def count(n: int) -> int:
        symbols = ("Al", "Ni", "Cu", "Pd", "Pt", "Ag", "Au")[:n]
        bonds = ("2x0e+2x1o",)
        return Architecture(symbols, 5.0, 1.0, 6, (3, 2), 3, 3, bonds).n_parameters

    counts = [count(n) for n in range(1, 8)]
    assert len(set(np.diff(counts))) == 1


def test_no_structures_give_no_results(backend: str, make_potential: MakePotential) -> None:
    potential = make_potential(2)
    assert potential.evaluate([], backend=backend) == []
    out = potential.evaluate_batch(StructureBatch.build([], potential.species, potential.cutoff), backend=backend)
    assert (len(out.energy), len(list(out))) == (0, 0)


def test_the_plan_is_there_for_people(make_potential: MakePotential) -> None:
    potential = make_potential(2)
    report = potential.plan_report()
    text = str(report)
    assert report.equation in text
    assert len(report.path) == 5
    assert all(line in text for line in report.path)
    assert 0 < report.flops_per_atom <= report.chain_flops_per_atom
    assert report.bytes_per_atom > 0
    assert report.n_parameters == potential.n_parameters == sum(p.size for p in potential.parameters.values())
    name, size = report.largest_intermediate
    assert {s.out.name: s.out.size for s in potential.program.steps}[name] == size
    assert repr(potential) == "ETNPotential(Al Ni, order 3, cutoff 4.5 A, 258 parameters, float64)"


BAD_STRUCTURES = {
    "unknown element": (Atoms("AlXe", positions=[[0, 0, 0], [0, 0, 3]]), "unknown element Xe: the known species are"),
    "nan": (Atoms("Al", positions=[[0, np.nan, 0]]), r"atom 0 is at \(0, nan, 0\) A: expected finite positions"),
    "infinite": (Atoms("Al", positions=[[0, np.inf, 0]]), "expected finite positions"),
    "nan cell": (Atoms("Al", cell=[3.0, np.nan, 3.0], pbc=True), "expected finite vectors"),
    "no volume": (Atoms("Al", cell=[3.0, 3.0, 0.0], pbc=True), "span no volume"),
    "one place": (Atoms("Al2", positions=[[0, 0, 0], [0, 0, 0]]), "atom 0 .* and atom 1 .* are at one place"),
    "no atoms": (Atoms(), "no atoms: expected at least one"),
}


@pytest.mark.parametrize("name", BAD_STRUCTURES)
def test_structures_that_cannot_be_evaluated(name: str, make_potential: MakePotential) -> None:
    atoms, message = BAD_STRUCTURES[name]
    with pytest.raises(StructureError, match=rf"structure 1 \(of 2, counted from 0\): .*{message}"):
        make_potential(2).evaluate([bulk("Al"), atoms])


def test_what_is_no_structure(make_potential: MakePotential) -> None:
    potential = make_potential(2)
    for thing, name in (("structure.xyz", "str"), (5, "int"), (None, "NoneType")):
        with pytest.raises(
            StructureError, match=rf"expected an ase\.Atoms or a sequence of them, got an object of type {name}"
        ):
            potential.evaluate(thing)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match=r"structure 1 \(of 2, counted from 0\): str is no structure"):
        potential.evaluate([bulk("Al"), "structure.xyz"])  # type: ignore[list-item]


def test_a_batch_of_another_potential(make_potential: MakePotential) -> None:
    potential = make_potential(2)
    for species, cutoff in ((("Ni", "Al"), 4.5), (("Al", "Ni"), 4.0)):
        batch = StructureBatch.build([bulk("Al")], species, cutoff)
        with pytest.raises(StructureError, match=r"this potential needs \('Al', 'Ni'\) and at least 4.5 A"):
            potential.evaluate_batch(batch)


def test_backends_and_precisions_that_there_are_not(make_potential: MakePotential) -> None:
    potential, atoms = make_potential(2), molecule("H2")
    atoms.numbers[:] = 13
    with pytest.raises(BackendError, match=r"'abacus' is not a backend; those that can run here: .*numpy"):
        potential.evaluate(atoms, backend="abacus")
    with pytest.raises(BackendError, match="dtype='int32' is not supported; choose one of"):
        potential.evaluate(atoms, dtype="int32")
    with pytest.raises(BackendError, match="dtype='float16' is not supported"):
        ETNPotential(potential.architecture, potential.parameters, dtype="float16")
    with pytest.raises(BackendError, match="threads=0 was asked for, expected at least 1"):
        potential.evaluate(atoms, threads=0)


def test_parameters_that_do_not_fit(make_potential: MakePotential) -> None:
    potential = make_potential(2)
    architecture, parameters = potential.architecture, dict(potential.parameters)
    with pytest.raises(NetworkError, match=r"the parameter 'E0' has shape \(3,\), expected \(2,\)"):
        ETNPotential(architecture, {**parameters, "E0": np.zeros(3)})
    with pytest.raises(NetworkError, match="the parameter 'U' holds NaN or infinite values"):
        ETNPotential(architecture, {**parameters, "U": np.full((2, 2), np.nan)})
    del parameters["W"]
    with pytest.raises(NetworkError, match=r"were given, this potential has .*'W'"):
        ETNPotential(architecture, parameters)
    for distances in (np.zeros(2), np.full((2, 2), np.inf), np.full((2, 2), -1.0)):
        with pytest.raises(NetworkError, match="minimum_distances must be 2 x 2 distances in A"):
            ETNPotential(architecture, potential.parameters, minimum_distances=distances)


def test_a_covariant_output_is_no_energy(make_potential: MakePotential) -> None:
    potential = make_potential(2, target="1x1o")
    with pytest.raises(NetworkError, match=r"covariant output 1x1o; use covariants\(\)"):
        potential.evaluate(bulk("Al"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 0.0}, "the cutoff must be a positive number of A up to 100, got 0.0"),
        ({"cutoff": -1.0}, "the cutoff must be a positive number of A up to 100, got -1.0"),
        ({"cutoff": np.nan}, "the cutoff must be a positive number of A up to 100, got nan"),
        ({"inner": 5.0}, r"inner radius must be in \[0, cutoff = 4.5\), got 5.0 A"),
        ({"species": ("Al", "Al")}, "different chemical symbols"),
        ({"species": ()}, "one or more different chemical symbols"),
        ({"n_radial": 0}, "sizes must be at least 1 and at most 1000000: {'n_radial': 0}"),
        ({"channels": ()}, "channels must give a number from 0 to 1000000 for each l"),
        ({"channels": (2, -1)}, "channels must give a number from 0 to 1000000 for each l"),
        ({"bonds": ()}, "order d >= 2"),
        ({"bonds": ("2x0o",)}, "these ranks allow no path from 1x0e"),
        ({"bonds": ("2x1o", "3x3o")}, r"nothing passes .*bond 2"),
        ({"target": "2x0e"}, "target must be a single irrep"),
        ({"n_radial": 10**9}, "sizes must be at least 1 and at most 1000000: {'n_radial': 1000000000}"),
        ({"channels": (1,) * 101}, "degrees may go up to 32 and bonds be up to 20, got channels up to l = 100"),
        ({"bonds": ("2x0e",) * 50}, "bonds be up to 20, got channels up to l = 2 and 50 bonds"),
        ({"bonds": ("999999999x50e",)}, "degrees up to 32 and multiplicities up to 1000000, got 999999999x50e"),
        ({"bonds": ("1x999999999e",)}, "degrees up to 32"),
        ({"target": "1x99e"}, "degrees up to 32"),
    ],
    ids=str,
)
def test_architectures_that_cannot_be(changes: dict[str, object], message: str, make_potential: MakePotential) -> None:
    sizes = {**make_potential(2).architecture.to_dict(), **changes}
    with pytest.raises(NetworkError, match=message):
        Architecture(**sizes)


def test_presets() -> None:
    sizes = [preset_architecture(name, ("Nb", "Mo"), 5.0, 1.5).n_parameters for name in ("small", "standard", "large")]
    assert sizes == sorted(sizes)
    with pytest.raises(NetworkError, match="'huge' is not a preset; choose one of small, standard, large"):
        preset_architecture("huge", ("Nb",), 5.0, 1.5)
