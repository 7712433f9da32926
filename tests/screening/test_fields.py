"""Fields of lines are those that a reader of CSV finds, and all others stay as they stand."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.screening.fields import LeadingFields

TEXTS = st.text(alphabet="a,\";' ", max_size=5)


@given(st.lists(st.lists(TEXTS, min_size=4, max_size=4), min_size=1, max_size=4), st.integers(1, 4))
def test_one_field_is_replaced(rows: list[list[str]], count: int) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    lines = text.getvalue().splitlines(keepends=True)
    fields = LeadingFields(lines, count)
    assert fields.lines() == lines
    assert [next(csv.reader([field + ",x"]))[0] for field in fields[count - 1]] == [row[count - 1] for row in rows]
    fields[count - 1] = ["0.5"] * len(rows)
    assert [*csv.reader(fields.lines())] == [[*row[: count - 1], "0.5", *row[count:]] for row in rows]
