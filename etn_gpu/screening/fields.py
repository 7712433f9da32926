"""Single fields of many rows, read and replaced without taking the lines of a file of rows apart as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["LeadingFields", "cell", "content"]

_NEEDS_QUOTES = re.compile(r'[,"\r\n]')
_FIELD = re.compile(r'"(?:[^"]|"")*"|[^,]*')


class LeadingFields:
    """The first fields of some rows, which may be read and replaced as they stand in the file.

    Args:
        lines: records of a CSV file, which never go over several lines here (:mod:`etn_gpu.screening.text`).
        count: how many fields; the others stay together.
    """

    def __init__(self, lines: Iterable[str], count: int) -> None:
        self._columns: list[Sequence[str]] = [*zip(*[_taken_apart(line, count) for line in lines], strict=True)]

    def __getitem__(self, place: int) -> Sequence[str]:
        return self._columns[place]

    def __setitem__(self, place: int, fields: Sequence[str]) -> None:
        self._columns[place] = fields

    def remove(self, place: int) -> None:
        """Leave a field out of all rows."""
        del self._columns[place]

    def lines(self) -> list[str]:
        """The records, whole again."""
        return [line + "\n" for line in map(",".join, zip(*self._columns, strict=True))]


def cell(field: str) -> str:
    """A field as it stands in a CSV file, in quotes where they are needed."""
    if not _NEEDS_QUOTES.search(field):
        return field
    return '"' + field.replace('"', '""') + '"'


def content(cell: str) -> str:
    """The field of a cell: the inverse of :func:`cell`."""
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _taken_apart(line: str, count: int) -> list[str]:
    """The first fields of a line, and what stands behind them."""
    line = line.removesuffix("\n")
    fields = line.split(",", count)
    if '"' in line and '"' in line[: len(line) - len(fields[-1])]:
        fields, at = [], 0
        while len(fields) < count and (found := _FIELD.match(line, at)):
            fields.append(found[0])
            at = found.end() + 1
        if at <= len(line):
            fields.append(line[at:])
    return fields
