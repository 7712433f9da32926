"""Energies, forces and stresses that come with structures: found under the usual keys, checked and converted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.reader import read_structures
from etn_gpu.structures.units import voigt_from_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from ase import Atoms

    from etn_gpu.structures.audit import LabelAudit

#: Prefixes of label keys, the first found wins; an ASE calculator's results come last.
PREFIXES = ("REF_", "", "dft_", "DFT_")
PROPERTIES = ("energy", "forces", "stress")
#: A stress matrix may differ from its transpose by this, in eV/A^3, and still count as symmetric.
_ASYMMETRY = 1e-4


@dataclass
class LabelledSet:
    """Structures with reference values, S in all.

    source: where they come from; atoms [S]; energy [S] in eV (total, not per atom), nan where missing; forces: (n, 3)
    in eV/A each, or None; stress [S, 6] in eV/A^3, Voigt xx, yy, zz, yz, xz, xy, nan rows where missing; config_type
    [S]; keys: for each property, how many structures had it under which key; n_stress_ignored: structures whose stress
    label was left out because they are not periodic in all three directions.
    """

    source: str
    atoms: list[Atoms]
    energy: NDArray[np.float64]
    forces: list[NDArray[np.float64] | None]
    stress: NDArray[np.float64]
    config_type: list[str | None]
    keys: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in PROPERTIES})
    n_stress_ignored: int = 0

    def of(self, index: int) -> dict[str, Any]:
        """Number of atoms and labels of one structure, by the names of what errors are computed from."""
        return {
            "n_atoms": len(self.atoms[index]),
            "energy": self.energy[index],
            "forces": self.forces[index],
            "stress": self.stress[index],
        }

    def __len__(self) -> int:
        return len(self.atoms)

    def audit(self) -> LabelAudit:
        """Counts and ranges per property and per element.

        Raises:
            DataError: there is no energy and no force anywhere.
        """
        from etn_gpu.structures.audit import LabelAudit

        return LabelAudit.of(self)


def read_labelled(
    path: str | PathLike[str],
    index: int | str = ":",
    *,
    format: str | None = None,
    species: Sequence[str] | None = None,
) -> LabelledSet:
    """Read all structures of a file with their labels; see `collect_labels` for where labels are looked for.

    `index`, `format` and `species` are those of :func:`read_structures`.

    Raises:
        DataError: the file or a frame of it cannot be read, or a label has the wrong shape or is not finite.
    """
    structures, frames = [], []
    for frame in read_structures(path, index, format=format, species=species):
        if frame.atoms is None:
            raise frame.error or DataError(f"{path}, frame {frame.index}: cannot be read.")
        structures.append(frame.atoms)
        frames.append(frame.index)
    return collect_labels(structures, source=str(Path(path)), frames=frames)


def collect_labels(
    structures: Sequence[Atoms], source: str = "structures", frames: Sequence[int] | None = None
) -> LabelledSet:
    """The labels that the structures carry.

    Each property is taken from the first of these that the structure has: info["REF_energy"], arrays["REF_forces"],
    info["REF_stress"]; the same without a prefix; with dft_ or DFT_; the results of an attached calculator that need no
    calculation (ASE's readers put labels into a SinglePointCalculator). A stress may be 3x3, 9 or 6 (Voigt) values; it
    is left out where a structure is not periodic in all three directions, because it is not defined there.

    Args:
        structures: what carries the labels.
        source: the name of their source, for messages and the audit.
        frames: their frame numbers in the source, for messages; their places in the list by default.

    Raises:
        DataError: a label of the wrong shape or not finite; the message names the source, the frame and the key.
    """
    n = len(structures)
    labels = LabelledSet(
        source=source,
        atoms=list(structures),
        energy=np.full(n, np.nan),
        forces=[None] * n,
        stress=np.full((n, 6), np.nan),
        config_type=[None] * n,
    )
    for s, atoms in enumerate(structures):
        for name, convert in zip(PROPERTIES, (_energy, _forces, _stress), strict=True):
            key, value = _find(atoms, name)
            if key is None:
                continue
            converted = convert(value, atoms, f"{source}, frame {s if frames is None else frames[s]}: {key}")
            if name == "stress" and not atoms.pbc.all():
                labels.n_stress_ignored += 1
                continue
            labels.keys[name][key] += 1
            getattr(labels, name)[s] = converted
        if (group := atoms.info.get("config_type")) is not None:
            labels.config_type[s] = str(group)
    return labels


def _find(atoms: Atoms, name: str) -> tuple[str | None, Any]:
    for prefix in PREFIXES:
        key = prefix + name
        for store in (atoms.arrays, atoms.info) if name == "forces" else (atoms.info,):
            if store.get(key) is not None:
                return key, store[key]
    if atoms.calc is not None:
        # the results only: get_property would start a calculation with a real calculator
        value = getattr(atoms.calc, "results", {}).get(name)
        if value is not None:
            return f"calculator {name}", value
    return None, None


def _finite(value: Any, place: str, expected: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{place} is {value!r}: expected {expected}.") from None
    if not np.isfinite(array).all():
        wild = np.argwhere(~np.isfinite(np.atleast_1d(array)))[0]
        where = f" at {tuple(int(k) for k in wild)}" if array.ndim else ""
        raise DataError(f"{place} holds {np.atleast_1d(array)[tuple(wild)]}{where}: expected {expected}, all finite.")
    return array


def _energy(value: Any, atoms: Atoms, place: str) -> float:
    array = _finite(value, place, "one energy in eV")
    if array.size != 1:
        raise DataError(f"{place} has shape {array.shape}: expected one total energy in eV.")
    return float(array.reshape(()))


def _forces(value: Any, atoms: Atoms, place: str) -> NDArray[np.float64]:
    array = _finite(value, place, f"forces of shape ({len(atoms)}, 3) in eV/A")
    if array.shape != (len(atoms), 3):
        raise DataError(f"{place} has shape {array.shape}: expected ({len(atoms)}, 3), one force in eV/A per atom.")
    return array


def _stress(value: Any, atoms: Atoms, place: str) -> NDArray[np.float64]:
    array = _finite(value, place, "a stress in eV/A^3")
    if array.shape == (6,):
        return array
    if array.shape == (9,):
        array = array.reshape(3, 3)
    if array.shape != (3, 3):
        raise DataError(
            f"{place} has shape {array.shape}: expected a stress in eV/A^3 as 3x3, 9 or 6 (xx yy zz yz xz xy) values."
        )
    if np.abs(array - array.T).max() > max(_ASYMMETRY, 1e-3 * np.abs(array).max()):
        raise DataError(f"{place} is not symmetric ({array.ravel().tolist()}): expected a symmetric stress in eV/A^3.")
    return voigt_from_matrix(array)
