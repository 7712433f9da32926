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
        """Arrays, possibly with leading axes [..., size], to a vector [..., size]."""
        return np.concatenate(
            [
                np.asarray(parameters[n], np.float64).reshape(*_lead(parameters[n], s), -1)
                for n, s in self.shapes.items()
            ],
            -1,
        )

    def unpack(self, vector: Array) -> dict[str, Array]:
        """Vector to named arrays (copies)."""
        return {name: vector[self.slices[name]].reshape(shape).copy() for name, shape in self.shapes.items()}


def _lead(array: NDArray[np.floating], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leading (sample) axes of an array that is either shaped, or flat with leading axes."""
    if array.shape == shape:
        return ()
    return array.shape[:-1]
