"""ASE calculator of an ETN potential, with a neighbour list that is kept while the atoms move little.

The list is built with cutoff + skin. Let F be the linear map that takes the periodic cell vectors at the build to
those of now, and u_i = r'_i - F r_i - c what the atoms moved besides, c being the mean of r'_i - F r_i. Then
d' = F d + u_j - u_i for the vector of each pair, periodic images included, so that

    |d| <= |F^-1| (|d'| + 2 max_i |u_i|)

with the spectral norm of F^-1, and no pair that is inside the cutoff now is missing from the list as long as
|F^-1| (cutoff + 2 max_i |u_i|) <= cutoff + skin. In a fixed cell this is the usual rule, no atom moved more than
skin / 2 (a drift of all atoms apart). Pairs that are now beyond the cutoff are left out before an evaluation, which
costs less than evaluating them and makes it the very same, bit for bit, as one with a new list.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from os import PathLike
from threading import RLock
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import ConcurrentUseError, NetworkError, StructureError
from etn_gpu.interop import load
from etn_gpu.potential import Potential
from etn_gpu.potential.grade import LACKS_GRADE, THRESHOLD, check_threshold
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.geometry import frames
from etn_gpu.structures.moving import furthest_moved
from etn_gpu.structures.validate import LARGEST_COORDINATE, SAME_PLACE

ENERGIES = ("energy", "free_energy", "energies")
STRESSES = ("stress", "stresses")
_UNIT = np.eye(3)
_PARAMETERS = {"backend", "dtype", "threads", "skin", "grade", "threshold"}


@dataclass
class Statistics:
    """What a calculator has done: evaluations of the potential, and neighbour lists built for them."""

    evaluations: int = 0
    neighbour_lists: int = 0


@dataclass
class SkinList:
    """The neighbour list of the structure seen last, reused while no pair inside the cutoff can be missing."""

    model: Potential
    skin: float
    statistics: Statistics
    _built: tuple[NDArray[np.int64], StructureBatch] | None = field(default=None, init=False)

    def batch(self, atoms: Atoms) -> StructureBatch:
        """A batch of one structure with all edges shorter than the cutoff.

        Raises:
            StructureError: the structure cannot be evaluated.
        """
        if self._built is not None:
            numbers, built = self._built
            if _same(atoms.numbers, numbers) and self._covers(built, atoms):
                moved = built.with_vectors(atoms.positions, atoms.cell.array[None])
                if moved.shortest[0] >= SAME_PLACE:
                    return moved.within(self.model.cutoff)
        self._built = None
        batch = StructureBatch.build([atoms], self.model.species, self.model.cutoff + self.skin, on_error="collect")
        if batch.failures:
            raise batch.failures[0]
        self.statistics.neighbour_lists += 1
        self._built = atoms.numbers.copy(), batch
        return batch.within(self.model.cutoff)

    def _covers(self, built: StructureBatch, atoms: Atoms) -> bool:
        """Whether ``built`` holds every pair of ``atoms`` inside the cutoff; False for all that needs a closer look."""
        cell, pbc = atoms.cell.array, built.pbc
        if not _same(atoms.pbc, pbc[0]):
            return False
        forward, shrinkage = _UNIT, 1.0
        if not _same(cell, built.cells[0]):
            # of a cell that is nan no frame is asked for
            if not np.abs(cell).max() <= LARGEST_COORDINATE:
                return False
            forward = np.linalg.solve(frames(built.cells, pbc)[0], frames(cell[None], pbc)[0])
            shrinkage = np.linalg.svd(forward, compute_uv=False)[-1]
        furthest = furthest_moved(atoms.positions, built.positions, forward, LARGEST_COORDINATE)
        cutoff = self.model.cutoff
        return bool(cutoff + 2.0 * furthest <= shrinkage * (cutoff + self.skin))


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays of one kind are the same bit for bit; np.array_equal takes several times as long."""
    return a.shape == b.shape and a.tobytes() == b.tobytes()


class OneThread:
    """A context that one thread may be in at a time, and repeatedly; the next one gets an error, and does not wait."""

    def __init__(self) -> None:
        self._renew()

    def __enter__(self) -> None:
        if self._process != os.getpid():  # forked: the thread that was here did not come along
            self._renew()
        if not self._lock.acquire(blocking=False):
            raise ConcurrentUseError(
                "two threads use this calculator at the same time, but it holds the results of one structure only: "
                "make one for each thread; they may share the model, ETNCalculator(calculator.model)"
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[OneThread], tuple[()]]:
        return OneThread, ()

    def _renew(self) -> None:
        self._lock, self._process = RLock(), os.getpid()


class ETNCalculator(Calculator):
    """ASE calculator with energy, free_energy, energies (eV), forces (eV/A), stress and stresses (Voigt, eV/A^3).

    With a model of a dipole or a quantity of atoms it has that property alone: ``atoms.get_dipole_moment()`` in e*A, or
    ``atoms.calc.get_property(name, atoms)``.

    Args:
        model: an :class:`Potential`, the name of a shipped model, or the path of a model file.
        backend: 'numba', 'numpy' or 'cuda' (default: ETN_GPU_BACKEND, else the best on a CPU).
        dtype: 'float64' or 'float32' (default: the model's, on a GPU 'float32').
        threads: threads of the numba backend (default: all cores).
        species: chemical symbols of the types of a model file that does not say them (:func:`etn_gpu.load`).
        grade: compute extrapolation grades (:mod:`etn_gpu.potential.grade`) in every n-th evaluation, 0 for never
            (default: in every one, if the model has what they need); they cost about a fifth of an evaluation.
        threshold: the grade above which ``extrapolating`` is true.
        skin: neighbours are searched this far beyond the cutoff, in A, and kept until that may not suffice any more;
            the cuda backend, where a search costs less than copying a list, searches every time.

    ``results`` also has ``extrapolation_grade``, and ``extrapolation_grades`` [n] of the atoms, where they were
    computed. ``statistics`` counts evaluations and neighbour lists; ``extrapolating`` tells whether the structure
    evaluated last has a grade above the threshold, or, for a model without grades, whether two of its atoms are closer
    than any pair of their elements in the training data; where no grade was computed it keeps what the last one told.
    When only energies are asked for, forces and stress are not computed; else all of them at once.

    As every ASE calculator it holds the results of one structure, the latest: each thread needs a calculator of its
    own. They may share a model, ``ETNCalculator(model)``, which takes no memory. Processes forked at any time may use
    the calculator, each its own copy of it.

    Raises:
        ModelFileError: the model cannot be loaded.
        BackendError: the backend or dtype cannot be used here.
        NetworkError: the potential has a covariant output that is no known quantity, or lacks what grades need; a bad
            grade or threshold.
        StructureError: a bad skin; on evaluation, a structure that cannot be evaluated.
        ConcurrentUseError: on evaluation, another thread is being given a property.
    """

    name = "etn_gpu"
    implemented_properties = [*ENERGIES, "forces", *STRESSES]  # noqa: RUF012 - ASE's own interface
    discard_results_on_any_change = True
    #: The model knows neither charges nor magnetic moments.
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012 - ASE's own interface

    def __init__(
        self,
        model: Potential | str | PathLike[str],
        *,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
        species: Sequence[str] | None = None,
        skin: float = 0.5,
        grade: int | None = None,
        threshold: float = THRESHOLD,
    ) -> None:
        self.model = model if isinstance(model, Potential) else load(model, species=species)
        if self.model.quantity is not None:
            self.implemented_properties = [self.model.quantity.name]
        elif not self.model.is_energy:
            raise NetworkError(f"this potential has the {self.model.output}; a calculator needs an energy, 1x0e")
        self.statistics = Statistics()
        self._one_thread = OneThread()
        self.extrapolating = False
        super().__init__(backend=backend, dtype=dtype, threads=threads, skin=skin, grade=grade, threshold=threshold)

    def set(self, **parameters: Any) -> dict[str, Any]:
        """Change a parameter; results and the neighbour list are dropped if anything changes.

        Raises:
            BackendError, NetworkError, StructureError: as for a new calculator.
            TypeError: another parameter.
        """
        merged = {**self.parameters, **parameters}
        if unknown := set(merged) - _PARAMETERS:
            raise TypeError(f"unknown parameters {sorted(unknown)}; expected {', '.join(sorted(_PARAMETERS))}")
        backends.resolve(merged["backend"])
        if merged["dtype"] is not None:
            backends.check_dtype(merged["dtype"])
        skin = _checked_skin(merged["skin"])
        _check_grade(self.model, merged["grade"])
        check_threshold(merged["threshold"])
        changed: dict[str, Any] = super().set(**parameters)
        if changed:
            self._neighbours = SkinList(self.model, skin, self.statistics)
        return changed

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """What ASE stores beside results: the parameters that were given and a description of the model."""
        given = {key: value for key, value in self.parameters.items() if value is not None or not skip_default}
        return {"model": repr(self.model), **given}

    def export_properties(self) -> Properties:
        """The results that ASE knows, which extrapolation grades are none of."""
        known = {name for name in self.implemented_properties if name in all_outputs}
        return Properties({name: value for name, value in self.results.items() if name in known})

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed since the last calculation, of what the model knows, bit for bit whatever ``tol`` says.

        ASE compares within 1e-15, three times in each step of molecular dynamics, which takes as long as evaluating
        some tens of atoms.
        """
        before = self.atoms
        if before is None:
            return list(all_changes)
        pairs = {
            "positions": (before.positions, atoms.positions),
            "numbers": (before.numbers, atoms.numbers),
            "cell": (before.cell.array, atoms.cell.array),
            "pbc": (before.pbc, atoms.pbc),
        }
        return [name for name, (old, new) in pairs.items() if not _same(old, new)]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """A property, calculated if it must be.

        Raises:
            PropertyNotImplementedError: the stress of a structure that is not periodic in all three directions.
            StructureError: the structure cannot be evaluated.
            ConcurrentUseError: another thread is being given a property of this calculator.
        """
        structure = self.atoms if atoms is None else atoms
        if name in STRESSES and structure is not None and not all(structure.pbc):
            pbc = tuple(bool(periodic) for periodic in structure.pbc)
            raise PropertyNotImplementedError(f"{name} needs periodicity in all three directions, got pbc = {pbc}")
        with self._one_thread:
            return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the structure and fill ``results``.

        Raises:
            StructureError: the structure cannot be evaluated, or what came out is not finite.
            ConcurrentUseError: another thread uses this calculator now.
        """
        with self._one_thread:
            self._calculate(atoms, properties, system_changes)

    def _calculate(self, atoms: Atoms | None, properties: Sequence[str], system_changes: Sequence[str]) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {}
        if self.atoms is None:
            raise StructureError("there is no structure to calculate: expected an ase.Atoms")
        gradients = not set(properties) <= set(ENERGIES)
        options = {key: self.parameters[key] for key in ("backend", "dtype", "threads", "threshold")}
        every = self.parameters["grade"]
        if every is None:
            every = int(self.model.grade is not None)
        graded = every > 0 and self.statistics.evaluations % every == 0
        options |= {"forces": gradients, "stress": gradients, "grade": graded}
        options["backend"] = backends.resolve(options["backend"])
        if options["backend"] == "cuda" or self.model.quantity is not None:
            # Searching neighbours again is faster there than copying a list that is kept.
            (outcome,) = self.model.evaluate_each([self.atoms], **options)
            if not isinstance(outcome, StructureError):
                self.statistics.neighbour_lists += 1
        else:
            (outcome,) = self.model.evaluate_batch(self._neighbours.batch(self.atoms), **options).outcomes()
        if isinstance(outcome, StructureError):
            raise outcome
        self.statistics.evaluations += 1
        self.results = dict(outcome)
        if graded or not every:
            self.extrapolating = outcome.extrapolating

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: everything but the neighbour list, which is soon built again."""
        neighbours = SkinList(self.model, self._neighbours.skin, self.statistics)
        return {**self.__dict__, "_neighbours": neighbours}


def _check_grade(model: Potential, every: Any) -> None:
    if every is not None and (not isinstance(every, int | np.integer) or every < 0):
        raise NetworkError(f"grade = {every!r}: expected every how many evaluations, 0 for never, or None")
    if every and model.grade is None:
        raise NetworkError(f"the model {LACKS_GRADE}")


def _checked_skin(skin: Any) -> float:
    if isinstance(skin, int | float | np.number) and isfinite(skin) and skin >= 0:
        return float(skin)
    raise StructureError(f"skin = {skin!r}: expected a number of Angstrom, 0 or more")
