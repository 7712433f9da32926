"""Data sets of DeePMD: folders of NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason
from etn_gpu.structures.species_map import numbers_of_types

if TYPE_CHECKING:
    from ase import Atoms

_TYPES, _NAMES, _CLUSTER = "type.raw", "type_map.raw", "nopbc"
_N_CELL = 9


def is_deepmd(folder: Path) -> bool:
    """Whether a folder is a system of DeePMD, or holds some."""
    return next(_systems(folder), None) is not None


def deepmd_frames(folder: Path, species: Sequence[str] | None) -> Iterator[Frame]:
    """The structures of one system, or of all systems in a folder, one at a time.

    Elements come from type_map.raw, or from `species` in the order of the types, from 0 on; labels (energy in eV,
    forces in eV/A, and stress in eV/A^3 from the virial, -V * stress) are those of an attached calculator.
    """
    index = 0
    for system in sorted(_systems(folder)):
        sets = sorted(path.parent for path in system.glob("set.*/coord.npy"))
        if not sets:
            yield Frame(index, None, DataError(_without_sets(system)))
            index += 1
        for part in sets:
            for frame in _frames_of_set(system, part, species, index):
                index = frame.index + 1
                yield frame


def _systems(folder: Path) -> Iterator[Path]:
    return (path.parent for path in folder.rglob(_TYPES))


def _without_sets(system: Path) -> str:
    return (
        f"{system}: there is no set.*/coord.npy in it. Where there is coord.raw, make sets with dpdata: "
        "dpdata.LabeledSystem(FOLDER, fmt='deepmd/raw').to('deepmd/npy', FOLDER)."
    )


def _frames_of_set(system: Path, part: Path, species: Sequence[str] | None, first: int) -> Iterator[Frame]:
    try:
        data = _Set(system, part, species)
    except (OSError, ValueError, DataError) as error:
        what = str(error).removesuffix(".") if isinstance(error, DataError) else reason(error)
        yield Frame(first, None, DataError(f"{part}: {what}."))
        return
    for k in range(data.n_frames):
        try:
            yield Frame(first + k, data.atoms(k))
        except (ValueError, DataError) as error:
            fault = str(error).removesuffix(".") if isinstance(error, DataError) else reason(error)
            yield Frame(first + k, None, DataError(f"{part}, frame {k}: {fault}."))


class _Set:
    """The arrays of one folder set.*, mapped, not read."""

    def __init__(self, system: Path, part: Path, species: Sequence[str] | None) -> None:
        names = system / _NAMES
        self._species = names.read_text("utf-8").split() if names.is_file() else species
        types = np.array([int(word) for word in (system / _TYPES).read_text("utf-8").split()])
        coordinates = self._load(part, "coord")
        if coordinates is None or coordinates.ndim != 2 or coordinates.shape[1] != 3 * len(types):
            shape = None if coordinates is None else coordinates.shape
            raise DataError(f"coord.npy has the shape {shape}: expected (frames, {3 * len(types)}), as in {_TYPES}")
        self.n_frames = len(coordinates)
        self._coordinates = coordinates
        # of systems of many compositions; -1 fills up
        mixed = self._checked(part, "real_atom_types", len(types))
        self._types = np.broadcast_to(types, (self.n_frames, len(types))) if mixed is None else mixed
        self._cells = self._checked(part, "box", _N_CELL)
        self._periodic = not (system / _CLUSTER).exists()
        if self._periodic and self._cells is None:
            raise DataError(f"there is no box.npy; for clusters expected a file {_CLUSTER} beside {_TYPES}")
        self._energy = self._checked(part, "energy", 1)
        self._forces = self._checked(part, "force", 3 * len(types))
        self._virial = self._checked(part, "virial", _N_CELL)

    @staticmethod
    def _load(part: Path, name: str) -> NDArray[Any] | None:
        path = part / f"{name}.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None

    def _checked(self, part: Path, name: str, width: int) -> NDArray[Any] | None:
        """An array [frames, width]; None without its file."""
        array = self._load(part, name)
        if array is not None and array.size != self.n_frames * width:
            raise DataError(f"{name}.npy has the shape {array.shape}: expected ({self.n_frames}, {width})")
        return None if array is None else array.reshape(self.n_frames, width)

    def atoms(self, k: int) -> Atoms:
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        there = self._types[k] >= 0
        numbers = numbers_of_types(self._types[k][there], self._species, 0)
        cell = None if not self._periodic or self._cells is None else self._cells[k].reshape(3, 3)
        positions = np.asarray(self._coordinates[k], dtype=np.float64).reshape(-1, 3)[there]
        atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=self._periodic)
        results: dict[str, Any] = {}
        if self._energy is not None:
            results["energy"] = float(self._energy[k, 0])
        if self._forces is not None:
            results["forces"] = np.asarray(self._forces[k], dtype=np.float64).reshape(-1, 3)[there]
        if self._virial is not None and self._periodic and atoms.cell.volume:
            stress = self._virial[k].reshape(3, 3) / -atoms.cell.volume
            results["stress"] = stress.astype(np.float64)
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms
