"""Values side by side in one array: where each begins, and how many numbers it has."""

from __future__ import annotations

from collections.abc import Iterable

from etn_gpu.plan.program import Value

#: (offset, size) by name.
Columns = dict[str, tuple[int, int]]


def column_layout(values: Iterable[Value]) -> Columns:
    """Columns of the values when they are laid side by side."""
    columns, offset = {}, 0
    for value in values:
        columns[value.name] = (offset, value.size)
        offset += value.size
    return columns


def total(columns: Columns) -> int:
    """Numbers in all columns."""
    return sum(size for _, size in columns.values())
