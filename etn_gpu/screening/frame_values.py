"""Entries of `info` and per-atom arrays as text of extended XYZ that is read back as what it was, or not at all.

ASE's writer gives eight decimals, and text that its own reader takes for a number, a flag, two entries or the end of
the line. What it reads right is written in its way, everything else as JSON, which it reads where a value begins with
``_JSON``; that the value comes back is checked before it is written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "UnwritableError", "column", "info_text", "word"]

_LARGEST_INFO_INTEGER = 2**63
# The reader has 32 bits for integers of atoms; floats hold larger ones exactly up to here.
_LARGEST_COLUMN_INTEGER, _LARGEST_EXACT_INTEGER = 2**31, 2**53
# No quotes, brackets, backslashes or equals signs; no white space but single spaces inside.
_PLAIN = re.compile(r"[\w.,:;/()+*%&#@!?<>|~^$-]+( [\w.,:;/()+*%&#@!?<>|~^$-]+)*")
_WORD = re.compile(r"[\w./:+-]+")
_CELL = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_FLAGS = frozenset(("T", "F", "true", "false", "True", "False", "TRUE", "FALSE"))


class UnwritableError(ValueError):
    """Extended XYZ has no form for a value; the message says why, in few words."""


class Column(NamedTuple):
    """A per-atom array, [n] or [n, k]: its type in extended XYZ (R, I, L or S), and the format of one entry."""

    kind: str
    form: str
    array: NDArray[Any]

    @property
    def width(self) -> int:
        """How many columns of the file it is."""
        return 1 if self.array.ndim == 1 else self.array.shape[1]


def info_text(value: Any) -> str:
    """What stands behind the equals sign of an info entry.

    Raises:
        UnwritableError: the value would not be read back as what it is.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        return _quoted(text) if _is_plain(text) else _json(text)
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    if isinstance(value, int | np.integer):
        return str(int(value)) if -_LARGEST_INFO_INTEGER <= value < _LARGEST_INFO_INTEGER else _json(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(_doubles(np.asarray(value))))
    if isinstance(value, np.ndarray):
        return _array(_unmasked(value))
    if type(value).__module__ == "ase.spacegroup.spacegroup":
        return info_text(value.symbol)  # as ASE has it
    return _json(value)


def word(value: Any) -> str | None:
    """The text of a string that needs no quotes, whatever it looks like; None for all else."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def column(array: Any, n_atoms: int) -> Column:
    """The column of a per-atom array of shape (n,) or, with k above 1, (n, k).

    Raises:
        UnwritableError: the array would not be read back as what it is.
    """
    array = _unmasked(np.asanyarray(array))
    if array.ndim not in (1, 2) or array.shape[0] != n_atoms or array.shape[1:] in ((0,), (1,)):
        raise UnwritableError("neither one number per atom nor rows of several")
    kind, form, convert = _column_type(array)
    return Column(kind, form, convert(array))


def _column_type(array: NDArray[Any]) -> tuple[str, str, Callable[[NDArray[Any]], NDArray[Any]]]:
    kind = array.dtype.kind
    if kind == "f":
        return "R", "%r", _doubles
    if kind in "iu":
        largest = max(abs(int(array.max())), abs(int(array.min())))
        if largest < _LARGEST_COLUMN_INTEGER:
            return "I", "%d", np.asarray
        if largest <= _LARGEST_EXACT_INTEGER:
            return "R", "%r", lambda integers: integers.astype(np.float64)
        raise UnwritableError("with integers of more than 53 bits")
    if kind == "b":
        return "L", "%s", lambda flags: np.where(flags, "T", "F")
    if kind in "UO":
        if not all(isinstance(entry, str) and _CELL.fullmatch(entry) for entry in array.ravel().tolist()):
            what = "text that is empty or has white space" if kind == "U" else "objects other than words"
            raise UnwritableError(f"with {what}")
        return "S", "%s", np.asarray
    raise UnwritableError(f"of type {array.dtype.name}")


def _array(array: NDArray[Any]) -> str:
    if array.ndim == 0:
        return info_text(array.item() if array.dtype.kind != "f" else array[()])
    if array.ndim == 1 and len(array) > 1:
        if array.dtype.kind == "f":
            return _quoted(" ".join(map(repr, _doubles(array).tolist())))
        if array.dtype.kind == "i":
            return _quoted(" ".join(map(str, array.tolist())))
        if array.dtype.kind == "b":
            return _quoted(" ".join("T" if flag else "F" for flag in array.tolist()))
    return _json(array)


def _unmasked(array: NDArray[Any]) -> NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.getmaskarray(array).any():
            raise UnwritableError("with masked values")
        return np.asarray(array.data)
    return np.asarray(array)


def _doubles(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.itemsize <= 8:
        return array.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        doubles = array.astype(np.float64)
    if not np.array_equal(doubles, array, equal_nan=True):
        raise UnwritableError("with more digits than float64 has")
    return doubles


@lru_cache(maxsize=1024)
def _is_plain(text: str) -> bool:
    """Whether ASE's reader gives the text back when it finds it between quotes."""
    if not _PLAIN.fullmatch(text) or text.startswith("_JSON"):
        return False
    return any(token not in _FLAGS and not _is_number(token) for token in re.findall(r"[^\s,]+", text))


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    if _WORD.fullmatch(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _json(value: Any) -> str:
    plain = _plain_values(value)
    try:
        # An equals sign could be taken for that of another entry by readers that do not know of quotes.
        text = json.dumps(plain).replace("=", "\\u003d")
        found = json.loads(text)
        # The reader makes an array of it where it can, and fails where it is ragged.
        array = np.array(found)
    except (TypeError, ValueError, RecursionError):
        raise UnwritableError(
            f"of type {type(value).__name__} with a content that the format has no form for"
        ) from None
    if array.dtype.kind in "ifb":
        found = array.tolist()
    if not _same(found, plain) or (isinstance(value, np.ndarray) and value.shape != array.shape):
        raise UnwritableError(f"of type {type(value).__name__} with a content that would be read as another")
    return _quoted(f"_JSON {text}")


def _plain_values(value: Any) -> Any:
    """Lists, dicts, text and numbers of Python in the place of NumPy's."""
    if isinstance(value, np.ndarray):
        value = _unmasked(value)
        return _doubles(value).tolist() if value.dtype.kind == "f" else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain_values(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_values(item) for key, item in value.items()}
    return value


def _same(found: Any, value: Any) -> bool:
    if isinstance(value, dict):
        return (
            isinstance(found, dict)
            and found.keys() == value.keys()
            and all(_same(found[key], item) for key, item in value.items())
        )
    if isinstance(value, list):
        return (
            isinstance(found, list)
            and len(found) == len(value)
            and all(_same(one, other) for one, other in zip(found, value, strict=True))
        )
    if isinstance(value, float) and math.isnan(value):
        return isinstance(found, float) and math.isnan(found)
    return bool(found == value)
