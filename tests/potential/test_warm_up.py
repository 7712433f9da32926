"""Compilation is told apart from evaluation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ase import Atoms

import etn_gpu
from etn_gpu.errors import StructureError
from etn_gpu.potential import warm_up as module
from etn_gpu.potential.warm_up import warm_up


def test_the_seconds_that_the_first_evaluation_takes_beyond_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: list[float] = [0.0]
    given: list[dict[str, Any]] = []

    def evaluate_each(structures: list[Atoms], **options: Any) -> None:
        clock[0] += 0.5 if given else 3.0
        given.append(options)

    monkeypatch.setattr(module, "perf_counter", lambda: clock[0])
    model: Any = SimpleNamespace(species=("Mo",), cutoff=5.0, evaluate_each=evaluate_each)
    assert warm_up(model, backend="numba") == 2.5
    assert given == 2 * [{"backend": "numba"}]


@pytest.mark.parametrize("name", ["nbmotaw", "mo", "si"])
def test_the_crystal_can_be_evaluated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled for a structure that is refused."""
    model = etn_gpu.load(name)
    outcomes: list[Any] = []
    evaluate_each = model.evaluate_each

    def noted(*arguments: Any, **options: Any) -> Any:
        outcomes.extend(evaluate_each(*arguments, **options))

    monkeypatch.setattr(model, "evaluate_each", noted)
    warm_up(model, backend="numpy")
    assert len(outcomes) == 2
    assert not any(isinstance(outcome, StructureError) for outcome in outcomes)
