"""XDATCAR, one configuration at a time: ASE's reader gives none of them when one is broken."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO, cast

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason

if TYPE_CHECKING:
    from ase import Atoms

_BLOCK = "direct configuration"
#: Title, scale, three cell vectors, elements, their numbers of atoms.
_HEADER_LINES = 7
_LONGEST_LINE = 1 << 20


def xdatcar_frames(stream: TextIO, source: str) -> Iterator[Frame]:
    """The configurations; the header stands before the first, or before each where the cell varies."""
    header: list[str] = []
    found: list[str] = []
    index = 0
    lines = iter(lambda: stream.readline(_LONGEST_LINE), "")
    line = next(lines, None)
    while line is not None:
        if not line.lower().startswith(_BLOCK):
            found.append(line)
            line = next(lines, None)
            continue
        if any(map(str.strip, found)):
            header, found = found[-_HEADER_LINES:], []
        rows: list[str] = []
        n_atoms = _n_atoms(header)
        title, line = line, next(lines, None)
        while line is not None and len(rows) < n_atoms and not line.lower().startswith(_BLOCK):
            rows.append(line)
            line = next(lines, None)
        yield _frame(header, title, rows, n_atoms, index, source)
        index += 1


def _n_atoms(header: list[str]) -> int:
    counts = header[-1].split() if len(header) == _HEADER_LINES else []
    return sum(map(int, counts)) if counts and all(word.isdecimal() for word in counts) else 0


def _frame(header: list[str], title: str, rows: list[str], n_atoms: int, index: int, source: str) -> Frame:
    from ase.io.vasp import read_vasp_xdatcar

    place = f"{source}, frame {index} ({' '.join(title.split())})"
    try:
        if not n_atoms:
            raise DataError("no header with the cell, the elements and their numbers of atoms belongs to it")
        if len(rows) < n_atoms:
            raise DataError(f"expected {n_atoms} atom lines as its header says, found {len(rows)}")
        text = "".join([*header, title, *rows])
        return Frame(index, cast("Atoms", read_vasp_xdatcar(io.StringIO(text), index=0)))
    except DataError as error:
        return Frame(index, None, DataError(f"{error}.", place))
    except Exception as error:  # ASE's parser raises whatever its conversions raise
        return Frame(index, None, DataError(f"not a valid configuration ({reason(error)}).", place))
