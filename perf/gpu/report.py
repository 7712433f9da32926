"""The JSON file of a run, whole after every row, and the tables on the screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from common import print_table
from gpu.section import Row

from etn_gpu.files import json_text

#: Longest text in a cell of a table; the file has all of it.
WIDEST = 60


class Report:
    """``content`` is what the file holds; :meth:`write` brings it up to date."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {}

    def write(self) -> None:
        """Replace the file: whoever reads it, at any time, finds a whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}")
        partial.write_text(json_text(self.content), "utf-8")
        partial.replace(self.path)


def print_rows(title: str, rows: list[Row]) -> None:
    """A table with a column for every key."""
    print(f"{title}\n{'-' * len(title)}")
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "traceback"))
    print_table(keys, [[_cell(row.get(key)) for key in keys] for row in rows])


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return value.splitlines()[0][:WIDEST] if isinstance(value, str) and value else value
