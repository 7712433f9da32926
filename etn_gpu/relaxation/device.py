"""Structures in flight on a device: positions, cells and the state of the optimiser stay there from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda import executor
from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.backend.cuda.sums import Segments
from etn_gpu.potential import Potential
from etn_gpu.potential.on_device import evaluator_of, lost_pairs, require_agreement
from etn_gpu.relaxation.arithmetic import LARGEST_STRAIN, LONGEST_STEP, Fire, Lbfgs, optimiser
from etn_gpu.relaxation.composition import Composition, nobody
from etn_gpu.relaxation.flight import Flight, Measured, pressures_of
from etn_gpu.relaxation.held import Held
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.options import Options
from etn_gpu.structures.admission import Admitted
from etn_gpu.structures.geometry import StructureArrays, cell_volumes
from etn_gpu.structures.validate import SAME_PLACE, geometry_failures

Array = NDArray[np.float64]
_WARP = 32


class RelaxationKernels:
    """The kernels of ``relax.cu`` on a device; they compute what :class:`~.arithmetic.Arithmetic` describes."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._module = Module.of_source(device, "relax.cu")

    def place(
        self, rows: DeviceArray, start_cells: DeviceArray, atom_offsets: DeviceArray
    ) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """Positions, cells, deformations."""
        n = len(start_cells)
        positions = self._device.empty((len(rows) - 3 * n, 3), np.float64)
        cells, deformations = (self._device.empty((n, 3, 3), np.float64) for _ in range(2))
        self._module["relax_place"].over(
            n, _WARP, rows=rows, start_cells=start_cells, atom_offsets=atom_offsets, positions=positions, cells=cells,
            deformations=deformations, n_structures=n,
        )  # fmt: skip
        return positions, cells, deformations

    def generalised(self, given: dict[str, DeviceArray], symmetries: dict[str, DeviceArray] | None, cell: str) -> Any:
        """Generalised forces [M, 3]; ``given`` are arguments of the kernel, ``symmetries`` those of the one after."""
        n, rows = len(given["deformations"]), given["rows"]
        results = self._device.empty(rows.shape, np.float64)
        self._module["relax_forces"].over(
            n, _WARP, **given, results=results, hydrostatic=int(cell == "volume"), n_structures=n
        )
        if symmetries is None:
            return results
        symmetric = self._device.empty(rows.shape, np.float64)
        self._module["relax_symmetrise"].over(
            n, _WARP, rows=results, atom_offsets=given["atom_offsets"], **symmetries, results=symmetric, n_structures=n
        )
        return symmetric

    def largest(self, rows: DeviceArray, atom_offsets: DeviceArray) -> DeviceArray:
        """Lengths of the longest rows of atoms and of the cell, [S, 2]; NaN where a row is not finite."""
        n = len(atom_offsets) - 1
        results = self._device.empty((n, 2), np.float64)
        self._module["relax_largest"].over(
            n, _WARP, rows=rows, atom_offsets=atom_offsets, results=results, n_structures=n
        )
        return results

    def lbfgs(
        self, state: dict[str, DeviceArray], rows: DeviceArray, forces: DeviceArray, enthalpies: DeviceArray,
        atom_offsets: DeviceArray,
    ) -> DeviceArray:  # fmt: skip
        """A step [M, 3] of L-BFGS."""
        step, n = self._device.empty(rows.shape, np.float64), len(enthalpies)
        others = {name: array for name, array in state.items() if name != "enthalpies"}
        self._module["relax_lbfgs"].over(
            n, _WARP, rows=rows, forces=forces, enthalpies=enthalpies, atom_offsets=atom_offsets, **others,
            before=state["enthalpies"], step=step, stiffness=Lbfgs.STIFFNESS, bulk=Lbfgs.BULK,
            tolerance=Lbfgs.TOLERANCE, shortest=Lbfgs.SHORTEST,
            longest=LONGEST_STEP, largest_strain=LARGEST_STRAIN, memory=Lbfgs.MEMORY,
            n_structures=n,
        )  # fmt: skip
        return step

    def fire(
        self, state: dict[str, DeviceArray], rows: DeviceArray, forces: DeviceArray, enthalpies: DeviceArray,
        atom_offsets: DeviceArray,
    ) -> DeviceArray:  # fmt: skip
        """A step [M, 3] of FIRE."""
        step, n = self._device.empty(rows.shape, np.float64), len(enthalpies)
        self._module["relax_fire"].over(
            n, _WARP, forces=forces, atom_offsets=atom_offsets, **state, step=step, longest_time=Fire.LONGEST_TIME,
            growth=Fire.GROWTH, shrinkage=Fire.SHRINKAGE, first_mixing=Fire.MIXING, less_mixing=Fire.LESS_MIXING,
            patience=Fire.PATIENCE, longest=LONGEST_STEP, n_structures=n,
        )  # fmt: skip
        return step

    def advance(self, rows: DeviceArray, step: DeviceArray, fixed: DeviceArray, atom_offsets: DeviceArray) -> Any:
        """The rows after a step."""
        new, n = self._device.empty(rows.shape, np.float64), len(atom_offsets) - 1
        self._module["relax_advance"].over(
            n, _WARP, rows=rows, step=step, fixed=fixed, atom_offsets=atom_offsets, results=new, n_structures=n
        )
        return new

    def gather(
        self, values: DeviceArray, index: NDArray[np.int64], fill: DeviceArray | float, columns: int
    ) -> DeviceArray:
        """Some of the rows of so many numbers, by ``index`` [n], and ``fill`` where it is -1; of each layer, if the
        array has several."""
        layers = values.shape[0] if values.ndim == (2 if columns == 1 else 3) else 1
        old, new = values.size // layers // columns, len(index)
        shape = (*((layers,) if values.ndim == (2 if columns == 1 else 3) else ()), new, *((3,) if columns > 1 else ()))
        results = self._device.empty(shape, values.dtype)
        self._module[f"relax_gather_{values.dtype}"].over(
            layers * new * columns, values=values, index=self._device.to_device(index), results=results, fill=fill,
            layers=layers, n_values=old, n=new, columns=columns,
        )  # fmt: skip
        return results


class DeviceFlight(Flight):
    """See :class:`~.flight.Flight`; for the backend cuda.

    Raises:
        BackendError: the device does not compute what NumPy does, or kernels do not compile.
    """

    def __init__(self, model: Potential, options: Options, dtype: str, device: Device | None = None) -> None:
        self._device = device or executor.default_device()
        require_agreement(model, self._device, dtype)
        self._model, self._options = model, options
        self._evaluator = evaluator_of(model, self._device, dtype, False)
        self._kernels = RelaxationKernels(self._device)
        self._optimiser = optimiser(options.optimizer)
        self._move = getattr(self._kernels, options.optimizer)
        self._all = nobody()
        self._rows = self._device.to_device(np.empty((0, 3)))
        empty = self._optimiser.begin(self._all.layout)
        self._state = {field.name: self._device.to_device(getattr(empty, field.name)) for field in fields(empty)}
        self._forces, self._enthalpies = self._rows, np.empty(0)

    def enter(self, admitted: Admitted, held: Sequence[Held]) -> None:
        """Add structures after those that are there."""
        new = Composition.of(admitted, held, relaxed=self._options.cell != "none")
        self._all = self._all.joined(new)
        old = self._device.to_host(self._rows)
        self._rows = self._device.to_device(np.concatenate((old, new.rows)))
        more, rows = new.layout.n_structures, len(new.rows)
        self._choose(_and_new(self._all.layout.n_structures - more, more), _and_new(len(old), rows))
        self._upload()

    def leave(self, keep: NDArray[np.bool_]) -> None:
        """Keep some structures, ``keep`` [S]."""
        rows = np.flatnonzero(keep[self.layout.structure_of_row])
        self._all, self._enthalpies = self._all.take(keep), self._enthalpies[keep]
        self._rows, self._forces = (self._kernels.gather(a, rows, 0.0, 3) for a in (self._rows, self._forces))
        self._choose(np.flatnonzero(keep), rows)
        self._upload()

    def _choose(self, structures: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """The state of some structures, by index, -1 for one that begins."""
        begun = self._optimiser.begin(Layout(np.ones(1, np.int64)))
        for name, array in self._state.items():
            fill = getattr(begun, name).ravel()[0].item()
            if name in self._optimiser.of_structures:
                self._state[name] = self._kernels.gather(array, structures, fill, 1)
            else:
                self._state[name] = self._kernels.gather(array, rows, fill, 3)

    def _upload(self) -> None:
        """What the kernels need to know of the structures that are there now."""
        own, device = self._all, self._device
        self._offsets = device.to_device(own.layout.atom_offsets)
        self._species, self._pbc = device.to_device(own.species), device.to_device(own.start.pbc)
        self._cells, self._spans = device.to_device(own.start.cells), device.to_device(own.spans)
        self._fixed = device.to_device(own.fixed)
        self._segments = Segments.upload(device, own.layout.atom_offsets)
        self._symmetries = None
        if len(own.symmetries.structures):
            places = np.full(own.layout.n_structures, -1, np.int64)
            places[own.symmetries.structures] = np.arange(len(own.symmetries.structures))
            names = ("rotations", "rotation_offsets", "sources", "source_offsets")
            self._symmetries = {name: device.to_device(getattr(own.symmetries, name)) for name in names}
            self._symmetries["places"] = device.to_device(places)

    def measure(self) -> Measured:
        """Evaluate all of them."""
        own, device, start = self._all, self._device, self._all.start
        positions, moved, deformations = self._kernels.place(self._rows, self._cells, self._offsets)
        self._placed = positions, device.to_host(moved)
        cells = self._placed[1]
        # Steps are short, so positions are finite, and what can go wrong before the search is in the cells.
        now = StructureArrays(start.atom_offsets, start.numbers, start.positions, cells, start.pbc)
        faults = geometry_failures(now, own.species, self._model.species, self._model.cutoff)
        failures = {s: str(error) for s, error in faults.items()}
        if failures:
            positions, moved = self._without(failures)
        structures = DeviceStructures(
            self._offsets, self._species, positions, moved, self._pbc, len(self._model.species)
        )
        results = self._evaluator.evaluate(structures, self._segments)
        energies, squares = device.to_host(results.energy), device.to_host(results.nearest)
        virials = device.to_host(results.virial)
        volumes = cell_volumes(cells, start.pbc)
        pressed = np.where(np.isfinite(volumes) & (self._options.cell != "none"), self._options.stress * volumes, 0.0)
        given = {
            "rows": self._rows, "deformations": deformations, "forces": results.forces, "virials": results.virial,
            "pressed": device.to_device(pressed), "spans": self._spans, "fixed": self._fixed,
            "atom_offsets": self._offsets,
        }  # fmt: skip
        self._forces = self._kernels.generalised(given, self._symmetries, self._options.cell)
        largest = device.to_host(self._kernels.largest(self._forces, self._offsets))
        for s in np.flatnonzero(~(np.isfinite(energies) & np.isfinite(largest).all(axis=1))):
            failures.setdefault(int(s), "its energy or its forces came out as not a finite number.")
        for s in np.flatnonzero(squares < SAME_PLACE**2):
            lost = squares[s] < 0.0
            text = str(lost_pairs()) if lost else f"two atoms are at one place: expected at least {SAME_PLACE} A."
            failures.setdefault(int(s), text)
        energies[list(failures)] = np.nan
        self._enthalpies = energies + pressed
        return Measured(
            energies, self._enthalpies, volumes, pressures_of(virials, volumes), np.sqrt(np.maximum(squares, 0.0)),
            largest[:, 0], largest[:, 1], failures,
        )  # fmt: skip

    def _without(self, failures: dict[int, str]) -> tuple[DeviceArray, DeviceArray]:
        """Positions and cells with the start in the place of structures that cannot be searched."""
        positions, cells = self._device.to_host(self._placed[0]), self._placed[1].copy()
        of_atom = np.isin(self.layout.structure_of_atom, list(failures))
        positions[of_atom] = self._all.start.positions[of_atom]
        cells[list(failures)] = self._all.start.cells[list(failures)]
        return self._device.to_device(positions), self._device.to_device(cells)

    def step(self) -> None:
        """Move all of them, by what was measured last."""
        enthalpies = self._device.to_device(self._enthalpies)
        step = self._move(self._state, self._rows, self._forces, enthalpies, self._offsets)
        self._rows = self._kernels.advance(self._rows, step, self._fixed, self._offsets)

    def placed(self) -> tuple[Array, Array]:
        """Positions [N, 3] and cells [S, 3, 3] of all of them as they were measured last."""
        return self._device.to_host(self._placed[0]), self._placed[1]


def _and_new(old: int, new: int) -> NDArray[np.int64]:
    """All of ``old`` and then so many new ones."""
    return np.concatenate((np.arange(old), np.full(new, -1))).astype(np.int64)
