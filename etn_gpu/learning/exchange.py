"""Elements that stand for each other: other compositions and arrangements on the lattices of the given structures.

What a student never saw it cannot know, and a grade need not tell: where no given alloy was of molybdenum and tungsten
alone, the energy of one was off by 45 meV/atom with a grade below 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from etn_gpu.errors import LearningError
from etn_gpu.learning.bare import OF_ELEMENTS, bare, has_charge_or_spin
from etn_gpu.learning.spacing import DRAWS, Pairs, Spacing

__all__ = ["EXCHANGED", "Exchange", "check_groups", "element_sizes"]

#: Share of the made structures in which elements are exchanged; in the others they stay where they were.
EXCHANGED = 2 / 3
#: Lengths of structures differ from what their compositions say by about this share, and sizes of elements from
#: covalent radii by that one.
NOISE, BEYOND_RADII = 0.02, 0.2
#: Structures with lengths that are off by more than this share count less and less: slabs in a vacuum, other lattices.
OUTLYING = 0.1
#: The cube root of the volume of an atom over the mean covalent radius is 1.8 in close-packed crystals, 2.3 in diamond,
#: 2.9 in quartz; where it is larger, it is the size of a box of molecules and not of its atoms.
EMPTY = 3.0


class Exchange:
    """Exchanges elements of structures.

    Args:
        groups: chemical symbols of elements that may stand for each other, an element in one group at most.
        given: structures that have all of these elements, from which their sizes and initial moments are taken.
        keep_compositions: elements only change places.
    """

    def __init__(
        self, groups: Sequence[Sequence[str]], given: Sequence[Atoms], *, keep_compositions: bool = False
    ) -> None:
        self._groups = [np.array([atomic_numbers[symbol] for symbol in group]) for group in groups]
        self._keep = keep_compositions
        self._sizes = element_sizes(given)
        self._numbers = np.concatenate([atoms.numbers for atoms in given])
        self._moments = {name: np.concatenate([_values(atoms, name) for atoms in given]) for name in OF_ELEMENTS}

    def exchanged(self, atoms: Atoms, rng: np.random.Generator) -> Atoms:
        """The structure with other elements on the places of each group; bare.

        How many elements of a group there will be is drawn with chances that grow with the number, then which, then
        their shares, all alike likely (Dirichlet), then who is where. All lengths follow the composition
        (:func:`element_sizes`). Where compositions are kept, and in structures with a total charge or unpaired spins,
        which belong to a composition, elements change places within their group and nothing else happens.

        Initial moments and charges are those of atoms of the same element. Where no draw keeps atoms apart, the
        structure stays as it is.

        Raises:
            StructureError: a structure that cannot be evaluated.
        """
        spacing = Spacing(Pairs(atoms))
        start = bare(atoms)
        for _ in range(DRAWS):
            shuffle = self._keep or has_charge_or_spin(start)
            made = self._shuffled(start, rng) if shuffle else self._substituted(start, rng)
            if spacing.kept_by(Pairs(made)):
                return bare(made)
        return start

    def _shuffled(self, start: Atoms, rng: np.random.Generator) -> Atoms:
        order = np.arange(len(start))
        for group in self._groups:
            sites = np.flatnonzero(np.isin(start.numbers, group))
            order[sites] = rng.permutation(sites)
        made = start.copy()
        for name in ("numbers", *OF_ELEMENTS):
            if made.has(name):
                made.arrays[name] = made.arrays[name][order]
        return made

    def _substituted(self, start: Atoms, rng: np.random.Generator) -> Atoms:
        made = start.copy()
        for group in self._groups:
            sites = np.flatnonzero(np.isin(start.numbers, group))
            made.numbers[sites] = rng.choice(group, len(sites), p=_shares(len(group), rng))
        for name in OF_ELEMENTS:
            made.set_array(name, self._moments_of(name, start, made.numbers, rng))
        scale = self._sizes[made.numbers].mean() / self._sizes[start.numbers].mean()
        made.set_cell(start.cell.array * scale)
        made.positions = start.positions * scale
        return made

    def _moments_of(
        self, name: str, start: Atoms, numbers: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Moments or charges [N]: of an atom of the same element in the structure, or else in another one."""
        values = _values(start, name)
        if not self._moments[name].any():
            return values
        found = values.copy()
        for site in np.flatnonzero(numbers != start.numbers):
            here, anywhere = values[start.numbers == numbers[site]], self._moments[name][self._numbers == numbers[site]]
            found[site] = rng.choice(here if len(here) else anywhere)
        return found


def check_groups(groups: Sequence[Sequence[str]]) -> None:
    """What can be said of groups without structures.

    Raises:
        LearningError: no groups, a word that is no element, an element alone or given twice.
    """
    example = "expected groups of elements such as [('Nb', 'Mo'), ('Mg', 'Ca')]"
    if isinstance(groups, str) or not all(isinstance(group, list | tuple) for group in groups):
        raise LearningError(f"exchange: {example}, got {groups!r}")
    seen: dict[str, Sequence[str]] = {}
    for group in groups:
        text = f"exchange {','.join(map(str, group))}"
        for symbol in group:
            if not isinstance(symbol, str) or atomic_numbers.get(symbol, 0) == 0:
                raise LearningError(f"{text}: {symbol!r} is no element; write chemical symbols such as Nb,Mo,Ta")
            if symbol in seen:
                where = "is there twice" if seen[symbol] is group else f"is in the group {','.join(seen[symbol])} too"
                raise LearningError(f"{text}: {symbol} {where}; an element belongs to one group")
            seen[symbol] = group
        if len(group) < 2:
            raise LearningError(f"{text}: a group needs two elements or more that may stand for each other")


def element_sizes(given: Sequence[Atoms]) -> NDArray[np.float64]:
    """Lengths in A by atomic number, whose mean over the atoms of a structure is the cube root of its volume per atom.

    Vegard's law, fitted to the fully periodic structures; what they leave open (all have one composition, or there are
    none), and elements that none of them has, follow in proportion to covalent radii.
    """
    sizes: NDArray[np.float64] = covalent_radii.astype(np.float64)
    elements = np.unique(np.concatenate([atoms.numbers for atoms in given]))
    rows = []
    for atoms in given:
        share = (atoms.numbers[:, None] == elements).mean(axis=0) * sizes[elements]
        length = np.cbrt(atoms.get_volume() / len(atoms)) if atoms.pbc.all() else np.inf
        if length <= EMPTY * share.sum():
            rows.append(share / length)
    if not rows:
        return sizes
    known = np.array(rows)
    # What covalent radii are multiplied with: one factor, times one near 1 for each element.
    common = float(np.median(1.0 / known.sum(axis=1)))
    known *= common
    factors = np.ones(len(elements))
    prior = NOISE / BEYOND_RADII * (np.eye(len(elements)) - 1.0 / len(elements))
    for _ in range(20):
        weights = 1.0 / np.hypot(1.0, (known @ factors - 1.0) / OUTLYING)
        left, right = np.vstack([weights[:, None] * known, prior]), np.concatenate([weights, np.zeros(len(elements))])
        factors = np.linalg.lstsq(left, right, rcond=None)[0]
    sizes *= common
    sizes[elements] *= factors
    return sizes


def _shares(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Shares of ``count`` elements, of which any may be absent."""
    chances = np.arange(1, count + 1)
    some = rng.permutation(count)[: rng.choice(chances, p=chances / chances.sum())]
    shares = np.zeros(count)
    shares[some] = rng.dirichlet(np.ones(len(some)))
    return shares


def _values(atoms: Atoms, name: str) -> NDArray[np.float64]:
    """A per-atom array of numbers [N], zeros where there is none."""
    found = atoms.arrays.get(name)
    return np.zeros(len(atoms)) if found is None else np.asarray(found, dtype=np.float64)
