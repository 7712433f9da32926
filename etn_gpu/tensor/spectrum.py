"""Singular values and eigenvalues: one list of numbers per coupled sector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor.arrays import Array, Constants, namespace
from etn_gpu.tensor.structure import Structure, structure
from etn_gpu.tensor.tensor import Tensor
from etn_gpu.tensor.weighted import weighted_inner


@dataclass(frozen=True, eq=False)
class Spectrum(Mapping[Irrep, Array]):
    """Numbers on the diagonal of a map from a leg to itself, by irrep; each stands for 2l+1 equal numbers.

    ``spectrum["1o"]`` is a one-dimensional array. Sectors are those of :attr:`leg`, in its order.
    """

    leg: Irreps
    data: Array

    def __getitem__(self, ir: Irrep | str) -> Array:
        parsed = Irrep.parse(ir)
        start = 0
        for block in self.leg:
            if block.ir == parsed:
                return self.data[start : start + block.mul]
            start += block.mul
        raise KeyError(parsed)

    def __iter__(self) -> Iterator[Irrep]:
        return (block.ir for block in self.leg)

    def __len__(self) -> int:
        return len(self.leg)

    def squared_norm(self) -> float:
        """Sum of (2l+1) s^2: the squared norm of the tensor whose singular values these are."""
        parts = tuple((block.ir.dim, block.mul) for block in self.leg)
        return float(weighted_inner(parts, self.data, self.data)) if parts else 0.0

    def tensor(self, *, names: tuple[str | None, ...] = ()) -> Tensor:
        """The diagonal tensor, a map from the leg to itself."""
        layout = structure((self.leg,), (self.leg,))
        data = namespace(self.data).zeros(layout.size, dtype=self.data.dtype)
        (diagonal,) = _diagonals(layout).beside(self.data)
        data[diagonal] = self.data
        return Tensor(layout, data, names)


@lru_cache(maxsize=4096)
def _diagonals(layout: Structure) -> Constants:
    """Positions of the diagonals of all sectors."""
    diagonals = [np.arange(block.where.start, block.where.stop, block.shape[1] + 1) for block in layout.blocks]
    return Constants((np.concatenate([np.empty(0, np.intp), *diagonals]),))
