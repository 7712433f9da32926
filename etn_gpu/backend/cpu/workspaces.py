"""The memory that a compiled Program works in, kept between runs: to ask for it anew takes longer than a small cell."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.columns import total
from etn_gpu.backend.cpu.edges import EDGE_WIDTH
from etn_gpu.backend.cpu.ir import BYTES
from etn_gpu.backend.cpu.lowering import VECTORS, Lowered
from etn_gpu.backend.cpu.panels import RUN

Array = NDArray[np.floating]
#: Larger memory is given back to the system: what it takes to ask for it is nothing to what is done with it.
MOST_BYTES = 8_000_000
#: Room for this many edges more than are there: their number changes from step to step.
SPARE = 1.25


@dataclass(frozen=True)
class Workspace:
    """Arrays with a row for each worker, as :func:`driver.execute` takes them, and what they have room for."""

    workers: int
    n_species: int
    most_edges: int
    arrays: tuple[NDArray[np.generic], ...]

    def serves(self, workers: int, n_species: int, most_edges: int) -> bool:
        """Whether a run can use it."""
        return self.workers >= workers and self.n_species == n_species and self.most_edges >= most_edges


@dataclass(frozen=True)
class Workspaces:
    """Those of one Program. Runs at the same time have one each."""

    lowered: Lowered
    dtype: np.dtype
    _kept: list[Workspace] = field(default_factory=list)

    def take(self, workers: int, n_species: int, most_edges: int) -> Workspace:
        """One for so many workers, species and edges of a block. What is in it is left from an earlier run."""
        try:
            kept = self._kept.pop()
        except IndexError:
            kept = None
        if kept is not None and kept.serves(workers, n_species, most_edges):
            return kept
        return self._new(workers, n_species, int(SPARE * most_edges))

    def give(self, workspace: Workspace) -> None:
        """Keep it for the next run, unless there is one or it is large."""
        if not self._kept and sum(array.nbytes for array in workspace.arrays) <= MOST_BYTES:
            self._kept.append(workspace)

    def _new(self, workers: int, n_species: int, most: int) -> Workspace:
        lowered, lanes = self.lowered, BYTES // self.dtype.itemsize
        width = lanes * VECTORS
        in_width = total(lowered.inputs["edge"])
        sizes = (
            lowered.atom_rows * width,
            lowered.tile_elements,
            lowered.edge_elements,
            in_width * (most + EDGE_WIDTH),
            total(lowered.outputs["edge"]) * EDGE_WIDTH,
            (n_species + 1) * width,
        )
        arrays = (
            *(_rows(workers, size, self.dtype) for size in sizes),
            *(np.empty((workers, most, columns), np.int64) for columns in (RUN, 3, 5)),
            *(np.empty((workers, n_species), np.int64) for _ in range(2)),
        )
        return Workspace(workers, n_species, most, arrays)


def _rows(rows: int, size: int, dtype: np.dtype) -> Array:
    """[rows, size or a little more], every row at the start of a cache line: vectors then never lie in two of them."""
    length = -(-size * dtype.itemsize // BYTES) * BYTES
    memory = np.empty(rows * length + BYTES, np.uint8)
    first = -memory.ctypes.data % BYTES
    return memory[first : first + rows * length].view(dtype).reshape(rows, -1)
