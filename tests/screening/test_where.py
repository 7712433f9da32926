"""Conditions on rows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import DataError
from etn_gpu.screening.columns import Kind
from etn_gpu.screening.where import Condition

COLUMNS = {
    "formula": Kind.text, "n_atoms": Kind.integer, "formation_energy": Kind.number, "pressure": Kind.number,
    "status": Kind.text, "my_id": Kind.text, "seen": Kind.flag, "my key": Kind.number, "a`b": Kind.text,
    "class": Kind.integer, "größe": Kind.number, "what": None,
}  # fmt: skip
ROW = {
    "formula": "MoW3", "n_atoms": 4, "formation_energy": -0.1, "pressure": None, "status": "ok", "my_id": "a-1",
    "seen": True, "my key": 3.5, "a`b": "x", "class": 2, "größe": 1.5, "what": "w",
}  # fmt: skip


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
        ("`my key` > 3", True),
        ("3 < `my key` <= 3.5 and `n_atoms` == 4", True),
        ("`class` == 2 and not `class` == 3", True),
        ("`größe` < 2 and größe < 2", True),
        ("my_id != '`my key`' and my_id != \"`it's`\"", True),
        ("my_id == 'it\\'s `' or seen", True),
        ("seen == True and seen + 1 == 2", True),
        ("what == 'w' and what in ('w', 'v', None)", True),
        ("what in formula", False),
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
        ("`my key > 3", r"cannot be read \(a name stands between two back-quotes"),
        ("`` > 3", r"a name stands between two back-quotes"),
        ("`mykey` > 3", r"names mykey, which is no column; did you mean `my key`\?"),
        ("`my key`.real > 3", r"'`my key`\.real' is not allowed"),
        ("(" * 500 + "1" + ")" * 500, r"cannot be read"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Condition(text, COLUMNS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("formula < 3", "formula is text, 3 is a number: they cannot be compared"),
        ("n_atoms == 1 or not status == 1", "status is text, 1 is a number"),
        ("1 < n_atoms < '4'", "n_atoms is a number, '4' is text"),
        ("`my key` == '3'", "`my key` is a number, '3' is text"),
        ("n_atoms + 'a' == 1", "'a' is text, no number to compute with"),
        ("'a' in n_atoms", "n_atoms is a number, and nothing is in it"),
        ("3 in formula", "3 is a number, formula is text"),
        ("formula in ('W', 3)", "formula is text, 3 is a number"),
        ("seen == 'True'", "seen is a number, 'True' is text"),
        ("-formula == 1", "formula is text, no number"),
        ("'a' * 4 == formula", "'a' is text, no number"),
        ("abs(status) > 1", "status is text, no number"),
        ("(1, 2) < n_atoms", "is a list, n_atoms is a number"),
    ],
)
def test_text_is_no_number(text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"does not fit the columns: .*{re.escape(message)}"):
        Condition(text, COLUMNS)


@pytest.mark.parametrize(
    "text", ["what < 3", "what == 3", "what != 3", "what + 1 == 1", "n_atoms * what > 1", "what in (1, 2)"]
)
def test_kinds_that_are_not_known_before(text: str) -> None:
    condition = Condition(text, COLUMNS)
    assert condition.of_unknown_kind
    with pytest.raises(DataError, match="does not fit the columns: 'w' "):
        condition(ROW)
    assert isinstance(condition(ROW | {"what": 3}), bool)


@given(name=st.text(min_size=1).filter(lambda name: "`" not in name and "\0" not in name))
def test_any_name_in_back_quotes(name: str) -> None:
    condition = Condition(f"`{name}` > 3 and `{name}` != 5", {"other": Kind.text, name: Kind.integer})
    assert condition.names == {name}
    assert [condition({name: value}) for value in (3, 4, 5)] == [False, True, False]
