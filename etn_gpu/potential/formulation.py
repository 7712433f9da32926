"""What a potential of another method is beside its numbers: species, cutoff, and the Program of its energy.

It stands where a network has its :class:`~etn_gpu.potential.architecture.Architecture`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from etn_gpu.errors import NetworkError
from etn_gpu.plan import Program
from etn_gpu.potential.architecture import Architecture, check_scope
from etn_gpu.potential.references import REFERENCES


@dataclass(frozen=True)
class Formulation:
    """A potential written as a Program.

    ``method`` names it ('MTP', 'SNAP', ...); ``species`` are chemical symbols; ``cutoff`` is in A. ``energy`` has the
    edge input ``x`` (vectors in A, components x, y, z), inputs in parameter space, and the output ``e`` [atom, 1]: the
    atomic energy in eV beyond the reference energy E0 of the species, which is added in float64. NetworkError where
    this is not so.
    """

    method: str
    species: tuple[str, ...]
    cutoff: float
    energy: Program

    def __post_init__(self) -> None:
        check_scope(self.species, self.cutoff)
        batched = [(v.name, v.space, v.size) for v in self.energy.inputs if v.space != "param"]
        if batched != [("x", "edge", 3)] or set(self.energy.output_names) != {"e"}:
            raise NetworkError(f"the Program of an energy takes x [edge 3] and gives e, got one of {batched}")
        if (e := self.energy.output("e")).space != "atom" or e.size != 1:
            raise NetworkError(f"the Program of an energy gives e [atom 1], got {e}")
        if self.energy.n_species not in (None, self.n_species):
            raise NetworkError(f"the Program has tables for {self.energy.n_species} species, expected {self.n_species}")

    def __hash__(self) -> int:
        return hash((self.method, self.species, self.cutoff, self.energy.digest))

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self.species)

    @property
    def is_energy(self) -> bool:
        """Whether the output is an atomic energy: it is."""
        return True

    @property
    def target(self) -> str:
        """Irrep of the output."""
        return "1x0e"

    @cached_property
    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the arrays that the Program takes, in its order."""
        return {v.name: (v.size,) for v in self.energy.inputs if v.space == "param"}

    @cached_property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array: those of the Program, and reference energies."""
        return self.network_shapes | {REFERENCES: (self.n_species,)}

    @property
    def described(self) -> str:
        """The kind of potential in words."""
        return f"{self.method}, cutoff {self.cutoff:g} A"

    @property
    def n_parameters(self) -> int:
        """Total number of parameters."""
        return sum(prod(shape) for shape in self.parameter_shapes.values())


#: How a potential computes energies.
Form = Architecture | Formulation
