"""Functions of the distance in NEP potentials, and how their coefficients are laid out.

They lie as: the repulsion, if there is one, the radial functions, the angular ones; where both have the same cutoff the
fewer are among the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from etn_gpu.interop.nep_file import NepFile
from etn_gpu.interop.nep_repulsion import fixed_radii, pair_numbers, potential, reach
from etn_gpu.plan.formula import Formula, Number
from etn_gpu.plan.operations import Functions

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Radial:
    """What the functions need beside the distance.

    ``radial`` and ``angular`` count basis functions. A cutoff in A is None where it depends on the pair of species; its
    inverse then stands first among the ``pairs`` [species, species, numbers].
    """

    radial: int
    angular: int
    radial_cutoff: float | None
    angular_cutoff: float | None
    repulsion: bool
    flexible: bool
    #: Radii of the repulsion where they are no pair numbers.
    radii: tuple[float, float] | None
    #: Where the repulsion ends though it is not zero.
    end: float | None
    same: bool
    pairs: Array

    @staticmethod
    def of(file: NepFile, chosen: NDArray[np.int64]) -> Radial:
        """What belongs to the species ``chosen`` of a file."""
        numbers, cutoffs = [], []
        tables = [(c[chosen][:, None] + c[chosen]) / 2.0 for c in (file.radial_cutoffs, file.angular_cutoffs)]
        same = bool(np.all(tables[0] == tables[1]))
        for number, table in enumerate(tables):
            constant = bool(np.all(table == table[0, 0]))
            cutoffs.append(float(table[0, 0]) if constant else None)
            if not constant and not (number and same):
                numbers.append(1.0 / table[..., None])
        repulsion, end = file.repulsion, None
        if repulsion is not None:
            numbers.append(pair_numbers(file, chosen))
            last = float(file.angular_cutoffs.max())
            end = last if reach(file, chosen) > last else None
        n = len(chosen)
        return Radial(
            file.radial.shape[1], file.angular.shape[1], cutoffs[0], cutoffs[1], repulsion is not None,
            repulsion is not None and repulsion.pairs is not None, fixed_radii(repulsion) if repulsion else None, end,
            same,
            np.concatenate([np.empty((n, n, 0)), *numbers], axis=-1),
        )  # fmt: skip

    @property
    def n_alone(self) -> int:
        """Functions that are summed without harmonics: the repulsion, if there is one, and the radial functions."""
        return self.repulsion + self.radial

    @property
    def first_angular(self) -> int:
        """Place of the first angular function."""
        return int(self.repulsion) if self.same else self.n_alone

    def functions(self) -> Functions:
        """The functions of r^2: V, then the radial and the angular ones."""
        formula = Formula()
        r = formula.variable**0.5
        first = 0
        bases = [(self.radial_cutoff, self.radial), (self.angular_cutoff, self.angular)]
        if self.same:
            bases = [(self.radial_cutoff, max(self.radial, self.angular))]
        found = []
        for cutoff, count in bases:
            found += _basis(r * (formula.parameter(first) if cutoff is None else 1.0 / cutoff), count)
            first += cutoff is None
        if self.repulsion:
            found.insert(0, potential(formula, r, first, self.radii, self.flexible, self.end))
        return formula.functions(found)

    def weights(self, coefficients: Array, chosen: NDArray[np.int64], alone: bool) -> Array:
        """Coefficients [n, k, species, species] of (T_k + 1)/2 as those of T_k, [centre, n, neighbour, k].

        ``alone``: with the repulsion as one more function, and one more sum that is half of it.
        """
        c = coefficients[:, :, chosen][..., chosen].transpose(2, 0, 3, 1)
        folded = 0.5 * c
        folded[..., 0] = c[..., 0] + folded[..., 1:].sum(axis=-1)
        if not (alone and self.repulsion):
            return folded
        species, n, _, k = folded.shape
        table = np.zeros((species, n + 1, species, k + 1))
        table[:, :n, :, 1:] = folded
        table[:, n, :, 0] = 0.5
        return table


def _basis(x: Number, count: int) -> list[Number]:
    """T_k(2 (x - 1)^2 - 1) (1 + cos(pi x))/2 below x = 1, k = 0 .. count - 1.

    The recursion of T_k starts from the cutoff function instead of 1, so that nothing is left to multiply.
    """
    x = x.below(1.0, x, 1.0)
    t = 2.0 * (x - 1.0) ** 2 - 1.0
    cutoff = 0.5 * (pi * x).cos() + 0.5
    found = [cutoff, t * cutoff]
    while len(found) < count:
        found.append(2.0 * t * found[-1] - found[-2])
    return found[:count]
