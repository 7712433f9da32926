"""The rows that a run has written: read again, and made into the results that depend on all of them."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from etn_gpu.screening.columns import Field, ResultColumn
from etn_gpu.screening.duplicates import COLUMN, Duplicates
from etn_gpu.screening.fields import LeadingFields, cell, content
from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.kept import ID
from etn_gpu.screening.number_text import optional_lines
from etn_gpu.screening.parquet import write_parquet, write_parts
from etn_gpu.screening.rows import COLUMNS, Row, as_field, csv_line, row_of

__all__ = ["PARQUET", "STRUCTURE", "finish_rows", "read_rows"]

PARQUET = (".parquet", ".pq")
#: The last column of rows that are not all there, where duplicates are looked for.
STRUCTURE = "structure"
_LONGEST_FIELD = 2**31 - 1
_MAGIC = b"\x1f\x8b"
#: Characters of lines that are taken together.
_BLOCK = 1 << 20


def read_rows(
    path: str | os.PathLike[str], more: Sequence[ResultColumn] = (), *, structures: bool = False
) -> Iterator[Row]:
    """The rows of a CSV file that a run has written, compressed or not; ``more`` are its further columns, and the last
    one is left out where it holds ``structures``."""
    for lines in _lines(path):
        yield from _rows(lines, more, structures=structures)


def finish_rows(
    part: str,
    whole: str,
    name: str | os.PathLike[str],
    more: Sequence[ResultColumn],
    hull: RunHull,
    show: Callable[[Row], None] | None = None,
    duplicates: Duplicates | None = None,
    parts: int | None = None,
) -> None:
    """Makes the file of all rows of what was written during a run, with their energies above the hull.

    Args:
        part: the CSV file of the run.
        whole: the file to write.
        name: what it will be called, which says what it is: CSV, compressed CSV or Parquet.
        more: further columns.
        hull: sees all rows.
        show: is shown each row.
        duplicates: sees all rows whose structures are there.
        parts: rows of each file of a folder of Parquet files, which `whole` is then.

    Raises:
        OSError: the system refuses.
    """
    columns = [*COLUMNS, *more]
    rows = _PartRows(part, columns, hull, duplicates is not None)
    for number, fields in rows.blocks():
        places, formulas, energies = rows.known(fields)
        ok = [fields[rows.status][k] == "ok" for k in places]
        hull.see(formulas, energies, ok)
        if duplicates is not None:
            for k, of, per_atom, is_ok in zip(places, formulas, energies, ok, strict=True):
                volume = fields[rows.volume][k]
                structure = fields[len(columns)][k]
                duplicates.see(number + k, is_ok, of, per_atom, float(volume) if volume else None, structure)
    originals = {} if duplicates is None else rows.names(duplicates.found())

    def whole_lines() -> Iterator[list[str]]:
        for number, fields in rows.blocks():
            places, formulas, energies = rows.known(fields)
            texts, found = [*fields[rows.above]], hull.above(formulas, energies)
            for place, text in zip(places, optional_lines([[value] for value in found], ","), strict=True):
                texts[place] = text
            fields[rows.above] = texts
            if duplicates is not None:
                fields[len(COLUMNS) + list(more).index(COLUMN)] = [
                    originals.get(number + k, "") for k in range(len(texts))
                ]
                fields.remove(len(columns))
            yield fields.lines()

    suffix = os.fspath(name).lower()
    if suffix.endswith(PARQUET):
        values = _shown_values(whole_lines(), more, show)
        if parts is None:
            write_parquet(whole, columns, values)
        else:
            write_parts(whole, columns, values, parts)
        return
    with _created(whole, compressed=suffix.endswith(".gz")) as file:
        file.write(csv_line([*(column.name for column in COLUMNS), *(as_field(column.name) for column in more)]))
        for lines in whole_lines():
            file.writelines(lines)
            if show is not None:
                for row in _rows(lines, more):
                    show(row)


class _PartRows:
    """The rows that a run has written, many at once, with the fields that the last pass needs.

    ``energy`` and the others are places of columns. With ``structures`` all fields are taken apart, of which the last
    has the structure.
    """

    def __init__(self, part: str, columns: Sequence[ResultColumn], hull: RunHull, structures: bool) -> None:
        self._part = part
        self._names = [column.name for column in columns]
        self.formula, self.status, self.volume, self.energy, self.above = map(
            self._names.index, ("formula", "status", "volume_per_atom", hull.compared, hull.result)
        )
        needed = max(self.formula, self.status, self.volume, self.energy, self.above) + 1
        self._count = len(columns) + 1 if structures else needed

    def blocks(self) -> Iterator[tuple[int, LeadingFields]]:
        """The fields of the rows as they stand in the file, with the number of the first row of each block."""
        number = 0
        for lines in _lines(self._part):
            yield number, LeadingFields(lines, self._count)
            number += len(lines)

    def known(self, fields: LeadingFields) -> tuple[list[int], list[str], list[float]]:
        """Rows that have an energy: their places, formulas and energies."""
        formulas, energies = fields[self.formula], fields[self.energy]
        places = [k for k, (of, per_atom) in enumerate(zip(formulas, energies, strict=True)) if of and per_atom]
        return places, [formulas[k] for k in places], [float(energies[k]) for k in places]

    def names(self, originals: Mapping[int, int]) -> dict[int, str]:
        """For duplicates, by their numbers, the ids of their originals, or sources and indices of those without."""
        kept, names = set(originals.values()), {}
        own = self._names.index(ID, len(COLUMNS)) if ID in self._names[len(COLUMNS) :] else None
        for number, fields in self.blocks():
            sources, indices = fields[0], fields[1]
            for k in range(len(sources)):
                if number + k in kept:
                    given = "" if own is None else fields[own][k]
                    names[number + k] = given or cell(f"{content(sources[k])} [{indices[k]}]")
        return {number: names[original] for number, original in originals.items()}


def _shown_values(
    blocks: Iterable[list[str]], more: Sequence[ResultColumn], show: Callable[[Row], None] | None
) -> Iterator[list[Field]]:
    for lines in blocks:
        for row in _rows(lines, more):
            if show is not None:
                show(row)
            yield _values(row)


def _values(row: Row) -> list[Field]:
    return [row.shown_source, *row.values()[1:]]


def _rows(lines: Iterable[str], more: Sequence[ResultColumn], *, structures: bool = False) -> Iterator[Row]:
    # A kept entry may be longer than the module csv takes at first, and was written all the same.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    for fields in csv.reader(lines):
        yield row_of(fields[:-1] if structures else fields, more)


def _lines(path: str | os.PathLike[str]) -> Iterator[list[str]]:
    """Lines of a CSV file without its heading, many at once."""
    with open(path, "rb") as raw:
        compressed = raw.read(len(_MAGIC)) == _MAGIC
    opened = gzip.open if compressed else open
    with opened(path, "rt", encoding="utf-8", newline="\n") as opened_file:
        stream = cast("IO[str]", opened_file)
        stream.readline()
        while lines := stream.readlines(_BLOCK):
            yield lines


@contextmanager
def _created(path: str, *, compressed: bool) -> Iterator[IO[str]]:
    with Path(path).open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
                yield file
            return
        # No time and no name: the same rows give the same bytes.
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8", newline="") as file:
            yield file
