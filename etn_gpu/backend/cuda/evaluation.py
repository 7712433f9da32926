"""Energies, forces and virials of many structures, from positions to results without leaving the device.

How many kernels are started does not depend on the structures, and one number comes back to the host in between: how
many edges there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.executable import DeviceGeometry, Executable
from etn_gpu.backend.cuda.executor import compiled
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.neighbours import DeviceEdges, NeighbourSearch, search_bytes
from etn_gpu.backend.cuda.slots import SlotFiller
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.backend.cuda.sums import Segments, Sums
from etn_gpu.backend.cuda.terms import DeviceTerms, TermKernels
from etn_gpu.backend.terms import TermTables
from etn_gpu.plan.program import Program

_LANES_PER_ATOM = 8
#: What a GPU takes beside keys and results to sort 64-bit keys: copies of keys and of indices, and about as much again.
_SORTING_BYTES = 40


@dataclass(frozen=True)
class DeviceResults:
    """Results on a device, float64: energies of atoms [N] and of structures, energy [S], in eV; where gradients were
    asked for, forces [N, 3] in eV/A, and virials of atoms [N, 6] and of structures, virial [S, 6], in eV (xx, yy, zz,
    yz, xz, xy). nearest [S] is the square of the shortest edge in A^2, -1 where the search lost pairs to round-off;
    margin [S] the least distance beyond the limit of its pair of species in A; both are infinite without edges. squares
    [N] are those of the grades, where the Program has them, weights [N] those of the network, where there are terms.
    """

    energies: DeviceArray
    energy: DeviceArray
    forces: DeviceArray | None
    virials: DeviceArray | None
    virial: DeviceArray | None
    nearest: DeviceArray
    margin: DeviceArray
    squares: DeviceArray | None
    weights: DeviceArray | None


class _Tools:
    """The kernels that every model uses."""

    def __init__(self, device: Device) -> None:
        self.search = NeighbourSearch(device)
        self.sums = Sums(device)
        self.slots = SlotFiller(device)
        self.margins = Module.of_source(device, "margins.cu")
        self.terms = TermKernels(device)

    @property
    def launches(self) -> int:
        return sum(tool.launches for tool in (self.search, self.sums, self.slots, self.margins, self.terms))


@lru_cache(maxsize=8)
def _tools(device: Device) -> _Tools:
    return _Tools(device)


class Evaluator:
    """A potential on a device.

    Args:
        device: where to run.
        programs: the Program of atomic energies beyond the references (edge input x, output e), and that of these and
            edge gradients (inputs x and e_bar, outputs e and g).
        parameters: the parameter inputs of both, flat.
        references: [n_species] reference energies in eV.
        limits: [n_species, n_species] closest distances in A that count as known, 0 where there are none.
        cutoff: in A.
        dtype: float32 or float64, of everything between edge vectors, which are float64, and energies of atoms, which
            are float64 again with all sums.
        tables: those of the terms beside the network, None without any.

    Raises:
        BackendError: a Program that cannot be lowered, or kernels that do not compile.
    """

    def __init__(
        self,
        device: Device,
        programs: tuple[Program, Program],
        parameters: Mapping[str, NDArray[np.float64]],
        references: NDArray[np.float64],
        limits: NDArray[np.float64],
        cutoff: float,
        dtype: np.dtype,
        tables: TermTables | None = None,
    ) -> None:
        self.device = device
        self.cutoff = cutoff
        self._tools = _tools(device)
        self._programs = programs
        self._parameters = parameters
        self._dtype = np.dtype(dtype)
        self._ready: dict[bool, tuple[Executable, Any]] = {}
        self._references = device.to_device(np.asarray(references, np.float64))
        self._limits = device.to_device(np.asarray(limits, np.float64))
        self._terms = None if tables is None else DeviceTerms(self._tools.terms, tables)
        self._ones = device.to_device(np.ones((0, 1)))
        device.synchronize()

    @property
    def launches(self) -> int:
        """How many kernels were started so far, those of other models on the device included."""
        return self._tools.launches + sum(program.launches for program, _ in self._ready.values())

    def bytes(self, n_structures: Any, n_atoms: Any, n_edges: Any, gradients: bool = True) -> Any:
        """Bytes of device memory that a batch needs, its own arrays and its results included.

        Numbers, or arrays of them for many batches at once.
        """
        program, _ = self._program(gradients)
        structures = 108 * n_structures + 28 * n_atoms
        slots = (8 + 8 + 4) * (n_atoms + 32)
        results = (8 + 8 + 8 + 72 * gradients) * n_atoms + 80 * n_structures
        search = search_bytes(n_structures, n_atoms, n_edges)
        sorting = _SORTING_BYTES * n_atoms
        terms = 0 if self._terms is None else self._terms.bytes(n_atoms)
        return structures + search + slots + sorting + program.bytes(n_atoms, n_edges) + results + terms

    def evaluate(self, structures: DeviceStructures, segments: Segments, *, gradients: bool = True) -> DeviceResults:
        """Results of a batch; ``segments`` are the atoms of its structures. Forces and virials where ``gradients``.

        Raises:
            DeviceMemoryError: the device has no room; nothing is kept then.
        """
        edges = self._tools.search.find(structures, self.cutoff)
        return self.of_edges(structures, edges, segments, gradients=gradients)

    def of_edges(
        self, structures: DeviceStructures, edges: DeviceEdges, segments: Segments, *, gradients: bool = True
    ) -> DeviceResults:
        """Results of a batch whose edges, none of them longer than needed for the cutoff, are known."""
        sums = self._tools.sums
        program, parameters = self._program(gradients)
        inputs = {"x": edges.vectors}
        terms = None
        if self._terms is not None:
            terms = self._terms.at(edges.vectors, edges.offsets, structures.species, edges.species)
        if gradients:
            inputs["e_bar"] = self._ones_for(structures.n_atoms) if terms is None else terms.weights
        slots = self._tools.slots.fill(structures.species)
        geometry = DeviceGeometry(edges.offsets, edges.species, slots, edges.neighbour, edges.reverse)
        outputs, _ = program.run(parameters, inputs, geometry)
        values = outputs["e"].reshape(-1)
        if terms is not None:
            if gradients:
                terms.add_to_gradients(values, outputs["g"])
            values = terms.energies(values)
        energies = sums.energies(values, self._references, structures.species)
        forces = virials = virial = None
        if gradients:
            forces, virials = sums.forces_and_virials(outputs["g"], edges.vectors, edges.reverse, edges.offsets)
            virial = sums.sum(virials, segments)
        return DeviceResults(
            energies,
            sums.sum(energies, segments),
            forces,
            virials,
            virial,
            sums.minimum(edges.nearest, segments),
            sums.minimum(self._margins(structures, edges), segments),
            outputs["q"].reshape(-1) if "q" in outputs else None,
            None if terms is None else terms.weights.reshape(-1),
        )

    def _program(self, gradients: bool) -> tuple[Executable, Any]:
        """The Program with or without gradients, compiled when it is first needed, and its parameters."""
        if gradients not in self._ready:
            program = compiled(self.device, self._programs[gradients], self._dtype)
            self._ready[gradients] = program, program.parameters(self._parameters)
            self.device.synchronize()
        return self._ready[gradients]

    def _margins(self, structures: DeviceStructures, edges: DeviceEdges) -> DeviceArray:
        margins = self.device.empty(structures.n_atoms, np.float64)
        self._tools.margins["atom_margins"].over(
            structures.n_atoms, _LANES_PER_ATOM, vectors=edges.vectors, edge_offsets=edges.offsets,
            species=structures.species, edge_species=edges.species, limits=self._limits, margins=margins,
            n_species=structures.n_species, n_atoms=structures.n_atoms,
        )  # fmt: skip
        return margins

    def _ones_for(self, n_atoms: int) -> DeviceArray:
        if len(self._ones) < n_atoms:
            self._ones = self.device.to_device(np.ones((n_atoms, 1)))
            self.device.synchronize()
        return self._ones[:n_atoms]
