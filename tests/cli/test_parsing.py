"""Durations, weights and energies of elements."""

from __future__ import annotations

from pathlib import Path

import pytest

from etn_gpu.cli.console import WrongUseError
from etn_gpu.cli.parsing import parse_group_weights, parse_reference_energies, parse_time_limit, parse_weights


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


def test_group_weights() -> None:
    assert parse_group_weights([]) == {}
    assert parse_group_weights(["liquid=0.5", "T=300 K=2"]) == {"liquid": 0.5, "T=300 K": 2.0}


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["liquid"], "'liquid' is not understood; write NAME=FACTOR"),
        (["=2"], "'=2' is not understood"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=much"], "--group-weight 'a=much': the weight of a is 'much'; a finite number >= 0 is expected"),
        (["a=-1"], "the weight of a is '-1'"),
    ],
)
def test_bad_group_weights(texts: list[str], complaint: str) -> None:
    with pytest.raises(WrongUseError, match=complaint):
        parse_group_weights(texts)


def test_reference_energies(tmp_path: Path) -> None:
    assert parse_reference_energies("fit") == "fit"
    assert parse_reference_energies("isolated") == "isolated"
    assert parse_reference_energies("Mo=-4.6, W = -4.5e0") == {"Mo": -4.6, "W": -4.5}
    (tmp_path / "e.json").write_text('{"Mo": -4, "W": -4.5}')
    assert parse_reference_energies(str(tmp_path / "e.json")) == {"Mo": -4.0, "W": -4.5}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not understood; write fit, isolated, energies"),
        ("guess", "'guess' is not understood"),
        ("Mo=-4,", "'' is not understood"),
        ("Mo=-4,Mo=-5", "Mo is given twice"),
        ("Mo=low", "the energy of Mo is 'low', expected a number"),
        ("nowhere/e.json", "cannot read the reference energies nowhere/e.json: No such file"),
    ],
)
def test_bad_reference_energies(text: str, complaint: str) -> None:
    with pytest.raises(WrongUseError, match=complaint):
        parse_reference_energies(text)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"Mo: -4", "are no JSON"),
        (b"\xff\xfe", "are no JSON"),
        (b"[1, 2]", r"hold '\[1, 2\]'; expected an object of numbers in eV by symbol"),
        (b"{}", "hold '{}'; expected an object"),
        (b'{"Mo": "-4"}', "have '-4' for Mo; expected an object"),
        (b'{"Mo": true}', "have 'True' for Mo"),
        (b'{"Mo": 1' + 400 * b"0" + b"}", "have a number beyond all energies"),
    ],
)
def test_bad_files_of_reference_energies(content: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "e.json").write_bytes(content)
    with pytest.raises(WrongUseError, match=complaint):
        parse_reference_energies(str(tmp_path / "e.json"))
