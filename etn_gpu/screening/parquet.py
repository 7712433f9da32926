"""Rows as a Parquet file, with units in its schema."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from etn_gpu import files
from etn_gpu.checks import is_whole
from etn_gpu.errors import DataError
from etn_gpu.screening.columns import Kind, ResultColumn
from etn_gpu.screening.text import escaped

__all__ = ["check_parquet", "check_parts", "write_parquet", "write_parts"]

#: What parts of a folder say, so that none of another program is ever replaced.
_OWN = {b"written_by": b"etn_gpu"}
#: Rows of a group, which a reader may skip as a whole.
_GROUP = 100_000


def check_parquet(path: str | os.PathLike[str]) -> None:
    """Refuses Parquet where it cannot be written, before anything is computed.

    Raises:
        DataError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(
            f"{os.fspath(path)}: Parquet needs pyarrow, which is not installed: pip install 'etn_gpu[parquet]', or "
            "name the output like results.csv"
        )


def check_parts(folder: str | os.PathLike[str], rows: int) -> None:
    """Refuses a folder of parts that cannot be one, or whose parts are not of such a run: they would be replaced.

    Raises:
        DataError: a number of rows below 1, a name that is not that of Parquet, a part that another program has made.
    """
    from pyarrow import ArrowException, parquet

    if not is_whole(rows, 1):
        raise DataError(f"parts = {rows!r}: expected the rows of a part, 1 or more, such as 1000000")
    for name in files.parts_in(folder) if os.path.isdir(folder) else ():
        try:
            own = _OWN.items() <= (parquet.read_schema(os.path.join(folder, name)).metadata or {}).items()
        except (OSError, ArrowException):
            own = False
        if not own:
            raise DataError(
                f"cannot write {os.fspath(folder)}: {name} in it is not of a run of etn_gpu; choose another name"
            )


def write_parts(
    folder: str | os.PathLike[str], columns: Sequence[ResultColumn], rows: Iterable[Sequence[Any]], size: int
) -> None:
    """Writes rows as a new folder of Parquet files with ``size`` rows each, the last with what is left; at least one.

    All have the same schema, so that readers take the folder for one table.

    Raises:
        OSError: the system refuses.
    """
    os.mkdir(folder)
    stream, number = iter(rows), 0
    first = list(islice(stream, 1))
    while first or number == 0:
        path = os.path.join(folder, files.part_name(number, ".parquet"))
        write_parquet(path, columns, chain(first, islice(stream, size - 1)), _OWN)
        first, number = list(islice(stream, 1)), number + 1


def write_parquet(
    path: str | os.PathLike[str],
    columns: Sequence[ResultColumn],
    rows: Iterable[Sequence[Any]],
    metadata: Mapping[bytes, bytes] | None = None,
) -> None:
    """Writes rows, None being an empty field, in groups, so that memory does not grow with them.

    A field of the schema has the unit of its column as metadata, under ``unit``. The same rows give the same bytes.

    Raises:
        OSError: the system refuses.
    """
    import pyarrow as pa
    from pyarrow import parquet

    types = {Kind.text: pa.string(), Kind.integer: pa.int64(), Kind.number: pa.float64(), Kind.flag: pa.bool_()}
    fields = [pa.field(c.name, types[c.kind], metadata={"unit": c.unit} if c.unit else None) for c in columns]
    schema = pa.schema(fields, metadata=dict(metadata or {}))
    texts = [place for place, column in enumerate(columns) if column.kind is Kind.text]
    stream = iter(rows)
    with parquet.ParquetWriter(os.fspath(path), schema, compression="zstd") as writer:
        while group := list(islice(stream, _GROUP)):
            values = [list(column) for column in zip(*group, strict=True)]
            for place in texts:
                values[place] = [None if text is None else _valid(str(text)) for text in values[place]]
            arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _valid(text: str) -> str:
    """Parquet has UTF-8 only, which halves of characters are none of."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return escaped(text)
    return text
