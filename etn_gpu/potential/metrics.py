"""Errors of predicted energies, forces and stresses, accumulated structure by structure.

Conventions, the same wherever etn_gpu reports an error:

* energy: the error of the total energy divided by the number of atoms, one value a structure [eV/atom];
* forces: one value a Cartesian component of each atom, so a structure of n atoms counts 3 n times [eV/A];
* stress: one value for each of the six Voigt components xx, yy, zz, yz, xz, xy, each counted once [eV/A^3].

A label that is missing (None, or NaN) is left out of the average and of the count. A *prediction* that is NaN is not:
it turns the average into NaN, because an error that cannot be computed must never look like a small one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ErrorSum", "GroupedMetrics", "Metrics"]


class ErrorSum:
    """Running mean absolute error and root mean square error of one quantity."""

    def __init__(self) -> None:
        self.count = 0
        self._absolute = 0.0
        self._squared = 0.0

    def add(self, predicted: ArrayLike, reference: ArrayLike) -> None:
        """Adds arrays of equal shape; components whose reference is NaN do not count.

        Raises:
            ValueError: the shapes differ.
        """
        prediction = np.asarray(predicted, dtype=np.float64)
        label = np.asarray(reference, dtype=np.float64)
        if prediction.shape != label.shape:
            raise ValueError(
                f"a prediction of shape {prediction.shape} cannot be compared with a label of shape {label.shape}"
            )
        difference = (prediction - label)[~np.isnan(label)]
        self.count += difference.size
        self._absolute += float(np.abs(difference).sum())
        self._squared += float(np.square(difference).sum())

    @property
    def mae(self) -> float | None:
        """Mean absolute error, None while nothing was added."""
        return self._absolute / self.count if self.count else None

    @property
    def rmse(self) -> float | None:
        """Root mean square error, None while nothing was added."""
        return math.sqrt(self._squared / self.count) if self.count else None

    def as_dict(self) -> dict[str, float | int | None]:
        """`mae`, `rmse` and `count` (the number of values averaged)."""
        return {"mae": self.mae, "rmse": self.rmse, "count": self.count}


class Metrics:
    """Errors of energy per atom, forces and stress over a set of structures."""

    def __init__(self) -> None:
        self.energy = ErrorSum()
        self.forces = ErrorSum()
        self.stress = ErrorSum()
        self.n_structures = 0
        self.n_atoms = 0

    def add(
        self,
        predicted: Mapping[str, Any],
        *,
        n_atoms: int,
        energy: float | None = None,
        forces: NDArray[np.float64] | None = None,
        stress: NDArray[np.float64] | None = None,
    ) -> None:
        """Adds one structure.

        Args:
            predicted: the model's results under ASE's names: "energy" [eV], "forces" (n, 3) [eV/A], "stress" (6,)
                [eV/A^3]. A quantity that is absent (the stress of a cluster) is not compared.
            n_atoms: number of atoms n of the structure.
            energy: the label of the total energy [eV]; None or NaN when there is none.
            forces: the labels of the forces (n, 3) [eV/A]; None when there are none.
            stress: the label of the stress (6,), Voigt [eV/A^3]; None or NaN when there is none.

        Raises:
            ValueError: a prediction and its label have different shapes.
        """
        self.n_structures += 1
        self.n_atoms += n_atoms
        if energy is not None and "energy" in predicted:
            self.energy.add(predicted["energy"] / n_atoms, energy / n_atoms)
        if forces is not None and "forces" in predicted:
            self.forces.add(predicted["forces"], forces)
        if stress is not None and "stress" in predicted:
            self.stress.add(predicted["stress"], stress)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain data: `energy`, `forces`, `stress` (each `mae`, `rmse`, `count`), `n_structures`, `n_atoms`."""
        return {
            "energy": self.energy.as_dict(),
            "forces": self.forces.as_dict(),
            "stress": self.stress.as_dict(),
            "n_structures": self.n_structures,
            "n_atoms": self.n_atoms,
        }


class GroupedMetrics:
    """:class:`Metrics` over all structures and, beside it, over each named group (`config_type` in most data sets)."""

    def __init__(self) -> None:
        self.total = Metrics()
        self.groups: dict[str, Metrics] = {}

    def add(self, group: str | None, predicted: Mapping[str, Any], **labels: Any) -> None:
        """Adds one structure to the total and, unless `group` is None, to its group; `labels` as in
        :meth:`Metrics.add`."""
        self.total.add(predicted, **labels)
        if group is not None:
            self.groups.setdefault(group, Metrics()).add(predicted, **labels)

    def as_dict(self) -> dict[str, Any]:
        """The total's numbers plus `groups`: the same for each group, in the order of first appearance."""
        return self.total.as_dict() | {"groups": {name: metrics.as_dict() for name, metrics in self.groups.items()}}
