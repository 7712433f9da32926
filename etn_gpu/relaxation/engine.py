"""Relaxation of a stream of structures, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import NetworkError, RelaxationError, StructureError
from etn_gpu.interop import load
from etn_gpu.potential import Potential, Result
from etn_gpu.potential.base import BATCH_EDGES
from etn_gpu.potential.structure_lists import as_list
from etn_gpu.relaxation.flight import CpuFlight, Flight, Measured
from etn_gpu.relaxation.held import Held
from etn_gpu.relaxation.limits import Limits
from etn_gpu.relaxation.options import Options
from etn_gpu.relaxation.relaxed import Relaxed, Status
from etn_gpu.relaxation.thin import thin
from etn_gpu.structures.admission import admit

if TYPE_CHECKING:
    from ase import Atoms

Key = TypeVar("Key")
Array = NDArray[np.float64]
#: Atoms in flight. On a CPU: enough that what a step costs whatever it moves does not count, few enough for caches. On
#: a device a flight takes about 1 kB/atom, and its evaluation some ten.
FLIGHT_ATOMS, DEVICE_FLIGHT_ATOMS = 8192, 200_000


@dataclass
class _Passenger:
    """A structure in flight."""

    key: Any
    atoms: Atoms
    steps: int = 0


@dataclass(frozen=True)
class _End:
    """How a structure left."""

    status: Status
    message: str = ""


class Relaxation:
    """Relaxes structures, many of them together; what becomes of one does not depend on the others, bit for bit.

    Structures that have converged, failed or exploded leave, and the next ones enter.

    Args:
        model: an :class:`Potential`, the name of a shipped model, or the path of a model file.
        fmax, cell, pressure, steps, optimizer, limits: see :func:`relax`.
        backend: 'numba', 'numpy' or 'cuda' (default: ETN_GPU_BACKEND, else the best on a CPU).
        dtype: 'float64' or 'float32' of the network (default: the model's, on a GPU 'float32').
        threads: threads of the numba backend (default: all cores).
        atoms: most atoms in flight, unless a single structure has more (default: what suits the backend).

    Raises:
        RelaxationError: an option that means nothing.
        ModelFileError, BackendError: the model cannot be loaded, the backend or dtype cannot be used here.
        NetworkError: the potential has a covariant output instead of an energy.
    """

    def __init__(
        self,
        model: Potential | str | PathLike[str],
        *,
        fmax: float = 0.01,
        cell: Literal["none", "full", "volume"] = "none",
        pressure: float = 0.0,
        steps: int = 500,
        optimizer: Literal["lbfgs", "fire"] = "lbfgs",
        limits: Limits | None = None,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
        atoms: int | None = None,
    ) -> None:
        self.options = Options(fmax, cell, pressure, steps, optimizer, Limits() if limits is None else limits)
        self.model = model if isinstance(model, Potential) else load(model)
        if not self.model.is_energy:
            raise NetworkError(f"this potential has the {self.model.output}; a relaxation needs an energy, 1x0e")
        self._backend = backends.resolve(backend)
        if dtype is not None:
            backends.check_dtype(dtype)
        self._dtype = dtype
        if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
            raise RelaxationError(f"threads = {threads!r}: expected a whole number, 1 or more, or None")
        self._threads = threads
        if atoms is not None and (not isinstance(atoms, int | np.integer) or atoms < 1):
            raise RelaxationError(f"atoms = {atoms!r}: expected a whole number, 1 or more, or None")
        most = DEVICE_FLIGHT_ATOMS if self._backend == "cuda" else FLIGHT_ATOMS
        self._most_atoms = most if atoms is None else int(atoms)

    def run(self, structures: Iterable[tuple[Key, Atoms]]) -> Iterator[tuple[Key, Relaxed]]:
        """Relax structures, each with a key of its own, and yield them with their keys as they leave.

        They are read when there is room for them. None is changed. What cannot be evaluated leaves as 'failed'.
        """
        return _Run(self, structures).outcomes()

    def flight(self) -> Flight:
        """An empty flight on the backend."""
        if self._backend == "cuda":
            from etn_gpu.relaxation.device import DeviceFlight

            return DeviceFlight(self.model, self.options, self.model.precision("cuda", self._dtype))
        return CpuFlight(self.model, self.options, self._backend, self._dtype, self._threads, BATCH_EDGES)

    @property
    def most_atoms(self) -> int:
        """Most atoms in flight."""
        return self._most_atoms

    @property
    def evaluation(self) -> dict[str, Any]:
        """How to evaluate a structure by itself."""
        return {"backend": self._backend, "dtype": self._dtype, "threads": self._threads}


class _Run:
    """One call of :meth:`Relaxation.run`."""

    def __init__(self, relaxation: Relaxation, structures: Iterable[tuple[Any, Atoms]]) -> None:
        self.relaxation, self.options = relaxation, relaxation.options
        self.flight = relaxation.flight()
        self.passengers: list[_Passenger] = []
        #: Energies and enthalpies [S] in eV, volumes [S] in A^3 of the starts, nan before the first evaluation.
        self.first = np.empty((3, 0))
        self.waiting = iter(structures)
        self.next: _Passenger | None = None

    def outcomes(self) -> Iterator[tuple[Any, Relaxed]]:
        """Structures as they leave."""
        while True:
            yield from self._board()
            if not self.passengers:
                return
            now = self.flight.measure()
            new = np.isnan(self.first[0])
            self.first = np.where(new, [now.energies, now.enthalpies, now.volumes], self.first)
            ends = self._ends(now)
            if ends:
                yield from self._leave(ends, now)
            if self.passengers:
                self.flight.step()
                for passenger in self.passengers:
                    passenger.steps += 1

    def _board(self) -> Iterator[tuple[Any, Relaxed]]:
        """Let structures in while there is room; those that cannot be relaxed leave at once."""
        while found := self._next_ones():
            model = self.relaxation.model
            admitted = admit([passenger.atoms for passenger in found], model.species, model.cutoff)
            faults: dict[int, StructureError] = {}
            held: list[Held] = []
            for place, s in enumerate(admitted.kept):
                try:
                    held.append(_held(found[s].atoms, self.options))
                except StructureError as error:
                    faults[place] = error
            admitted = admitted.without(faults)
            for s, failure in admitted.failures.items():
                yield found[s].key, _as_given(found[s].atoms, str(failure))
            if len(admitted.kept):
                self.flight.enter(admitted, held)
                self.passengers += [found[s] for s in admitted.kept]
                self.first = np.concatenate((self.first, np.full((3, len(admitted.kept)), np.nan)), axis=1)

    def _next_ones(self) -> list[_Passenger]:
        """The next structures for which there is room."""
        found: list[_Passenger] = []
        aboard = int(self.flight.layout.atom_offsets[-1])
        while True:
            if self.next is None:
                self.next = next((_Passenger(key, atoms) for key, atoms in self.waiting), None)
            if self.next is None:
                return found
            size = len(self.next.atoms) if hasattr(self.next.atoms, "__len__") else 0
            if aboard and aboard + size > self.relaxation.most_atoms:
                return found
            found.append(self.next)
            aboard, self.next = aboard + size, None

    def _ends(self, now: Measured) -> dict[int, _End]:
        """Which structures leave, by their place in flight, and why."""
        options, passengers = self.options, self.passengers
        ends: dict[int, _End] = {}
        for s, message in now.failures.items():
            ends[s] = _End("failed", message) if passengers[s].steps == 0 else _End("exploded", message)
        _, enthalpies, volumes = self.first
        for s, message in options.limits.broken(now, enthalpies, volumes, self.flight.layout.sizes):
            ends.setdefault(s, _End("exploded", message))
        largest = np.maximum(now.atoms, now.cell)
        for place in np.flatnonzero(largest < options.fmax):
            ends.setdefault(int(place), _End("converged"))
        steps = np.array([passenger.steps for passenger in passengers])
        for place in np.flatnonzero(steps >= options.steps):
            text = f"after {steps[place]} steps {largest[place]:.3g} eV/A are left, fmax is {options.fmax:g}"
            ends.setdefault(int(place), _End("not converged", text))
        return dict(sorted(ends.items()))

    def _leave(self, ends: dict[int, _End], now: Measured) -> Iterator[tuple[Any, Relaxed]]:
        """Let structures out, with what the model says of them at the end."""
        leaving = np.array(list(ends), np.int64)
        structures = []
        for s, (positions, cell) in zip(leaving, self.flight.places(leaving), strict=True):
            atoms = self.passengers[s].atoms.copy()
            if ends[int(s)].status != "failed":
                atoms.set_cell(cell, apply_constraint=False)
                atoms.set_positions(positions, apply_constraint=False)
            structures.append(atoms)
        results = self.relaxation.model.evaluate_each(structures, **self.relaxation.evaluation)
        doubtful = [
            k
            for k, (s, result) in enumerate(zip(leaving, results, strict=True))
            if ends[int(s)].status == "converged" and not self.options.limits.thin and _may_be_thin(result)
        ]
        for k, message in zip(doubtful, thin(self.relaxation.model, [structures[k] for k in doubtful]), strict=True):
            if message:
                ends[int(leaving[k])] = _End("exploded", message)
        for s, atoms, result in zip(leaving, structures, results, strict=True):
            end, passenger = ends[int(s)], self.passengers[s]
            known = None if isinstance(result, StructureError) else result
            residuals = [None if known is None else _number(values[s]) for values in (now.atoms, now.cell)]
            if known is not None:
                atoms.calc = _calculator(atoms, known)
            initial = _number(self.first[0, s])
            yield passenger.key, Relaxed(atoms, end.status, end.message, passenger.steps, initial, known, *residuals)
        keep = np.ones(len(self.passengers), dtype=bool)
        keep[leaving] = False
        self.flight.leave(keep)
        self.passengers = [passenger for passenger, stays in zip(self.passengers, keep, strict=True) if stays]
        self.first = self.first[:, keep]


def relax(
    model: Potential | str | PathLike[str],
    structures: Atoms | Iterable[Atoms],
    *,
    fmax: float = 0.01,
    cell: Literal["none", "full", "volume"] = "none",
    pressure: float = 0.0,
    steps: int = 500,
    optimizer: Literal["lbfgs", "fire"] = "lbfgs",
    limits: Limits | None = None,
    backend: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> list[Relaxed]:
    """Relax one or many structures together, in the order in which they are given.

    The cell is relaxed as by ASE's FrechetCellFilter, along the periodic directions only, and structures without any
    relax their atoms. Constraints FixAtoms, FixCartesian and FixSymmetry are kept. The structures are not changed, and
    one that cannot be evaluated costs no other: its ``status`` is 'failed'.

    Args:
        model: an :class:`Potential`, the name of a shipped model, or the path of a model file.
        structures: ``ase.Atoms``, or any number of them.
        fmax: in eV/A; a structure has converged when no row of its generalised forces is longer, as in ASE.
        cell: 'none' moves atoms only, 'full' the cell too, 'volume' the cell without changing its shape.
        pressure: external pressure in GPa; the cell must be relaxed, and periodic in all three directions.
        steps: most steps of a structure.
        optimizer: 'lbfgs', or 'fire' with the parameters of ASE, which needs several times as many steps.
        limits: bounds beyond which a structure has exploded.
        backend: 'numba', 'numpy' or 'cuda' (default: ETN_GPU_BACKEND, else the best on a CPU).
        dtype: 'float64' or 'float32' of the network (default: the model's, on a GPU 'float32').
        threads: threads of the numba backend (default: all cores).

    Raises:
        RelaxationError: an option that means nothing.
        StructureError: ``structures`` is neither Atoms nor several.
        ModelFileError, BackendError: the model cannot be loaded, the backend or dtype cannot be used here.
        NetworkError: the potential has a covariant output instead of an energy.
    """
    relaxation = Relaxation(
        model, fmax=fmax, cell=cell, pressure=pressure, steps=steps, optimizer=optimizer, limits=limits,
        backend=backend, dtype=dtype, threads=threads,
    )  # fmt: skip
    many = as_list(structures)
    found = dict(relaxation.run(enumerate(many)))
    return [found[k] for k in range(len(many))]


def _held(atoms: Atoms, options: Options) -> Held:
    if options.pressure != 0.0 and not atoms.pbc.all():
        pbc = tuple(map(bool, atoms.pbc))
        raise StructureError(f"a pressure needs periodicity in all three directions, got pbc = {pbc}.")
    return Held.of(atoms)


def _as_given(atoms: Any, message: str) -> Relaxed:
    """The end of a structure that never began; whatever was given is handed back."""
    return Relaxed(atoms.copy() if hasattr(atoms, "copy") else atoms, "failed", message, 0, None, None, None, None)


def _may_be_thin(result: Result | StructureError) -> bool:
    """Whether a structure can be unlike all training data: where a grade says that it is not, nobody need look."""
    if isinstance(result, StructureError):
        return False
    return result.extrapolating or "extrapolation_grade" not in result


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _calculator(atoms: Atoms, result: Result) -> Any:
    from ase.calculators.singlepoint import SinglePointCalculator

    names = ("energy", "free_energy", "energies", "forces", "stress", "stresses")
    return SinglePointCalculator(atoms, **{name: result[name] for name in names if name in result})
