"""Conditions on rows."""

from __future__ import annotations

from typing import Any

import pytest

from etn_gpu.errors import DataError
from etn_gpu.screening.where import Condition

COLUMNS = ("formula", "n_atoms", "formation_energy", "pressure", "status", "my_id")
ROW = {"formula": "MoW3", "n_atoms": 4, "formation_energy": -0.1, "pressure": None, "status": "ok", "my_id": "a-1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status == 'ok' and formation_energy < 0", True),
        ("status != 'ok' or n_atoms > 4", False),
        ("not status == 'failed'", True),
        ("'W' in formula", True),
        ("formula in ('MoW', 'MoW3')", True),
        ("n_atoms not in [1, 2]", True),
        ("-0.2 < formation_energy <= -0.1", True),
        ("abs(formation_energy) * n_atoms - 0.4 < 1e-9", True),
        ("n_atoms / 0 > 1", False),
        ("pressure < 5", False),
        ("pressure >= 5", False),
        ("pressure == pressure", False),
        ("not pressure < 5", True),
        ("pressure == None", True),
        ("pressure != None", False),
        ("n_atoms != None", True),
        ("abs(pressure) < 1", False),
        ("-pressure < 1 or pressure + 1 > 0", False),
        ("my_id == 'a-1'", True),
        ("True", True),
        ("  n_atoms==4", True),
        ("n_atoms", True),
        ("pressure", False),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    assert Condition(text, COLUMNS)(ROW) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("formation_enery < 0", r"^the condition .* names formation_enery, which .*; did you mean formation_energy\?"),
        ("status == ok", r"names ok, which is no column.* Text stands in quotes"),
        ("", r"cannot be read"),
        ("n_atoms <", r"cannot be read .*expected an expression like"),
        ("n_atoms = 4", r"cannot be read"),
        ("__import__('os').system('true')", r"is not allowed in it"),
        ("formula.upper() == 'A'", r"'formula\.upper\(\)' is not allowed in it"),
        ("formula[0] == 'M'", r"is not allowed"),
        ("n_atoms ** 2 > 1", r"'n_atoms \*\* 2' is not allowed"),
        ("[x for x in formula]", r"is not allowed"),
        ("lambda: 1", r"is not allowed"),
        ("n_atoms is None", r"is not allowed"),
        ("pressure < None", r"None can be compared by == and != only"),
        ("abs(1, 2) > 0", r"'abs\(1, 2\)' is not allowed"),
        ("f'{n_atoms}' == '4'", r"is not allowed"),
        ("b'a' == formula", r"is not allowed"),
        ("(" * 500 + "1" + ")" * 500, r"cannot be read"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Condition(text, COLUMNS)


@pytest.mark.parametrize(
    "text", ["formula < 3", "n_atoms + 'a' == 1", "'a' in n_atoms", "-formula == 1", "'a' * 4 == formula"]
)
def test_text_is_no_number(text: str) -> None:
    condition: Any = Condition(text, COLUMNS)
    with pytest.raises(DataError, match="does not fit the columns"):
        condition(ROW)
