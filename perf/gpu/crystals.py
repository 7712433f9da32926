"""Structures as plain arrays: bcc solid solutions of any size, batches of them, and what else a screening may meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.backend.cuda.sums import Segments

SPECIES = ("Nb", "Mo", "Ta", "W")
CUTOFF = 5.0
#: Lattice constant of bcc crystals in A, which gives 50 neighbours inside the cutoff, and how far atoms are displaced.
LATTICE, DISPLACEMENT = 2.95, 0.05
#: Cubic cells of small structures, two atoms in each, by their number of atoms.
SMALL = {16: (2, 2, 2), 64: (4, 4, 2), 256: (8, 4, 4)}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Structures:
    """S structures with N atoms in all: atom_offsets [S+1]; species [N]; positions [N, 3] and cells [S, 3, 3] in A;
    pbc [S, 3]."""

    atom_offsets: NDArray[np.int64]
    species: NDArray[np.int32]
    positions: Array
    cells: Array
    pbc: NDArray[np.bool_]

    @property
    def n_atoms(self) -> int:
        """All atoms N."""
        return len(self.positions)

    @property
    def n_structures(self) -> int:
        """Number of structures S."""
        return len(self.cells)

    def only(self, s: int) -> Structures:
        """Structure ``s`` alone."""
        atoms = slice(self.atom_offsets[s], self.atom_offsets[s + 1])
        offsets = np.array([0, self.atom_offsets[s + 1] - self.atom_offsets[s]], np.int64)
        cell, pbc = self.cells[s : s + 1], self.pbc[s : s + 1]
        return Structures(offsets, self.species[atoms], self.positions[atoms], cell, pbc)

    def upload(self, device: Device) -> DeviceStructures:
        """The same on a device."""
        return DeviceStructures.upload(
            device, self.atom_offsets, self.species, self.positions, self.cells, self.pbc, len(SPECIES)
        )

    def segments(self, device: Device) -> Segments:
        """The atoms of each structure."""
        return Segments.upload(device, self.atom_offsets)


def bcc(rng: np.random.Generator, cells: tuple[int, int, int], n_structures: int = 1) -> Structures:
    """Random solid solutions with displaced atoms, ``cells`` cubic cells of two atoms each."""
    corners = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    sites = (LATTICE * (corners + np.array([[0.0] * 3, [0.5] * 3]))).reshape(-1, 3)
    n = len(sites)
    positions = sites + rng.normal(scale=DISPLACEMENT, size=(n_structures, n, 3))
    box = np.diag(LATTICE * np.array(cells, np.float64))
    return Structures(
        n * np.arange(n_structures + 1, dtype=np.int64),
        rng.integers(0, len(SPECIES), n_structures * n).astype(np.int32),
        positions.reshape(-1, 3),
        np.tile(box, (n_structures, 1, 1)),
        np.ones((n_structures, 3), np.bool_),
    )


def repeated(block: Structures, copies: tuple[int, int, int]) -> Structures:
    """One crystal of many copies of the only structure in ``block``: every atom has the surroundings of its original.

    The atoms of a copy follow one another.
    """
    corners = np.stack(np.meshgrid(*map(np.arange, copies), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = (block.positions + corners @ block.cells[0]).reshape(-1, 3)
    n_copies = len(corners)
    return Structures(
        np.array([0, len(positions)], np.int64),
        np.tile(block.species, n_copies),
        positions,
        block.cells * np.array(copies, np.float64)[:, None],
        block.pbc,
    )


def joined(many: Sequence[Structures]) -> Structures:
    """All structures in one batch."""
    sizes = np.concatenate([np.diff(s.atom_offsets) for s in many])
    return Structures(
        np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        np.concatenate([s.species for s in many]),
        np.concatenate([s.positions for s in many]),
        np.concatenate([s.cells for s in many]),
        np.concatenate([s.pbc for s in many]),
    )


def ragged(rng: np.random.Generator, cells: int) -> Structures:
    """A batch of all that a screening may meet, no two atoms closer than 2 A: a crystal of cells^3 cubic cells, one
    atom in a cell far smaller than the cutoff, a skewed cell, atoms outside of theirs, a slab, a wire without other
    vectors, a molecule, an atom alone.
    """
    crystal = bcc(rng, (cells,) * 3)
    small = bcc(rng, (2, 1, 1))
    skewed = small.cells[0] @ np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-1.0, 1.0, 1.0]])
    away = small.positions + rng.integers(-3, 4, (4, 3)) @ small.cells[0]
    slab = small.cells[0] + np.diag([0.0, 0.0, 7.0])
    molecule = np.array([[0.0, 0.0, 0.0], [2.3, 0.2, 0.0], [0.1, 2.5, 0.4]])
    wire = np.array([[0.0] * 3, [0.0] * 3, [0.3, 0.4, 2.7]])
    bare = np.zeros((3, 3))
    return joined(
        [
            crystal,
            _one(rng, np.zeros((1, 3)), LATTICE / 2 * (np.ones((3, 3)) - 2 * np.eye(3)), (True, True, True)),
            _one(rng, small.positions, skewed, (True, True, True)),
            _one(rng, away, small.cells[0], (True, True, True)),
            _one(rng, small.positions, slab, (True, True, False)),
            _one(rng, molecule[:1], wire, (False, False, True)),
            _one(rng, molecule, bare, (False, False, False)),
            _one(rng, molecule[:1], bare, (False, False, False)),
        ]
    )


def anything(rng: np.random.Generator, n_structures: int) -> Structures:
    """Few atoms at random places in and around cells of random shape, periodic along random vectors."""
    made: list[Structures] = []
    while len(made) < n_structures:
        cell = rng.normal(size=(3, 3)) * rng.uniform(2.0, 5.0)
        unit = cell / np.linalg.norm(cell, axis=1, keepdims=True)
        if abs(np.linalg.det(unit)) < 0.1 or abs(np.linalg.det(cell)) < 8.0:
            continue
        positions = rng.uniform(-2.0, 2.0, (rng.integers(1, 8), 3)) @ cell
        made.append(_one(rng, positions, cell, tuple(rng.random(3) < 0.7)))
    return joined(made)


def _one(rng: np.random.Generator, positions: Array, cell: Array, pbc: tuple[bool, ...]) -> Structures:
    species = rng.integers(0, len(SPECIES), len(positions)).astype(np.int32)
    return Structures(
        np.array([0, len(positions)], np.int64), species, positions, cell[None].astype(np.float64), np.array([pbc])
    )
