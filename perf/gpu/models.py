"""Potentials with random parameters whose site vectors are of order one and whose forces are of order 1 eV/A."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from bench_tensor import product_programs
from gpu import oracle
from gpu.crystals import CUTOFF, SPECIES, Array, Structures, bcc
from gpu.section import Code

import etn_gpu
from etn_gpu import backend
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.evaluation import Evaluator
from etn_gpu.plan import Program, ProgramBuilder
from etn_gpu.potential import Architecture, ETNPotential, Preset, preset_architecture
from etn_gpu.potential.presets import PRESETS
from etn_gpu.potential.programs import Programs, programs
from etn_gpu.potential.references import REFERENCES, atomic_energies

INNER = 1.8
#: The model whose Programs are tensor products, not potentials.
PRODUCT = "product"
#: What compiles in a moment for the emulator, with all that is special: two degrees and species embeddings.
TINY = Preset(2, (1, 1), ("1x0e+1x1o",), 2, 1)


@dataclass(frozen=True)
class Expected:
    """Results of structures in float64: energies [N] and energy [S], forces [N, 3], virials [N, 6], virial [S, 6]."""

    energies: Array
    energy: Array
    forces: Array
    virials: Array
    virial: Array


@dataclass(frozen=True)
class Model:
    """An architecture with parameters, flat and by name."""

    architecture: Architecture
    parameters: dict[str, Array]

    @cached_property
    def programs(self) -> Programs:
        """All Programs of the architecture."""
        return programs(self.architecture)

    @cached_property
    def limits(self) -> Array:
        """Distances in A below which a pair of species counts as too close; some pairs of a bcc crystal are."""
        n = len(SPECIES)
        return np.where(np.add.outer(np.arange(n), np.arange(n)) % 2, 2.4, 2.6)

    def evaluator(self, device: Device, dtype: str) -> Evaluator:
        """The potential on a device."""
        both = (self.programs.energy, self.programs.gradient)
        references = self.parameters[REFERENCES]
        return Evaluator(device, both, self.parameters, references, self.limits, CUTOFF, np.dtype(dtype))

    def run(self, program: Program, structures: Structures, edges: oracle.Edges) -> dict[str, Array]:
        """A Program of energies or gradients by NumPy in float64."""
        known = {"x": edges.vectors, "e_bar": np.ones((structures.n_atoms, 1)), **self.parameters}
        inputs = {v.name: known[v.name] for v in program.inputs}
        found = backend.run(program, inputs, edges.geometry(structures), backend="numpy")
        return {name: values.astype(np.float64) for name, values in found.items()}

    def expected(self, structures: Structures, edges: oracle.Edges) -> Expected:
        """Results by NumPy."""
        found = self.run(self.programs.gradient, structures, edges)
        forces, virials = oracle.forces_and_virials(edges, found["g"])
        energies = atomic_energies(found["e"][:, 0], self.parameters, structures.species)
        offsets = structures.atom_offsets
        return Expected(
            energies, oracle.segment_sums(energies, offsets), forces, virials, oracle.segment_sums(virials, offsets)
        )


@lru_cache(maxsize=8)
def architecture_of(name: str) -> Architecture:
    """The preset ``name``, the one called tiny, or that of the shipped model ``name``."""
    if name == "tiny" or name in PRESETS:
        return preset_architecture(TINY if name == "tiny" else name, SPECIES, CUTOFF, INNER)
    return etn_gpu.potential.load(name).architecture


def program_of(code: Code) -> Program:
    """What is to be compiled; it depends on no parameters."""
    if code.model == PRODUCT:
        return dict(zip(("forward", "both"), product_programs(), strict=True))[code.program]
    chosen: Program = getattr(programs(architecture_of(code.model)), code.program)
    return chosen


def potential(name: str, seed: int) -> ETNPotential:
    """The shipped model ``name``, or a preset with random parameters, as users have it."""
    if name != "tiny" and name not in PRESETS:
        return etn_gpu.potential.load(name)
    chosen = model(name, seed)
    shapes = chosen.architecture.parameter_shapes
    parameters = {key: values.reshape(shapes[key]) for key, values in chosen.parameters.items()}
    return ETNPotential(chosen.architecture, parameters, minimum_distances=chosen.limits)


@lru_cache(maxsize=8)
def model(name: str, seed: int) -> Model:
    """The preset ``name``, or the one called tiny, with parameters that follow from the seed."""
    rng = np.random.default_rng(seed)
    architecture = architecture_of(name)
    parameters = {key: rng.normal(size=int(np.prod(shape))) for key, shape in architecture.parameter_shapes.items()}
    scaled = Model(architecture, parameters)
    structures = bcc(rng, (2, 2, 2))
    edges = oracle.neighbour_list(structures, CUTOFF)

    def site(value: str) -> Array:
        program = ProgramBuilder(scaled.programs.energy).build({"v": value})
        return scaled.run(program, structures, edges)["v"][:, 1:]

    def scale(letters: str, values: Array) -> None:
        for key in [k for k in parameters if k[0] in letters]:
            parameters[key] /= np.std(values)

    # The site vector is linear in B and A but for the constant in its first component, what a layer adds to it is in M,
    # forces are in the last core and the readout P.
    scale("AB", site("v0" if architecture.layers else "v"))
    if architecture.layers:
        # Messages are polynomials of a high order: what they add is kept small beside what is there.
        scale("M", 4.0 * (site("v") - site("v0")))
    forces = scaled.expected(structures, edges).forces
    for key in [architecture.train.cores[-1].name, *(k for k in parameters if k[0] == "P")]:
        parameters[key] /= np.sqrt(np.mean(forces**2))
    return scaled
