"""Compiled: cuts the bytes of extended XYZ into frames and reads their numbers, where both are beyond doubt."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled
from etn_gpu.structures.xyz_table import Scanned

_N_COLUMNS = 10
_LATTICE = np.frombuffer(b'Lattice="', dtype=np.uint8)
_N_CELL = 9
_MOST_DIGITS = 15
#: Powers of ten that a double holds exactly.
_POWERS = np.array([float(f"1e{k}") for k in range(23)])
#: What is left after a division is known to much better than this.
_MARGIN = 1e-6
_SPLIT = 134217729.0


def scan(data: bytes, *, numbers: bool = True) -> Scanned:
    """The frames at the beginning of some bytes; without `numbers` they are only cut, which takes half of the time.

    Frames are those of :func:`~etn_gpu.structures.xyz_frames.xyz_frames`: a count, a header, as many lines of the same
    number of words, at least two, and then another count. Numbers are read where they are what ``float`` gives, to the
    last bit. Anything else ends the scan: empty lines, carriage returns, atom lines beyond ASCII.
    """
    text = np.frombuffer(data, dtype=np.uint8)
    size = len(data)
    most = data.count(b"\n") // 3 + 1
    frames = np.empty((most, _N_COLUMNS), dtype=np.int64)
    cells = np.empty((most, _N_CELL))
    elements, values = np.empty(size // 4 + 1, dtype=np.int64), np.empty(size // 2 + 1)
    count, end, doubt = _scan(text, _atomic_numbers(), _LATTICE, _POWERS, numbers, frames, cells, elements, values)
    return Scanned(frames[:count], elements, values, cells, int(end), bool(doubt))


def _atomic_numbers() -> NDArray[np.int64]:
    """Atomic numbers by the letters of a symbol, 27 times the first plus the second or 0; -1 for none."""
    global _table
    if _table is None:
        from ase.data import chemical_symbols

        _table = np.full(27 * 27, -1, dtype=np.int64)
        for number, symbol in enumerate(chemical_symbols):
            letters = [ord(letter) - ord("a") + 1 for letter in symbol.lower()]
            _table[27 * letters[0] + (letters[1] if len(letters) > 1 else 0)] = number
    return _table


_table: NDArray[np.int64] | None = None


@compiled
def _letter(byte: int) -> int:
    """1 to 26 for a letter of either case, 0 for anything else."""
    byte |= 32
    return byte - 96 if 97 <= byte <= 122 else 0


@compiled
def _count_line(text: Any, at: int) -> tuple[int, int]:
    """The number on the line from a place on, and where the next line begins; -1 for incomplete, -2 for no count."""
    size = len(text)
    while at < size and (text[at] == 32 or text[at] == 9):
        at += 1
    digits, value = 0, 0
    while at < size and 48 <= text[at] <= 57:
        value = 10 * value + (text[at] - 48)
        digits += 1
        at += 1
        if digits > _MOST_DIGITS:
            return -2, at
    while at < size and (text[at] == 32 or text[at] == 9):
        at += 1
    if at >= size:
        return -1, at
    if text[at] != 10 or digits == 0:
        return -2, at
    return value, at + 1


@compiled
def _quotient(mantissa: int, power: float) -> tuple[float, bool]:
    """An integer of up to 19 digits over a power of ten, rounded to the nearest double, and whether that is certain."""
    high = float(mantissa)
    low = float(np.int64(mantissa - np.uint64(high)))  # less than one unit in the last place of the upper part
    found = high / power
    # found * power = product + error without any rounding (Dekker)
    a, b = _SPLIT * found, _SPLIT * power
    a_high, b_high = a - (a - found), b - (b - power)
    a_low, b_low = found - a_high, power - b_high
    product = found * power
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    left = ((high - product) + (low - error)) / power
    unit = np.nextafter(found, np.inf) - found
    units = left / unit
    steps = np.rint(units)
    nearest = found + steps * unit
    same = np.nextafter(nearest, np.inf) - nearest == unit and nearest - np.nextafter(nearest, 0.0) == unit
    return nearest, same and abs(units - steps) < 0.5 - _MARGIN


@compiled
def _number(text: Any, at: int, end: int, powers: Any) -> tuple[float, bool]:
    """The number in the bytes from a place to an end, and whether it is one and certain to be what float() gives."""
    negative = text[at] == 45
    if text[at] == 45 or text[at] == 43:
        at += 1
    mantissa, digits, scale, point, seen = np.uint64(0), 0, 0, False, False
    while at < end:
        byte = text[at]
        if 48 <= byte <= 57:
            mantissa = mantissa * np.uint64(10) + np.uint64(byte - 48)
            seen = True
            if digits > 0 or byte != 48:
                digits += 1
            if point:
                scale -= 1
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    if not seen or digits > 19:
        return 0.0, False
    if at < end:
        if text[at] | 32 != 101:
            return 0.0, False
        at += 1
        minus = at < end and text[at] == 45
        if at < end and (text[at] == 45 or text[at] == 43):
            at += 1
        if at == end or end - at > 4:
            return 0.0, False
        exponent = 0
        while at < end:
            if not 48 <= text[at] <= 57:
                return 0.0, False
            exponent = 10 * exponent + (text[at] - 48)
            at += 1
        scale += -exponent if minus else exponent
    if mantissa == np.uint64(0):
        value, certain = 0.0, True
    elif not -22 <= scale <= 22:
        return 0.0, False
    elif mantissa <= np.uint64(9007199254740992):
        value, certain = float(mantissa), True
        value = value / powers[-scale] if scale < 0 else value * powers[scale]
    elif scale <= 0:
        value, certain = _quotient(mantissa, powers[-scale])
    else:
        return 0.0, False
    return -value if negative else value, certain


@compiled
def _scan(
    text: Any,
    table: Any,
    lattice: Any,
    powers: Any,
    wanted: bool,
    frames: Any,
    cells: Any,
    numbers: Any,
    values: Any,
) -> tuple[int, int, bool]:
    size, at, count, n_atoms_before, n_values = len(text), 0, 0, 0, 0
    while True:
        begin = at
        n_atoms, at = _count_line(text, at)
        if n_atoms < 1:
            return count, begin, n_atoms != -1
        header = at
        while at < size and text[at] != 10:
            if text[at] == 13:
                return count, begin, True
            at += 1
        if at >= size:
            return count, begin, False
        header_end = at
        at += 1
        rows, n_words, first, read = at, 0, n_values, wanted
        for row in range(n_atoms):
            words = 0
            while True:
                while at < size and (text[at] == 32 or text[at] == 9):
                    at += 1
                if at >= size:
                    return count, begin, False
                if text[at] == 10:
                    at += 1
                    break
                start = at
                while at < size and 33 <= text[at] <= 126:
                    at += 1
                if at >= size:
                    return count, begin, False
                if text[at] != 10 and text[at] != 32 and text[at] != 9:
                    return count, begin, True
                words += 1
                if words == 1 and wanted:
                    one = _letter(text[start])
                    two = _letter(text[start + 1]) if at - start == 2 else 0
                    number = table[27 * one + two] if one > 0 and at - start <= 2 else -1
                    if number < 0 or (at - start == 2 and two == 0):
                        read = False
                    numbers[n_atoms_before + row] = number
                elif read:
                    values[n_values], read = _number(text, start, at, powers)
                    n_values += 1
            if words < 2 or (row > 0 and words != n_words):
                return count, begin, True
            n_words = words
        following, _ = _count_line(text, at)
        if following < 0:
            return count, begin, following == -2
        rest = _lattice(text, header, header_end, lattice, powers, cells[count]) if wanted else 0
        row_of = frames[count]
        row_of[0], row_of[1], row_of[2], row_of[3], row_of[4] = begin, header, header_end, rows, at
        row_of[5], row_of[6], row_of[7], row_of[8], row_of[9] = n_atoms, n_words, first, read, rest
        n_atoms_before += n_atoms
        count += 1


@compiled
def _lattice(text: Any, at: int, end: int, lattice: Any, powers: Any, cell: Any) -> int:
    """Reads the nine numbers of a lattice at the beginning of a header; the place of its closing quote, or 0."""
    if end - at < len(lattice):
        return 0
    for byte in lattice:
        if text[at] != byte:
            return 0
        at += 1
    for k in range(9):
        while at < end and text[at] == 32:
            at += 1
        start = at
        while at < end and text[at] != 32 and text[at] != 34:
            at += 1
        if at == start or at >= end:
            return 0
        cell[k], certain = _number(text, start, at, powers)
        if not certain:
            return 0
    while at < end and text[at] == 32:
        at += 1
    return at if at < end and text[at] == 34 else 0
