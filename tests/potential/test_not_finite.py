"""Parameters that are huge, though finite: an error names the structure, no NaN comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu.errors import StructureError
from etn_gpu.potential import ETNPotential
from etn_gpu.structures import StructureBatch

MakePotential = Callable[..., ETNPotential]
PAIR = Atoms("AlNi", [[0.0, 0, 0], [2.4, 0, 0]])
FAR = Atoms("Al", [[0.0, 0, 0]])


def scaled(potential: ETNPotential, factor: float, *names: str) -> ETNPotential:
    parameters = {n: a * (factor if n in names else 1.0) for n, a in potential.parameters.items()}
    return ETNPotential(potential.architecture, parameters)


@pytest.fixture
def huge(make_potential: MakePotential) -> ETNPotential:
    """Finite parameters, and no finite energy."""
    return scaled(make_potential(2), 1e200, "G1", "G2", "G3", "B0", "B1", "B2")


@pytest.mark.parametrize("options", [{}, {"forces": False}, {"stress": False}, {"forces": False, "stress": False}])
def test_evaluate_names_the_structure(backend: str, huge: ETNPotential, options: dict[str, bool]) -> None:
    crystal = bulk("Al", cubic=True)
    for atoms in (crystal, PAIR):
        with pytest.raises(StructureError, match=r"structure 0 \(of 1, .*came out as .*finite number"):
            huge.evaluate([atoms], backend=backend, dtype="float64", **options)


def test_others_in_the_batch_are_not_lost(backend: str, make_potential: MakePotential) -> None:
    """Two atoms get energies beyond single precision, a lonely atom does not."""
    model = scaled(make_potential(2), 1e30, "B0", "B1", "B2")
    lonely, pair, again = model.evaluate_each([FAR, PAIR, FAR], backend=backend, dtype="float32")
    assert isinstance(pair, StructureError)
    assert "float32" in str(pair)
    assert isinstance(lonely, dict)
    assert isinstance(again, dict)
    assert lonely["energy"] == again["energy"] == pytest.approx(model.evaluate(FAR, backend=backend)[0]["energy"])


def test_calculator(huge: ETNPotential) -> None:
    atoms = PAIR.copy()
    atoms.calc = etn_gpu.ETNCalculator(huge)
    with pytest.raises(StructureError, match="its energy came out as nan, not a finite number"):
        atoms.get_potential_energy()
    with pytest.raises(StructureError, match="came out as"):
        atoms.get_forces()


def test_covariants(make_potential: MakePotential) -> None:
    model = scaled(make_potential(2, target="1x1o"), 1e200, "G1", "G2", "G3")
    with pytest.raises(StructureError, match=r"structure 0 \(of 1, .*output for its atom 0 came out as not a finite"):
        model.covariants([PAIR])


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("energy", "its energy came out as inf, not a finite number"),
        ("forces", "the force on its atom 1 came out as not a finite number"),
        ("stress", "its stress came out as not a finite number"),
    ],
)
def test_each_quantity_is_looked_at(potential: ETNPotential, quantity: str, message: str) -> None:
    crystal = bulk("Al", cubic=True)
    batch = StructureBatch.build([crystal, Atoms("Al2", [[0.0] * 3, [2.0] * 3]), crystal], *known(potential))
    result = potential.evaluate_batch(batch)
    values: Any = getattr(result, quantity)
    values[7 if quantity == "forces" else 2] = np.inf
    first, cluster, last = result.outcomes()
    assert isinstance(last, StructureError)
    assert message in str(last)
    assert isinstance(first, dict)
    assert isinstance(cluster, dict)
    assert "stress" in first
    assert "stress" not in cluster


def test_large_numbers_that_are_finite_are_none_of_this(potential: ETNPotential) -> None:
    result = potential.evaluate_batch(StructureBatch.build([bulk("Al", cubic=True)], *known(potential)))
    result.energy[:] = 1e300
    assert isinstance(result.outcomes()[0], dict)


def known(potential: ETNPotential) -> tuple[tuple[str, ...], float]:
    return potential.species, potential.cutoff
