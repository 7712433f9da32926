"""What becomes of a structure does not depend on the others, on threads, or on how many are in flight: bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import etn_gpu
from etn_gpu.potential import ETNPotential
from etn_gpu.relaxation import Relaxation, Relaxed, flight
from etn_gpu.relaxation.limits import Limits
from etn_gpu.structures.bounded import cut

Alloys = Callable[..., list[Atoms]]


def same(first: Relaxed, second: Relaxed) -> bool:
    return bool(
        (first.status, first.message, first.steps) == (second.status, second.message, second.steps)
        and (first.energy, first.initial_energy) == (second.energy, second.initial_energy)
        and (first.residual_force, first.residual_cell) == (second.residual_force, second.residual_cell)
        and np.array_equal(first.atoms.positions, second.atoms.positions)
        and np.array_equal(first.atoms.cell.array, second.atoms.cell.array)
    )


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire"])
def test_the_others_do_not_matter(backend: str, model: ETNPotential, alloys: Alloys, optimizer: Any) -> None:
    sizes = ((1, 1, 1),) if backend == "numpy" else ((1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 2, 2))
    starts = alloys(4, sizes)
    starts[1].positions[0] = starts[1].positions[1] + [0.3, 0.0, 0.0]  # flies apart, or is out of bounds at once
    options: dict[str, Any] = {
        "cell": "full",
        "steps": 3 if backend == "numpy" else 15,
        "optimizer": optimizer,
        "backend": backend,
    }
    options["limits"] = Limits(energy=(-1.0, 1.0))
    together = etn_gpu.relax(model, starts, **options)
    assert together[1].status == "exploded"
    for k in (0, 2, 3):
        (alone,) = etn_gpu.relax(model, starts[k], **options)
        assert same(alone, together[k])
    (last, first) = etn_gpu.relax(model, [starts[3], starts[0]], **options)
    assert same(first, together[0])
    assert same(last, together[3])


def test_neither_threads_nor_the_size_of_the_flight_matter(model: ETNPotential, alloys: Alloys) -> None:
    starts = alloys(15)
    expected = etn_gpu.relax(model, starts, cell="full", threads=1)
    assert all(one.status == "converged" for one in expected)
    variants: list[dict[str, Any]] = [{"threads": 2}, {"atoms": 30}, {"atoms": 1}]
    for options in variants:
        found = dict(Relaxation(model, cell="full", **options).run(enumerate(starts)))
        assert all(same(found[k], one) for k, one in enumerate(expected))


def test_parts_with_few_edges(model: ETNPotential, alloys: Alloys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all together have too many edges for the memory they are evaluated in parts."""
    starts = alloys(6)
    expected = etn_gpu.relax(model, starts, cell="full", steps=3)
    counts: list[int] = []

    def counted(*arguments: Any) -> list[tuple[int, int]]:
        parts = cut(*arguments)
        counts.append(len(parts))
        return parts

    monkeypatch.setattr("etn_gpu.relaxation.engine.BATCH_EDGES", 500)
    monkeypatch.setattr(flight, "cut", counted)
    found = etn_gpu.relax(model, starts, cell="full", steps=3)
    assert min(counts) >= 3
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
