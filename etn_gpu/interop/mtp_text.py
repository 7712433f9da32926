"""The text of an `.mtp` file: entries ``name = value`` and the blocks below ``radial_coeffs``, with their lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NoReturn, TypeVar

from etn_gpu.errors import ModelFileError

#: Other names that MLIP-3 and motep give to entries.
ALIASES = {
    "min": "min_dist", "max": "max_dist", "size": "radial_basis_size", "min_val": "min_dist", "max_val": "max_dist",
    "basis_size": "radial_basis_size",
}  # fmt: skip
#: Every entry of a trained potential, in the order of MLIP-2.
ENTRIES = (
    "version", "potential_name", "scaling", "species_count", "potential_tag", "radial_basis_type", "min_dist",
    "max_dist", "radial_basis_size", "radial_funcs_count", "alpha_moments_count", "alpha_index_basic_count",
    "alpha_index_basic", "alpha_index_times_count", "alpha_index_times", "alpha_scalar_moments", "alpha_moment_mapping",
    "species_coeffs", "moment_coeffs",
)  # fmt: skip
#: What only training gives.
TRAINED = ("radial_coeffs", "species_coeffs", "moment_coeffs")
_MAGNETIC = ("magnetic_basis_type", "min_mag", "max_mag", "mag_basis_size")
_HEAD = re.compile(r"(\d{1,3})\s*-\s*(\d{1,3})")
_SHOWN = 60
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A value as it stands in the file, and its line."""

    line: int
    value: str


@dataclass(frozen=True)
class RadialBlock:
    """The coefficients of a pair of species: the head ``i-j``, its line, and the lines in braces."""

    line: int
    types: tuple[int, int]
    rows: list[Entry] = field(default_factory=list)


class MtpText:
    """The entries of a text by their first names, and its radial blocks in order.

    Raises:
        ModelFileError: a line that is neither, an entry that is unknown or given twice, a magnetic potential.
    """

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self.entries: dict[str, Entry] = {}
        self.blocks: list[RadialBlock] = []
        self.radial_line = 0
        inside = False
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if not stripped or number == 1:
                continue
            head = _HEAD.fullmatch(stripped)
            if inside and head:
                self.blocks.append(RadialBlock(number, (int(head[1]), int(head[2]))))
            elif inside and self.blocks and stripped.startswith("{"):
                self.blocks[-1].rows.append(Entry(number, stripped))
            elif stripped == "radial_coeffs" and not self.radial_line:
                inside, self.radial_line = True, number
            else:
                inside = False
                self._entry(number, stripped)

    def _entry(self, number: int, line: str) -> None:
        given, equals, value = line.partition("=")
        given = given.strip()
        name = ALIASES.get(given, given)
        if given in _MAGNETIC:
            self.refuse(number, f"{given!r} belongs to a magnetic MTP, which etn_gpu does not evaluate")
        if not equals or name not in ENTRIES:
            self.refuse(number, f"{shown(line)} is no entry of an MTP file that etn_gpu knows; it knows {ENTRIES}")
        if name in self.entries:
            first = self.entries[name].line
            hint = ": motep takes the last one, MLIP-3 multiplies them" if name == "scaling" else ""
            self.refuse(number, f"{given!r} is given a second time, after line {first}{hint}; keep the right one")
        self.entries[name] = Entry(number, value.strip())

    def refuse(self, line: int, reason: str) -> NoReturn:
        """Raise the error of a line."""
        raise ModelFileError(f"{self._name}, line {line}: {reason}")

    def need(self, name: str) -> Entry:
        """An entry; ModelFileError without it."""
        if name not in self.entries:
            if name in TRAINED:
                self.untrained(name)
            raise ModelFileError(f"{self._name} has no entry {name!r}: it is incomplete; get a whole copy of the file")
        return self.entries[name]

    def untrained(self, name: str) -> NoReturn:
        """Raise the error of a file without coefficients."""
        raise ModelFileError(
            f"{self._name} has no {name}: it is a template that no training has filled, or cut off; expected a "
            f"potential with {', '.join(TRAINED)}"
        )

    def integer(self, name: str, least: int = 0) -> int:
        """An entry as an integer."""
        entry = self.need(name)
        if not re.fullmatch(r"[+-]?\d{1,18}", entry.value) or int(entry.value) < least:
            self.refuse(entry.line, f"{name} is {shown(entry.value)}, expected an integer from {least} on")
        return int(entry.value)

    def number(self, name: str) -> float:
        """An entry as a finite number."""
        entry = self.need(name)
        return self._converted(entry, [entry.value], _finite, name)[0]

    def integers(self, name: str) -> list[int]:
        """An entry {i, j, ...}."""
        entry = self.need(name)
        return self._converted(entry, self._items(entry, name), _integer, name)

    def numbers(self, name: str, entry: Entry | None = None) -> list[float]:
        """An entry {x, y, ...}, or a line like it."""
        entry = entry or self.need(name)
        return self._converted(entry, self._items(entry, name), _finite, name)

    def table(self, name: str) -> list[list[int]]:
        """An entry {{i, j, k, l}, ...}: rows of four integers."""
        entry = self.need(name)
        inside = self._inside(entry, name)
        rows = re.findall(r"\{([^{}]*)\}", inside)
        if re.sub(r"[\s,]", "", re.sub(r"\{[^{}]*\}", "", inside)):
            self.refuse(entry.line, f"{name} is no list of rows {{i, j, k, l}}: {shown(entry.value)}")
        if uneven := [row for row in rows if row.count(",") != 3]:
            self.refuse(entry.line, f"{name} has the row {shown(uneven[0])}, expected four integers")
        numbers = self._converted(entry, [item for row in rows for item in row.split(",")], _integer, name)
        return [numbers[k : k + 4] for k in range(0, len(numbers), 4)]

    def _items(self, entry: Entry, name: str) -> list[str]:
        inside = self._inside(entry, name)
        return inside.split(",") if inside else []

    def _inside(self, entry: Entry, name: str) -> str:
        value = entry.value
        if not (value.startswith("{") and value.endswith("}") and len(value) > 1):
            self.refuse(entry.line, f"{name} is {shown(value)}, expected a list in braces; the line may be cut off")
        return value[1:-1].strip()

    def _converted(self, entry: Entry, items: Sequence[str], convert: Callable[[str], T], name: str) -> list[T]:
        found = []
        for item in items:
            try:
                found.append(convert(item))
            except ValueError:
                kind = "integers" if convert is _integer else "finite numbers"
                self.refuse(entry.line, f"{name} holds {shown(item.strip())}, expected {kind}")
        return found


def shown(text: str) -> str:
    """A text of the file, shortened."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _integer(text: str) -> int:
    value = int(text)
    if "_" in text or abs(value) >= 2**31:
        raise ValueError(text)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if "_" in text or not isfinite(value):
        raise ValueError(text)
    return value
