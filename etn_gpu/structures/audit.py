"""What labels a set of structures carries: counts, ranges and anything that looks wrong, before training trusts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.consistency import consistency_warnings
from etn_gpu.structures.copies import copy_warnings
from etn_gpu.structures.label_keys import PREFIXES, keys_there
from etn_gpu.structures.label_warnings import reading_warnings
from etn_gpu.structures.outliers import outlier_warnings, outlying_energies
from etn_gpu.structures.units import GPA

if TYPE_CHECKING:
    from etn_gpu.structures.labels import LabelledSet

#: No solid is computed at such a stress, in eV/A^3 (480 GPa): the numbers are in GPa or kbar.
_LARGEST_STRESS = 480 * GPA


@dataclass(frozen=True)
class PropertyAudit:
    """One property: in how many structures, under which keys (with counts), and the range of its values.

    keys are spelled as in the file; n_nan: structures where the label is NaN or empty, which counts as missing. The
    values are energies per atom in eV, force components in eV/A or stress components in eV/A^3; nan when the property
    is nowhere.
    """

    name: str
    unit: str
    n_structures: int
    keys: dict[str, int]
    minimum: float
    maximum: float
    rms: float
    n_nan: int = 0


@dataclass(frozen=True)
class ElementAudit:
    """One element: structures and atoms, those atoms with forces, root mean square component and largest force."""

    symbol: str
    n_structures: int
    n_atoms: int
    n_forces: int
    force_rms: float
    force_maximum: float


@dataclass(frozen=True)
class LabelAudit:
    """The audit of a labelled set; `str(audit)` is a plain-text table."""

    source: str
    n_structures: int
    n_atoms: int
    smallest: int
    largest: int
    energy: PropertyAudit
    forces: PropertyAudit
    stress: PropertyAudit
    elements: tuple[ElementAudit, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, labels: LabelledSet, *, beside_model: bool = False) -> LabelAudit:
        """Audit the labels; see :meth:`LabelledSet.audit`.

        Raises:
            DataError: the set is empty, or has no energy and no forces anywhere.
        """
        sizes = np.array([len(atoms) for atoms in labels.atoms], dtype=np.int64)
        if len(sizes) == 0:
            raise DataError(f"{labels.source}: no structures; expected at least one with an energy or forces.")
        forces = [f for f in labels.forces if f is not None]
        if np.isnan(labels.energy).all() and not forces:
            raise DataError(_nothing_found(labels))
        with np.errstate(invalid="ignore", divide="ignore"):
            per_atom = labels.energy / sizes
        stacked = np.concatenate([*forces, np.empty((0, 3))])
        return cls(
            source=labels.source,
            n_structures=len(sizes),
            n_atoms=int(sizes.sum()),
            smallest=int(sizes.min()),
            largest=int(sizes.max()),
            energy=_property(labels, "energy", "eV/atom", per_atom[np.isfinite(per_atom)]),
            forces=_property(labels, "forces", "eV/A", stacked),
            stress=_property(labels, "stress", "eV/A^3", labels.stress[~np.isnan(labels.stress)]),
            elements=_elements(labels),
            warnings=tuple(_warnings(labels, beside_model)),
        )

    def __str__(self) -> str:
        size = f"{self.smallest}" if self.smallest == self.largest else f"{self.smallest} to {self.largest}"
        lines = [f"{self.source}: {self.n_structures} structures, {self.n_atoms} atoms ({size} each)"]
        rows: list[tuple[str, ...]] = [
            ("property", "structures", "missing", "minimum", "maximum", "rms", "unit", "found as")
        ]
        for p in (self.energy, self.forces, self.stress):
            found = ", ".join(f"{key} ({count})" for key, count in p.keys.items()) or "nowhere"
            missing = str(self.n_structures - p.n_structures) + (f" ({p.n_nan} NaN)" if p.n_nan else "")
            rows.append((p.name, str(p.n_structures), missing, *numbers(p.minimum, p.maximum, p.rms), p.unit, found))
        lines += table(rows)
        rows = [("element", "structures", "atoms", "with forces", "force rms", "force maximum")]
        for e in self.elements:
            counts = (str(e.n_structures), str(e.n_atoms), str(e.n_forces))
            rows.append((e.symbol, *counts, *numbers(e.force_rms, e.force_maximum)))
        lines += table(rows)
        lines += [f"  warning: {text}" for text in self.warnings]
        return "\n".join(lines)


def _property(labels: LabelledSet, name: str, unit: str, values: NDArray[np.float64]) -> PropertyAudit:
    keys, n_nan = dict(labels.keys[name]), labels.n_nan[name]
    if values.size == 0:
        return PropertyAudit(name, unit, sum(keys.values()), keys, np.nan, np.nan, np.nan, n_nan)
    rms = float(np.sqrt(np.mean(values**2)))
    return PropertyAudit(name, unit, sum(keys.values()), keys, float(values.min()), float(values.max()), rms, n_nan)


def _elements(labels: LabelledSet) -> tuple[ElementAudit, ...]:
    from ase.data import chemical_symbols

    n_numbers = len(chemical_symbols)
    n_structures, n_atoms, n_forces = (np.zeros(n_numbers, dtype=np.int64) for _ in range(3))
    squares, largest = np.zeros(n_numbers), np.zeros(n_numbers)
    for atoms, forces in zip(labels.atoms, labels.forces, strict=True):
        count = np.bincount(atoms.numbers, minlength=n_numbers)
        n_atoms += count
        n_structures += count > 0
        if forces is not None:
            lengths = np.einsum("nx,nx->n", forces, forces)
            n_forces += count
            squares += np.bincount(atoms.numbers, weights=lengths, minlength=n_numbers)
            np.maximum.at(largest, atoms.numbers, lengths)
    with np.errstate(invalid="ignore", divide="ignore"):
        rms = np.sqrt(squares / (3 * n_forces))
    largest = np.where(n_forces > 0, np.sqrt(largest), np.nan)
    return tuple(
        ElementAudit(
            chemical_symbols[z],
            int(n_structures[z]),
            int(n_atoms[z]),
            int(n_forces[z]),
            float(rms[z]),
            float(largest[z]),
        )
        for z in np.flatnonzero(n_atoms)
    )


def _warnings(labels: LabelledSet, beside_model: bool) -> list[str]:
    found = reading_warnings(labels)
    for name, keys in labels.keys.items():
        if len(keys) > 1:
            found.append(f"{name} comes from different keys ({', '.join(keys)}): are they the same reference?")
    zero = sum(f is not None and len(f) > 1 and not f.any() for f in labels.forces)
    if zero:
        found.append(f"all forces are exactly zero in {zero} structures: right for perfect crystals only.")
    if zero_energy := int((labels.energy == 0).sum()):
        found.append(f"the energy is exactly zero in {zero_energy} structures: is it a missing label?")
    if labels.n_stress_ignored:
        found.append(f"stress ignored in {labels.n_stress_ignored} structures not periodic in all three directions.")
    outliers = outlying_energies(labels)
    consistent, of_unit = ([], False) if beside_model else consistency_warnings(labels, without=outliers)
    known = ~np.isnan(labels.stress[:, 0])
    largest = np.abs(labels.stress[known]).max() if known.any() else 0.0
    if largest > _LARGEST_STRESS and not of_unit:
        found.append(f"a stress of {largest:.3g} eV/A^3 is {largest / GPA:.3g} GPa: are the labels in GPa or kbar?")
    return found + consistent + outlier_warnings(outliers) + copy_warnings(labels)


def _nothing_found(labels: LabelledSet) -> str:
    expected = ", ".join(f"{prefix}energy/{prefix}forces" for prefix in PREFIXES)
    nan = "; all that is there is NaN" if labels.n_nan["energy"] + labels.n_nan["forces"] else ""
    return (
        f"{labels.source}: no energy and no forces in any of {len(labels)} structures{nan}. Looked for {expected} in "
        f"upper and lower case and the results of a calculator; found {keys_there(labels.atoms)}. Name the keys with "
        "--energy-key and --forces-key, rename the labels, or attach them."
    )


def numbers(*values: float) -> tuple[str, ...]:
    """Cells of a table; a dash for nan."""
    return tuple("-" if np.isnan(value) else f"{value:.4g}" for value in values)


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines with columns as wide as they need to be."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]
