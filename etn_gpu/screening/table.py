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
from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.kept import ID
from etn_gpu.screening.parquet import write_parquet, write_parts
from etn_gpu.screening.rows import COLUMNS, Row, as_field, row_of

__all__ = ["PARQUET", "STRUCTURE", "finish_rows", "read_rows"]

PARQUET = (".parquet", ".pq")
#: The last column of rows that are not all there, where duplicates are looked for.
STRUCTURE = "structure"
_LONGEST_FIELD = 2**31 - 1
_MAGIC = b"\x1f\x8b"
_FORMULA, _VOLUME, _STATUS = (
    [column.name for column in COLUMNS].index(name) for name in ("formula", "volume_per_atom", "status")
)


def read_rows(
    path: str | os.PathLike[str], more: Sequence[ResultColumn] = (), *, structures: bool = False
) -> Iterator[Row]:
    """The rows of a CSV file that a run has written, compressed or not; ``more`` are its further columns, and the last
    one is left out where it holds ``structures``."""
    for fields in _records(path):
        yield row_of(fields[:-1] if structures else fields, more)


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
    energy, above = ([column.name for column in columns].index(name) for name in (hull.compared, hull.result))
    for number, fields in enumerate(_records(part)):
        if fields[energy] and fields[_FORMULA]:
            ok, per_atom = fields[_STATUS] == "ok", float(fields[energy])
            hull.see(fields[_FORMULA], per_atom, ok)
            if duplicates is not None:
                volume = float(fields[_VOLUME]) if fields[_VOLUME] else None
                duplicates.see(number, ok, fields[_FORMULA], per_atom, volume, fields[-1])
    originals = {} if duplicates is None else _named(part, duplicates.found(), more)

    def whole_records() -> Iterator[list[str]]:
        for number, fields in enumerate(_records(part)):
            if fields[energy] and fields[_FORMULA]:
                fields[above] = as_field(hull.above(fields[_FORMULA], float(fields[energy])))
            if duplicates is not None:
                del fields[-1]
                fields[len(COLUMNS) + list(more).index(COLUMN)] = originals.get(number, "")
            yield fields

    suffix = os.fspath(name).lower()
    if suffix.endswith(PARQUET):
        values = map(_values, _seen(whole_records(), more, show))
        if parts is None:
            write_parquet(whole, columns, values)
        else:
            write_parts(whole, columns, values, parts)
        return
    with _created(whole, compressed=suffix.endswith(".gz")) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(column.name for column in COLUMNS), *(as_field(column.name) for column in more)])
        for fields in whole_records():
            if show is not None:
                show(row_of(fields, more))
            writer.writerow(fields)


def _named(part: str, originals: Mapping[int, int], more: Sequence[ResultColumn]) -> dict[int, str]:
    """For duplicates, by their numbers, the ids of their originals, or sources and indices of those without."""
    kept, names = set(originals.values()), {}
    own = [place for place, column in enumerate(more, start=len(COLUMNS)) if column.name == ID]
    for number, fields in enumerate(_records(part)):
        if number in kept:
            names[number] = (fields[own[0]] if own else "") or f"{fields[0]} [{fields[1]}]"
    return {number: names[original] for number, original in originals.items()}


def _seen(
    records: Iterable[list[str]], more: Sequence[ResultColumn], show: Callable[[Row], None] | None
) -> Iterator[Row]:
    for fields in records:
        row = row_of(fields, more)
        if show is not None:
            show(row)
        yield row


def _values(row: Row) -> list[Field]:
    return [row.shown_source, *row.values()[1:]]


def _records(path: str | os.PathLike[str]) -> Iterator[list[str]]:
    """Records of a CSV file without its heading."""
    # A kept entry may be longer than the module csv takes at first, and was written all the same.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    with open(path, "rb") as raw:
        compressed = raw.read(len(_MAGIC)) == _MAGIC
    opened = gzip.open if compressed else open
    with opened(path, "rt", encoding="utf-8", newline="") as stream:
        records = csv.reader(cast("IO[str]", stream))
        next(records, None)
        yield from records


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
