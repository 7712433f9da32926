"""Energies, forces and stresses that come with structures: found under the usual keys, checked and converted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.label_keys import KeyPlan, KeyPlans, LabelKeys, Source, keys_there, target
from etn_gpu.structures.label_origin import LabelOrigin
from etn_gpu.structures.label_units import label_unit
from etn_gpu.structures.label_values import label_value
from etn_gpu.structures.reader import read_structures
from etn_gpu.structures.target_labels import TargetLabels, TargetReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from ase import Atoms

    from etn_gpu.structures.audit import LabelAudit
    from etn_gpu.structures.frame import Frame
    from etn_gpu.structures.target_audit import TargetAudit
    from etn_gpu.structures.targets import Target

PROPERTIES = ("energy", "forces", "stress")
#: Two sources of one label that differ by less are the same: in eV/atom, eV/A, eV/A^3.
_SAME = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-4}


@dataclass
class Disagreement:
    """Of how many structures a second source of a label differs from the one taken, and by how much at most.

    The difference is in eV/atom, eV/A or eV/A^3.
    """

    n: int = 0
    largest: float = 0.0


@dataclass
class LabelledSet:
    """Structures with reference values, S in all.

    source: where they come from; atoms [S]; energy [S] in eV (total, not per atom), nan where missing; forces: (n, 3)
    in eV/A each, or None; stress [S, 6] in eV/A^3, Voigt xx, yy, zz, yz, xz, xy, nan rows where missing; config_type
    [S]; frames [S]: their numbers in the source, from 0; keys: for each property, how many structures had it under
    which key (as the file spells it, with the unit if it was another); n_stress_ignored: structures whose stress label
    was left out because they are not periodic in all three directions.

    What else there was: n_nan: for each property, in how many structures its label is NaN, or nothing; n_partly_nan:
    in how many the forces of some atoms only; unused: keys that look like labels and were not used, with structures;
    disagreements: by property, the key taken and another one; foreign_units and unstated_units: for each property, the
    structures whose label was in a stated other unit, and those whose label had none while others of the same structure
    had; unconverged: frames left out because the log of their calculation says so. parts: source and size of each set
    of which this one was joined (:mod:`etn_gpu.structures.joined`). target: labels of a dipole or a quantity of atoms,
    which were read instead of energies, forces and stresses; None where these were.
    """

    source: str
    atoms: list[Atoms]
    energy: NDArray[np.float64]
    forces: list[NDArray[np.float64] | None]
    stress: NDArray[np.float64]
    config_type: list[str | None]
    frames: list[int]
    keys: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in PROPERTIES})
    n_stress_ignored: int = 0
    n_nan: Counter[str] = field(default_factory=Counter)
    n_partly_nan: int = 0
    unused: Counter[str] = field(default_factory=Counter)
    disagreements: dict[tuple[str, str, str], Disagreement] = field(default_factory=dict)
    foreign_units: Counter[str] = field(default_factory=Counter)
    unstated_units: Counter[str] = field(default_factory=Counter)
    unconverged: tuple[int, ...] = ()
    parts: tuple[tuple[str, int], ...] = ()
    target: TargetLabels | None = None

    def where(self, index: int) -> str:
        """The source of a structure and its place in it, for messages."""
        for source, size in self.parts:
            if index < size:
                return f"{source}, structure {index} (counted from 0)"
            index -= size
        return f"{self.source}, structure {index} (counted from 0)"

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

    def audit(self, *, beside_model: bool = False) -> LabelAudit:
        """Counts and ranges per property and per element; warnings.

        ``beside_model``: signs and units are compared with a model elsewhere, and not told from the set alone.

        Raises:
            DataError: there is no energy and no force anywhere.
        """
        from etn_gpu.structures.audit import LabelAudit

        return LabelAudit.of(self, beside_model=beside_model)

    def target_audit(self) -> TargetAudit:
        """Counts and sizes of the labels of the target that was read; warnings.

        Raises:
            DataError: there is no label of it anywhere.
        """
        from etn_gpu.structures.target_audit import TargetAudit

        assert self.target is not None
        return TargetAudit.of(self, self.target)


def read_labelled(
    path: str | PathLike[str],
    index: int | str = ":",
    *,
    keys: LabelKeys | None = None,
    target: Target | None = None,
    broken: list[Frame] | None = None,
    before_frame: Callable[[], None] = lambda: None,
    format: str | None = None,
    species: Sequence[str] | None = None,
) -> LabelledSet:
    """Read all structures of a file with their labels; see `collect_labels` for where labels are looked for.

    Structures that VASP's log marks as not converged are left out and counted. `index`, `format` and `species` are
    those of :func:`read_structures`, `keys` and `target` those of :func:`collect_labels`. Frames that cannot be read
    are added to `broken`, where that is given and not all of them are. `before_frame` is called before each frame; what
    it raises ends the reading.

    Raises:
        DataError: the file or a frame of it cannot be read, or a label has the wrong shape or is infinite.
    """
    structures, frames, unconverged = [], [], []
    origin = LabelOrigin.of(Path(path))
    faults = []
    for frame in read_structures(path, index, format=format, species=species):
        before_frame()
        if frame.atoms is None:
            if broken is None:
                raise frame.error or DataError(f"{path}, frame {frame.index}: cannot be read.")
            faults.append(frame)
            continue
        if frame.index in origin.unconverged:
            unconverged.append(frame.index)
            continue
        structures.append(frame.atoms)
        frames.append(frame.index)
    if faults and not structures and not unconverged:
        # Nothing is known about the labels of frames that were not read: the reason is in the first of them.
        more = f" None of its {len(faults)} frames can be read." if len(faults) > 1 else ""
        raise DataError(f"{faults[0].error}{more}")
    if broken is not None:
        broken += faults
    return collect_labels(
        structures,
        source=str(Path(path)),
        frames=frames,
        keys=keys,
        target=target,
        origin=origin,
        unconverged=unconverged,
    )


def collect_labels(
    structures: Sequence[Atoms],
    source: str = "structures",
    frames: Sequence[int] | None = None,
    *,
    keys: LabelKeys | None = None,
    target: Target | None = None,
    origin: LabelOrigin | None = None,
    unconverged: Sequence[int] = (),
) -> LabelledSet:
    """The labels that the structures carry.

    Each property is taken from the first of these that the structure has, whatever the case of its key:
    info["REF_energy"], arrays["REF_forces"], info["REF_stress"]; the same without a prefix; with dft_ or DFT_; the
    results of an attached calculator that need no calculation (ASE's readers put labels into a SinglePointCalculator).
    `force` is as good as `forces`; a `virial` (or `virials`, in eV) gives the stress where there is none, as minus
    virial by volume; `free_energy` is the energy where there is no other. A stress or a virial may be 3x3, 9 or 6
    (Voigt) values; it is left out where a structure is not periodic in all three directions, because it is not defined
    there. Units that `info` states are converted (see `etn_gpu.structures.label_units`). NaN is a missing label.

    Args:
        structures: what carries the labels.
        source: the name of their source, for messages and the audit.
        frames: their frame numbers in the source, for messages; their places in the list by default.
        keys: keys to look for instead.
        target: a dipole or a quantity of atoms, to be read instead of energies, forces and stresses
            (:mod:`etn_gpu.structures.target_labels`).
        origin: the kind of file that they come from.
        unconverged: frames of it that are not among them because they did not converge.

    Raises:
        DataError: a label of the wrong shape, or infinite, or in a unit that is not known; the message names the
            source, the frame and the key. A key that was asked for and is nowhere. No structure that converged.
    """
    if unconverged and not structures:
        raise DataError(
            f"{source}: none of its {len(unconverged)} structures converged: the electronic loops ended without "
            "reaching EDIFF. Converge the calculations (NELM, ALGO, mixing) before labels are taken from them."
        )
    n = len(structures)
    labels = LabelledSet(
        source=source,
        atoms=list(structures),
        energy=np.full(n, np.nan),
        forces=[None] * n,
        stress=np.full((n, 6), np.nan),
        config_type=[None] * n,
        frames=list(range(n) if frames is None else frames),
        unconverged=tuple(unconverged),
        target=None if target is None else TargetLabels(target, [None] * n),
    )
    plans = KeyPlans(keys)
    shown = (origin or LabelOrigin()).shown
    reader = _LabelReader(labels, shown) if labels.target is None else TargetReader(labels.target, shown)
    for s, atoms in enumerate(structures):
        plan = plans(atoms)
        try:
            reader.read(s, atoms, plan)
        except DataError as error:
            raise DataError(f"{source}, frame {labels.frames[s]}: {error}") from None
        if plan.group is not None and (group := atoms.info[plan.group]) is not None:
            labels.config_type[s] = str(group)
    _check_wanted(labels, keys or LabelKeys(), plans)
    return labels


class _LabelReader:
    """Fills a labelled set, one structure after the other."""

    def __init__(self, labels: LabelledSet, shown: Callable[[Source], str]) -> None:
        self._labels = labels
        self._shown = cache(shown)

    def read(self, s: int, atoms: Atoms, plan: KeyPlan) -> None:
        """The labels of structure s.

        Raises:
            DataError: a label that is none; the message begins with its key.
        """
        labels = self._labels
        for name, sources in plan.sources.items():
            there = [source for source in sources if source.value(atoms) is not None]
            if not there:
                continue
            source = there[0]
            if name == "stress" and not _has_stress(source, atoms):
                labels.n_stress_ignored += 1
                continue
            value, unit = self._value(source, atoms, plan)
            if value is None:
                labels.n_nan[name] += 1
                labels.n_partly_nan += name == "forces" and not np.isnan(_numbers(source.value(atoms))).all()
                continue
            labels.keys[name][self._shown(source) + unit] += 1
            getattr(labels, name)[s] = value
            for other in there[1:]:
                self._compare(name, source, value, other, atoms, plan)
        for source in plan.unused:
            value = source.value(atoms)
            if value is not None and not _adds_up(value, labels.energy[s], atoms):
                labels.unused[self._shown(source)] += 1

    def _value(self, source: Source, atoms: Atoms, plan: KeyPlan) -> tuple[Any, str]:
        """A label, None if it is missing, and its unit in words if that is another one."""
        factor, text = 1.0, ""
        if plan.units:
            stated = label_unit(plan.units, source.quantity, source.key, atoms)
            name = target(source.quantity)
            if stated is None:
                self._labels.unstated_units[name] += 1
            elif stated[1] != 1.0:
                factor, text = stated[1], f" in {stated[0]}"
                self._labels.foreign_units[name] += 1
        try:
            return label_value(source.quantity, source.value(atoms), atoms, factor), text
        except DataError as error:
            raise DataError(f"{self._shown(source)} {error}") from None

    def _compare(self, name: str, source: Source, value: Any, other: Source, atoms: Atoms, plan: KeyPlan) -> None:
        """Notes a second source of a label that says something else; one that is no label is an unused key."""
        try:
            second, _ = self._value(other, atoms, plan) if _has_stress(other, atoms) else (None, "")
        except DataError:
            self._labels.unused[self._shown(other)] += 1
            return
        if second is None:
            return
        difference = float(np.abs(np.subtract(value, second)).max(initial=0.0))
        if name == "energy":
            difference /= max(1, len(atoms))
        if difference > _SAME[name]:
            pair = (name, self._shown(source), self._shown(other))
            found = self._labels.disagreements.setdefault(pair, Disagreement())
            found.n += 1
            found.largest = max(found.largest, difference)


def _has_stress(source: Source, atoms: Atoms) -> bool:
    """Whether the structure has what the source tells of: a stress only if it is periodic, and a volume for virials."""
    if target(source.quantity) != "stress":
        return True
    return bool(atoms.pbc.all()) and (source.quantity == "stress" or atoms.cell.volume > 0)


def _numbers(value: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array(np.nan)


def _adds_up(value: Any, energy: float, atoms: Atoms) -> bool:
    """Whether a value is the energies of the atoms, which say no more than the energy that was used."""
    if np.isnan(energy) or (numbers := _numbers(value)).shape != (len(atoms),):
        return False
    return bool(abs(numbers.sum() - energy) < _SAME["energy"] * len(atoms))


def _check_wanted(labels: LabelledSet, keys: LabelKeys, plans: KeyPlans) -> None:
    for quantity, key in keys.given().items():
        sources = (source for plan in plans.plans for source in plan.sources[target(quantity)])
        if len(labels) and not any(source.quantity == quantity for source in sources):
            raise DataError(
                f"{labels.source}: the key {key!r}, asked for as {quantity}, is in none of {len(labels)} structures. "
                f"There are {keys_there(labels.atoms)}."
            )
