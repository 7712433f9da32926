"""Which moments the energy of an MTP needs, and in which order they are computed.

Basic moments are sums over neighbours of a radial function times a monomial of the direction. A direction has
z^2 = 1 - x^2 - y^2, so that only monomials with z^0 and z^1 need be summed, 2 n + 1 instead of (n + 1)(n + 2)/2 of
degree n; the others are linear combinations of these *summed* moments. All other moments are sums of products of two
moments, and have a *level*: the longest chain of products below them. Moments that no moment of the energy is made of
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import comb

from etn_gpu.interop.mtp_file import MtpFile

#: Exponents of x, y and z.
Monomial = tuple[int, int, int]
#: Row of a sparse product: factor in the one value, in the other one, component of the result, multiplicity.
Row = tuple[int, int, int, float]


@dataclass(frozen=True)
class Degree:
    """The summed moments of monomials of one degree: radial functions ``first`` .. ``first + count - 1`` of each."""

    first: int
    count: int
    monomials: tuple[Monomial, ...]

    @property
    def size(self) -> int:
        """How many they are."""
        return self.count * len(self.monomials)


@dataclass(frozen=True)
class Level:
    """Moments of one level: how many, and the rows that make them, by the levels of the two factors."""

    size: int
    rows: dict[tuple[int, int], tuple[Row, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Moments:
    """The summed moments by degree, the levels with the basic moments as level 0, and the terms of the energy.

    ``basic`` has the rows (summed moment, 0, basic moment, factor); ``energy`` holds (level, component, number of the
    coefficient), sorted.
    """

    degrees: tuple[Degree, ...]
    basic: tuple[Row, ...]
    levels: tuple[Level, ...]
    energy: tuple[tuple[int, int, int], ...]


def moments_of(file: MtpFile) -> Moments:
    """The moments that the energy of ``file`` needs."""
    basic = [tuple(row) for row in file.alpha_index_basic.tolist()]
    times = [tuple(row) for row in file.alpha_index_times.tolist() if row[2]]
    mapping = file.alpha_moment_mapping.tolist()
    needed = set(mapping)
    for i, j, _, k in reversed(times):
        if k in needed:
            needed |= {i, j}
    times = [row for row in times if row[3] in needed]
    wanted = [k for k in sorted(needed) if k < len(basic)]
    place = {k: at for at, k in enumerate(wanted)}
    degrees, of_basic = _summed([basic[k] for k in wanted])
    level = dict.fromkeys(range(len(basic)), 0)
    for i, j, _, k in times:
        level[k] = max(level.get(k, 0), 1 + max(level.get(i, 0), level.get(j, 0)))
    sizes = {0: len(wanted)}
    # The terms of the energy come first, so that their coefficients lie side by side.
    for k in dict.fromkeys([*mapping, *sorted(needed)]):
        if k in level and k >= len(basic):
            place[k] = sizes.get(level[k], 0)
            sizes[level[k]] = place[k] + 1
    rows: dict[tuple[int, int, int], dict[tuple[int, int, int], float]] = {}
    for i, j, m, k in times:
        if i in place and j in place:  # else one of them is a moment to which nothing adds: zero
            first, second = sorted((i, j), key=lambda part: (level[part], place[part]))
            of_levels = rows.setdefault((level[k], level[first], level[second]), {})
            at = place[first], place[second], place[k]
            of_levels[at] = of_levels.get(at, 0.0) + float(m)
    levels = [Level(sizes[0])]
    for n in range(1, max(sizes) + 1):
        made = {(a, b): tuple((*at, m) for at, m in of.items()) for (to, a, b), of in sorted(rows.items()) if to == n}
        levels.append(Level(sizes[n], made))
    energy = sorted((level[k], place[k], number) for number, k in enumerate(mapping) if k in place)
    return Moments(degrees, of_basic, tuple(levels), tuple(energy))


def runs(energy: tuple[tuple[int, int, int], ...]) -> Iterator[tuple[int, int, int, int]]:
    """(level, first component, place of its coefficient in the order of ``energy``, length) of neighbouring terms."""
    for (level, _), members in groupby(enumerate(energy), key=lambda e: (e[1][0], e[1][1] - e[0])):
        found = list(members)
        at, (_, component, _) = found[0]
        yield level, component, at, len(found)


def _summed(basic: list[tuple[int, ...]]) -> tuple[tuple[Degree, ...], tuple[Row, ...]]:
    """The moments to be summed for basic moments (mu, a, b, c), and the rows that make these of those."""
    combinations = [(mu, _reduced((a, b, c))) for mu, a, b, c in basic]
    found: dict[int, set[tuple[int, Monomial]]] = {}
    for mu, combination in combinations:
        for monomial in combination:
            found.setdefault(sum(monomial), set()).add((mu, monomial))
    degrees, place, start = [], {}, 0
    for _, members in sorted(found.items()):
        radial = [mu for mu, _ in members]
        monomials = tuple(sorted({monomial for _, monomial in members}, reverse=True))
        degree = Degree(min(radial), max(radial) - min(radial) + 1, monomials)
        for mu, monomial in members:
            place[mu, monomial] = start + (mu - degree.first) * len(monomials) + monomials.index(monomial)
        degrees.append(degree)
        start += degree.size
    rows = [
        (place[mu, monomial], 0, at, factor)
        for at, (mu, combination) in enumerate(combinations)
        for monomial, factor in combination.items()
    ]
    return tuple(degrees), tuple(rows)


def _reduced(monomial: Monomial) -> dict[Monomial, float]:
    """x^a y^b z^c of a direction by monomials with z^0 or z^1: z^(2k) = (1 - x^2 - y^2)^k."""
    a, b, c = monomial
    k = c // 2
    return {
        (a + 2 * p, b + 2 * q, c % 2): float((-1) ** (p + q) * comb(k, p) * comb(k - p, q))
        for p in range(k + 1)
        for q in range(k - p + 1)
    }
