"""Rows as a Parquet file, with units in its schema."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from etn_gpu.errors import DataError
from etn_gpu.screening.columns import Kind, ResultColumn
from etn_gpu.screening.text import escaped

__all__ = ["check_parquet", "write_parquet"]

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


def write_parquet(
    path: str | os.PathLike[str],
    columns: Sequence[ResultColumn],
    rows: Iterable[Sequence[Any]],
    metadata: Mapping[str, str] | None = None,
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
