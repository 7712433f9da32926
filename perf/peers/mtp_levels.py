"""Moment tensor potentials of a lower level, cut out of the tables of one of a higher level.

The level of a moment M_{mu,nu} is 2 + 4 mu + nu, and that of a contraction the sum of the levels of its factors; an MTP
of level L has as basis all scalar contractions up to level L (A. V. Shapeev, Multiscale Model. Simul. 14, 1153
(2016)). So the tables of level 20 hold those of every lower level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]


class MomentTables(NamedTuple):
    """Tables of the MLIP file format.

    ``basic`` [n, 4]: mu and the powers of x, y, z of each basic moment, the first n moments; ``times`` [k, 4]: factors
    i and j, multiplicity and result of each product; ``scalars``: the moments that are basis functions.
    """

    basic: IntArray
    times: IntArray
    scalars: IntArray

    @property
    def n_moments(self) -> int:
        """Number of moments, basic ones and products."""
        return int(max(len(self.basic), *(self.times[:, 3] + 1), *(self.scalars + 1)))

    @property
    def n_radial(self) -> int:
        """Number of radial functions mu."""
        return int(self.basic[:, 0].max()) + 1

    def levels(self) -> IntArray:
        """The level of each moment [n_moments]."""
        levels = np.zeros(self.n_moments, np.int32)
        levels[: len(self.basic)] = 2 + 4 * self.basic[:, 0] + self.basic[:, 1:].sum(axis=1)
        for i, j, _, k in self.times:
            levels[k] = levels[i] + levels[j]
        return levels

    def up_to(self, level: int) -> MomentTables:
        """The tables of ``level``: its basis functions, whatever they are made of, and nothing else.

        Raises:
            ValueError: a level of which these tables do not hold the whole basis.
        """
        levels = self.levels()
        highest = int(levels[self.scalars].max())
        if not 2 <= level <= highest:
            raise ValueError(f"level {level} cannot be cut out of tables of level {highest}")
        scalars = [k for k in self.scalars if levels[k] <= level]
        needed = set(scalars)
        for i, j, _, k in self.times[::-1]:
            if k in needed:
                needed |= {i, j}
        new = {k: index for index, k in enumerate(sorted(needed))}
        times = [(new[i], new[j], multiplicity, new[k]) for i, j, multiplicity, k in self.times if k in needed]
        return MomentTables(
            np.array([row for k, row in enumerate(self.basic) if k in needed], np.int32),
            np.array(times, np.int32).reshape(-1, 4),
            np.array([new[k] for k in scalars], np.int32),
        )
