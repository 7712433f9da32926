"""Training data of VASP's own machine-learned force fields: ML_AB and ML_ABN files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason
from etn_gpu.structures.units import KBAR

if TYPE_CHECKING:
    from ase import Atoms

_CONFIGURATION = "Configuration num."
_TYPES, _CELL = "Atom types and atom numbers", "Primitive lattice vectors (ang.)"
_POSITIONS, _ENERGY = "Atomic positions (ang.)", "Total energy (eV)"
_FORCES, _DIAGONAL, _OTHERS = "Forces (eV ang.^-1)", "XX YY ZZ", "XY YZ ZX"
_SECTIONS = (_TYPES, _CELL, _POSITIONS, _ENERGY, _FORCES, _DIAGONAL, _OTHERS)
_LONGEST_LINE = 1 << 20


def ml_ab_frames(stream: TextIO, source: str) -> Iterator[Frame]:
    """The configurations of the file, one at a time; a broken one comes with its error.

    Energies in eV, forces in eV/A and stresses in eV/A^3 are those of an attached calculator. The file has VASP's
    stresses in kbar, which are positive under compression.
    """
    index, start = -1, 0
    lines: list[str] | None = None
    for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), ""), start=1):
        if line.strip().startswith(_CONFIGURATION):
            if lines is not None:
                index += 1
                yield _frame(lines, index, f"{source}, frame {index} (line {start})")
            lines, start = [], number
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        yield _frame(lines, index + 1, f"{source}, frame {index + 1} (line {start})")


def _frame(lines: list[str], index: int, place: str) -> Frame:
    try:
        return Frame(index, _atoms(_sections(lines)))
    except (DataError, ValueError, IndexError, KeyError) as error:
        fault = str(error).removesuffix(".") if isinstance(error, DataError) else reason(error)
        return Frame(index, None, DataError(f"{fault}.", place))


def _sections(lines: list[str]) -> dict[str, list[list[str]]]:
    """The words of the lines below each heading; a heading stands alone between two rules."""
    found: dict[str, list[list[str]]] = {}
    parts: list[list[str]] = [[]]
    for line in lines:
        text = line.strip()
        if text and not text.strip("*=-"):
            parts.append([])
        elif text:
            parts[-1].append(text)
    for heading, content in pairwise(parts):
        name = " ".join(" ".join(heading).split())
        if name in _SECTIONS:
            if name in found:
                raise DataError(f"the section {name!r} stands in it twice")
            found[name] = [row.split() for row in content]
    return found


def _atoms(sections: dict[str, list[list[str]]]) -> Atoms:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    if missing := [name for name in _SECTIONS if name not in sections]:
        raise DataError(f"the configuration has no section {missing[0]!r}: is the file cut off?")
    symbols = [symbol for symbol, count in sections[_TYPES] for _ in range(int(count))]
    atoms = Atoms(symbols, cell=_numbers(sections, _CELL, 3), pbc=True)
    atoms.positions = _numbers(sections, _POSITIONS, len(symbols))
    (xx, yy, zz), (xy, yz, zx) = (_numbers(sections, name, 1)[0] for name in (_DIAGONAL, _OTHERS))
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=float(sections[_ENERGY][0][0]),
        forces=_numbers(sections, _FORCES, len(symbols)),
        stress=-KBAR * np.array([xx, yy, zz, yz, zx, xy]),
    )
    return atoms


def _numbers(sections: dict[str, list[list[str]]], name: str, rows: int) -> NDArray[np.float64]:
    """The rows of three numbers of a section."""
    found = sections[name]
    if len(found) != rows or any(len(row) != 3 for row in found):
        raise DataError(f"{name!r} has {len(found)} rows: expected {rows} rows of three numbers")
    return np.array([[float(x.replace("D", "E")) for x in row] for row in found])
