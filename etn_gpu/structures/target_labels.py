"""Dipoles and quantities of atoms that come with structures: found, checked and converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.label_keys import PREFIXES, KeyPlan, Source, keys_there, named_source, results_of
from etn_gpu.structures.label_values import is_missing
from etn_gpu.structures.target_units import target_unit
from etn_gpu.structures.targets import DIPOLE_UNIT, IRREPS, Quantity, Target

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]
#: What a dipole is called after a prefix; the first found wins.
_DIPOLES = ("dipole", "dipole_moment")
#: Entries of `info` with the total charge in e.
_CHARGES = ("charge", "total_charge", "net_charge")
#: A smaller charge is rounding; two dipoles that differ by less, over the larger one, are the same.
_NEUTRAL, _SAME = 1e-6, 1e-4


@dataclass
class TargetLabels:
    """Values of a target that structures carry, S in all.

    values [S]: Cartesian, a dipole [3] in e*A, or numbers [n] or vectors [n, 3] of the atoms, nan where those of some
    atoms are missing; None without a label. keys: in how many structures it was found under which key, with the unit if
    it is another one. unit: that of the values, '' where none is stated. n_nan: structures whose label is NaN or
    nothing; n_partly_nan: in whose label some atoms are missing. n_disagreeing: by the key taken and another one.
    """

    target: Target
    values: list[Array | None]
    keys: Counter[str] = field(default_factory=Counter)
    unit: str = ""
    n_nan: int = 0
    n_partly_nan: int = 0
    n_disagreeing: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def width(self) -> int:
        """Values of each atom or structure: 1 or 3; 0 without a label."""
        label = next((value for value in self.values if value is not None), None)
        return 0 if label is None else 1 if label.ndim == 1 and self.target.per_atom else 3

    @property
    def quantity(self) -> Quantity:
        """What the values are."""
        return Quantity(self.target.name, IRREPS[self.width], self.target.per_atom, self.unit)

    @property
    def known(self) -> list[Array]:
        """The labels that there are, [m, width] each, without missing rows."""
        rows = (value.reshape(-1, self.width) for value in self.values if value is not None)
        return [row[np.isfinite(row).all(axis=1)] for row in rows]


def join_targets(labels: Sequence[TargetLabels], sources: Sequence[str]) -> TargetLabels:
    """The labels of several sets, one set after the other.

    Raises:
        DataError: numbers in one set and vectors in another, or different units.
    """
    first = labels[0]
    for other, source in zip(labels[1:], sources[1:], strict=True):
        if other.quantity != first.quantity:
            raise DataError(
                f"{source}: {first.target} is {other.quantity}, and in {sources[0]} it is {first.quantity}: expected "
                "the same in all files."
            )
    joined = TargetLabels(first.target, [value for one in labels for value in one.values], unit=first.unit)
    joined.keys = sum((one.keys for one in labels), Counter())
    return joined


class TargetReader:
    """Fills the labels of a target, one structure after the other."""

    def __init__(self, labels: TargetLabels, shown: Callable[[Source], str]) -> None:
        self._labels = labels
        self._shown = cache(shown)
        self._width = 0

    def read(self, s: int, atoms: Atoms, plan: KeyPlan) -> None:
        """The label of structure s.

        Raises:
            DataError: a label that is none, or one of a structure that can have none; another unit, or another number
                of values, than in structures before.
        """
        labels = self._labels
        there = [source for source in self._sources(atoms) if source.value(atoms) is not None]
        if not there:
            return
        value, unit, stated = self._value(there[0], atoms)
        if value is None:
            labels.n_nan += 1
            return
        if not labels.target.per_atom:
            _check_dipole(atoms, self._shown(there[0]))
        width = 1 if value.ndim == 1 and labels.target.per_atom else 3
        if self._width not in (0, width):
            raise DataError(
                f"{self._shown(there[0])} has {width} values for each atom, and {self._width} in structures before: "
                "expected the same in all."
            )
        if self._width and unit != labels.unit:
            raise DataError(
                f"{self._shown(there[0])} is in {unit or 'no stated unit'}, and in structures before in "
                f"{labels.unit or 'no stated unit'}: expected the same in all."
            )
        self._width, labels.unit = width, unit
        labels.values[s] = value
        labels.n_partly_nan += bool(np.isnan(value).any())
        labels.keys[self._shown(there[0]) + stated] += 1
        for other in there[1:]:
            if self._differs(value, other, atoms):
                labels.n_disagreeing[self._shown(there[0]), self._shown(other)] += 1

    def _differs(self, value: Array, other: Source, atoms: Atoms) -> bool:
        """Whether a second source of a label says something else, be it nonsense."""
        try:
            second = self._value(other, atoms)[0]
        except DataError:
            return True
        return second is not None and bool(np.abs(second - value).max() > _SAME * np.abs(value).max())

    def _sources(self, atoms: Atoms) -> list[Source]:
        """Where the structure may have the label, the preferred place first."""
        target, results = self._labels.target, results_of(atoms)
        if target.per_atom:
            stores: list[tuple[str, Any]] = [("arrays", atoms.arrays), ("results", results)]
        else:
            stores = [("info", [key for key in atoms.info if isinstance(key, str)]), ("results", results)]
        if target.per_atom or target.key is not None:
            found = named_source(target.name, target.key or target.name, stores)
            return [] if found is None else [found]
        spelled: dict[str, str] = {}
        for key in stores[0][1]:
            spelled.setdefault(key.lower().replace("-", "_"), key)
        names = dict.fromkeys(prefix.lower() + name for prefix in PREFIXES for name in _DIPOLES)
        sources = [Source(target.name, "info", spelled[name]) for name in names if name in spelled]
        return sources + [Source(target.name, "results", name) for name in _DIPOLES if name in results]

    def _value(self, source: Source, atoms: Atoms) -> tuple[Array | None, str, str]:
        """The label, None if it is missing; its unit; and the unit in the file in words, if it is another one."""
        target = self._labels.target
        try:
            value = _checked(target, source.value(atoms), atoms)
        except DataError as error:
            raise DataError(f"{self._shown(source)} {error}") from None
        stated = target_unit(target, source.key, atoms)
        if target.per_atom:
            return value, "" if stated is None else stated[0], ""
        if stated is None or stated[1] == 1.0 or value is None:
            return value, DIPOLE_UNIT, ""
        return value * stated[1], DIPOLE_UNIT, f" in {stated[0]}"


def nothing_found(labels: TargetLabels, source: str, structures: Sequence[Atoms]) -> DataError:
    """The error for a set without a single label."""
    target = labels.target
    if target.key is not None or target.per_atom:
        places = "arrays" if target.per_atom else "info"
        looked = f"{target.key or target.name} among the {places}, in upper and lower case,"
    else:
        looked = ", ".join(f"{prefix}dipole" for prefix in PREFIXES) + " and dipole_moment in upper and lower case,"
    nan = "; all that is there is NaN" if labels.n_nan else ""
    return DataError(
        f"{source}: no {target} in any of {len(structures)} structures{nan}. Looked for {looked} and in the results of "
        f"a calculator; found {keys_there(structures)}. Name the key with --target-key."
    )


def _checked(target: Target, value: Any, atoms: Atoms) -> Array | None:
    """A label as numbers, None if it is missing.

    Raises:
        DataError: it is none; the message goes on after the name of the key.
    """
    n = len(atoms)
    if target.per_atom:
        expected = f"a number for each of {n} atoms, or a vector x, y, z for each, ({n}, 3)"
    else:
        expected = f"a dipole moment x, y, z in {DIPOLE_UNIT}"
    if isinstance(value, str) and is_missing(value):
        return None
    array = np.asarray(value)
    try:
        if array.dtype == np.bool_:
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"is {str(value)[:80]!r}: expected {expected}.") from None
    if array.shape == () and np.isnan(array):
        return None
    if not target.per_atom:
        array = array.reshape(3) if array.shape in ((3,), (1, 3)) else array
    elif array.shape == (n, 1):
        array = array[:, 0]
    if array.shape not in ({(n,), (n, 3)} if target.per_atom else {(3,)}):
        tensor = ""
        if array.shape[target.per_atom :] in ((6,), (9,), (3, 3)):
            tensor = " A tensor is a sum of irreps (0e and 2e), and a network has one irrep as its output."
        raise DataError(f"has shape {array.shape}: expected {expected}.{tensor}")
    if np.isinf(array).any():
        raise DataError(f"holds {array[np.isinf(array)][0]}: expected {expected}, all finite.")
    missing = np.isnan(array) if array.ndim == 1 and target.per_atom else np.isnan(array).any(axis=-1)
    if np.all(missing):
        return None
    array[missing] = np.nan
    return array


def _check_dipole(atoms: Atoms, key: str) -> None:
    """That the dipole moment of a structure says something.

    Raises:
        DataError: the structure is periodic, or charged.
    """
    if atoms.pbc.any():
        raise DataError(
            f"{key} is of a structure with pbc = {[bool(p) for p in atoms.pbc]}, and a periodic structure has no "
            "dipole moment: set pbc to F F F for molecules in a box, and leave out all others."
        )
    for name in atoms.info:
        plain = str(name).lower().replace("-", "_").removeprefix("ref_").removeprefix("dft_")
        value = atoms.info[name]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if plain in _CHARGES and number and abs(float(value)) > _NEUTRAL:
            raise DataError(
                f"{key} is of a structure with {name}={value}, and the dipole moment of a charged structure depends on "
                "the origin: leave it out."
            )
