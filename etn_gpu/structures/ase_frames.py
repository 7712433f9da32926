"""Structures by ASE's readers; frame by frame where a format allows it, so that a broken one costs no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu.errors import DataError
from etn_gpu.structures.cif import cif_frames
from etn_gpu.structures.frame import Frame, Pending, made, reason
from etn_gpu.structures.label_units import in_angstrom
from etn_gpu.structures.lammps import data_file, dump_frames
from etn_gpu.structures.occupancy import partial_occupancy
from etn_gpu.structures.poscar import poscar
from etn_gpu.structures.xdatcar import xdatcar_frames

if TYPE_CHECKING:
    from ase import Atoms

#: Lines that each frame of a text format has once, to tell how many there are.
_MARKS = {
    "vasp-out": b"POSITION  ",
    "vasp-xml": b"<calculation>",
    "castep-md": b"<-- E",
}
#: What readers that keep a file whole read with numbers for species.
_WITH_SPECIES: dict[str, Callable[[Path, Sequence[str] | None], Atoms]] = {"lammps-data": data_file, "vasp": poscar}


def ase_frames(path: Path, source: str, form: str, species: Sequence[str] | None) -> Iterator[Pending]:
    """All frames of a file in one of ASE's formats; `source` is what messages call it.

    Raises:
        DataError: nothing of it can be read.
    """
    if form == "lammps-dump-text":
        with path.open(encoding="utf-8", errors="replace") as text:
            yield from made(dump_frames(text, source, species))
    elif form == "vasp-xdatcar":
        with path.open(encoding="utf-8", errors="replace") as text:
            yield from made(xdatcar_frames(text, source))
    elif form == "cif":
        with path.open("rb") as stream:
            yield from made(cif_frames(stream, source))
    elif form in _WITH_SPECIES:
        yield from made([_single(lambda: _WITH_SPECIES[form](path, species), source, form)])
    elif (images := _indexed(path, source, form)) is not None:
        for index, load in enumerate(images):
            yield partial(_checked, index, load, source, form)
    else:
        yield from made(_in_a_row(path, source, form))


def _single(load: Callable[[], Atoms], source: str, form: str) -> Frame:
    try:
        return _whole(0, load(), source)
    except DataError as error:
        raise DataError(f"{str(error).removesuffix('.')}.", source) from error
    except Exception as error:  # each of ASE's readers has its own ways to fail
        raise DataError(f"not a readable {form} file ({reason(error)}).", source) from error


def _checked(index: int, load: Callable[[], Atoms], source: str, form: str) -> Frame:
    place = f"{source}, frame {index}"
    try:
        return _whole(index, load(), place)
    except DataError as error:
        return Frame(index, None, DataError(f"{str(error).removesuffix('.')}.", place))
    except Exception as error:  # each of ASE's readers has its own ways to fail
        return Frame(index, None, DataError(f"not a readable {form} frame ({reason(error)}).", place))


def _whole(index: int, atoms: Atoms, place: str) -> Frame:
    if (fault := partial_occupancy(atoms)) is not None:
        return Frame(index, None, DataError(f"{fault}.", place))
    return Frame(index, in_angstrom(atoms))


def _indexed(path: Path, source: str, form: str) -> Iterator[Callable[[], Atoms]] | None:
    """A loader for each frame of a format with an index; None for the others.

    Raises:
        DataError: the index cannot be read.
    """
    if form not in ("traj", "db", "json"):
        return None
    try:
        return _of_trajectory(path) if form == "traj" else _of_database(path, form)
    except Exception as error:
        raise DataError(f"not a readable {form} file ({reason(error)}).", source) from error


def _of_trajectory(path: Path) -> Iterator[Callable[[], Atoms]]:
    from ase.io.trajectory import TrajectoryReader

    trajectory = TrajectoryReader(str(path))

    def loaders() -> Iterator[Callable[[], Atoms]]:
        with trajectory:
            for k in range(len(trajectory)):
                yield lambda k=k: trajectory[k]  # type: ignore[misc]

    return loaders()


def _of_database(path: Path, form: str) -> Iterator[Callable[[], Atoms]]:
    from ase.db import connect

    database: Any = connect(str(path), type=form, serial=True)
    ids = [row.id for row in database.select(columns=["id"])] if form == "db" else [row.id for row in database.select()]
    return iter([lambda k=k: database.get(id=k).toatoms() for k in ids])


def _in_a_row(path: Path, source: str, form: str) -> Iterator[Frame]:
    from ase.io import iread

    k = 0
    try:
        for atoms in iread(str(path), index=slice(None), format=form, do_not_split_by_at_sign=True):
            yield _whole(k, atoms, f"{source}, frame {k}")
            k += 1
    except Exception as error:  # each of ASE's readers has its own ways to fail
        if k == 0:
            raise DataError(f"not a readable {form} file ({reason(error)}).", source) from error
        untried = _count_marks(path, form, k + 1)
        more = "those after it were" if untried is None else f"{untried} after it were" if untried else ""
        message = f"not a readable {form} frame ({reason(error)})" + (f"; {more} not read" if more else "")
        yield Frame(k, None, DataError(f"{message}.", f"{source}, frame {k}"), untried)


def _count_marks(path: Path, form: str, read: int) -> int | None:
    """How many frames there are beyond the first `read`; None if the format does not tell."""
    if (mark := _MARKS.get(form)) is None or not path.is_file():
        return None
    with path.open("rb") as stream:
        return max(0, sum(mark in line for line in stream) - read)
