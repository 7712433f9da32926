"""The tensor: a structure, a flat buffer and names of the legs; what acts on numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor.arrays import Array, namespace, require_one_namespace, root, to_host
from etn_gpu.tensor.debug import debugging, require_valid
from etn_gpu.tensor.legs import describe_leg, describe_legs, require_equal_legs
from etn_gpu.tensor.structure import Sectors, Structure
from etn_gpu.tensor.weighted import weighted_inner

#: Name of each leg, None where it has none.
Names = tuple[str | None, ...]
#: A leg of a given tensor: its number, negative from the end, or its name.
LegIndex = SupportsIndex | str

_PRECISIONS = tuple(np.dtype(t) for t in ("float32", "float64", "complex64", "complex128"))


@dataclass(frozen=True, eq=False)
class Tensor:
    """An O(3)-equivariant tensor: row legs and column legs, numbered rows first, and one matrix per coupled sector.

    Parameters: `structure`, see :mod:`etn_gpu.tensor.structure`; `data`, a one-dimensional array of ``structure.size``
    numbers (float32, float64, complex64 or complex128; NumPy or CuPy), not copied; `names` of the legs, None (the
    default) for legs without one. Two legs may share a name, which then cannot tell them apart. The irreps are real,
    so every leg is its own dual and legs have no direction: a leg is contracted with any leg of the same irreps. No
    operation changes its operands, but results may share their buffers (``permute``, ``fuse``, ``rename``, ...).

    Raises :class:`~etn_gpu.errors.TensorError` if the parts do not fit together.
    """

    structure: Structure
    data: Array
    names: Names = ()

    def __post_init__(self) -> None:
        if self.data.shape != (self.structure.size,):
            raise TensorError(
                f"a tensor {self.structure} holds {self.structure.size} numbers in one dimension, "
                f"got an array of shape {tuple(self.data.shape)}"
            )
        if self.data.dtype not in _PRECISIONS:
            allowed = ", ".join(t.name for t in _PRECISIONS)
            raise TensorError(f"a tensor holds one of {allowed}, got {self.data.dtype}")
        if not self.names:
            object.__setattr__(self, "names", (None,) * self.structure.n_legs)
        elif len(self.names) != self.structure.n_legs:
            raise TensorError(
                f"got the names {self.names} for {self.structure.n_legs} legs; give one name, or None, each"
            )
        if debugging():
            require_valid(self)

    @property
    def legs(self) -> tuple[Irreps, ...]:
        """Irreps of the legs, rows first."""
        return self.structure.legs

    @property
    def n_rows(self) -> int:
        """Number of row legs."""
        return self.structure.n_rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(self.data.dtype)

    @property
    def blocks(self) -> Mapping[Irrep, Array]:
        """The matrix M_c of each coupled irrep, as views of the buffer."""
        return {block.ir: self.data[block.where].reshape(block.shape) for block in self.structure.blocks}

    def sector_blocks(self) -> Iterator[tuple[tuple[Irrep, ...], Array]]:
        """Irreps chosen on the legs and a copy of their reduced blocks, of shape (trees, multiplicity of each leg)."""
        for sectors, block in self.structure.sector_blocks.items():
            yield self._irreps(sectors), self.data[block.index()]

    def axis(self, leg: LegIndex) -> int:
        """Number of a leg given by number or name. Raises TensorError that lists the legs if it is not one leg."""
        if isinstance(leg, str):
            found = [i for i, name in enumerate(self.names) if name == leg]
        else:
            found = [int(leg) % len(self.legs)] if leg in range(-len(self.legs), len(self.legs)) else []
        if len(found) == 1:
            return found[0]
        problem = f"the name {leg!r} is that of several legs" if found else f"there is no leg {leg!r}"
        raise TensorError(f"{problem}; the legs are: {describe_legs(self.legs, self.names)}")

    def rename(self, names: Mapping[LegIndex, str | None] | Sequence[str | None]) -> Tensor:
        """The same tensor with other names: all of them in order, or a mapping from legs to their new names."""
        if isinstance(names, Mapping):
            new = list(self.names)
            for leg, name in names.items():
                new[self.axis(leg)] = name
            return replace(self, names=tuple(new))
        return replace(self, names=tuple(names))

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The tensor in another precision; the same object if it has it already."""
        return self if self.dtype == np.dtype(dtype) else replace(self, data=self.data.astype(dtype))

    def to(self, xp: Any) -> Tensor:
        """The tensor with its buffer in the library `xp`, ``numpy`` or ``cupy``; CuPy takes its current device."""
        if namespace(self.data) is xp:
            return self
        host = to_host(self.data)
        return replace(self, data=host if xp is np else xp.asarray(host))

    def item(self) -> float | complex:
        """The number of a tensor without legs. Raises TensorError if it has legs."""
        if self.legs:
            raise TensorError(f"only a tensor without legs is a number, this one has the legs {self.structure}")
        number: float | complex = self.data[0].item()
        return number

    def inner(self, other: Tensor) -> float | complex:
        """Inner product of the dense tensors, sum of conj(self) other = sum over c of (2c+1) <M_c, M'_c>.

        Raises TensorError unless the legs and their division into rows and columns are those of this tensor.
        """
        self.require_same_structure(other)
        number: float | complex = self._weighted(self.data.conj(), other.data)
        return number

    def squared_norm(self) -> float:
        """Squared Frobenius norm of the dense tensor, sum over c of (2c+1) |M_c|^2; infinite where it overflows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self._weighted(self.data.conj(), self.data).real)

    def _weighted(self, left: Array, right: Array) -> Any:
        return weighted_inner(self.structure.weighted_parts, left, right).item() if self.structure.blocks else 0.0

    def norm(self) -> float:
        """Frobenius norm of the dense tensor, also where its square is too large or too small for the precision."""
        squared, precision = self.squared_norm(), np.finfo(self.dtype)
        if precision.tiny / precision.eps < squared < np.inf:
            return root(squared)
        largest = float(namespace(self.data).abs(self.data).max()) if self.data.size else 0.0
        if not 0.0 < largest < np.inf:
            return largest
        scale = max(largest, float(precision.tiny))
        return scale * root(replace(self, data=self.data / scale).squared_norm())

    def conj(self) -> Tensor:
        """The complex conjugate; a real tensor is returned as it is."""
        return replace(self, data=self.data.conj()) if self.dtype.kind == "c" else self

    def __add__(self, other: Tensor) -> Tensor:
        if not isinstance(other, Tensor):
            return NotImplemented
        self.require_same_structure(other)
        return replace(self, data=self.data + other.data)

    def __sub__(self, other: Tensor) -> Tensor:
        if not isinstance(other, Tensor):
            return NotImplemented
        self.require_same_structure(other)
        return replace(self, data=self.data - other.data)

    def __mul__(self, factor: complex) -> Tensor:
        # A Python number adapts to the precision of the buffer; NumPy's own scalars would widen float32.
        if isinstance(factor, np.generic):
            factor = factor.item()
        if not isinstance(factor, (int, float, complex)):
            return NotImplemented
        return replace(self, data=self.data * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: complex) -> Tensor:
        if isinstance(divisor, np.generic):
            divisor = divisor.item()
        if not isinstance(divisor, (int, float, complex)):
            return NotImplemented
        if divisor == 0:
            raise TensorError("cannot divide a tensor by zero")
        return replace(self, data=self.data / divisor)

    def __neg__(self) -> Tensor:
        return replace(self, data=-self.data)

    def require_same_structure(self, other: Tensor) -> None:
        """TensorError unless `other` has the same legs, equally divided into rows and columns, in the same library."""
        require_one_namespace(self.data, other.data)
        if self.structure == other.structure:
            return
        if len(self.legs) != len(other.legs):
            raise TensorError(f"the tensors {self.structure} and {other.structure} have different numbers of legs")
        for i, (first, second) in enumerate(zip(self.legs, other.legs, strict=True)):
            require_equal_legs(
                first,
                second,
                f"{describe_leg(self.legs, self.names, i)} of the first tensor",
                f"{describe_leg(other.legs, other.names, i)} of the second",
            )
        raise TensorError(
            f"the tensors {self.structure} and {other.structure} have the same legs, but {self.n_rows} and "
            f"{other.n_rows} of them are rows: regroup one of them with permute"
        )

    def _irreps(self, sectors: Sectors) -> tuple[Irrep, ...]:
        return tuple(leg[k].ir for leg, k in zip(self.legs, sectors, strict=True))

    def __repr__(self) -> str:
        return f"Tensor({self.structure}, names={self.names}, {self.dtype.name}, {self.structure.size} numbers)"
