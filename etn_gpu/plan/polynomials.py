"""Polynomials as pairwise products that share their factors: which products to make, in which order.

A *factor* is a complex number z_v, written v + 1, or its complex conjugate, written -(v + 1); numbers known to be real
have no conjugate. A monomial is a product of factors of which the real part is meant, so that a monomial and its
conjugate are one and the same. The products of two factors that most monomials have in common are made first and take
the place of their factors, until no monomial has more than two: the last product, of which only the real part is
needed, costs least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush

from etn_gpu.errors import PlanError

Monomial = tuple[int, ...]


@dataclass(frozen=True)
class SharedProducts:
    """Factors beyond the ``n_variables`` first are products, ``nodes``, of two earlier ones.

    ``real`` says of every factor whether it is real. ``monomials`` are what is left of the given ones: one factor or
    two.
    """

    n_variables: int
    nodes: tuple[tuple[int, int], ...]
    real: tuple[bool, ...]
    monomials: tuple[Monomial, ...]

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """For each variable 0, for each product one more than the larger of its factors."""
        levels = [0] * self.n_variables
        for a, b in self.nodes:
            levels.append(1 + max(levels[abs(a) - 1], levels[abs(b) - 1]))
        return tuple(levels)


def share_products(monomials: Sequence[Monomial], real: Sequence[bool]) -> SharedProducts:
    """Products that make every monomial one of at most two factors. PlanError for factors that there are not."""
    for monomial in monomials:
        if not monomial or any(not 0 < abs(v) <= len(real) for v in monomial):
            raise PlanError(f"a monomial is a product of one or more of {len(real)} factors, got {monomial}")
    return _Sharing(monomials, list(real)).run()


class _Sharing:
    def __init__(self, monomials: Sequence[Monomial], real: list[bool]) -> None:
        self.n_variables = len(real)
        self.real = real
        self.nodes: list[tuple[int, int]] = []
        self.left = [[v if not real[abs(v) - 1] else abs(v) for v in m] for m in monomials]
        self.where: dict[tuple[int, int], set[int]] = {}

    def run(self) -> SharedProducts:
        for number in range(len(self.left)):
            self._note(number)
        queue = [self._rank(pair) for pair in self.where]
        heapify(queue)
        while queue:
            rank = heappop(queue)
            pair = rank[2]
            if not self.where.get(pair):
                continue
            if (now := self._rank(pair)) != rank:
                heappush(queue, now)
                continue
            node = self._make(pair)
            for number in sorted(self.where.pop(pair)):
                for other in self._replace(number, pair, node):
                    heappush(queue, self._rank(other))
        made = {pair: self.n_variables + k + 1 for k, pair in enumerate(self.nodes)}
        return SharedProducts(
            self.n_variables, tuple(self.nodes), tuple(self.real), tuple(self._last(m, made) for m in self.left)
        )

    def _rank(self, pair: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
        """What most monomials share comes first, of those what costs least."""
        cost = sum(not self.real[abs(v) - 1] for v in pair)
        return (-len(self.where[pair]), cost, pair)

    def _pair(self, a: int, b: int) -> tuple[tuple[int, int], bool]:
        """The product of two factors or its conjugate, whichever stands for both, and whether it is the conjugate."""
        if (abs(b), b) < (abs(a), a):
            a, b = b, a
        lead = b if self.real[abs(a) - 1] else a
        if lead > 0 or a == -b:
            return (a, b), False
        return (self._conjugate(a), self._conjugate(b)), True

    def _conjugate(self, v: int) -> int:
        return v if self.real[abs(v) - 1] else -v

    def _pairs(self, number: int) -> set[tuple[int, int]]:
        m = self.left[number]
        if len(m) < 3:
            return set()
        return {self._pair(a, b)[0] for k, a in enumerate(m) for b in m[k + 1 :]}

    def _note(self, number: int) -> None:
        for pair in self._pairs(number):
            self.where.setdefault(pair, set()).add(number)

    def _make(self, pair: tuple[int, int]) -> int:
        a, b = pair
        self.nodes.append(pair)
        self.real.append(a == -b or all(self.real[abs(v) - 1] for v in pair))
        return len(self.real)

    def _replace(self, number: int, pair: tuple[int, int], node: int) -> set[tuple[int, int]]:
        """Put the product in place of its factors, as often as they are there; the pairs that there are now."""
        m = self.left[number]
        for other in self._pairs(number):
            if other in self.where:
                self.where[other].discard(number)
        while len(m) > 2 and (found := self._find(m, pair)) is not None:
            i, j, conjugate = found
            m = [v for k, v in enumerate(m) if k not in (i, j)]
            m.append(self._conjugate(node) if conjugate else node)
        self.left[number] = m
        self._note(number)
        return self._pairs(number)

    def _find(self, m: list[int], pair: tuple[int, int]) -> tuple[int, int, bool] | None:
        for i, a in enumerate(m):
            for j in range(i + 1, len(m)):
                canonical, conjugate = self._pair(a, m[j])
                if canonical == pair:
                    return i, j, conjugate
        return None

    def _last(self, m: list[int], made: dict[tuple[int, int], int]) -> Monomial:
        """One factor where the product of the two was made for others too."""
        if len(m) == 1:
            return (abs(m[0]),)
        pair, _ = self._pair(*m)
        return (made[pair],) if pair in made else pair
