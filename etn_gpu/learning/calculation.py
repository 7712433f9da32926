"""One calculation of the teacher: a label that has been looked at, or the reason why there is none.

Calculators of ASE keep what they found last, and some compute only what they are asked for. Here nothing is left of the
structure before, and everything is asked for at once.
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.learning.bare import bare
from etn_gpu.learning.labels import Failure, Label
from etn_gpu.learning.teacher import reason
from etn_gpu.structures.units import voigt_from_matrix

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["label_of"]


class _NoLabelError(Exception):
    """What came is no label; the message says why."""


def label_of(calculator: Any, structure: Atoms) -> Label | Failure:
    """The label of a structure, which stays as it is: energy and forces that belong together, stress if there is one.

    The energy is the one whose derivatives the forces are, ASE's ``free_energy``, where the calculator has it. There is
    a stress where all directions are periodic and the calculator implements it. Whatever the calculator raises, or
    gives that is no label, becomes a Failure; its traceback goes to standard error.
    """
    atoms = bare(structure)
    begin = time.perf_counter()
    try:
        energy, forces, stress = _computed(calculator, atoms)
        seconds = time.perf_counter() - begin
        _check_unchanged(atoms, structure)
        return Label(_energy(energy), _forces(forces, len(atoms)), _stress(stress), seconds)
    except _NoLabelError as error:
        message = str(error)
    except (Exception, SystemExit) as error:
        traceback.print_exc(file=sys.stderr)
        message = reason(error)
    return Failure(message, time.perf_counter() - begin)


def _computed(calculator: Any, atoms: Atoms) -> tuple[Any, Any, Any]:
    """Energy, forces and stress as the calculator gives them."""
    atoms.calc = calculator
    periodic = bool(atoms.pbc.all())
    _compute_at_once(calculator, atoms, periodic)
    try:
        forces = atoms.get_forces(apply_constraint=False)
    except NotImplementedError as error:
        raise _NoLabelError(
            f"the teacher gives no forces, without which nothing can be learnt ({reason(error)})"
        ) from None
    stress = None
    if periodic and hasattr(calculator, "get_stress"):
        try:
            stress = calculator.get_stress(atoms)
        except NotImplementedError:
            stress = None
    return _consistent_energy(calculator, atoms), forces, stress


def _compute_at_once(calculator: Any, atoms: Atoms, periodic: bool) -> None:
    """One calculation of everything, which ASE would otherwise ask for property by property, forgetting all before."""
    from ase.calculators.calculator import BaseCalculator, all_changes

    if not isinstance(calculator, BaseCalculator):
        return
    _forget(calculator)
    there = calculator.implemented_properties
    wanted = [name for name in ("energy", "free_energy", "forces", *(["stress"] if periodic else [])) if name in there]
    if getattr(calculator, "use_cache", True):
        calculator.atoms = atoms.copy()  # what ASE compares with when it decides whether results are up to date
    try:
        calculator.calculate(atoms, wanted, all_changes)
    except NotImplementedError:
        # Not all of it, for this structure at least; what there is will be asked for one by one.
        _forget(calculator)


def _forget(calculator: Any) -> None:
    calculator.atoms = None
    calculator.results = {}


def _consistent_energy(calculator: Any, atoms: Atoms) -> Any:
    try:
        energy = atoms.get_potential_energy(force_consistent=True, apply_constraint=False)
    except (NotImplementedError, TypeError):  # calculators from before ASE had the argument do not know it
        energy = None
    if energy is not None:
        return energy
    try:
        return atoms.get_potential_energy(apply_constraint=False)
    except NotImplementedError as error:
        raise _NoLabelError(f"the teacher gives no energy ({reason(error)})") from None


def _check_unchanged(atoms: Atoms, structure: Atoms) -> None:
    for name, now, before in (
        ("the elements", atoms.numbers, structure.numbers),
        ("the positions", atoms.positions, structure.positions),
        ("the cell", atoms.cell.array, structure.cell.array),
    ):
        if not np.array_equal(now, before, equal_nan=True):
            raise _NoLabelError(
                f"the teacher changed {name} of the structure that it was given: a relaxation is no label"
            )


def _energy(value: Any) -> float:
    numbers = _numbers("energy", value)
    if numbers.size != 1:
        raise _NoLabelError(f"the energy has shape {numbers.shape}, expected one number")
    return float(numbers.reshape(()))


def _forces(value: Any, n_atoms: int) -> NDArray[np.float64]:
    numbers = _numbers("forces", value)
    if numbers.shape != (n_atoms, 3):
        raise _NoLabelError(f"the forces have shape {numbers.shape}, expected {(n_atoms, 3)}")
    return numbers


def _stress(value: Any) -> NDArray[np.float64] | None:
    if value is None:
        return None
    numbers = _numbers("stress", value)
    if numbers.shape == (3, 3):
        return voigt_from_matrix(numbers)
    if numbers.shape != (6,):
        raise _NoLabelError(f"the stress has shape {numbers.shape}, expected (6,) or (3, 3)")
    return numbers


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    """A copy, which the calculator cannot change any more."""
    found = np.asarray(value)
    if found.dtype.kind not in "iuf":
        what = type(value).__name__ if found.dtype.kind == "O" else f"an array of {found.dtype.name}"
        raise _NoLabelError(f"the {name} came as {what}, expected real numbers")
    numbers = np.array(found, dtype=np.float64, order="C")
    if not np.isfinite(numbers).all():
        wrong = numbers[~np.isfinite(numbers)]
        count = f"{wrong.size} of {numbers.size} numbers, the first " if numbers.size > 1 else ""
        raise _NoLabelError(f"the {name} came with {count}{wrong[0]}" if count else f"the {name} came as {wrong[0]}")
    return numbers
