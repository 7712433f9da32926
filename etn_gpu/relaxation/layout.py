"""Where the rows of each structure lie: one for each atom, then three of its cell, as in ASE's filters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """S structures of ``sizes`` [S] atoms: N atoms, M = N + 3 S rows."""

    sizes: Indices

    @property
    def n_structures(self) -> int:
        """The number of structures S."""
        return len(self.sizes)

    @cached_property
    def atom_offsets(self) -> Indices:
        """First atom of each structure and the end [S+1]."""
        return np.concatenate(([0], np.cumsum(self.sizes))).astype(np.int64)

    @cached_property
    def row_offsets(self) -> Indices:
        """First row of each structure and the end [S+1]."""
        return self.atom_offsets + 3 * np.arange(len(self.sizes) + 1)

    @cached_property
    def structure_of_atom(self) -> Indices:
        """The structure of each atom [N]."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def structure_of_row(self) -> Indices:
        """The structure of each row [M]."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes + 3)

    @cached_property
    def atom_rows(self) -> Indices:
        """The row of each atom [N]."""
        return np.arange(self.atom_offsets[-1]) + 3 * self.structure_of_atom

    @cached_property
    def cell_rows(self) -> Indices:
        """The rows of each cell [S, 3]."""
        return self.row_offsets[1:, None] + np.arange(-3, 0)
