"""What labels of a target a set of structures carries: counts, ranges and anything that looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.structures.audit import numbers, table
from etn_gpu.structures.copies import copy_warnings
from etn_gpu.structures.label_warnings import reading_warnings
from etn_gpu.structures.target_labels import TargetLabels, nothing_found
from etn_gpu.structures.targets import Quantity

if TYPE_CHECKING:
    from etn_gpu.structures.labels import LabelledSet


@dataclass(frozen=True)
class TargetAudit:
    """The audit of the labels of a target; `str(audit)` is a plain-text table.

    n_labelled: structures with a label; n_values: dipoles, or atoms with a label; keys: where they were found, with
    counts; smallest, largest, rms: of the absolute values of numbers, of the lengths of vectors.
    """

    source: str
    n_structures: int
    n_atoms: int
    quantity: Quantity
    n_labelled: int
    n_values: int
    keys: dict[str, int]
    smallest: float
    largest: float
    rms: float
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, labels: LabelledSet, target: TargetLabels) -> TargetAudit:
        """Audit the labels; see :meth:`LabelledSet.audit`.

        Raises:
            DataError: there is no label anywhere.
        """
        if not target.width:
            raise nothing_found(target, labels.source, labels.atoms)
        sizes = np.linalg.norm(np.concatenate(target.known), axis=1)
        return cls(
            source=labels.source,
            n_structures=len(labels),
            n_atoms=sum(map(len, labels.atoms)),
            quantity=target.quantity,
            n_labelled=len(target.known),
            n_values=len(sizes),
            keys=dict(target.keys),
            smallest=float(sizes.min()),
            largest=float(sizes.max()),
            rms=float(np.sqrt(np.mean(sizes**2))),
            warnings=tuple(_warnings(labels, target)),
        )

    def __str__(self) -> str:
        of = "atoms" if self.quantity.per_atom else "structures"
        size = "length" if self.quantity.is_vector else "size"
        found = ", ".join(f"{key} ({count})" for key, count in self.keys.items())
        missing = (self.n_atoms if self.quantity.per_atom else self.n_structures) - self.n_values
        rows = [
            ("target", "structures", of, "missing", f"smallest {size}", "largest", "rms", "unit", "found as"),
            (
                self.quantity.name, str(self.n_labelled), str(self.n_values), str(missing),
                *numbers(self.smallest, self.largest, self.rms), self.quantity.unit or "-", found,
            ),
        ]  # fmt: skip
        head = f"{self.source}: {self.n_structures} structures, {self.n_atoms} atoms"
        return "\n".join([head, *table(rows), *(f"  warning: {text}" for text in self.warnings)])


def _warnings(labels: LabelledSet, target: TargetLabels) -> list[str]:
    found = reading_warnings(labels)
    name = target.target.name
    if target.n_nan:
        found.append(f"{name} NaN or empty in {_structures(target.n_nan)}: left out as missing.")
    if target.n_partly_nan:
        found.append(f"{name} NaN for some atoms of {_structures(target.n_partly_nan)}: these atoms are left out.")
    for (used, other), count in target.n_disagreeing.items():
        found.append(f"{used} was taken as the {name}; {other} is there as well and differs in {_structures(count)}.")
    if len(target.keys) > 1:
        found.append(f"{name} comes from different keys ({', '.join(target.keys)}): are they the same reference?")
    known = np.concatenate(target.known)
    if not known.any():
        found.append(f"{name} is exactly zero everywhere: is it a missing label?")
    return found + copy_warnings(labels)


def _structures(count: int) -> str:
    return "1 structure" if count == 1 else f"{count} structures"
