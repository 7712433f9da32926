"""Frames of extended XYZ as nearly all are, several times as quickly as by ASE's reader, and with the same result.

What this is not sure of is left to ASE: then there is no structure. Values that are no numbers go through ASE's own
parser, entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.made_atoms import made_atoms
from etn_gpu.structures.xyz_blocks import BlockFrame
from etn_gpu.structures.xyz_frames import RawFrame
from etn_gpu.structures.xyz_header import is_as_ase_writes
from etn_gpu.structures.xyz_values import usual_values

if TYPE_CHECKING:
    from ase import Atoms

_PLAIN = "species:S:1:pos:R:3"
_FLAGS = {"T": True, "F": False}
_LOGICALS = _FLAGS | {"True": True, "False": False}
#: Characters that change what white space, quotes and equals signs mean to ASE's parser.
_SPECIAL = ("\\", "'", "{", "}", "[", "]", "\r")
_NINE = 9
#: Longer texts of entries are not remembered.
_LONGEST_REMEMBERED = 200
#: Columns that become something else than an array of their name.
_NOT_ARRAYS = frozenset(("Z", "numbers", "symbols", "positions", "initial_charges", "move_mask"))


class _Header(NamedTuple):
    """What a header says beside the cell."""

    columns: _Columns
    pbc: tuple[bool, ...]
    info: dict[str, Any]


def quick_atoms(header: str, frame: RawFrame | BlockFrame) -> Atoms | None:
    """The structure of a frame with this header, which is as ASE's reader would take it.

    None where ASE's reader may find something else than this, an error for instance.
    """
    entries = _entries(header)
    if entries is None:
        return None
    cell = entries.pop("Lattice", None)
    try:
        known = _header(entries, cell is not None)
        parts = None if known is None else _atoms(known.columns, frame)
    except (KeyError, ValueError, OverflowError):
        return None
    if known is None or parts is None:
        return None
    if isinstance(frame, BlockFrame) and frame.rest is not None and _may_be_kept(known, frame.header):
        if len(_known_headers) >= _MOST_HEADERS:
            _known_headers.clear()
        _known_headers[frame.rest] = known._replace(info=dict(known.info))
    cell = None if cell is None else np.array(cell.T, dtype=np.float64, order="C")
    return _made(known, *parts, cell, known.info)


def known_atoms(frame: RawFrame | BlockFrame) -> Atoms | None:
    """The structure of a frame whose header differs in its lattice alone from one that was met before; None if not."""
    if not isinstance(frame, BlockFrame) or (known := _known_headers.get(frame.rest)) is None:
        return None
    try:
        parts = _atoms(known.columns, frame)
    except (KeyError, ValueError, OverflowError):
        return None
    return None if parts is None else _made(known, *parts, frame.cell.reshape(3, 3).copy(), dict(known.info))


_known_headers: dict[bytes | None, _Header] = {}
_MOST_HEADERS = 1024


def _may_be_kept(known: _Header, header: str) -> bool:
    """Whether nothing but the cell depends on the lattice, and no structure could change what the next one gets."""
    return (
        is_as_ase_writes(header)
        and usual_values(header) == header
        and all(isinstance(value, str | bool | np.generic) for value in known.info.values())
        and _per_structure().isdisjoint(known.info)
        and not any("unit" in key.lower() for key in known.info)
    )


def _header(entries: dict[str, Any], crystal: bool) -> _Header | None:
    properties, pbc = entries.pop("Properties", _PLAIN), entries.pop("pbc", None)
    columns = _columns(properties) if isinstance(properties, str) else None
    if pbc is None:
        pbc = [crystal] * 3
    if columns is None or type(pbc) is not list or len(pbc) != 3:
        return None
    return _Header(columns, tuple(pbc), entries)


def _atoms(
    columns: _Columns, frame: RawFrame | BlockFrame
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, NDArray[Any]]] | None:
    """Atomic numbers, positions and other arrays; None where the atom lines are not as the columns say.

    Raises:
        KeyError, OverflowError, ValueError: a word is no value of its type.
    """
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(frame, BlockFrame) and frame.numbers is not None and frame.values is not None and columns.numeric:
        if frame.values.shape[1] != columns.n_words - 1:
            return None
        # The words at the beginning are not among the values.
        for column in columns.others:
            values = frame.values[:, column.first - 1 : column.first - 1 + column.width]
            arrays[column.name] = (values[:, 0] if column.width == 1 else values).copy()
        first = columns.positions.first - 1
        return frame.numbers.copy(), frame.values[:, first : first + 3].copy(), arrays
    words = frame.words
    if not words or set(map(len, words)) != {columns.n_words}:
        return None
    by_column = [*zip(*words, strict=True)]
    numbers = np.array([_ELEMENTS[symbol] for symbol in by_column[columns.species]], dtype=np.int64)
    arrays = {column.name: _values(by_column, column) for column in columns.others}
    return numbers, _values(by_column, columns.positions), arrays


def _made(
    known: _Header,
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    arrays: dict[str, NDArray[Any]],
    cell: NDArray[np.float64] | None,
    info: dict[str, Any],
) -> Atoms:
    atoms = made_atoms(numbers, positions, cell, known.pbc, info)
    if arrays or not _per_structure().isdisjoint(info):
        from ase.io.extxyz import set_calc_and_arrays

        set_calc_and_arrays(atoms, arrays)
    return atoms


class _Elements(dict[str, int]):
    """Atomic numbers of symbols in any case, as they occur."""

    def __missing__(self, symbol: str) -> int:
        from ase.data import atomic_numbers

        number = self[symbol] = atomic_numbers[symbol.capitalize()]
        return number


_ELEMENTS = _Elements()


class _Column(NamedTuple):
    """A per-atom property: its name in ASE, its type (R, I, L or S), its first column and how many it has."""

    name: str
    kind: str
    first: int
    width: int


class _Columns(NamedTuple):
    """Where the parts of a structure are in the atom lines, of ``n_words`` words each.

    ``numeric``: species come first, and all else are real numbers.
    """

    n_words: int
    species: int
    positions: _Column
    others: tuple[_Column, ...]
    numeric: bool


@lru_cache(maxsize=1024)
def _columns(properties: str) -> _Columns | None:
    """What `Properties` says; None for anything out of the ordinary."""
    from ase.io.extxyz import REV_PROPERTY_NAME_MAP

    fields = properties.split(":")
    if len(fields) % 3 or not all(count.isascii() and count.isdecimal() for count in fields[2::3]):
        return None
    found: dict[str, _Column] = {}
    names: list[str] = []
    first = 0
    for name, kind, count in zip(fields[::3], fields[1::3], map(int, fields[2::3]), strict=True):
        if kind not in ("R", "I", "L", "S") or count < 1:
            return None
        found[name] = _Column(REV_PROPERTY_NAME_MAP.get(name, name), kind, first, count)
        names += [name] if count == 1 else [f"{name}{k}" for k in range(count)]
        first += count
    species, positions = found.pop("species", None), found.pop("pos", None)
    others = tuple(found.values())
    if species is None or positions is None or species[1::2] != ("S", 1) or positions[1::2] != ("R", 3):
        return None
    # Names that meet, of properties or of their columns, are errors for ASE.
    distinct = len(set(names)) == len(names) and len({column.name for column in others}) == len(others)
    if not distinct or not _NOT_ARRAYS.isdisjoint(column.name for column in others):
        return None
    numeric = species.first == 0 and all(column.kind == "R" for column in others)
    return _Columns(first, species.first, positions, others, numeric)


def _values(by_column: Sequence[Sequence[str]], column: _Column) -> NDArray[Any]:
    """The array of a property, of shape (n,) or (n, width).

    Raises:
        KeyError, OverflowError, ValueError: a word is no value of its type.
    """
    words = by_column[column.first : column.first + column.width]
    if column.kind == "R":
        values = np.array(words, dtype=np.float64)
    elif column.kind == "I":
        values = np.array([[*map(int, some)] for some in words], dtype=np.intc)
    elif column.kind == "L":
        values = np.array([[_LOGICALS[word] for word in some] for some in words], dtype=bool)
    else:
        values = np.array(words, dtype=object)
    return values[0] if column.width == 1 else np.ascontiguousarray(values.T)


def _entries(header: str) -> dict[str, Any] | None:
    """The entries of a header as ASE's parser finds them; None unless all are KEY=WORD or KEY="..."."""
    for special in _SPECIAL:
        if special in header:
            return None
    # Every second part lies between quotes; before each of these ends a part with the key and an equals sign.
    parts = header.split('"')
    if not len(parts) % 2:
        return None
    entries: dict[str, Any] = {}
    last = len(parts) - 1
    try:
        for k in range(0, last + 1, 2):
            part = parts[k]
            if k and part and not part[0].isspace():
                return None
            words = part.split()
            quoted = words.pop() if k < last and words else None
            for word in words:
                key, sign, value = word.partition("=")
                if not key or not sign or not value or "=" in value:
                    return None
                entries[key] = _value(key, value)
            if k < last:
                if quoted is None or not part.endswith("=") or quoted.count("=") != 1 or len(quoted) == 1:
                    return None
                key = quoted[:-1]
                entries[key] = _value(key, parts[k + 1])
    except ValueError:
        return None
    return entries


def _value(key: str, text: str) -> Any:
    """What ASE's parser makes of the text of an entry.

    Raises:
        ValueError: no value, as of a lattice that is none.
    """
    if key == "pbc" and len(flags := text.split()) == 3 and all(flag in _FLAGS for flag in flags):
        return [_FLAGS[flag] for flag in flags]
    if "." in text and key.lower() != "uid":  # then these are no integers, which would be tried first
        try:
            numbers = np.array(text.replace(",", " ").split(), dtype=np.float64)
        except ValueError:
            numbers = np.empty(0)
        if key in _matrices():
            if len(numbers) == _NINE:
                return numbers.reshape((3, 3), order="F")
        elif len(numbers):
            return numbers if len(numbers) > 1 else numbers[0]
    value = (_parsed if len(text) <= _LONGEST_REMEMBERED else _parsed.__wrapped__)(key, text)
    return value.copy() if isinstance(value, np.ndarray | list) else value


@lru_cache(maxsize=4096)
def _parsed(key: str, text: str) -> Any:
    from ase.io.extxyz import key_val_str_to_dict

    entries = key_val_str_to_dict(f'{key}="{text}"')
    if [*entries] != [key]:
        raise ValueError(text)
    return entries[key]


@cache
def _matrices() -> frozenset[str]:
    from ase.io.extxyz import SPECIAL_3_3_KEYS

    return frozenset(SPECIAL_3_3_KEYS)


@cache
def _per_structure() -> frozenset[str]:
    from ase.io.extxyz import per_config_properties

    return frozenset(per_config_properties)
