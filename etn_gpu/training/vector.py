"""All parameters of a potential as one vector."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ParameterVector:
    """Where each named parameter array lies in the vector."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self.slices: dict[str, slice] = {}
        offset = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(offset, offset + prod(shape))
            offset += prod(shape)
        self.size = offset

    def pack(self, parameters: Mapping[str, NDArray[np.floating]]) -> Array:
        """Arrays of these shapes to a vector [size]."""
        return self.join({name: np.ravel(parameters[name]) for name in self.shapes})

    def join(self, flat: Mapping[str, NDArray[np.floating]]) -> Array:
        """Flat arrays, possibly with leading axes, [..., size of the parameter] to vectors [..., size]."""
        return np.concatenate([np.asarray(flat[name], np.float64) for name in self.shapes], axis=-1)

    def unpack(self, vector: Array) -> dict[str, Array]:
        """Vector to named arrays (copies)."""
        return {name: vector[self.slices[name]].reshape(shape).copy() for name, shape in self.shapes.items()}
