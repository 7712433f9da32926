"""The frames of `--structures`: the structures that were evaluated, to the last bit, with the results of the run.

What else the input carried is kept where it is read back as it was. Names that mean something to a reader of extended
XYZ, or that it could not find the end of, are changed; what has no form is left out. Both are counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.frame_values import Column, UnwritableError, column, info_text, word
from etn_gpu.screening.number_text import lines_of
from etn_gpu.screening.rows import Row
from etn_gpu.screening.text import escaped
from etn_gpu.structures.label_keys import keys_in_other_units
from etn_gpu.structures.units import matrix_from_voigt

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["FrameWriter"]

_GRADE, _GRADES = "extrapolation_grade", "extrapolation_grades"
#: Results of other calculations, which those of this run replace.
_REPLACED = frozenset(("energy", "free_energy", "stress", "energies", "forces", "stresses", _GRADE, _GRADES))
#: Arrays of ASE that are the structure itself.
_STRUCTURE = frozenset(("numbers", "positions"))
#: Names, in whatever case, that readers take for the structure, its results or constraints, and those of this run.
_RESERVED = frozenset(
    (
        *("lattice", "cell", "pbc", "properties", "move_mask", "uid"),
        *("species", "symbol", "symbols", "element", "elements", "numbers", "z"),
        *("pos", "position", "positions"),
        *("energy", "energies", "free_energy", "force", "forces", "stress", "stresses", "virial", "virials"),
        *("magmom", "magmoms", "charge", "charges", "dipole", "polarization"),
        *("dielectric_tensor", "born_effective_charges"),
        *(_GRADE, _GRADES),
        *("source", "source_index", "status"),
        *("select_rank", "select_gain", "extrapolation_grade"),
    )
)
_NAME = re.compile(r"[^\W\d][\w.+/-]*")
#: More different notes than these are counted as one.
_MOST_NOTES = 100
_OTHER_NOTES = "further entries renamed or left out"


class FrameWriter:
    """Makes the text of frames.

    Attributes:
        notes: what was renamed or left out, and in how many frames.
    """

    def __init__(self) -> None:
        self.notes: Counter[str] = Counter()

    def text(self, row: Row, atoms: Atoms, outcome: Outcome) -> str:
        """One frame of extended XYZ, nothing for a structure that failed.

        Numbers have all their digits. Results stand under ASE's names; those that the input carried are replaced.
        """
        if outcome.failed:
            return ""
        grade = outcome.grade
        columns = {"energies": column(outcome.energies, len(atoms)), "forces": column(outcome.forces, len(atoms))}
        if outcome.grades is not None:
            columns[_GRADES] = column(outcome.grades, len(atoms))
        entries = [
            f"energy={float(outcome.energy)!r}",
            f"free_energy={float(outcome.energy)!r}",
            *([] if outcome.stress is None else [f'stress="{_numbers(matrix_from_voigt(outcome.stress))}"']),
            *([] if grade is None else [f"{_GRADE}={grade!r}"]),
            f"source={info_text(row.shown_source)}",
            f"source_index={info_text(row.index)}",
            f"status={row.status}",
        ]
        return self.frame(atoms, columns, entries)

    def frame(self, atoms: Atoms, results: Mapping[str, Column], entries: Iterable[str]) -> str:
        """One frame of extended XYZ with these columns and these entries of its header beside the structure itself and
        what the input carried, its results excepted."""
        try:
            return self._frame(atoms, results, entries, *self._kept(atoms), atoms.constraints)
        except Exception as error:
            # The input may carry objects of any kind; what they do when they are looked at must not cost the results.
            self._note(f"everything but structure and results left out ({type(error).__name__})")
            return self._frame(atoms, results, entries, {}, {}, ())

    def _frame(
        self,
        atoms: Atoms,
        results: Mapping[str, Column],
        own: Iterable[str],
        info: Mapping[Any, Any],
        arrays: Mapping[Any, Any],
        constraints: Iterable[Any],
    ) -> str:
        columns = {
            "species": Column("S", "%-2s", np.array(atoms.get_chemical_symbols(), dtype=object)),
            "pos": Column("R", "%r", atoms.arrays["positions"]),
        }
        if (mask := self._move_mask(constraints, len(atoms))) is not None:
            columns["move_mask"] = column(mask, len(atoms))
        columns |= results
        self._add_arrays(columns, arrays, len(atoms))
        properties = ":".join(f"{name}:{c.kind}:{c.width}" for name, c in columns.items())
        cell = np.asarray(atoms.cell)
        entries = [
            *([f'Lattice="{_numbers(cell)}"'] if cell.any() else []),
            f"Properties={properties}",
            f'pbc="{" ".join("T" if periodic else "F" for periodic in atoms.pbc.tolist())}"',
            *own,
            *self._info(info),
        ]
        return f"{len(atoms)}\n{' '.join(entries)}\n{_atom_lines([*columns.values()])}"

    def _kept(self, atoms: Atoms) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
        """Info and arrays without labels in other units, which would be misread beside results in eV and A."""
        foreign = keys_in_other_units(atoms)
        if not foreign:
            return atoms.info, atoms.arrays
        for name in sorted(foreign):
            self._note(f"entry {_shown(name)} left out: another unit than those of the results")
        info, arrays = ({k: v for k, v in of.items() if k not in foreign} for of in (atoms.info, atoms.arrays))
        return info, arrays

    def _info(self, info: Mapping[Any, Any]) -> Iterator[str]:
        taken = {name for name in info if isinstance(name, str) and _written_name(name) == name}
        for name, value in info.items():
            if name in _REPLACED:
                continue
            if isinstance(name, str) and name.lower() == "uid" and (text := word(value)) is not None:
                yield f"{name}={text}"  # never taken for a number
                continue
            try:
                text = info_text(value)
            except UnwritableError as error:
                self._note(f"info entry {_shown(name)} left out: {error}")
                continue
            yield f"{self._renamed('info entry', name, taken)}={text}"

    def _add_arrays(self, columns: dict[str, Column], arrays: Mapping[Any, Any], n_atoms: int) -> None:
        # ASE's reader gives every column of an array a name of its own.
        taken = {field for name, c in columns.items() for field in _fields(name, c.width)}
        for name, array in arrays.items():
            if name in _STRUCTURE or name in _REPLACED:
                continue
            try:
                found = column(array, n_atoms)
            except UnwritableError as error:
                self._note(f"array {_shown(name)} left out: {error}")
                continue
            count = found.width
            new = _written_name(name)
            if new == "initial_charges" and (count > 1 or found.kind not in "RI"):
                new = _next_name(new)  # ASE's reader takes numbers only
            while new in columns or taken.intersection(_fields(new, count)):
                new = _next_name(new)
            if new != name:
                self._note(f"array {_shown(name)} written as {new}")
            columns[new] = found
            taken.update(_fields(new, count))

    def _renamed(self, what: str, name: Any, taken: set[str]) -> str:
        new = _written_name(name)
        if new != name:
            while new in taken:
                new = _next_name(new)
            taken.add(new)
            self._note(f"{what} {_shown(name)} written as {new}")
        return new

    def _move_mask(self, constraints: Iterable[Any], n_atoms: int) -> NDArray[np.bool_] | None:
        """What extended XYZ knows of constraints: which atoms, or which of their coordinates, are free."""
        from ase.constraints import FixAtoms, FixCartesian

        free = np.ones((n_atoms, 3), dtype=bool)
        for constraint in constraints:
            if isinstance(constraint, FixAtoms):
                free[constraint.index] = False
            elif isinstance(constraint, FixCartesian):
                free[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
            else:
                self._note(f"constraint {type(constraint).__name__} left out")
        if free.all():
            return None
        return free[:, 0] if (free == free[:, :1]).all() else free

    def _note(self, text: str) -> None:
        self.notes[text if text in self.notes or len(self.notes) < _MOST_NOTES else _OTHER_NOTES] += 1


def _atom_lines(columns: Sequence[Column]) -> str:
    """One line for each atom."""
    forms: list[str] = []
    parts: list[list[Any]] = []
    # Real numbers that stand side by side are written together.
    for real, group in groupby(columns, lambda column: column.kind == "R"):
        if real:
            forms.append("%s")
            parts.append(lines_of(np.column_stack([column.array for column in group])))
            continue
        for column in group:
            forms += [column.form] * column.width
            parts += [column.array.tolist()] if column.array.ndim == 1 else column.array.T.tolist()
    form = " ".join(forms) + "\n"
    return "".join(map(form.__mod__, zip(*parts, strict=True)))


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(map(repr, values.ravel().tolist()))


def _fields(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}{number}" for number in range(count)]


@lru_cache(maxsize=1024, typed=True)
def _written_name(name: Any) -> str:
    """The name itself where a reader takes it for nothing else, otherwise another one that begins with ``input_``."""
    text = str(name)
    known = unicodedata.normalize("NFKC", text).casefold()
    if isinstance(name, str) and _NAME.fullmatch(text) and known not in _RESERVED:
        return text
    return "input_" + re.sub(r"[^\w.+/-]", "_", text)


def _next_name(name: str) -> str:
    return name + "_" if name.startswith("input_") else "input_" + name


def _shown(name: Any) -> str:
    text = escaped(str(name))
    return repr(text if len(text) <= 60 else text[:57] + "...")
