"""Structures evaluated on a device, from their positions on, in parts that fit into its memory.

Parts take turns in two queues: while one is computed, the next is prepared and copied, and the last is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda import executor
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.evaluation import DeviceResults, Evaluator
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.backend.cuda.sums import Segments
from etn_gpu.errors import BackendError, DeviceMemoryError, StructureError
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.formulation import Form
from etn_gpu.potential.grade import THRESHOLD, structure_grades
from etn_gpu.potential.grade_program import FACTORS, graded_program, site_grades
from etn_gpu.potential.programs import programs
from etn_gpu.potential.references import REFERENCES
from etn_gpu.potential.results import BatchResult, Result
from etn_gpu.potential.selfcheck import ORACLE, TOLERANCES, largest_difference
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.admission import Admitted, admit
from etn_gpu.structures.geometry import cell_volumes
from etn_gpu.structures.validate import SAME_PLACE

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential.base import Potential

#: Most atoms of a part: enough to keep a GPU busy, few enough to keep copies and kernels side by side.
PART_ATOMS = 1_000_000
#: Share of the free memory that the parts in both queues may be expected to take.
MEMORY_SHARE = 0.8
#: More than the atoms of a solid have within the cutoff of any potential that ships.
PLENTY_OF_NEIGHBOURS = 400


@dataclass(frozen=True)
class _Part:
    """The structures first .. end-1 of those that were admitted."""

    first: int
    end: int

    def halves(self) -> list[_Part]:
        middle = (self.first + self.end) // 2
        return [_Part(self.first, middle), _Part(middle, self.end)]


def evaluate_each_on_device(
    model: Potential,
    structures: Sequence[Atoms],
    *,
    forces: bool,
    stress: bool,
    dtype: str,
    grade: bool = False,
    threshold: float = THRESHOLD,
    device: Device | None = None,
) -> list[Result | StructureError]:
    """See :meth:`Potential.evaluate_each`; ``device`` is the first GPU unless given.

    Raises:
        BackendError: the first results of such a model on the device are not those of NumPy.
        DeviceMemoryError: a single structure does not fit into the memory of the device.
    """
    device = device or executor.default_device()
    require_agreement(model, device, dtype)
    return _Run(model, structures, device, _Wanted(forces, stress, grade, threshold), dtype).outcomes()


#: Forms of potentials, with terms and grades or without, dtypes and devices that have been checked in this
#: process.
_agreeing: set[tuple[Form, bool, bool, str, Device]] = set()


def require_agreement(model: Potential, device: Device, dtype: str) -> None:
    """Check a kind of model against NumPy when it first runs on a device: wrong numbers must not pass in silence."""
    key = (model.form, model.terms is not None, model.grade is not None, dtype, device)
    if key in _agreeing:
        return

    everything = _Wanted(True, True, model.grade is not None, THRESHOLD)

    def evaluate(part: Potential, structures: list[Atoms]) -> list[Result]:
        results: list[Result] = []
        for outcome in _Run(part, structures, device, everything, dtype).outcomes():
            if isinstance(outcome, StructureError):
                raise outcome
            results.append(outcome)
        return results

    try:
        difference = largest_difference(model, evaluate)
    except StructureError as error:
        raise BackendError(
            f"the cuda backend cannot be compared with {ORACLE} for this model: on a structure made for that, {error}"
        ) from None
    if not difference <= TOLERANCES[dtype]:
        raise BackendError(
            f"the cuda backend does not agree with {ORACLE} for this model on {device.name}: a relative difference of "
            f"{difference:.1e} in {dtype}, {TOLERANCES[dtype]:g} is allowed. Use another backend, and report what "
            "`etn-gpu doctor` says."
        )
    _agreeing.add(key)


#: Models on devices, by device, dtype and whether they give grades. Molecular dynamics asks for one structure at a
#: time, and copying the parameters of its model each time would take longer than the model itself.
_evaluators: WeakKeyDictionary[Potential, dict[tuple[Device, str, bool], Evaluator]] = WeakKeyDictionary()


def evaluator_of(model: Potential, device: Device, dtype: str, graded: bool) -> Evaluator:
    """The model on the device, copied there when it is first needed."""
    of_model = _evaluators.setdefault(model, {})
    if (device, dtype, graded) not in of_model:
        both = programs(model.form)
        flat = {name: np.ravel(model.parameters[name]) for name in model.form.network_shapes}
        gradient = both.gradient
        if graded:
            assert model.grade is not None
            assert isinstance(model.form, Architecture)
            gradient = graded_program(model.form)
            flat[FACTORS] = np.ravel(model.grade.factors)
        of_model[device, dtype, graded] = Evaluator(
            device, (both.energy, gradient), flat, model.parameters[REFERENCES], model.minimum_distances,
            model.cutoff, np.dtype(dtype), model.term_tables,
        )  # fmt: skip
    return of_model[device, dtype, graded]


@dataclass(frozen=True)
class _Wanted:
    """What is asked for beside energies, and the grade above which a structure is taken for an extrapolation."""

    forces: bool
    stress: bool
    grade: bool
    threshold: float

    @property
    def gradients(self) -> bool:
        """Whether gradients of the energy are needed."""
        return self.forces or self.stress or self.grade


class _Run:
    """One call: the structures, the model on the device, and what is asked for."""

    def __init__(
        self, model: Potential, structures: Sequence[Atoms], device: Device, wanted: _Wanted, dtype: str
    ) -> None:
        self.model, self.structures, self.device = model, structures, device
        self.wanted, self.dtype = wanted, dtype
        self.admitted: Admitted = admit(structures, model.species, model.cutoff)
        self.evaluator = evaluator_of(model, device, dtype, wanted.grade)

    def outcomes(self) -> list[Result | StructureError]:
        """What came of each structure, in order."""
        outcomes: dict[int, Result | StructureError] = dict(self.admitted.failures)
        for part, results in self.results():
            outcomes |= zip(map(int, self.admitted.kept[part.first : part.end]), results, strict=True)
        return [outcomes[s] for s in range(len(self.structures))]

    def results(self) -> Iterator[tuple[_Part, list[Result | StructureError]]]:
        """Parts in order, with the results of their structures."""
        todo = list(reversed(list(self._parts())))
        pending: tuple[_Part, int, DeviceResults] | None = None
        queue = 0
        while todo:
            part = todo.pop()
            started: DeviceResults | None = None
            try:
                with self.device.queue(queue):
                    started = self._start(part)
            except DeviceMemoryError:
                if part.end - part.first == 1 and pending is None:
                    raise
            # Only now is nothing left of what was started in vain: the error held it.
            if started is None:
                # First make room: the other queue's part may be what fills the memory.
                if pending is None:
                    todo.extend(reversed(part.halves()))
                else:
                    todo.append(part)
                    yield pending[0], self._fetch(*pending)
                    pending = None
                self.device.release()
                continue
            if pending is not None:
                yield pending[0], self._fetch(*pending)
            pending = (part, queue, started)
            queue = 1 - queue
        if pending is not None:
            yield pending[0], self._fetch(*pending)

    def _parts(self) -> Iterator[_Part]:
        """Consecutive structures that together are small enough for half of the memory; single ones may be larger."""
        offsets = self.admitted.geometry.atom_offsets
        free = self.device.free_bytes()
        limit = np.inf if free is None else 0.5 * MEMORY_SHARE * free
        edge_offsets = np.concatenate(([0.0], np.cumsum(self._expected_edges(limit))))
        first, last = 0, len(offsets) - 1
        while first < last:
            end = int(np.searchsorted(offsets, offsets[first] + PART_ATOMS, side="right")) - 1
            counts = np.arange(1, max(end - first, 1) + 1)
            atoms, edges = offsets[first + counts] - offsets[first], edge_offsets[first + counts] - edge_offsets[first]
            fits = self.evaluator.bytes(counts, atoms, edges, gradients=self.wanted.gradients) <= limit
            size = len(counts) if fits.all() else max(int(np.argmin(fits)), 1)
            yield _Part(first, first + size)
            first += size

    def _expected_edges(self, limit: float) -> NDArray[np.float64]:
        """Edges of each structure, or as many as no structure of a solid has where even those fit into memory."""
        geometry = self.admitted.geometry
        plenty = PLENTY_OF_NEIGHBOURS * np.diff(geometry.atom_offsets)
        atoms = min(len(geometry.positions), PART_ATOMS)
        most = self.evaluator.bytes(
            geometry.n_structures, atoms, PLENTY_OF_NEIGHBOURS * atoms, gradients=self.wanted.gradients
        )
        if most <= limit:
            return plenty.astype(np.float64)
        return geometry.estimate_edges(self.model.cutoff)

    def _start(self, part: _Part) -> DeviceResults:
        geometry = self.admitted.geometry
        offsets = geometry.atom_offsets[part.first : part.end + 1]
        atoms, structures = slice(offsets[0], offsets[-1]), slice(part.first, part.end)
        on_device = DeviceStructures.upload(
            self.device,
            offsets - offsets[0],
            self.admitted.species_index[atoms],
            geometry.positions[atoms],
            geometry.cells[structures],
            geometry.pbc[structures],
            len(self.model.species),
        )
        segments = Segments.upload(self.device, offsets - offsets[0])
        return self.evaluator.evaluate(on_device, segments, gradients=self.wanted.gradients)

    def _fetch(self, part: _Part, queue: int, results: DeviceResults) -> list[Result | StructureError]:
        with self.device.queue(queue):
            host: dict[str, Any] = {
                name: None if array is None else self.device.to_host(array) for name, array in vars(results).items()
            }
        geometry = self.admitted.geometry
        offsets = geometry.atom_offsets[part.first : part.end + 1]
        structures = slice(part.first, part.end)
        grades = None if host["squares"] is None else site_grades(host["squares"], host["weights"])
        far = host["margin"] < 0.0
        if grades is not None:
            far = structure_grades(grades, offsets - offsets[0]) > self.wanted.threshold
        batch = BatchResult.of_sums(
            offsets - offsets[0],
            cell_volumes(geometry.cells[structures], geometry.pbc[structures]),
            host["energies"],
            host["energy"],
            host["forces"] if self.wanted.forces else None,
            (host["virials"], host["virial"]) if self.wanted.stress else None,
            grades,
            far,
            "cuda",
            self.dtype,
            np.sqrt(np.maximum(host["nearest"], 0.0)),
        )
        outcomes = batch.outcomes()
        for place in np.flatnonzero(host["nearest"] < SAME_PLACE**2):
            index = int(self.admitted.kept[part.first + place])
            outcomes[place] = self._overlap(index) if host["nearest"][place] >= 0.0 else lost_pairs()
        return outcomes

    def _overlap(self, index: int) -> StructureError:
        """The error of a structure with two atoms at one place, in the words of the list on the host."""
        batch = StructureBatch.build(
            [self.structures[index]], self.model.species, self.model.cutoff, on_error="collect"
        )
        (error,) = batch.failures.values()
        return error


def lost_pairs() -> StructureError:
    """The error of a structure in whose search for neighbours pairs were lost."""
    return StructureError(
        "pairs of atoms were lost to round-off in the search for neighbours: atoms lie too far outside of the cell, or "
        "the cell is too skewed; wrap the atoms (atoms.wrap()) or take a reduced cell (ase.build.niggli_reduce)"
    )
