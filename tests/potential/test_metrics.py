"""Errors, checked against NumPy's one-liners."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.potential.metrics import ErrorSum, GroupedMetrics, Metrics

numbers = st.floats(-1e3, 1e3)


@given(st.lists(st.lists(st.tuples(numbers, numbers), max_size=5), max_size=5))
def test_accumulated_as_if_all_at_once(pieces: list[list[tuple[float, float]]]) -> None:
    errors = ErrorSum()
    for piece in pieces:
        errors.add([a for a, _ in piece], [b for _, b in piece])
    differences = np.array([a - b for piece in pieces for a, b in piece])
    assert errors.count == len(differences)
    if len(differences):
        assert errors.mae == pytest.approx(np.abs(differences).mean())
        assert errors.rmse == pytest.approx(np.sqrt(np.square(differences).mean()))
    else:
        assert errors.as_dict() == {"mae": None, "rmse": None, "count": 0}


def test_missing_labels_do_not_count_but_missing_predictions_do() -> None:
    errors = ErrorSum()
    errors.add([1.0, 2.0], [math.nan, 1.5])
    assert (errors.count, errors.mae) == (1, 0.5)
    errors.add([math.nan], [1.0])
    assert errors.mae is not None
    assert math.isnan(errors.mae)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\) cannot be compared with a label of shape \(3, 2\)"):
        ErrorSum().add(np.zeros((2, 3)), np.zeros((3, 2)))


def test_conventions() -> None:
    metrics = Metrics()
    metrics.add(
        {"energy": -8.0, "forces": np.zeros((4, 3)), "stress": np.zeros(6)},
        n_atoms=4,
        energy=-8.4,
        forces=np.full((4, 3), 0.2),
        stress=np.array([0.6, 0.0, 0.0, 0.0, 0.0, 0.0]),
    )
    assert metrics.energy.mae == pytest.approx(0.1)
    assert metrics.forces.count == 12
    assert metrics.forces.mae == pytest.approx(0.2)
    assert metrics.stress.mae == pytest.approx(0.1)
    assert metrics.stress.rmse == pytest.approx(0.6 / math.sqrt(6.0))


def test_quantities_that_one_side_lacks() -> None:
    metrics = Metrics()
    metrics.add({"energy": 1.0, "forces": np.zeros((1, 3))}, n_atoms=1, stress=np.zeros(6))
    metrics.add({"energy": 1.0}, n_atoms=1, energy=math.nan, forces=np.zeros((1, 3)))
    assert (metrics.energy.count, metrics.forces.count, metrics.stress.count) == (0, 0, 0)
    assert (metrics.n_structures, metrics.n_atoms) == (2, 2)


def test_groups_add_up_to_the_total() -> None:
    grouped = GroupedMetrics()
    for group, error in (("a", 1.0), ("b", 2.0), ("a", 3.0), (None, 6.0)):
        grouped.add(group, {"energy": error}, n_atoms=1, energy=0.0)
    assert grouped.total.energy.mae == pytest.approx(3.0)
    assert {name: metrics.energy.mae for name, metrics in grouped.groups.items()} == {"a": 2.0, "b": 2.0}
    assert json.loads(json.dumps(grouped.as_dict()))["groups"]["a"]["n_structures"] == 2
