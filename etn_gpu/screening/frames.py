"""The frames of `--structures`: the structures that were evaluated, to the last bit, with the results of the run.

What else the input carried is kept where it is read back as it was. Names that mean something to a reader of extended
XYZ, or that it could not find the end of, are changed; what has no form is left out. Both are counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.frame_values import Column, UnwritableError, column, info_text, word
from etn_gpu.screening.number_text import lines_of, tables_of
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

    def texts(self, rows: Sequence[Row], structures: Sequence[Atoms | None], outcomes: Sequence[Outcome]) -> list[str]:
        """One frame of extended XYZ for each structure, nothing for those that failed.

        Numbers have all their digits. Results stand under ASE's names; those that the input carried are replaced.
        """
        done = [(a, o) for a, o in zip(structures, outcomes, strict=True) if a is not None and not o.failed]
        bodies, grades = _bodies(done), _largest_grades(done)
        voigt = [outcome.stress for _, outcome in done if outcome.stress is not None]
        stresses = iter(lines_of(matrix_from_voigt(np.array(voigt)).reshape(-1, 9)) if voigt else ())
        lattices = _lattices([atoms for atoms, _ in done])
        texts = []
        for row, atoms, outcome in zip(rows, structures, outcomes, strict=True):
            if atoms is None or outcome.failed:
                texts.append("")
                continue
            energy = repr(float(outcome.energy))
            entries = [f"energy={energy}", f"free_energy={energy}"]
            results = {"energies": _numbers(outcome.energies), "forces": _numbers(outcome.forces)}
            if outcome.stress is not None:
                entries.append(f'stress="{next(stresses)}"')
            if outcome.grades is not None:
                results[_GRADES] = _numbers(outcome.grades)
                entries.append(f"{_GRADE}={next(grades)!r}")
            entries += [
                f"source={info_text(row.shown_source)}",
                f"source_index={info_text(row.index)}",
                f"status={row.status}",
            ]
            texts.append(self._whole(atoms, next(lattices), results, entries, next(bodies)))
        return texts

    def frame(self, atoms: Atoms, results: Mapping[str, Column], entries: Iterable[str]) -> str:
        """One frame of extended XYZ with these columns and these entries of its header beside the structure itself and
        what the input carried, its results excepted."""
        return self._whole(atoms, next(_lattices([atoms])), results, entries, None)

    def _whole(
        self, atoms: Atoms, lattice: str, results: Mapping[str, Column], entries: Iterable[str], body: str | None
    ) -> str:
        own = (atoms, lattice, results, entries, body)
        try:
            return self._frame(*own, *self._kept(atoms), atoms.constraints)
        except Exception as error:
            # The input may carry objects of any kind; what they do when they are looked at must not cost the results.
            self._note(f"everything but structure and results left out ({type(error).__name__})")
            return self._frame(*own, {}, {}, ())

    def _frame(
        self,
        atoms: Atoms,
        lattice: str,
        results: Mapping[str, Column],
        own: Iterable[str],
        body: str | None,
        info: Mapping[Any, Any],
        arrays: Mapping[Any, Any],
        constraints: Iterable[Any],
    ) -> str:
        """The frame of a structure; its `body`, where it is known, is that without columns of the input."""
        numbers = atoms.arrays["numbers"]
        columns = {"species": Column("S", "%-2s", _symbols()[numbers]), "pos": _numbers(atoms.arrays["positions"])}
        if constraints and (mask := self._move_mask(constraints, len(numbers))) is not None:
            columns["move_mask"] = column(mask, len(numbers))
            body = None
        columns |= results
        if arrays.keys() - _STRUCTURE:
            self._add_arrays(columns, arrays, len(numbers))
            body = None
        properties = ":".join([f"{name}:{c.kind}:{c.width}" for name, c in columns.items()])
        entries = [
            *([lattice] if lattice else []),
            f"Properties={properties}",
            _periodicity(atoms.pbc.tobytes()),
            *own,
            *(self._info(info) if info else ()),
        ]
        body = _atom_lines([*columns.values()]) if body is None else body
        return f"{len(numbers)}\n{' '.join(entries)}\n{body}"

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
    for c in columns:
        if c.kind == "R":
            forms.append("%s")
            parts.append(lines_of(c.array.reshape(len(c.array), -1)))
        else:
            forms += [c.form] * c.width
            parts += [c.array.tolist()] if c.array.ndim == 1 else c.array.T.tolist()
    form = " ".join(forms) + "\n"
    return "".join(map(form.__mod__, zip(*parts, strict=True)))


def _bodies(done: Sequence[tuple[Atoms, Outcome]]) -> Iterator[str | None]:
    """What stands below the header of each frame where the input carried no columns of its own, made at once; None
    where only some have grades."""
    graded = [outcome.grades for _, outcome in done if outcome.grades is not None]
    if not done or len(graded) not in (0, len(done)):
        return iter([None] * len(done))
    columns = [
        np.concatenate([atoms.arrays["positions"] for atoms, _ in done]),
        np.concatenate([outcome.energies for _, outcome in done])[:, None],
        np.concatenate([outcome.forces for _, outcome in done]),
        *([np.concatenate(graded)[:, None]] if graded else []),
    ]
    numbers = [atoms.arrays["numbers"] for atoms, _ in done]
    return iter(tables_of(np.hstack(columns), [*map(len, numbers)], _padded_symbols()[np.concatenate(numbers)]))


def _largest_grades(done: Sequence[tuple[Atoms, Outcome]]) -> Iterator[float]:
    grades = [outcome.grades for _, outcome in done if outcome.grades is not None]
    if not grades:
        return iter(())
    return iter(np.maximum.reduceat(np.concatenate(grades), np.cumsum([0, *map(len, grades[:-1])])).tolist())


def _numbers(array: NDArray[np.float64]) -> Column:
    return Column("R", "%r", array)


def _lattices(structures: Sequence[Atoms]) -> Iterator[str]:
    """The entry of each cell, empty where there is none."""
    cells = np.array([atoms.cell.array for atoms in structures], dtype=np.float64).reshape(-1, 9)
    given = np.asarray(cells.any(axis=1)).tolist()
    return iter([f'Lattice="{text}"' if there else "" for there, text in zip(given, lines_of(cells), strict=True)])


@cache
def _periodicity(flags: bytes) -> str:
    return f'pbc="{" ".join("T" if flag else "F" for flag in flags)}"'


@cache
def _padded_symbols() -> NDArray[np.uint8]:
    """Chemical symbols as they stand in lines of atoms, with a space behind them [119, 3]."""
    return np.array([list(f"{symbol:2} ".encode()) for symbol in _symbols()], dtype=np.uint8)


@cache
def _symbols() -> NDArray[Any]:
    from ase.data import chemical_symbols

    return np.array(chemical_symbols, dtype=object)


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
