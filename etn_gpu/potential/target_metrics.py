"""Errors of a predicted dipole, or of a quantity of atoms, accumulated structure by structure.

* ``target``: one value a Cartesian component: three for a dipole, n or 3 n for the atoms of a structure;
* ``target_length``: of vectors, one value each: the predicted length minus that of the label.

Both are in the unit of the quantity. A label that is missing is left out, a prediction that is NaN is not, as in
:mod:`etn_gpu.potential.metrics`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from etn_gpu.potential.metrics import ErrorSum
from etn_gpu.structures.targets import Quantity


class TargetMetrics:
    """Errors of one quantity over a set of structures, and over each named group of them."""

    def __init__(self, quantity: Quantity) -> None:
        self.quantity = quantity
        self.target, self.target_length = ErrorSum(), ErrorSum()
        self.n_structures = self.n_atoms = 0
        self.groups: dict[str, TargetMetrics] = {}

    def add(self, group: str | None, predicted: ArrayLike, label: ArrayLike | None, n_atoms: int) -> None:
        """Adds one structure; None where it has no label.

        Raises:
            ValueError: prediction and label have different shapes.
        """
        self.n_structures += 1
        self.n_atoms += n_atoms
        if label is not None:
            self.target.add(predicted, label)
            if self.quantity.is_vector:
                self.target_length.add(*(np.linalg.norm(np.asarray(v, float), axis=-1) for v in (predicted, label)))
        if group is not None:
            self.groups.setdefault(group, TargetMetrics(self.quantity)).add(None, predicted, label, n_atoms)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain data: the quantity, its errors (``mae``, ``rmse``, ``count``), and the same for each group."""
        return {"quantity": self.quantity.to_dict(), **self._numbers()} | {
            "groups": {name: group._numbers() for name, group in self.groups.items()}
        }

    def _numbers(self) -> dict[str, Any]:
        return {
            "target": self.target.as_dict(),
            "target_length": self.target_length.as_dict() if self.quantity.is_vector else None,
            "n_structures": self.n_structures,
            "n_atoms": self.n_atoms,
        }
