"""Whole evaluations on a device: the results of the host, parts by memory, errors structure by structure."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.backend.cuda import sources
from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import BackendError, DeviceMemoryError, StructureError
from etn_gpu.potential import ETNPotential, Result, on_device
from etn_gpu.potential import base as model_module
from etn_gpu.potential.on_device import evaluate_each_on_device
from etn_gpu.screening.evaluation import evaluate_each
from tests.emulator import EmulatedDevice, require_compiler, stand_in_for_a_gpu

pytestmark = pytest.mark.emulator

Evaluate = Callable[..., list[Any]]
TOLERANCES = {"float64": 1e-10, "float32": 2e-5}
#: Before the fixture ``backend`` changes it.
SHIPPED_DTYPE = model_module.DEVICE_DTYPE


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    require_compiler()
    return EmulatedDevice()


@pytest.fixture(
    scope="module",
    params=[pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)],
    ids=lambda n: f"{n} species",
)
def potential(request: pytest.FixtureRequest, make_potential: Callable[..., ETNPotential]) -> ETNPotential:
    """Random potentials; the emulator takes many seconds to compile the kernels of each."""
    return make_potential(request.param)


@pytest.fixture
def many(structures: dict[str, Atoms]) -> list[Atoms]:
    """Structures of every kind."""
    return list(structures.values())


@pytest.fixture
def on_gpu(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend ``cuda`` runs on the emulator."""
    stand_in_for_a_gpu(device, monkeypatch)


def evaluate(potential: ETNPotential, many: list[Atoms], device: EmulatedDevice, **changes: Any) -> list[Any]:
    options: dict[str, Any] = {"forces": True, "stress": True, "dtype": "float64", **changes}
    return evaluate_each_on_device(potential, many, device=device, **options)


def assert_same(found: Result, expected: Result, relative: float) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        scale = max(1.0, np.abs(values).max())
        np.testing.assert_allclose(found[name], values, rtol=0, atol=relative * scale, err_msg=name)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_results_are_those_of_the_host(
    potential: ETNPotential, many: list[Atoms], device: EmulatedDevice, dtype: str
) -> None:
    expected = potential.evaluate(many, backend="numpy")
    for found, wanted in zip(evaluate(potential, many, device, dtype=dtype), expected, strict=True):
        assert_same(found, wanted, TOLERANCES[dtype])


def test_parts_change_no_bit(
    potential: ETNPotential, many: list[Atoms], device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(potential, many, device)
    monkeypatch.setattr(on_device, "PART_ATOMS", 10)
    for found, expected in zip(evaluate(potential, many, device), whole, strict=True):
        assert_same(found, expected, 0.0)


def test_only_energies(potential: ETNPotential, many: list[Atoms], device: EmulatedDevice) -> None:
    found = evaluate(potential, many, device, forces=False, stress=False)
    expected = potential.evaluate(many, forces=False, stress=False, backend="numpy")
    for result, wanted in zip(found, expected, strict=True):
        assert_same(result, wanted, 1e-10)


def test_every_faulty_structure_gets_its_error(potential: ETNPotential, device: EmulatedDevice) -> None:
    good = bulk("Al", cubic=True)
    overlapping = good.copy()
    overlapping.positions[1] = overlapping.positions[0] + 1e-5
    broken = good.copy()
    broken.positions[2, 0] = np.nan
    mixed = [broken, good, overlapping, "no structure", Atoms("U"), good]
    found = evaluate(potential, mixed, device)
    assert [isinstance(item, StructureError) for item in found] == [True, False, True, True, True, False]
    for item, message in ((0, "atom 2 is at"), (2, "are at one place"), (3, "no structure"), (4, "unknown element U")):
        assert message in str(found[item])
    assert_same(found[1], potential.evaluate(good, backend="numpy")[0], 1e-10)


def test_nothing_to_do(potential: ETNPotential, device: EmulatedDevice) -> None:
    assert evaluate(potential, [], device) == []
    (error,) = evaluate(potential, [Atoms()], device)
    assert "no atoms" in str(error)


def test_pairs_closer_than_in_training(make_potential: Callable[..., ETNPotential], device: EmulatedDevice) -> None:
    known = make_potential(2)
    limits = np.array([[2.5, 2.9], [2.9, 2.0]])
    potential = ETNPotential(known.architecture, known.parameters, minimum_distances=limits)
    first, second = potential.species[:2]
    pairs = [Atoms(pair, [[0.0] * 3, [2.7, 0.0, 0.0]]) for pair in ([first, first], [first, second], [second, second])]
    found = evaluate(potential, [*pairs, Atoms(first)], device)
    assert [result.extrapolating for result in found] == [False, True, False, False]
    assert [r.extrapolating for r in potential.evaluate([*pairs, Atoms(first)], backend="numpy")] == [
        result.extrapolating for result in found
    ]


def test_kernels_that_compute_something_else(
    make_potential: Callable[..., ETNPotential], device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first evaluation of a kind of model is compared with NumPy; only if it agrees are results given."""
    potential, fetch = make_potential(2), on_device._Run._fetch
    monkeypatch.setattr(on_device, "_agreeing", set())

    def wrong(run: Any, *part: Any) -> list[Result | StructureError]:
        results = fetch(run, *part)
        for result in results:
            assert not isinstance(result, StructureError)
            result["forces"][0, 0] += 1e-3
        return results

    with monkeypatch.context() as patch:
        patch.setattr(on_device._Run, "_fetch", wrong)
        with pytest.raises(BackendError, match=r"the cuda backend does not agree with numpy .* relative difference of"):
            evaluate(potential, [bulk("Al")], device)
    assert_same(evaluate(potential, [bulk("Al")], device)[0], potential.evaluate(bulk("Al"), backend="numpy")[0], 1e-10)


class TestMemory:
    """A batch that does not fit is cut; only a structure that does not fit alone is given up."""

    @pytest.fixture
    def small(
        self, potential: ETNPotential, many: list[Atoms], device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
    ) -> EmulatedDevice:
        """Room for arrays of a few structures: the largest array of all together is one byte too large."""
        sizes: list[int] = []
        empty = device.empty

        def recorded(shape: Any, dtype: Any) -> Any:
            array = empty(shape, dtype)
            sizes.append(array.nbytes)
            return array

        with monkeypatch.context() as patch:
            patch.setattr(device, "empty", recorded)
            evaluate(potential, many, device)
        monkeypatch.setattr(device, "memory", max(sizes) - 1)
        return device

    @pytest.fixture
    def started(self, small: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Numbers of structures of the parts that are started from now on."""
        numbers: list[int] = []
        start = on_device._Run._start

        def counted(run: Any, part: Any) -> Any:
            numbers.append(part.end - part.first)
            return start(run, part)

        monkeypatch.setattr(on_device._Run, "_start", counted)
        return numbers

    def test_foreseen(
        self,
        potential: ETNPotential,
        many: list[Atoms],
        small: EmulatedDevice,
        started: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What a part needs is known beforehand: nothing has to be tried twice."""
        monkeypatch.setattr(small, "release", lambda: pytest.fail("a part did not fit"))
        expected = potential.evaluate(many, backend="numpy")
        for found, wanted in zip(evaluate(potential, many, small), expected, strict=True):
            assert_same(found, wanted, 1e-10)
        assert len(started) > 1
        assert sum(started) == len(many)

    def test_unforeseen(
        self,
        potential: ETNPotential,
        many: list[Atoms],
        small: EmulatedDevice,
        started: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(EmulatedDevice, "free_bytes", lambda self: None)
        expected = potential.evaluate(many, backend="numpy")
        for found, wanted in zip(evaluate(potential, many, small), expected, strict=True):
            assert_same(found, wanted, 1e-10)
        assert started[0] == len(many)
        assert len(started) > 1

    def test_a_single_structure(
        self, potential: ETNPotential, device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        evaluate(potential, [bulk("Al")], device)
        monkeypatch.setattr(device, "memory", 1000)
        with pytest.raises(DeviceMemoryError, match="out of memory on the emulator"):
            evaluate(potential, [bulk("Al", cubic=True)], device)


def test_launches_do_not_depend_on_the_structures(
    potential: ETNPotential, many: list[Atoms], device: EmulatedDevice
) -> None:
    counts = []
    for structures in ([bulk("Al")], many):
        run = on_device._Run(potential, structures, device, on_device._Wanted(True, True, False, 1.0), "float64")
        list(run.results())  # compiles what counts
        before = run.evaluator.launches
        list(run.results())
        counts.append(run.evaluator.launches - before)
    assert counts[0] == counts[1] <= 25


def test_a_model_is_copied_once(
    potential: ETNPotential, device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, atoms = ETNPotential(potential.architecture, potential.parameters), bulk("Al", cubic=True)
    copied: list[int] = []
    to_device = device.to_device

    def counted(array: Any) -> Any:
        copied.append(np.size(array))
        return to_device(array)

    monkeypatch.setattr(device, "to_device", counted)
    evaluate(model, [atoms], device)
    assert max(copied) >= model.n_parameters
    copied.clear()
    evaluate(model, [atoms], device)
    assert 0 < max(copied) < model.n_parameters


def test_a_model_that_is_gone_leaves_its_device(potential: ETNPotential, device: EmulatedDevice) -> None:
    model = ETNPotential(potential.architecture, potential.parameters)
    evaluate(model, [bulk("Al", cubic=True)], device)
    evaluator = weakref.ref(on_device._evaluators[model][device, "float64", False])
    del model
    gc.collect()
    assert evaluator() is None


def test_pairs_lost_to_round_off_are_an_error_of_their_structure(
    potential: ETNPotential, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, margin = sources.read, "MARGIN = 1.0 + 1e-6"
    assert margin in read("bins.cuh")
    monkeypatch.setattr(sources, "read", lambda name: read(name).replace(margin, "MARGIN = 0.5"))
    monkeypatch.setattr(on_device, "require_agreement", lambda *_: None)
    crystal = bulk("Al", cubic=True) * 4
    crystal.rattle(0.1, seed=1)
    dimer = Atoms("Al2", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.5]])
    found, lost, again = evaluate(potential, [dimer, crystal, dimer], EmulatedDevice())
    assert isinstance(lost, StructureError)
    assert re.search(r"pairs of atoms were lost to round-off .* wrap the atoms", str(lost))
    (expected,) = potential.evaluate(dimer, backend="numpy")
    assert_same(found, expected, 1e-10)
    assert_same(again, expected, 1e-10)


@pytest.mark.usefixtures("on_gpu")
class TestByName:
    """backend="cuda" wherever a backend can be named."""

    def test_evaluate_and_screen(self, potential: ETNPotential, many: list[Atoms]) -> None:
        expected = potential.evaluate(many, backend="numpy")
        for dtype, tolerance in TOLERANCES.items():
            for found, wanted in zip(potential.evaluate(many, backend="cuda", dtype=dtype), expected, strict=True):
                assert_same(found, wanted, tolerance)
        outcomes = evaluate_each(potential, [*many, Atoms("U")], backend="cuda", dtype="float64")
        assert [outcome.failed for outcome in outcomes] == [False] * len(many) + [True]
        assert outcomes[0].energy == pytest.approx(expected[0]["energy"], rel=1e-10)

    def test_single_precision_is_the_default(
        self, potential: ETNPotential, many: list[Atoms], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert SHIPPED_DTYPE == "float32"
        monkeypatch.setattr(model_module, "DEVICE_DTYPE", SHIPPED_DTYPE)
        assert potential.dtype == potential.precision("numpy") == potential.precision("numba") == "float64"
        assert potential.precision("cuda") == "float32"
        assert potential.precision("cuda", "float64") == "float64"
        default = potential.evaluate(many, backend="cuda")
        for found, single in zip(default, potential.evaluate(many, backend="cuda", dtype="float32"), strict=True):
            assert found["energy"] == single["energy"]
            np.testing.assert_array_equal(found["forces"], single["forces"])
        double = potential.evaluate(many, backend="cuda", dtype="float64")
        assert any(a["energy"] != b["energy"] for a, b in zip(default, double, strict=True))

    def test_first_faulty_structure_is_named(self, potential: ETNPotential) -> None:
        with pytest.raises(StructureError, match=r"structure 1 \(of 2, counted from 0\): unknown element U"):
            potential.evaluate([bulk("Al"), Atoms("U")], backend="cuda")

    def test_calculator(self, potential: ETNPotential) -> None:
        atoms = bulk("Al", cubic=True)
        atoms.rattle(0.05, seed=0)
        atoms.calc = ETNCalculator(potential, backend="cuda", dtype="float64")
        forces = atoms.get_forces()
        other = atoms.copy()
        other.calc = ETNCalculator(potential, backend="numpy")
        np.testing.assert_allclose(forces, other.get_forces(), atol=1e-10)
        assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), rel=1e-12)
        atoms.symbols[0] = "U"
        with pytest.raises(StructureError, match="unknown element U"):
            atoms.get_forces()
