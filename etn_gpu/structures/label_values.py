"""What a key holds, as a label: missing, or checked and in eV, eV/A and eV/A^3."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.structures.units import voigt_from_matrix

if TYPE_CHECKING:
    from ase import Atoms

#: A stress matrix may differ from its transpose by this, in eV/A^3, and still count as symmetric.
_ASYMMETRY = 1e-4
#: Texts for what is missing, besides NaN.
_NOTHING = frozenset({"", "nan", "none", "null", "na", "n/a"})
_EXPECTED = {
    "energy": "one energy in eV",
    "forces": "forces of shape ({n}, 3) in eV/A",
    "stress": "a stress in eV/A^3",
    "virial": "a virial in eV",
}

Array = NDArray[np.float64]


def label_value(quantity: str, value: Any, atoms: Atoms, unit: float = 1.0) -> float | Array | None:
    """A label: energy in eV, forces (n, 3) in eV/A, or stress (6,) in eV/A^3, Voigt xx, yy, zz, yz, xz, xy.

    A virial gives the stress: minus virial by volume. NaN, an empty value or a word like `None` is a missing label, and
    so are forces or a stress with NaN somewhere: None.

    Args:
        quantity: "energy", "forces", "stress" or "virial".
        value: what the structure has.
        atoms: the structure.
        unit: what one of the value's unit is in eV, eV/A or eV/A^3.

    Raises:
        DataError: a value of the wrong shape or type, one that is infinite, or a stress that is not symmetric; the
            message goes on after the name of the key.
    """
    if isinstance(value, str) and is_missing(value):
        return None
    try:
        array = np.asarray(_no_flag(value), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"is {value!r}: expected {_expected(quantity, atoms)}.") from None
    if array.size == 0 and len(atoms):
        return None
    finite = np.isfinite(array).all()
    if not finite:
        _refuse_infinity(array, _expected(quantity, atoms))
    array = _SHAPED[quantity](array, atoms)
    if not finite and np.isnan(array).any():
        return None
    if quantity == "energy":
        return float(array) * unit
    if quantity == "virial":
        return array * (-unit / atoms.cell.volume)
    return array if unit == 1.0 else array * unit


def _no_flag(value: Any) -> Any:
    """ASE's reader takes a word without a value for True, which is no 1.0 eV."""
    if isinstance(value, bool | np.bool_):
        raise TypeError
    return value


def is_missing(text: str) -> bool:
    """Whether a text stands for a value that is missing."""
    return text.strip().lower() in _NOTHING


def _expected(quantity: str, atoms: Atoms) -> str:
    return _EXPECTED[quantity].format(n=len(atoms))


def _refuse_infinity(array: Array, expected: str) -> None:
    infinite = np.argwhere(np.isinf(np.atleast_1d(array)))
    if len(infinite):
        wild = tuple(int(k) for k in infinite[0])
        where = f" at {wild}" if array.ndim else ""
        raise DataError(f"holds {np.atleast_1d(array)[wild]}{where}: expected {expected}, all finite.")


def _energy(array: Array, atoms: Atoms) -> Array:
    if array.size != 1:
        raise DataError(f"has shape {array.shape}: expected one total energy in eV.")
    return array.reshape(())


def _forces(array: Array, atoms: Atoms) -> Array:
    if array.shape == () and np.isnan(array):
        return array
    if array.shape != (len(atoms), 3):
        raise DataError(f"has shape {array.shape}: expected ({len(atoms)}, 3), one force in eV/A per atom.")
    return array


def _stress(array: Array, atoms: Atoms) -> Array:
    return _voigt(array, "a stress in eV/A^3", 1.0)


def _virial(array: Array, atoms: Atoms) -> Array:
    return _voigt(array, "a virial in eV", atoms.cell.volume)


def _voigt(array: Array, expected: str, scale: float) -> Array:
    """Six components of a symmetric matrix; `scale` is what one eV/A^3 of stress is in the unit of the values."""
    if array.shape == (6,) or (array.shape == () and np.isnan(array)):
        return array
    if array.shape == (9,):
        array = array.reshape(3, 3)
    if array.shape != (3, 3):
        raise DataError(f"has shape {array.shape}: expected {expected} as 3x3, 9 or 6 (xx yy zz yz xz xy) values.")
    if np.abs(array - array.T).max() > max(_ASYMMETRY * scale, 1e-3 * np.abs(array).max()):
        raise DataError(f"is not symmetric ({array.ravel().tolist()}): expected {expected}, symmetric.")
    return voigt_from_matrix(array)


_SHAPED: dict[str, Callable[[Array, Atoms], Array]] = {
    "energy": _energy,
    "forces": _forces,
    "stress": _stress,
    "virial": _virial,
}
