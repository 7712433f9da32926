"""Data sets of MLIP (moment tensor potentials), version 2 and 3: configurations between BEGIN_CFG and END_CFG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason
from etn_gpu.structures.species_map import numbers_of_types

if TYPE_CHECKING:
    from ase import Atoms

_BEGIN, _END = "BEGIN_CFG", "END_CFG"
_POSITIONS = (("cartes_x", "cartes_y", "cartes_z"), ("direct_x", "direct_y", "direct_z"))
_FORCES = ("fx", "fy", "fz")
_AXES = ("xx", "yy", "zz", "yz", "xz", "xy")
#: The six components of -V * stress in eV.
_STRESS = "PlusStress"
#: What MLIP-3 divides by the volume or refuses itself.
_AMBIGUOUS = ("Virial", "Stress")
_IGNORED = ("Feature", "Features")
_SECTIONS = ("Size", "Supercell", "AtomData", "Energy", _STRESS, *_AMBIGUOUS)
_LONGEST_LINE = 1 << 20


def mlip_frames(stream: TextIO, source: str, species: Sequence[str] | None) -> Iterator[Frame]:
    """The configurations of a .cfg file, one at a time; a broken one comes with its error.

    Types count from 0 and are named by `species`. A cell of fewer than three vectors is periodic along those only.
    Energies in eV, forces in eV/A and stresses in eV/A^3 are those of an attached calculator.
    """
    index, start, inside = -1, 0, False
    lines: list[str] = []
    for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), ""), start=1):
        word = line.strip()
        if word == _BEGIN or (word == _END and inside):
            if inside:
                index += 1
                ended = word == _END
                yield _frame(lines, index, f"{source}, frame {index} (line {start})", species, ended)
            inside, start, lines = word == _BEGIN, number, []
        elif inside:
            lines.append(line)
        elif word:
            index += 1
            yield Frame(index, None, DataError(f"{source}, line {number}: expected {_BEGIN}, found {word[:40]!r}."))
    if inside:
        yield _frame(lines, index + 1, f"{source}, frame {index + 1} (line {start})", species, False)


def _frame(lines: list[str], index: int, place: str, species: Sequence[str] | None, ended: bool) -> Frame:
    try:
        if not ended:
            raise DataError(f"the configuration has no {_END}")
        return Frame(index, _atoms(_sections(lines), species))
    except (DataError, ValueError, IndexError) as error:
        fault = str(error).removesuffix(".") if isinstance(error, DataError) else reason(error)
        return Frame(index, None, DataError(f"{fault}.", place))


def _sections(lines: list[str]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """For each section the words behind its name and the words of the lines below it."""
    found: dict[str, tuple[list[str], list[list[str]]]] = {}
    rows: list[list[str]] = []
    for line in lines:
        words = line.split()
        if not words:
            continue
        name = words[0].rstrip(":")
        if not words[0][0].isalpha():
            rows.append(words)
            continue
        rows = []
        if name in _IGNORED:
            continue
        if name in _AMBIGUOUS:
            raise DataError(f"{words[0]} has no settled sign and unit: expected {_STRESS}, -V * stress in eV")
        if name not in _SECTIONS:
            raise DataError(f"unknown section {words[0]!r}; expected {', '.join(_SECTIONS)}")
        if name in found:
            raise DataError(f"the section {name} stands in it twice")
        found[name] = (words[1:], rows)
    return found


def _atoms(sections: dict[str, tuple[list[str], list[list[str]]]], species: Sequence[str] | None) -> Atoms:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    for name in ("Size", "AtomData"):
        if name not in sections:
            raise DataError(f"it has no {name}")
    n = int(sections["Size"][1][0][0])
    cell, pbc = _cell(sections.get("Supercell", ([], []))[1])
    table = _Table(*sections["AtomData"], n)
    # Without types all atoms are of the first, as for MLIP.
    types = [int(x) for x in table.words("type")] if "type" in table.names else [0] * n
    numbers = numbers_of_types(types, species, 0)
    positions = table.values(_POSITIONS[0])
    if positions is None:
        fractions = table.values(_POSITIONS[1])
        if fractions is None:
            raise DataError(f"AtomData has the columns {', '.join(table.names)}: expected {', '.join(_POSITIONS[0])}")
        positions = fractions @ cell
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc)
    results: dict[str, Any] = {}
    if "Energy" in sections:
        results["energy"] = float(sections["Energy"][1][0][0])
    if (forces := table.values(_FORCES)) is not None:
        results["forces"] = forces
    if _STRESS in sections and pbc == [True] * 3:
        header, rows = sections[_STRESS]
        if sorted(header) != sorted(_AXES) or len(rows) != 1 or len(rows[0]) != len(_AXES):
            raise DataError(f"{_STRESS}: expected the six components {' '.join(_AXES)}")
        values = dict(zip(header, (float(x) for x in rows[0]), strict=True))
        results["stress"] = np.array([values[axis] for axis in _AXES]) / -abs(np.linalg.det(cell))
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _cell(rows: list[list[str]]) -> tuple[NDArray[np.float64], list[bool]]:
    if len(rows) > 3 or any(len(row) != 3 for row in rows):
        raise DataError(f"Supercell has {len(rows)} rows: expected up to three vectors of three components")
    cell = np.zeros((3, 3))
    for k, row in enumerate(rows):
        cell[k] = [float(x) for x in row]
    return cell, [k < len(rows) for k in range(3)]


class _Table:
    """The atoms: a row of words for each, by the names of the columns."""

    def __init__(self, names: list[str], rows: list[list[str]], n: int) -> None:
        if len(rows) != n:
            raise DataError(f"expected {n} atoms as its Size says, found {len(rows)}")
        if wrong := next((row for row in rows if len(row) != len(names)), None):
            raise DataError(f"a line of AtomData has {len(wrong)} columns: expected {len(names)} ({' '.join(names)})")
        self.names = names
        self._rows = rows

    def words(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [row[place] for row in self._rows]

    def values(self, names: Sequence[str]) -> NDArray[np.float64] | None:
        """The columns [n, 3] of these names; None without them."""
        if not set(names) <= set(self.names):
            return None
        return np.array([[float(x) for x in self.words(name)] for name in names]).T.reshape(-1, len(names))
