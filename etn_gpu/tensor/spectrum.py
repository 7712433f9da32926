"""Singular values and eigenvalues: one list of numbers per coupled sector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor.arrays import Array, join, namespace, squared_sum
from etn_gpu.tensor.structure import structure
from etn_gpu.tensor.tensor import Tensor


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
        return sum(ir.dim * squared_sum(values) for ir, values in self.items())

    def tensor(self, *, names: tuple[str | None, ...] = ()) -> Tensor:
        """The diagonal tensor, a map from the leg to itself."""
        xp = namespace(self.data)
        diagonals = [xp.diag(values).reshape(-1) for values in self.values()]
        return Tensor(structure((self.leg,), (self.leg,)), join(diagonals, self.data), names)
