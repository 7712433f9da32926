"""The line on what formation energies are relative to."""

from __future__ import annotations

from typing import Any

import etn_gpu
from etn_gpu.screening.references import describe_references

STRUCTURE: dict[str, Any] = {
    "formula": "Mo2", "index": 12, "config_type": "bulk", "volume_per_atom": 15.83, "relaxed": True,
}  # fmt: skip


def test_structures_are_named() -> None:
    metadata = {"formation_references": {"Mo": -10.934}, "formation_reference_structures": {"Mo": STRUCTURE}}
    assert describe_references(metadata) == (
        "formation energies relative to, in eV/atom: Mo -10.9340 (Mo2, 15.8 A^3/atom, bulk, training structure 12)"
    )


def test_strained_references_are_named() -> None:
    strained = STRUCTURE | {"relaxed": False}
    metadata = {
        "formation_references": {"Mo": -10.9, "W": -12.0},
        "formation_reference_structures": {"Mo": STRUCTURE, "W": strained},
    }
    assert describe_references(metadata).endswith("training structure 12, not relaxed); not relaxed: W")
    many = {symbol: -1.0 for symbol in ("H", "He", "Li", "Be", "B", "C", "N", "O", "W")}
    text = describe_references({"formation_references": many, "formation_reference_structures": {"W": strained}})
    assert "W -1.0000 (not relaxed)" in text
    assert "training structure" not in text


def test_models_of_earlier_versions() -> None:
    text = describe_references(etn_gpu.load("mo").metadata)
    assert text.startswith("formation energies relative to, in eV/atom: Mo -10.85")
    assert text.endswith("the lowest structure of each element in the training data, relaxed or not")


def test_no_references() -> None:
    assert describe_references({}) == ""
    assert describe_references({"formation_references": {}}) == ""


def test_odd_descriptions_are_left_out() -> None:
    odd: Any
    for odd in (None, [], {"Mo": 3}, {"Mo": {}}, {"Mo": {"volume_per_atom": "x"}}, {"Mo": {"index": None}}):
        metadata = {"formation_references": {"Mo": -1.0}, "formation_reference_structures": odd}
        assert "Mo -1.0000" in describe_references(metadata)
