"""Irreps of O(3) and their direct sums, in the notation of e3nn: ``8x0e+6x1o``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry._checks import as_degree, as_orthogonal
from etn_gpu.symmetry.rotations import wigner_d

_PARITY_OF_LETTER = {"e": 1, "o": -1}
_LETTER_OF_PARITY = {1: "e", -1: "o"}
_IRREP = re.compile(r"([0-9]{1,9})([eo])")
_TERM = re.compile(r"(?:([0-9]{1,9})\s*x\s*)?([0-9]{1,9}[eo])")


@dataclass(frozen=True, order=True, slots=True)
class Irrep:
    """An irreducible representation of O(3): degree `l` >= 0 and parity `p` = +1 (even) or -1 (odd).

    Ordered by l, then odd before even. ``Irrep(1, -1)``, printed ``1o``, is the irrep of vectors. Raises
    :class:`~etn_gpu.errors.IrrepsError` for any other l or p.
    """

    l: int
    p: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "l", as_degree(self.l, "the degree l of an irrep"))
        if self.p not in (1, -1):
            raise IrrepsError(f"the parity p of an irrep must be +1 (even) or -1 (odd), got {self.p!r}")
        object.__setattr__(self, "p", int(self.p))

    @classmethod
    def parse(cls, irrep: str | Irrep) -> Irrep:
        """The irrep written as degree and parity, such as ``"1o"``; an Irrep is returned as it is."""
        if isinstance(irrep, Irrep):
            return irrep
        match = _IRREP.fullmatch(irrep.strip()) if isinstance(irrep, str) else None
        if match is None:
            raise IrrepsError(f"cannot read {irrep!r} as an irrep: expected a degree and a parity e or o, such as '1o'")
        return cls(int(match[1]), _PARITY_OF_LETTER[match[2]])

    @property
    def dim(self) -> int:
        """Number of components, 2l + 1."""
        return 2 * self.l + 1

    def __mul__(self, other: Irrep) -> Iterator[Irrep]:
        """The irreps in the product of two irreps, each once: l = |l1 - l2| .. l1 + l2, parity p1 p2."""
        if not isinstance(other, Irrep):
            return NotImplemented
        p = self.p * other.p
        return (Irrep(l, p) for l in range(abs(self.l - other.l), self.l + other.l + 1))

    def wigner_d(self, rotation: ArrayLike) -> NDArray[np.float64]:
        """The matrices (..., 2l+1, 2l+1) by which orthogonal matrices Q (..., 3, 3), proper or not, act on this irrep.

        Raises :class:`~etn_gpu.errors.IrrepsError` for a bad shape or a matrix that is not orthogonal.
        """
        rotation = as_orthogonal(rotation)
        matrices = wigner_d(self.l, rotation)
        if self.p != (-1) ** self.l:
            matrices *= np.sign(np.linalg.det(rotation))[..., None, None]
        return matrices

    def __str__(self) -> str:
        return f"{self.l}{_LETTER_OF_PARITY[self.p]}"

    def __repr__(self) -> str:
        return f"Irrep.parse({str(self)!r})"


class MulIrrep(NamedTuple):
    """A block of a leg: `mul` copies of the irrep `ir`."""

    mul: int
    ir: Irrep

    @property
    def dim(self) -> int:
        """Number of components, mul (2l + 1)."""
        return self.mul * self.ir.dim

    def __str__(self) -> str:
        return f"{self.mul}x{self.ir}"


class Irreps:
    """A leg: an immutable direct sum of irreps with multiplicities, a sequence of :class:`MulIrrep`.

    Built from a string (``Irreps("8x0e + 1o")``), another Irreps, one Irrep, or an iterable whose items are pairs
    (multiplicity, irrep). An irrep in a pair may be an Irrep or a string. Multiplicity 0 is allowed and kept until
    :meth:`simplify`. Raises :class:`~etn_gpu.errors.IrrepsError` for anything else.

    Two Irreps are equal if they have the same blocks in the same order.
    """

    __slots__ = ("_blocks",)

    _blocks: tuple[MulIrrep, ...]

    def __init__(self, irreps: str | Irrep | Irreps | Iterable[tuple[int, Irrep | str]] = ()) -> None:
        if isinstance(irreps, Irreps):
            self._blocks = irreps._blocks
        elif isinstance(irreps, Irrep):
            self._blocks = (MulIrrep(1, irreps),)
        elif isinstance(irreps, str):
            self._blocks = _parse(irreps)
        else:
            self._blocks = _from_pairs(irreps)

    @classmethod
    def spherical_harmonics(cls, lmax: int) -> Irreps:
        """The irreps of all harmonics up to degree `lmax`: 1x0e+1x1o+1x2e+..."""
        return cls((1, Irrep(l, (-1) ** l)) for l in range(as_degree(lmax, "lmax") + 1))

    @property
    def dim(self) -> int:
        """Number of components of the leg."""
        return sum(block.dim for block in self._blocks)

    @property
    def num_irreps(self) -> int:
        """Number of irreps, multiplicities counted."""
        return sum(block.mul for block in self._blocks)

    @property
    def lmax(self) -> int:
        """The largest degree with a multiplicity above 0. Raises IrrepsError if there is none."""
        degrees = [ir.l for mul, ir in self._blocks if mul > 0]
        if not degrees:
            raise IrrepsError(f"{self!r} has no irrep, hence no largest degree")
        return max(degrees)

    def count(self, ir: Irrep | str) -> int:
        """Multiplicity of one irrep, summed over all blocks."""
        ir = Irrep.parse(ir)
        return sum(block.mul for block in self._blocks if block.ir == ir)

    def slices(self) -> tuple[slice, ...]:
        """The components that each block occupies on the leg, in order."""
        slices = []
        start = 0
        for block in self._blocks:
            slices.append(slice(start, start + block.dim))
            start += block.dim
        return tuple(slices)

    def sort(self) -> Irreps:
        """The same blocks in the order of their irreps; blocks of one irrep keep their order."""
        blocks = sorted(self._blocks, key=lambda block: block.ir)
        return Irreps(blocks)

    def simplify(self) -> Irreps:
        """The same leg with neighbouring blocks of one irrep merged and empty blocks dropped; nothing moves."""
        merged: list[MulIrrep] = []
        for mul, ir in self._blocks:
            if mul == 0:
                continue
            if merged and merged[-1].ir == ir:
                mul += merged.pop().mul
            merged.append(MulIrrep(mul, ir))
        return Irreps(merged)

    def wigner_d(self, rotation: ArrayLike) -> NDArray[np.float64]:
        """The block-diagonal matrices (..., dim, dim) by which orthogonal matrices (..., 3, 3) act on data on this leg.

        Raises :class:`~etn_gpu.errors.IrrepsError` for a bad shape or a matrix that is not orthogonal.
        """
        rotation = as_orthogonal(rotation)
        matrices = np.zeros((*rotation.shape[:-2], self.dim, self.dim))
        for block, where in zip(self._blocks, self.slices(), strict=True):
            if block.mul > 0:
                matrices[..., where, where] = np.kron(np.eye(block.mul), block.ir.wigner_d(rotation))
        return matrices

    def __add__(self, other: Irreps | str) -> Irreps:
        """Direct sum: the blocks of `other` after those of this leg."""
        if not isinstance(other, (Irreps, str)):
            return NotImplemented
        return Irreps(self._blocks + Irreps(other)._blocks)

    def __radd__(self, other: str) -> Irreps:
        return Irreps(other) + self if isinstance(other, str) else NotImplemented

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[MulIrrep]:
        return iter(self._blocks)

    @overload
    def __getitem__(self, index: int) -> MulIrrep: ...
    @overload
    def __getitem__(self, index: slice) -> Irreps: ...
    def __getitem__(self, index: int | slice) -> MulIrrep | Irreps:
        return Irreps(self._blocks[index]) if isinstance(index, slice) else self._blocks[index]

    def __contains__(self, ir: Irrep | str) -> bool:
        """Whether an irrep has a multiplicity above 0."""
        return self.count(ir) > 0

    def __eq__(self, other: object) -> bool:
        return self._blocks == other._blocks if isinstance(other, Irreps) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._blocks)

    def __str__(self) -> str:
        return "+".join(str(block) for block in self._blocks)

    def __repr__(self) -> str:
        return f"Irreps({str(self)!r})"


def _parse(text: str) -> tuple[MulIrrep, ...]:
    if not text.strip():
        return ()
    blocks = []
    for term in text.split("+"):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise IrrepsError(
                f"cannot read {term.strip()!r} in the irreps {text!r}: expected terms such as 8x0e or 1o "
                "(multiplicity, x, degree, parity e or o) joined by +"
            )
        blocks.append(MulIrrep(int(match[1] or 1), Irrep.parse(match[2])))
    return tuple(blocks)


def _from_pairs(pairs: Iterable[tuple[int, Irrep | str]]) -> tuple[MulIrrep, ...]:
    expected = "a string such as '8x0e+6x1o' or pairs (multiplicity, irrep)"
    try:
        items = list(pairs)
    except TypeError:
        raise IrrepsError(f"cannot make irreps of {pairs!r}: expected {expected}") from None
    blocks = []
    for item in items:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise IrrepsError(f"cannot make a block of irreps of {item!r}: expected {expected}")
        blocks.append(MulIrrep(as_degree(item[0], f"the multiplicity in {item!r}"), Irrep.parse(item[1])))
    return tuple(blocks)
