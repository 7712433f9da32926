"""Text from outside: harmless wherever it is shown, and still exact."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from etn_gpu.screening.text import as_cell, escaped, from_cell, harmless

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
# Whatever Python can hold, rich in what matters here; without bytes that together are UTF-8.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("\\xuU0123456789abcdef\x1b\r\n\t\x00\x85\u2028\u202e\ud800=+-@, \"'"),
    )
)


def original(shown: str) -> str:
    """As the documentation says."""
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), shown)


@given(TEXTS)
def test_escaped_text_is_exact_and_harmless(text: str) -> None:
    shown = escaped(text)
    assert original(shown) == text
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
    shown.encode("utf-8")


@given(TEXTS, st.sampled_from(["'", "./"]))
def test_cells_are_no_formulas_and_stay_in_their_record(text: str, prefix: str) -> None:
    cell = as_cell(text, prefix)
    assert cell.lstrip()[:1] not in tuple("=+-@")
    assert original(cell) in (text, prefix + text)
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerow(["1", cell])
    assert len(record.getvalue().splitlines()) == 1
    assert next(csv.reader(io.StringIO(record.getvalue()))) == ["1", cell]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("C:\\runs\\users\\x1.xyz", "C:\\runs\\users\\x1.xyz"),
        ("a\\x1b", "a\\x5cx1b"),
        ("ü [1] 鉄.xyz", "ü [1] 鉄.xyz"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc", "a\\x0db\\x0ac"),
        ("gpj.\u202exyz", "gpj.\\u202exyz"),
        ("\udcff.xyz", "\\udcff.xyz"),
        ("\udcc3\udcbc.xyz", "ü.xyz"),  # ü in the C locale
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_shown(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_lines_stay_where_they_are_wanted() -> None:
    shown = harmless("one\n\ttwo\r\n\x1b")
    assert shown == "one\n\ttwo\\x0d\n\\x1b"
    assert harmless(shown) == shown


@pytest.mark.parametrize("name", ["=1+1.xyz", "+1", "-a", "@x", " =1", "\uff1d1"])
def test_formulas_are_prefixed(name: str) -> None:
    assert as_cell(name, "./") == "./" + name
    assert as_cell(name) == "'" + name


def test_semicolons_do_not_make_a_cell_of_a_formula() -> None:
    assert as_cell("a; b;=1+1") == "a; b\\x3b=1+1"


def test_what_begins_with_a_tab_is_escaped() -> None:
    assert as_cell("\t=1") == "\\x09=1"


@given(TEXTS, st.sampled_from(["'", "./"]))
@example("'=1", "'")
@example("\\x3b; =1", "'")
@example("\udcff\u202e'-", "'")
def test_text_of_a_cell_comes_back(text: str, prefix: str) -> None:
    assume(not text.startswith("./"))  # the name of a file with and without is the same
    assert from_cell(as_cell(text, prefix), prefix) == text
