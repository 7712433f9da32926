"""Where the numbers of SNAP lie: sums over neighbours, their couplings, and the invariants among them.

The sums u_qlm of the bispectrum lie by l, and for each l by the parity of q, [channel, q, m]: an invariant of three of
them needs an even sum of the q, so that whole stretches of pairs are mixed into whole stretches of what they are
multiplied with. *Channels* are the elements of neighbours where these are told apart (chemflag), else there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby, product
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from etn_gpu.interop.snap_bispectrum import Triple, components, degrees
from etn_gpu.plan.operations import CoupleBlock

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """Couplings of parities (p1, p2) to l3: ``columns`` of them from component ``first`` on, for rows of parity p3."""

    parities: tuple[int, int]
    first: int
    columns: int


@dataclass(frozen=True)
class Terms:
    """Terms c y[pair, :] . u[row, :] of invariants, for the couplings y of one (l1, l2, l3), as arrays of equal length.

    ``pair`` and ``row`` are first components, in y and among the sums u.
    """

    pair: Integers
    row: Integers
    invariant: Integers
    coefficient: NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Sums over neighbours up to 2 j = ``twojmax``, in ``channels``."""

    twojmax: int
    channels: int

    def qs(self, l: int, parity: int) -> range:
        """The q = 2 j of degree l with this parity."""
        return range(l + (l + parity) % 2, self.twojmax + 1, 2)

    def count(self, l: int, parity: int | None = None) -> int:
        """Multiplicity of degree l, of one parity of q or of both."""
        parities = (0, 1) if parity is None else (parity,)
        return self.channels * sum(len(self.qs(l, p)) for p in parities)

    @cached_property
    def _starts(self) -> dict[tuple[int, int], int]:
        starts, at = {}, 0
        for l, parity in product(range(self.twojmax + 1), (0, 1)):
            starts[l, parity] = at
            at += self.count(l, parity) * (2 * l + 1)
        return starts

    def start(self, l: int, parity: int = 0) -> int:
        """First component of degree l and a parity of q."""
        return self._starts[l, parity]

    @cached_property
    def size(self) -> int:
        """Number of components."""
        return sum(self.count(l) * (2 * l + 1) for l in range(self.twojmax + 1))

    def place(self, channel: int, q: int, l: int) -> int:
        """Number of a multiplicity among those of its l and parity of q."""
        qs = self.qs(l, q % 2)
        return channel * len(qs) + (q - qs[0]) // 2

    @cached_property
    def triples(self) -> tuple[Triple, ...]:
        """l1 >= l2 >= l3 with an even sum that couple."""
        ls = range(self.twojmax + 1)
        return tuple(
            (l1, l2, l3)
            for l1 in ls
            for l2 in range(l1 + 1)
            for l3 in range(l1 - l2, l2 + 1)
            if (l1 + l2 + l3) % 2 == 0
        )

    def runs(self, ls: Triple) -> tuple[Run, ...]:
        """The couplings of l1 and l2 to l3: [b, a] for each parity of q1, even b (of l2) first.

        Where l1 = l2 no (odd, even) are there, for they are (even, odd) once more.
        """
        l1, l2, l3 = ls
        runs, at = [], 0
        for p1, p2 in product((0, 1), (0, 1)):
            columns = self.count(l1, p1) * self.count(l2, p2)
            if columns and not (l1 == l2 and (p1, p2) == (1, 0)):
                runs.append(Run((p1, p2), at, columns))
                at += columns * (2 * l3 + 1)
        return tuple(runs)

    def blocks(self, ls: Triple) -> tuple[CoupleBlock, ...]:
        """What couples l1 and l2 to l3: one block for each parity of q1.

        Blocks of the same shape share their machine code; where l1 = l2 there may be one for each run to that end.
        """
        l1, l2, _ = ls
        alike = l1 == l2 and self.count(l1, 0) == self.count(l1, 1)
        out = []
        for _, group in groupby(self.runs(ls), lambda run: run.parities if alike else run.parities[0]):
            first, *others = group
            p1, p2 = first.parities
            n1 = self.count(l1, p1)
            n2 = (first.columns + sum(r.columns for r in others)) // n1
            offsets = (self.start(l1, p1), self.start(l2, p2), first.first)
            out.append(CoupleBlock(ls, offsets, (n2, n1, 1), ((0, 1, 0), (1, 0, 0), (n1, 1, 0))))
        return tuple(out)

    def pairs(self, ls: Triple) -> int:
        """Components of all couplings of l1 and l2 to l3."""
        return sum(r.columns for r in self.runs(ls)) * (2 * ls[2] + 1)


@lru_cache(maxsize=16)
def terms(layout: Layout, normalised: bool) -> dict[Triple, Terms]:
    """The bispectrum components as sums of products, by (l1, l2, l3).

    Invariants are numbered by the channels (e1, e2, e3), then as :func:`components`. ``normalised``: divided by 2j + 1.
    """
    found: dict[Triple, dict[tuple[int, int, int], float]] = {ls: {} for ls in layout.triples}
    first = {(ls, r.parities): r.first for ls in layout.triples for r in layout.runs(ls)}
    triples = components(layout.twojmax)
    for k, qs in enumerate(triples):
        for ls, c in degrees(qs):
            factor = c / (qs[2] + 1) if normalised else c
            for e, channels in enumerate(product(range(layout.channels), repeat=3)):
                # Largest degree first; among equal ones in the order of the layout.
                legs = sorted(
                    (-l, q % 2, layout.place(channel, q, l)) for l, q, channel in zip(ls, qs, channels, strict=True)
                )
                (m1, p1, a), (m2, p2, b), (m3, p3, d) = legs
                l1, l2, l3 = -m1, -m2, -m3
                width = 2 * l3 + 1
                pair = first[(l1, l2, l3), (p1, p2)] + (b * layout.count(l1, p1) + a) * width
                key = (pair, layout.start(l3, p3) + d * width, e * len(triples) + k)
                into = found[l1, l2, l3]
                into[key] = into.get(key, 0.0) + factor / sqrt(width)
    return {ls: _arrays(into) for ls, into in found.items()}


def _arrays(into: dict[tuple[int, int, int], float]) -> Terms:
    keys = np.array(list(into), dtype=np.int64).reshape(-1, 3)
    return Terms(keys[:, 0], keys[:, 1], keys[:, 2], np.array(list(into.values())))


@dataclass(frozen=True)
class Weights:
    """Where the weights of the couplings of one run lie: [rows, columns] from ``first`` on."""

    ls: Triple
    run: Run
    first: int
    rows: int

    @property
    def size(self) -> int:
        """Number of the weights."""
        return self.rows * self.run.columns


@lru_cache(maxsize=16)
def weights(layout: Layout) -> tuple[Weights, ...]:
    """The weights of a linear SNAP, for one species of the centre."""
    out, at = [], 0
    for ls in layout.triples:
        for run in layout.runs(ls):
            rows = layout.count(ls[2], sum(run.parities) % 2)
            out.append(Weights(ls, run, at, rows))
            at += rows * run.columns
    return tuple(out)


def weight_table(layout: Layout, beta: NDArray[np.float64], normalised: bool) -> NDArray[np.float64]:
    """Weights [species, all] of the couplings from coefficients ``beta`` [species, invariants]."""
    last = weights(layout)[-1]
    table = np.zeros((len(beta), last.first + last.size))
    for w in weights(layout):
        width = 2 * w.ls[2] + 1
        t = terms(layout, normalised)[w.ls]
        here = (t.pair >= w.run.first) & (t.pair < w.run.first + w.run.columns * width)
        column = (t.pair[here] - w.run.first) // width
        row = (t.row[here] - layout.start(w.ls[2], sum(w.run.parities) % 2)) // width
        at = w.first + row * w.run.columns + column
        for species, values in enumerate(beta):
            np.add.at(table[species], at, t.coefficient[here] * values[t.invariant[here]])
    return table
