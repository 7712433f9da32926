"""Durations and weights."""

from __future__ import annotations

import pytest

from etn_gpu.cli.console import WrongUseError
from etn_gpu.cli.parsing import parse_time_limit, parse_weights


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45.0), ("30m", 1800.0), ("2h", 7200.0), ("1h30m", 5400.0), ("1.5h", 5400.0), (" 1H1M1S ", 3661.0)],
)
def test_time_limit(text: str, seconds: float) -> None:
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "0s", "-5m", "5 m", "30m1h", "1d", "soon", "1e3s", "nans"])
def test_bad_time_limit(text: str) -> None:
    with pytest.raises(WrongUseError, match="is no duration above zero; write 45s, 30m, 2h or 1h30m"):
        parse_time_limit(text)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("energy=1,forces=0.1,stress=1e-2", {"energy": 1.0, "forces": 0.1, "stress": 0.01}),
        (" forces = 2 ", {"forces": 2.0}),
        ("stress=0", {"stress": 0.0}),
    ],
)
def test_weights(text: str, weights: dict[str, float]) -> None:
    assert parse_weights(text) == weights


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not understood"),
        ("energy", "'energy' is not understood"),
        ("energy=1,", "'' is not understood"),
        ("charge=1", "'charge=1' is not understood; write any of energy, forces, stress"),
        ("energy=1,energy=2", "energy is given twice"),
        ("energy=much", "the weight of energy is 'much'; a finite number >= 0 is expected"),
        ("forces=-1", "the weight of forces is '-1'"),
        ("forces=inf", "the weight of forces is 'inf'"),
        ("forces=nan", "the weight of forces is 'nan'"),
    ],
)
def test_bad_weights(text: str, complaint: str) -> None:
    with pytest.raises(WrongUseError, match=complaint):
        parse_weights(text)
