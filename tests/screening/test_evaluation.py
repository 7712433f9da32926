"""Each structure gets numbers or a reason, and never spoils those beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.screening.evaluation import evaluate_each
from etn_gpu.structures import StructureBatch

GOOD = Atoms("W2", positions=[[0.0] * 3, [1.6] * 3], cell=[3.2] * 3, pbc=True)

BAD = {
    "Cu": Atoms("WCu", positions=[[0.0] * 3, [1.6] * 3], cell=[3.2] * 3, pbc=True),
    "finite": Atoms("W", positions=[[np.nan, 0.0, 0.0]]),
    "no atoms": Atoms(cell=[3.0] * 3, pbc=True),
    "volume": Atoms("W", cell=[3.0, 3.0, 0.0], pbc=True),
    "one place": Atoms("W2", positions=np.zeros((2, 3)), cell=[4.0] * 3, pbc=True),
    "check the unit of lengths": Atoms("W2", positions=[[0.0] * 3, [0.16] * 3], cell=[0.32] * 3, pbc=True),
}


@pytest.mark.parametrize("reason", BAD)
def test_reason_of_a_bad_structure(model: Any, reason: str) -> None:
    good, bad, last = evaluate_each(model, [GOOD, BAD[reason], GOOD])
    assert bad.failed
    assert reason in bad.message
    assert good.energy == last.energy
    assert not good.failed
    assert not good.message


def test_all_bad_needs_no_evaluation(model: Any) -> None:
    assert all(outcome.failed for outcome in evaluate_each(model, list(BAD.values())))
    assert model.batch_sizes == []


def test_results_have_ase_names_and_shapes(model: Any) -> None:
    crystal, cluster = evaluate_each(model, [GOOD, Atoms("W3", positions=np.eye(3) * 2.5)])
    assert set(crystal.results()) == {"energy", "free_energy", "energies", "forces", "stress"}
    assert crystal.results()["stress"].shape == (6,)
    assert crystal.results()["energies"].sum() == pytest.approx(crystal.energy)
    assert "stress" not in cluster.results()
    assert cluster.forces.shape == (3, 3)


def test_options_reach_the_model(model: Any) -> None:
    evaluate_each(model, [GOOD], threshold=2.0, backend="numpy", dtype="float32", threads=1)
    assert model.options == [{"threshold": 2.0, "backend": "numpy", "dtype": "float32", "threads": 1}]


def heavy(batch: StructureBatch) -> Exception | None:
    return MemoryError("too much") if batch.n_structures > 1 else None


def tantalum(batch: StructureBatch) -> Exception | None:
    return ValueError("no tantalum today") if (batch.species_index == 2).any() else None


def test_failed_batch_is_tried_one_by_one(failing_model: Callable[..., Any]) -> None:
    model = failing_model(heavy)
    outcomes = evaluate_each(model, [GOOD] * 3)
    assert not any(outcome.failed for outcome in outcomes)
    assert model.batch_sizes == [3, 1, 1, 1]


def test_only_the_culprit_fails(failing_model: Callable[..., Any]) -> None:
    culprit = GOOD.copy()
    culprit.symbols = ["Ta", "W"]
    outcomes = evaluate_each(failing_model(tantalum), [GOOD, culprit, GOOD])
    assert [outcome.failed for outcome in outcomes] == [False, True, False]
    assert outcomes[1].message == "ValueError: no tantalum today"


@pytest.mark.parametrize("quantity", ["energy", "forces", "stress"])
def test_result_that_is_not_finite_is_a_failure(model: Any, quantity: str) -> None:
    evaluate = model.evaluate_batch

    def broken(batch: StructureBatch, **options: Any) -> Any:
        result = evaluate(batch, **options)
        getattr(result, quantity)[0] = np.inf
        return result

    model.evaluate_batch = broken
    first, second = evaluate_each(model, [GOOD, GOOD])
    assert first.failed
    assert "not a finite number" in first.message
    assert not second.failed


@pytest.mark.parametrize(("threshold", "expected"), [(1.5, True), (1.9, True), (2.0, False)])
def test_extrapolating_by_the_grade_names_the_atom(graded_model: Any, threshold: float, expected: bool) -> None:
    close = Atoms("MoW2", positions=[[4.0, 0.0, 0.0], [0.0] * 3, [0.0, 1.85, 0.0]])
    good, outcome = evaluate_each(graded_model, [GOOD, close], threshold=threshold)
    assert not good.extrapolating
    assert good.grades == pytest.approx([2.6**2 / (3 * 1.6**2)] * 2)
    assert outcome.grades == pytest.approx([2.6**2 / 16, 2.6**2 / 1.85**2, 2.6**2 / 1.85**2])
    assert outcome.grade == max(outcome.grades)
    assert outcome.extrapolating is expected
    message = f"extrapolation grade 1.975 at atom 1 (W), above {threshold}" if expected else ""
    assert outcome.message == message
    assert "extrapolation_grade" not in outcome.results()


def test_a_model_without_grades_gives_none(model: Any) -> None:
    [outcome] = evaluate_each(model, [GOOD])
    assert outcome.grade is None
    assert outcome.grades is None


def test_one_by_one_keeps_the_threshold(failing_model: Callable[..., Any]) -> None:
    model = failing_model(heavy)
    model.grade = "given"
    close = Atoms("W2", positions=[[0.0] * 3, [0.0, 1.85, 0.0]])
    first, second = evaluate_each(model, [close, close], threshold=2.0)
    assert not first.extrapolating
    assert not second.extrapolating


def test_extrapolating_without_grades_names_the_closest_pair(model: Any) -> None:
    close = Atoms("WMo", positions=[[0.0] * 3, [1.85, 0.0, 0.0]])
    good, outcome = evaluate_each(model, [GOOD, close])
    assert not good.extrapolating
    assert outcome.extrapolating
    assert not outcome.failed
    assert outcome.message in (
        "a W-Mo pair at 1.850 A; the closest in training is 2.000 A",
        "a Mo-W pair at 1.850 A; the closest in training is 2.000 A",
    )


def test_nothing_to_do(model: Any) -> None:
    assert evaluate_each(model, []) == []
