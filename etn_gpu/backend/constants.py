"""Arrays that nothing can write to: what follows from one may be kept as long as it is there, and is found quickly."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")


class Constants(Mapping[str, NDArray[np.float64]]):
    """Parameters that never change, each flat, and what is computed from them alone, which is kept as long as they are.

    Args:
        arrays: the parameters by name; copied.
    """

    def __init__(self, arrays: Mapping[str, ArrayLike]) -> None:
        self._arrays = {name: frozen(values).reshape(-1) for name, values in arrays.items()}
        self._derived: dict[Hashable, Any] = {}

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def derived(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returns, called once for each ``key``; several threads may do so at the same time."""
        try:
            found: T = self._derived[key]
        except KeyError:
            found = self._derived.setdefault(key, make())
        return found

    def __reduce__(self) -> tuple[type[Constants], tuple[dict[str, NDArray[np.float64]]]]:
        return Constants, (self._arrays,)


def frozen(values: ArrayLike) -> NDArray[np.float64]:
    """A copy in float64 that lies in a ``bytes``, so that no flag makes it writeable again."""
    array = np.array(values, np.float64)
    return np.ndarray(array.shape, np.float64, array.tobytes())


def content(values: NDArray[np.floating]) -> bytes:
    """The numbers of an array in float64, in C order; of one that is frozen, the very object that holds them.

    Python hashes a ``bytes`` once, and sees without reading it that it equals itself.
    """
    array = np.asarray(values)
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    whole = array.dtype == np.float64 and array.flags.c_contiguous
    if isinstance(base, bytes) and whole and len(base) == array.nbytes:
        return base
    return array.astype(np.float64).tobytes()
