"""Reduced blocks of a three-leg equivariant core and where they lie in one flat weight array.

By Wigner-Eckart an equivariant core in x feature -> out is ``sum over sector triples G[c, a, b] C^{l1 l2 l3}``. The
reduced blocks of one coupled sector l3 form one matrix with rows c (multiplicity of the out leg) and columns (triple,
a, b): the matrix whose QR and SVD are those of the full tensor. The weights are those matrices one after the other,
row-major.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import NetworkError
from etn_gpu.symmetry import Irreps


@dataclass(frozen=True)
class Sector:
    """One irrep on a leg: degree l, parity p, multiplicity and first component."""

    l: int
    p: int
    mul: int
    offset: int

    @property
    def dim(self) -> int:
        """2 l + 1."""
        return 2 * self.l + 1


def sectors(irreps: Irreps) -> tuple[Sector, ...]:
    """The sectors of a leg, in order, without empty ones; NetworkError when an irrep appears twice."""
    out = []
    offset = 0
    for mul, ir in irreps:
        if mul:
            out.append(Sector(ir.l, ir.p, mul, offset))
        offset += mul * ir.dim
    if len({(s.l, s.p) for s in out}) != len(out):
        raise NetworkError(f"the leg {irreps} names an irrep twice; pass Irreps(...).sort().simplify()")
    return tuple(out)


@dataclass(frozen=True)
class Path:
    """A sector triple of a core; G[c, a, b] of its block lies at ``weight + c * row_stride + a * feature.mul + b``."""

    left: Sector
    feature: Sector
    out: Sector
    weight: int
    row_stride: int

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where G lies among the weights: [multiplicity of out, of left, of feature]; read-only."""
        shape = (self.out.mul, self.left.mul, self.feature.mul)
        strides = np.array((self.row_stride, self.feature.mul, 1))
        found = self.weight + np.tensordot(strides, np.indices(shape), axes=1)
        found.flags.writeable = False
        return found


@dataclass(frozen=True)
class Core:
    """A core ``name``: left x feature -> out (legs as irreps with each irrep at most once)."""

    name: str
    left: Irreps
    feature: Irreps
    out: Irreps

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """All allowed sector triples, grouped by the coupled sector."""
        found: list[Path] = []
        start = 0
        for out in sectors(self.out):
            triples = [
                (a, b)
                for a in sectors(self.left)
                for b in sectors(self.feature)
                if abs(a.l - b.l) <= out.l <= a.l + b.l and a.p * b.p == out.p
            ]
            cols = sum(a.mul * b.mul for a, b in triples)
            column = 0
            for a, b in triples:
                found.append(Path(a, b, out, start + column, cols))
                column += a.mul * b.mul
            start += out.mul * cols
        return tuple(found)

    @cached_property
    def size(self) -> int:
        """Number of weights."""
        return sum(p.out.mul * p.left.mul * p.feature.mul for p in self.paths)
