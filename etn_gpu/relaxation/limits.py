"""When a relaxation has left everything that it could sensibly come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import RelaxationError
from etn_gpu.structures.units import GPA

if TYPE_CHECKING:
    from etn_gpu.relaxation.flight import Measured

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Bounds, both ends included; a structure beyond one of them leaves as 'exploded', with the bound and its number.

    Args:
        volume: over that of the start, of structures that are periodic in all three directions.
        energy: change since the start, in eV/atom; with a pressure, of the enthalpy.
        pressure: in GPa, of structures that are periodic in all three directions.
        distance: least distance of two atoms in A.
        thin: whether a crystal may end with all of its atoms in surroundings thinner than any the potential was
            trained on, where its terms beside the network know that (False: it has 'exploded').

    Crystals that are started at 0.8 and at 1.3 times their lengths change their volume by factors of 1.95 and 0.45;
    those that potentials without terms beside the network let fly apart, from 1.2 times their lengths on, by 2.5 to 3.

    Raises:
        RelaxationError: bounds that are none.
    """

    volume: tuple[float, float] = (0.2, 2.4)
    energy: tuple[float, float] = (-100.0, 20.0)
    pressure: tuple[float, float] = (-1000.0, 10_000.0)
    distance: float = 0.5
    thin: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if field.name in ("distance", "thin"):
                continue
            try:
                low, high = value
                good = not isnan(low) and low < high
            except (TypeError, ValueError):
                good = False
            if not good:
                raise RelaxationError(f"limits: {field.name} = {value!r}: expected two numbers, the lower one first")
        low, high = self.volume
        if not 0.0 <= low < 1.0 < high:
            raise RelaxationError(f"limits: volume = {self.volume!r}: expected bounds around 1, that of the start")
        if not self.energy[0] < 0.0 < self.energy[1]:
            raise RelaxationError(f"limits: energy = {self.energy!r}: expected bounds around 0, that of the start")
        if not isinstance(self.distance, int | float | np.number) or not 0.0 <= self.distance < np.inf:
            raise RelaxationError(f"limits: distance = {self.distance!r}: expected a number of Angstrom, 0 or more")

    def broken(
        self, now: Measured, energy: Array, volume: Array, sizes: NDArray[np.int64]
    ) -> Iterator[tuple[int, str]]:
        """Structures beyond a bound, by their index, and which bound; ``energy`` and ``volume`` [S] of the start."""
        ratio = now.volumes / volume
        # NaN, of structures that have no volume or could not be evaluated, is within all bounds
        for s in np.flatnonzero((ratio < self.volume[0]) | (ratio > self.volume[1])):
            word, bound = ("collapsed", self.volume[0]) if ratio[s] < 1.0 else ("expanded", self.volume[1])
            yield int(s), f"{word}: its volume is {ratio[s]:.3g} of that of the start, the bound is {bound:g}"
        for s in np.flatnonzero(now.nearest < self.distance):
            yield (
                int(s),
                f"collapsed: two atoms are {now.nearest[s]:.3g} A apart, the bound on the distance is "
                f"{self.distance:g} A",
            )
        change = (now.enthalpies - energy) / sizes
        for s in np.flatnonzero((change < self.energy[0]) | (change > self.energy[1])):
            word, bound = ("fell", self.energy[0]) if change[s] < 0.0 else ("rose", self.energy[1])
            yield int(s), f"its energy {word} by {abs(change[s]):.3g} eV/atom, the bound is {abs(bound):g}"
        pressure = now.pressures / GPA
        for s in np.flatnonzero((pressure < self.pressure[0]) | (pressure > self.pressure[1])):
            bound = self.pressure[0] if pressure[s] < self.pressure[0] else self.pressure[1]
            yield int(s), f"its pressure is {pressure[s]:.4g} GPa, the bound is {bound:g} GPa"
