"""The convex hull of a run: of the elements, of phases that are known, and of the structures of the run itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from etn_gpu.screening.composition import reduced_composition
from etn_gpu.screening.enthalpies import ABOVE_HULL, PER_ATOM
from etn_gpu.screening.hull import EnergyHull, on_or_above

__all__ = ["RunHull"]

_Composition = tuple[tuple[str, int], ...]


class RunHull:
    """Sees all structures once, and knows then how far each is above the hull.

    Only structures with the status "ok" can be phases of the hull: one wrong energy far too low would put all others
    far above it.

    Args:
        references: energies of the elements in eV per atom.
        known: further phases, their formulas in Hill order and their energies in eV per atom.
        of_run: whether structures of the run are phases. Without, those below the hull of known phases are negative.
        enthalpies: whether all these energies are enthalpies.

    Attributes:
        compared: the column of what is seen.
        result: the column of what is above the hull.
    """

    def __init__(
        self,
        references: Mapping[str, float],
        known: Iterable[tuple[str, float]] = (),
        *,
        of_run: bool = True,
        enthalpies: bool = False,
    ) -> None:
        self.compared, self.result = (PER_ATOM, ABOVE_HULL) if enthalpies else ("energy_per_atom", "energy_above_hull")
        self._of_run = of_run
        self._lowest: dict[_Composition, float] = {((symbol, 1),): energy for symbol, energy in references.items()}
        for formula, energy in known:
            self._add(reduced_composition(formula), energy)
        self._seen: dict[_Composition, float] = {}
        self._hull: EnergyHull | None = None

    def see(self, formulas: Iterable[str], energies: Iterable[float], ok: Iterable[bool]) -> None:
        """Structures of the run: formulas in Hill order, energies in eV per atom, whether their status is ok."""
        for formula, energy, is_ok in zip(formulas, energies, ok, strict=True):
            found = reduced_composition(formula)
            self._seen[found] = np.nan
            if is_ok and self._of_run:
                self._add(found, energy)

    def _add(self, found: _Composition, energy: float) -> None:
        self._lowest[found] = min(self._lowest.get(found, np.inf), energy)

    @property
    def hull(self) -> EnergyHull:
        """The hull of all phases so far."""
        if self._hull is None:
            self._hull = EnergyHull.of_formulas([(dict(counts), energy) for counts, energy in self._lowest.items()])
            index = {symbol: place for place, symbol in enumerate(self._hull.elements)}
            # What holds another element is over no mixture of the phases.
            over = [found for found in self._seen if all(symbol in index for symbol, _ in found)]
            counts = np.zeros((len(over), len(index)))
            for row, found in zip(counts, over, strict=True):
                for symbol, count in found:
                    row[index[symbol]] = count
            self._seen |= zip(over, self._hull.energies(counts).tolist(), strict=True)
        return self._hull

    def above(self, formulas: Sequence[str], energies: Sequence[float]) -> list[float | None]:
        """How far structures that were seen are above the hull in eV per atom; None where there is none.

        Call it when all have been seen.
        """
        _ = self.hull
        hull = np.array([self._seen[reduced_composition(formula)] for formula in formulas])
        above = on_or_above(np.array(energies, np.float64) - hull)
        return [None if missing else value for missing, value in zip(np.isnan(hull), above.tolist(), strict=True)]
