"""One row of a comparison: what an evaluation of a potential costs on a crystal, ours or a peer's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write
from common import timed
from peers.environments import Environments, Peer, PeerError

from etn_gpu import Potential
from etn_gpu.structures import StructureBatch


@dataclass(frozen=True)
class Row:
    """Microseconds per atom of processor time and of wall time for energy, forces and stress; lengths in A.

    ``neighbour_list`` says whether the time for it is 'excluded' or 'included'. A peer that did not run has a
    ``reason`` and no numbers.
    """

    label: str
    precision: str = "float64"
    cutoff: float | None = None
    neighbours: float | None = None
    cpu: float | None = None
    wall: float | None = None
    neighbour_list: str | None = None
    version: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Bench:
    """A crystal that all potentials evaluate: in memory, and as a file for the peers."""

    atoms: Atoms
    path: Path
    repeats: int
    environments: Environments

    @classmethod
    def of(cls, atoms: Atoms, folder: Path, repeats: int, environments: Environments) -> Bench:
        """Writes the crystal into ``folder``."""
        path = folder / "crystal.extxyz"
        write(path, atoms)
        return cls(atoms, path, repeats, environments)

    def own(self, label: str, model: Potential, dtype: str) -> Row:
        """Our potential, one thread."""
        batch = StructureBatch.build([self.atoms], model.species, model.cutoff)
        evaluate = partial(model.evaluate_batch, batch, backend="numba", dtype=dtype, threads=1)
        timing = timed(evaluate, self.repeats).per(len(self.atoms))
        neighbours = batch.n_edges / batch.n_atoms
        return Row(label, dtype, model.cutoff, neighbours, timing.cpu, timing.wall, "excluded")

    def peer(self, label: str, peer: Peer, potential: Callable[[], dict[str, Any]]) -> Row:
        """A peer's potential; ``potential`` is only called when the row is computed, and may raise PeerError."""
        try:
            job = {"task": "time", "potential": potential(), "structures": str(self.path), "repeats": self.repeats}
            answer = self.environments.ask(peer, job)
        except PeerError as error:
            return Row(label, reason=str(error))
        cutoff = answer["cutoff"]
        return Row(label, "float64", neighbours=self.neighbours(cutoff), **answer)

    def neighbours(self, cutoff: float) -> float:
        """Neighbours of an atom inside a cutoff, on average."""
        batch = StructureBatch.build([self.atoms], sorted(set(self.atoms.symbols)), cutoff)
        return batch.n_edges / batch.n_atoms
