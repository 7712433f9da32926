"""Angular descriptors of NEP potentials: scalars coupled from the sums A_nlm of each radial function n.

With orthonormal harmonics they are the invariants of 3j symbols, up to signs that GPUMD chose,

    q_nl = sum_m A_nlm^2
    q_abc = +- sum_m (a b c; m m' m'') A_nam A_nbm' A_ncm''
    q_1111 = 7/15 q_n1^2

which fixes the numbers of its polynomials (C4B and so on). The sums here hold Racah-normalised harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, prod, sqrt

from etn_gpu.interop.nep_file import NepFile
from etn_gpu.plan import ProgramBuilder, Term
from etn_gpu.plan.operations import Couple, CoupleBlock, Products
from etn_gpu.plan.program import Value

SIGNS = {"222": -1.0, "112": 1.0, "123": -1.0, "233": 1.0, "134": 1.0}
FOURTH_POWER = 7.0 / 15.0


@dataclass(frozen=True)
class Layout:
    """Where what is summed over neighbours lies: q_n, the repulsion if there is one, A_nlm for l = 1 .. ``degree``."""

    n_radial: int
    n_angular: int
    degree: int
    flags: tuple[str, ...]
    repulsion: bool

    @staticmethod
    def of(file: NepFile, repulsion: bool) -> Layout:
        """The layout for a file."""
        return Layout(len(file.radial), len(file.angular), file.degree, file.flags, repulsion)

    def offset(self, l: int) -> int:
        """The first component of degree l."""
        return self.n_radial + self.repulsion + self.n_angular * (l * l - 1)

    @property
    def total(self) -> int:
        """Components."""
        return self.offset(self.degree + 1)

    @property
    def size(self) -> int:
        """Descriptors."""
        return self.n_radial + self.n_angular * (self.degree + len(self.flags))


def angular_terms(builder: ProgramBuilder, layout: Layout, a: Value) -> list[Term]:
    """Terms of the angular descriptors; those of degrees that the file does not have are zero, as in GPUMD."""
    n, size = layout.n_angular, layout.size - layout.n_radial
    squares = [
        _block((l, l, 0), (layout.offset(l),) * 2, (l - 1) * n, n, (2 * l + 1) ** 1.5 / (4.0 * pi))
        for l in range(1, layout.degree + 1)
    ]
    if not squares:
        return []
    terms = [Term(Couple((a.size, a.size, size), tuple(squares)), 2, (a.name, a.name))]
    if "1111" in layout.flags and layout.degree:
        first = Couple((a.size, a.size, n), (_block((1, 1, 0), (layout.offset(1),) * 2, 0, n, 3.0**1.5 / (4.0 * pi)),))
        square = builder.step("q1", "atom", (Term(first, 2, (a.name, a.name)),))
        at = (layout.degree + layout.flags.index("1111")) * n
        rows = tuple((k, k, at + k, FOURTH_POWER) for k in range(n))
        terms.append(Term(Products((n, n, size), rows), 2, (square.name, square.name)))
    for number, name in enumerate(layout.flags):
        ls = tuple(map(int, name))
        if len(ls) == 3 and max(ls) <= layout.degree:
            pair = Couple(
                (a.size, a.size, n * (2 * ls[2] + 1)),
                (_block(ls, (layout.offset(ls[0]), layout.offset(ls[1])), 0, n, 1.0),),
            )
            coupled = builder.step(f"c{name}", "atom", (Term(pair, 2, (a.name, a.name)),))
            factor = SIGNS[name] * sqrt(prod(2 * l + 1 for l in ls)) / (4.0 * pi) ** 1.5
            closing = _block((ls[2], ls[2], 0), (0, layout.offset(ls[2])), (layout.degree + number) * n, n, factor)
            terms.append(Term(Couple((coupled.size, a.size, size), (closing,)), 2, (coupled.name, a.name)))
    return terms


def _block(ls: tuple[int, ...], offsets: tuple[int, int], target: int, n: int, coefficient: float) -> CoupleBlock:
    """The coupling of each of ``n`` multiplicities with itself."""
    first, second, third = ls
    each = (1, 0, 0)
    return CoupleBlock((first, second, third), (*offsets, target), (n, 1, 1), (each, each, each), coefficient)
