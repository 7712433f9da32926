"""What is computed for a structure does not depend on the others in its batch: the same bits, always."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu.errors import StructureError
from etn_gpu.potential import ETNPotential, Result
from etn_gpu.potential import base as model_module
from etn_gpu.structures import StructureBatch

DTYPES = ("float64", "float32")
#: Fewer species than components of the embedding, and more: then sums over edges are embedded on the way.
N_SPECIES = (2, 4)
MOST = 10


def pool(make_structures: Callable[[int], dict[str, Atoms]], model: ETNPotential) -> list[Atoms]:
    """Structures of every kind; with many neighbours, with neighbours just at the cutoff, with close atoms."""
    found = list(make_structures(len(model.species)).values())
    symbols = np.random.default_rng(0).choice(model.species, 32)
    alloy = bulk("Al", cubic=True) * 2
    alloy.symbols[:] = symbols
    alloy.rattle(0.1, seed=2)
    at_cutoff = bulk("Al", "sc", a=model.cutoff)
    at_cutoff.positions += [1.1, 2.7, -3.9]
    close = Atoms([model.species[0]] * 2, positions=[[0, 0, 0], [0, 0, 0.3]])
    return [*found, alloy, at_cutoff, close]


def bits(result: Result | StructureError) -> dict[str, Any]:
    """Everything about a result, to be compared exactly."""
    if isinstance(result, StructureError):
        return {"error": str(result)}
    return {name: np.asarray(value).tobytes() for name, value in result.items()} | {"far": result.extrapolating}


@pytest.fixture(scope="module", params=N_SPECIES, ids=lambda n: f"{n} species")
def model(request: pytest.FixtureRequest, make_potential: Callable[..., ETNPotential]) -> ETNPotential:
    """Random potentials for which some of the structures are extrapolations."""
    made = make_potential(request.param)
    return ETNPotential(made.architecture, made.parameters, minimum_distances=np.full((request.param,) * 2, 2.2))


@pytest.fixture(scope="module", params=DTYPES)
def alone(
    request: pytest.FixtureRequest,
    backend: str,
    model: ETNPotential,
    make_structures: Callable[[int], dict[str, Atoms]],
) -> tuple[list[Atoms], dict[str, Any], Callable[[int], dict[str, Any]]]:
    """Structures, options, and what each of them gives alone."""
    structures, options = pool(make_structures, model), {"backend": backend, "dtype": request.param}

    @cache
    def result(number: int) -> dict[str, Any]:
        (found,) = model.evaluate_each([structures[number]], **options)
        return bits(found)

    return structures, options, result


def test_alone_or_among_others(model: ETNPotential, alone: Any, backend: str) -> None:
    """Whatever the others, their number, order, sizes and species."""
    structures, options, expected = alone

    @settings(max_examples=3 if backend == "cuda" else 30)
    @given(st.lists(st.integers(0, len(structures) - 1), min_size=2, max_size=MOST))
    def check(numbers: list[int]) -> None:
        found = model.evaluate_each([structures[k] for k in numbers], **options)
        assert [bits(result) for result in found] == [expected(k) for k in numbers]

    check()


def test_some_are_extrapolations_and_forces_are_not_zero(alone: Any) -> None:
    """The comparisons above are of something."""
    structures, _, expected = alone
    assert {expected(k)["far"] for k in range(len(structures))} == {True, False}
    assert any(np.abs(np.frombuffer(expected(k)["forces"])).max() > 0.1 for k in range(len(structures)))


def test_beside_faulty_and_overflowing_structures(model: ETNPotential, alone: Any) -> None:
    structures, options, expected = alone
    nan, wild = structures[0].copy(), structures[0].copy()
    nan.positions[0, 0] = np.nan
    wild.positions[1] = wild.positions[0] + [0.0, 0.0, 2e-3]
    found = model.evaluate_each([wild, structures[0], nan, structures[2], wild], **options)
    assert isinstance(found[2], StructureError)
    assert [bits(found[k]) for k in (1, 3)] == [expected(0), expected(2)]


@pytest.mark.parametrize("most", [1, 20, 10_000])
def test_evaluate_cuts_where_it_likes(
    model: ETNPotential, alone: Any, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures, options, expected = alone
    monkeypatch.setattr(model_module, "BATCH_ATOMS", most)
    found = model.evaluate(structures, **options)
    assert [bits(result) for result in found] == [expected(k) for k in range(len(structures))]


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(model: ETNPotential, alone: Any, threads: int) -> None:
    structures, options, expected = alone
    found = model.evaluate_each(structures, threads=threads, **options)
    assert [bits(result) for result in found] == [expected(k) for k in range(len(structures))]


def test_a_list_that_was_longer(model: ETNPotential, alone: Any, backend: str) -> None:
    """As a calculator's: neighbours just at the cutoff are in neither list, or in both."""
    if backend == "cuda":
        pytest.skip("a device searches neighbours itself")
    structures, options, expected = alone
    longer = StructureBatch.build(structures, model.species, model.cutoff + 0.7).within(model.cutoff)
    found = model.evaluate_batch(longer, **options)
    assert [bits(result) for result in found] == [expected(k) for k in range(len(structures))]
