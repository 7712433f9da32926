"""Terms beside the network in whole evaluations on a device, and comparisons of backends that see all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.backend.cuda import sources
from etn_gpu.backend.terms import SiteTerms
from etn_gpu.errors import BackendError
from etn_gpu.potential import ETNPotential, Potential, on_device
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.on_device import evaluate_each_on_device
from etn_gpu.potential.selfcheck import TOLERANCES, check_structures, check_terms, largest_difference
from etn_gpu.potential.terms import Terms
from etn_gpu.structures import StructureBatch
from tests.emulator import EmulatedDevice, require_compiler


@pytest.fixture(scope="module")
def potential(plain: ETNPotential) -> ETNPotential:
    return plain.with_terms(check_terms(2, plain.cutoff))


# -- comparisons of backends -------------------------------------------------------------------------------------------


def test_check_terms_are_all_at_work_on_the_check_structures(plain: ETNPotential) -> None:
    for species, cutoff in (("Al",), 4.0), (("Nb", "Mo", "Ta", "W"), 5.15):
        tables = check_terms(len(species), cutoff).tables(species, cutoff)
        for atoms in check_structures(species, cutoff):
            environments = Environments.of(StructureBatch.build([atoms], species, cutoff))
            sites = SiteTerms(tables, environments.geometry, environments.vectors).sites
            weight, by_density, by_closeness, _, slope, pairs = np.abs(sites).T
            for values in (weight, 1 - weight, by_density, by_closeness, slope, pairs):
                assert (values > 1e-3).mean() > 0.2


#: Terms that give the network no weight at all on check structures.
HIDING = Terms(
    np.full((2, 2, 2), [0.1, 0.2]), np.full((2, 4), [0, 0, 0.1, 0.2]), np.zeros((2, 2, 2)),
    np.full((2, 4), [0, 1, 1, 0]), np.full((2, 4), [-2, -1, 1, 2]),
)  # fmt: skip


@pytest.mark.parametrize("changed", ["network", "terms"])
def test_no_part_hides_another(plain: ETNPotential, changed: str) -> None:
    core = plain.architecture.train.cores[-1].name
    factor = 1.001 if changed == "network" else 1.0
    other = ETNPotential(plain.architecture, {**plain.parameters, core: factor * plain.parameters[core]})
    asked = list[bool]()

    def evaluate(part: Potential, many: list[Atoms]) -> Sequence[Any]:
        asked.append(part.terms is not None)
        terms = part.terms
        if terms is not None and changed == "terms":
            terms = replace(terms, embedding=terms.embedding * [1.001, 1.0, 1.0, 1.0])
        return other.with_terms(terms).evaluate(many, backend="numpy")

    hidden = plain.with_terms(HIDING)
    assert largest_difference(hidden, evaluate) > 1e-5
    assert asked == [False, True]
    assert largest_difference(hidden, lambda part, many: part.evaluate(many, backend="numba")) < TOLERANCES["float64"]


# -- whole evaluations -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    require_compiler()
    return EmulatedDevice()


@pytest.fixture
def many() -> list[Atoms]:
    crystals = [bulk("Al", a=a, cubic=True) for a in (3.0, 3.6, 4.1, 4.6)]
    for seed, crystal in enumerate(crystals):
        crystal.symbols[[1, 3]] = "Ni"
        crystal.rattle(0.1, seed=seed)
    return [*crystals, Atoms("AlNi", [[0.0] * 3, [0.0, 1.4, 1.5]]), Atoms("Al2", [[0.0] * 3, [0, 0, 0.3]]), Atoms("Ni")]


def evaluate(model: ETNPotential, many: list[Atoms], device: EmulatedDevice, **changes: Any) -> list[Any]:
    options: dict[str, Any] = {"forces": True, "stress": True, "dtype": "float64", **changes}
    return evaluate_each_on_device(model, many, device=device, **options)


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_results_are_those_of_the_host(
    potential: ETNPotential, many: list[Atoms], device: EmulatedDevice, dtype: str
) -> None:
    for gradients in (True, False):
        expected = potential.evaluate(many, backend="numpy", forces=gradients, stress=gradients)
        results = evaluate(potential, many, device, dtype=dtype, forces=gradients, stress=gradients)
        for found, wanted in zip(results, expected, strict=True):
            assert found.keys() == wanted.keys()
            for name, values in wanted.items():
                scale = max(1.0, np.abs(values).max())
                np.testing.assert_allclose(found[name], values, rtol=0, atol=TOLERANCES[dtype] * scale, err_msg=name)


@pytest.mark.emulator
def test_parts_change_no_bit(
    potential: ETNPotential, many: list[Atoms], device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(potential, many, device)
    monkeypatch.setattr(on_device, "PART_ATOMS", 5)
    for found, expected in zip(evaluate(potential, many, device), whole, strict=True):
        assert all(np.array_equal(found[name], values) for name, values in expected.items())


@pytest.mark.emulator
def test_where_nothing_is_at_work_no_bit_changes(
    plain: ETNPotential, many: list[Atoms], device: EmulatedDevice
) -> None:
    none = np.zeros((2, 2, 2))
    bounds = np.full((2, 4), [-2e6, -1e6, 1e6, 2e6])
    nothing = Terms(none, np.full((2, 4), [0, 0, 1e6, 2e6]), none, np.full((2, 4), [0, 1, 1, 0]), bounds)
    for dtype in TOLERANCES:
        results = (evaluate(model, many, device, dtype=dtype) for model in (plain, plain.with_terms(nothing)))
        for before, after in zip(*results, strict=True):
            assert all(np.array_equal(after[name], values) for name, values in before.items())


@pytest.mark.emulator
def test_the_memory_of_terms_is_foreseen(
    plain: ETNPotential, potential: ETNPotential, device: EmulatedDevice, many: list[Atoms]
) -> None:
    evaluators = [on_device.evaluator_of(model, device, "float64", False) for model in (plain, potential)]
    less, more = (evaluator.bytes(3, 1000, 50_000) for evaluator in evaluators)
    assert more - less == 64 * 1000
    batch = on_device._Run(potential, many, device, on_device._Wanted(True, True, False, 1.0), "float64")
    list(batch.results())  # compiles what counts
    before = batch.evaluator.launches
    list(batch.results())
    assert batch.evaluator.launches - before <= 28


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("site[3] = row[4] + row[5]", "site[3] = row[4] - row[5]"),
        ("0.5 * repulsion(r, pair).slope", "0.4 * repulsion(r, pair).slope"),
    ],
    ids=["energy", "forces"],
)
def test_terms_that_are_something_else_are_refused(
    potential: ETNPotential, monkeypatch: pytest.MonkeyPatch, good: str, bad: str
) -> None:
    require_compiler()
    read = sources.read
    assert good in read("terms.cu")
    monkeypatch.setattr(sources, "read", lambda name: read(name).replace(good, bad))
    monkeypatch.setattr(on_device, "_agreeing", set())
    with pytest.raises(BackendError, match="the cuda backend does not agree with numpy"):
        evaluate(potential, [bulk("Al")], EmulatedDevice())
