"""The rows that a run has written: read again, and made into the results that depend on all of them."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from etn_gpu.screening.columns import Field, ResultColumn
from etn_gpu.screening.fields import LeadingFields
from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.number_text import optional_lines
from etn_gpu.screening.parquet import write_parquet
from etn_gpu.screening.rows import COLUMNS, Row, as_field, csv_line, row_of

__all__ = ["PARQUET", "finish_rows", "read_rows"]

PARQUET = (".parquet", ".pq")
_LONGEST_FIELD = 2**31 - 1
_MAGIC = b"\x1f\x8b"
#: Characters of lines that are taken together.
_BLOCK = 1 << 20


def read_rows(path: str | os.PathLike[str], more: Sequence[ResultColumn] = ()) -> Iterator[Row]:
    """The rows of a CSV file that a run has written, compressed or not; ``more`` are its further columns."""
    for lines in _lines(path):
        yield from _rows(lines, more)


def finish_rows(
    part: str,
    whole: str,
    name: str | os.PathLike[str],
    more: Sequence[ResultColumn],
    hull: RunHull,
    show: Callable[[Row], None] | None = None,
) -> None:
    """Makes the file of all rows of what was written during a run, with their energies above the hull.

    Args:
        part: the CSV file of the run.
        whole: the file to write.
        name: what it will be called, which says what it is: CSV, compressed CSV or Parquet.
        more: further columns.
        hull: sees all rows.
        show: is shown each row.

    Raises:
        OSError: the system refuses.
    """
    columns = [*COLUMNS, *more]
    names = [column.name for column in columns]
    formula, status = names.index("formula"), names.index("status")
    energy, above = names.index("energy_per_atom"), names.index("energy_above_hull")
    count = max(formula, status, energy, above) + 1

    def known(fields: LeadingFields) -> tuple[list[int], list[str], list[float]]:
        """Rows that have an energy: their places, formulas and energies."""
        pairs = enumerate(zip(fields[formula], fields[energy], strict=True))
        places = [place for place, (of, per_atom) in pairs if of and per_atom]
        return places, [fields[formula][k] for k in places], [float(fields[energy][k]) for k in places]

    def whole_lines() -> Iterator[list[str]]:
        for lines in _lines(part):
            fields = LeadingFields(lines, count)
            places, formulas, energies = known(fields)
            texts, found = [*fields[above]], hull.above(formulas, energies)
            for place, text in zip(places, optional_lines([[value] for value in found], ","), strict=True):
                texts[place] = text
            fields[above] = texts
            yield fields.lines()

    for lines in _lines(part):
        fields = LeadingFields(lines, count)
        places, formulas, energies = known(fields)
        hull.see(formulas, energies, [fields[status][k] == "ok" for k in places])
    suffix = os.fspath(name).lower()
    if suffix.endswith(PARQUET):
        write_parquet(whole, columns, _shown_values(whole_lines(), more, show))
        return
    with _created(whole, compressed=suffix.endswith(".gz")) as file:
        file.write(csv_line([*(column.name for column in COLUMNS), *(as_field(column.name) for column in more)]))
        for lines in whole_lines():
            file.writelines(lines)
            if show is not None:
                for row in _rows(lines, more):
                    show(row)


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


def _rows(lines: Iterable[str], more: Sequence[ResultColumn]) -> Iterator[Row]:
    # A kept entry may be longer than the module csv takes at first, and was written all the same.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    for fields in csv.reader(lines):
        yield row_of(fields, more)


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
