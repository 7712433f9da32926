"""Structures with their results as a database of ASE."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["DATABASE", "write_database"]

DATABASE = ".db"
#: Arrays that a row of a database has in any case.
_KNOWN = frozenset(("numbers", "positions", "tags", "momenta", "masses", "initial_magmoms", "initial_charges"))


def write_database(frames: str, path: str) -> None:
    """Writes the structures of a file of extended XYZ as an SQLite database of ASE, results included.

    Entries of `info` are key-value pairs where ASE allows them, so that rows can be selected by them; other entries,
    and arrays of atoms that ASE's databases have no place for, are the ``data`` of a row.

    Raises:
        DataError: a frame cannot be read.
        OSError: the system refuses.
    """
    import sqlite3

    from ase.db import connect

    from etn_gpu.structures import read_structures

    if os.path.exists(path):
        os.unlink(path)  # of a run that was stopped here
    try:
        with connect(path, type="db", use_lock_file=False) as database:
            database.count()  # makes a database of no rows as well
            for frame in read_structures(frames, format="extxyz") if os.path.getsize(frames) else ():
                if frame.atoms is None:
                    raise DataError(f"cannot be read again: {frame.error}.", frames)
                pairs, data = _sorted(frame.atoms)
                database.write(frame.atoms, key_value_pairs=pairs, data=data)
    except sqlite3.Error as error:
        raise OSError(f"the database cannot be written ({error})") from error


def _sorted(atoms: Atoms) -> tuple[dict[str, Any], dict[str, Any]]:
    pairs: dict[str, Any] = {}
    data = {name: _storable(array) for name, array in atoms.arrays.items() if name not in _KNOWN}
    for key, entry in atoms.info.items():
        value = entry.item() if isinstance(entry, np.generic) else entry  # what ASE writes as JSON
        if _is_pair(key, value):
            pairs[key] = value
        else:
            data[key] = _storable(value)
    return pairs, data


def _storable(value: Any) -> Any:
    """The value, as lists if it is an array of objects, or as text if ASE stores neither."""
    from ase.db.core import object_to_bytes

    for form in (value, value.tolist() if isinstance(value, np.ndarray) else value):
        try:
            object_to_bytes(form)
        except Exception:  # what its encoders make of other classes
            continue
        return form
    return str(value)


def _is_pair(key: str, value: Any) -> bool:
    from ase.db.core import check

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check({key: value})
        f"{key}{value}".encode()  # what SQLite stores
    except (TypeError, ValueError):
        return False
    return True
