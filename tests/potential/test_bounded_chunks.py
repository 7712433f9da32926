"""Memory of an evaluation follows from the edges in its batches, whatever the structures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.errors import StructureError
from etn_gpu.potential import ETNPotential, base
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.bounded import bounded_batches

MakePotential = Callable[..., ETNPotential]
THIN = Atoms("Al", cell=[0.9, 0.9, 0.9], pbc=True)
LARGE = Atoms("Al", cell=[4.0, 4.0, 4.0], pbc=True)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[StructureBatch]:
    """Every batch that is evaluated."""
    seen: list[StructureBatch] = []
    evaluate = ETNPotential.evaluate_batch

    def record(self: ETNPotential, batch: StructureBatch, **options: object) -> object:
        seen.append(batch)
        return evaluate(self, batch, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ETNPotential, "evaluate_batch", record)
    return seen


def test_one_atom_cells_with_many_neighbours(
    batches: list[StructureBatch], make_potential: MakePotential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has 500 neighbours: three thousand of them would be one chunk by their atoms."""
    monkeypatch.setattr(base, "BATCH_EDGES", 100_000)
    potential = make_potential(2)
    many = [THIN if i % 2 else LARGE for i in range(3000)]
    many[77] = Atoms("Xe")
    outcomes = potential.evaluate_each(many, forces=False, stress=False)
    assert isinstance(outcomes[77], StructureError)
    energies = {outcome["energy"] for i, outcome in enumerate(outcomes) if i != 77 and i % 2}  # type: ignore[index]
    assert energies == {potential.evaluate(THIN, forces=False, stress=False)[0]["energy"]}
    edges = [batch.n_edges for batch in batches]
    assert max(edges) <= 100_000
    assert sum(edges) > 700_000
    assert len(edges) < 12, "parts are as large as allowed"


def test_ordinary_structures_stay_together(batches: list[StructureBatch], make_potential: MakePotential) -> None:
    make_potential(2).evaluate([LARGE] * 2000, forces=False, stress=False)
    assert [batch.n_structures for batch in batches] == [2000]


def test_a_structure_that_is_too_large_alone_is_evaluated_alone() -> None:
    parts = list(bounded_batches([LARGE, THIN, THIN, LARGE, LARGE], ("Al",), 4.5, 40))
    assert [batch.n_structures for batch in parts] == [1, 1, 1, 2]
    assert [bool(batch.n_edges > 40) for batch in parts] == [False, True, True, False]


def test_parts_are_the_whole() -> None:
    """Also where structures fail for other reasons before and in the search."""
    overlapping = Atoms("Al2", [[0.0] * 3, [0.0, 0.0, 1e-5]], cell=[5.0] * 3, pbc=True)
    many = [LARGE, Atoms("Xe"), THIN, overlapping, LARGE, THIN]
    whole = StructureBatch.build(many, ("Al",), 4.5, on_error="collect")
    parts = list(bounded_batches(many, ("Al",), 4.5, 600))
    assert len(parts) == 2
    np.testing.assert_array_equal(np.concatenate([batch.vectors for batch in parts]), whole.vectors)
    assert [str(error) for batch in parts for error in batch.failures.values()] == [
        str(error) for error in whole.failures.values()
    ]
