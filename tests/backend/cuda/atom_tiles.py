"""Atom stages on a device, against the NumPy backend: atoms into tiles, the kernel, and back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, numpy_backend
from etn_gpu.backend.columns import column_layout, total
from etn_gpu.backend.cuda.atom_stage import AtomStage, atom_stage
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.phases import split
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Program, Step, Value

TILE = 32
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """Steps on atoms: what they read, and what of them is kept."""

    inputs: tuple[Value, ...]
    steps: tuple[Step, ...]
    kept: frozenset[str]

    @property
    def values(self) -> dict[str, Value]:
        """All values by name."""
        return {v.name: v for v in (*self.inputs, *(s.out for s in self.steps))}

    @property
    def gradients(self) -> list[Value]:
        """The sums over atoms."""
        return [s.out for s in self.steps if s.out.space == "param"]

    def of_space(self, space: str) -> list[Value]:
        """Inputs of a space."""
        return [v for v in self.inputs if v.space == space]

    @staticmethod
    def of_program(program: Program) -> Case:
        """All atom steps of a Program; sums over edges are inputs, and what edges read is kept."""
        before, body, _ = split(program)
        values = {v.name: v for v in (*program.inputs, *(s.out for s in (*before, *body)))}
        steps = tuple(s for s in body if s.out.space != "edge" and not _sums_edges(s))
        made = {s.out.name for s in steps}
        read = dict.fromkeys(n for s in steps for t in s.terms for n in t.operands if n not in made)
        elsewhere = {n for s in body if s not in steps for t in s.terms for n in t.operands}
        kept = {n for n in made & (elsewhere | set(program.output_names.values())) if values[n].space == "atom"}
        return Case(tuple(values[n] for n in read), steps, frozenset(kept))

    def stage(self, dtype: str, **options: Any) -> AtomStage:
        """The case lowered."""
        parameters, gradients = column_layout(self.of_space("param")), column_layout(self.gradients)
        return atom_stage(
            "atoms", np.dtype(dtype), self.steps, self.kept, self.values, parameters, gradients, **options
        )  # fmt: skip

    def expected(self, inputs: Arrays, species: NDArray[np.int32]) -> Arrays:
        """What NumPy gives in float64, for atoms [n] of these species."""
        names = sorted(self.kept) + [v.name for v in self.gradients]
        program = Program(self.inputs, self.steps, tuple((n, n) for n in names))
        geometry = Geometry(np.zeros(len(species) + 1, np.int64), species, np.empty(0, np.int32))
        return numpy_backend.run(program, inputs, geometry, dtype=np.dtype(np.float64))

    def random_inputs(self, n_atoms: int, seed: int = 0) -> Arrays:
        """Numbers for all inputs."""
        rng = np.random.default_rng(seed)
        return {v.name: rng.standard_normal(v.size if v.space == "param" else (n_atoms, v.size)) for v in self.inputs}


def _sums_edges(step: Step) -> bool:
    return any(isinstance(term.operation, EdgeSum) for term in step.terms)


@dataclass(frozen=True)
class Slots:
    """Atoms in tiles of 32 slots, -1 where there is none; tiles in groups."""

    atoms: NDArray[np.int64]
    species: NDArray[np.int32]
    groups: NDArray[np.int64]

    @staticmethod
    def of(species: NDArray[np.int32], n_groups: int = 1) -> Slots:
        """All atoms, sorted by species, with gaps at the end."""
        n_tiles = -(-len(species) // TILE)
        atoms = np.full(n_tiles * TILE, -1, np.int64)
        atoms[: len(species)] = np.argsort(species, kind="stable")
        padded = np.where(atoms >= 0, species[atoms], 0) if len(species) else np.empty(0)
        groups = np.arange(n_groups + 1, dtype=np.int64) * n_tiles // n_groups
        return Slots(atoms, padded.astype(np.int32), groups)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Slots with an atom."""
        return self.atoms >= 0

    def members(self) -> list[NDArray[np.int64]]:
        """The atoms of each group."""
        parts = [self.atoms[TILE * a : TILE * b] for a, b in pairwise(self.groups)]
        return [np.sort(part[part >= 0]) for part in parts]

    def tiles(self, array: NDArray[Any]) -> NDArray[Any]:
        """[n_tiles, size, 32] of atoms [n, size], zeros in gaps."""
        slots = np.zeros((len(self.atoms), array.shape[1]), array.dtype)
        slots[self.there] = array[self.atoms[self.there]]
        return np.ascontiguousarray(slots.reshape(-1, TILE, array.shape[1]).transpose(0, 2, 1))

    def atoms_of(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """The other way; what stands in gaps must be finite."""
        slots = tiles.transpose(0, 2, 1).reshape(len(self.atoms), -1)
        assert np.isfinite(slots).all()
        result = np.empty((np.count_nonzero(self.there), slots.shape[1]), tiles.dtype)
        result[self.atoms[self.there]] = slots[self.there]
        return result


def run_stage(
    device: Device, stage: AtomStage, case: Case, inputs: Arrays, slots: Slots, dtype: str
) -> tuple[Arrays, NDArray[np.float64]]:  # fmt: skip
    """Kept values [n, size] by name and gradients [n_groups, P]."""
    kernel = Module(device, stage.text, "atoms.cu")[stage.name]
    n_tiles, n_groups = len(slots.atoms) // TILE, len(slots.groups) - 1
    flat = np.concatenate([np.empty(0), *(inputs[v.name] for v in case.of_space("param"))])
    given: dict[str, Any] = {
        "parameters": device.to_device(flat.astype(dtype)),
        "gradients": device.zeros((n_groups, total(column_layout(case.gradients))), np.float64),
        "atoms": device.to_device(slots.atoms),
        "slot_species": device.to_device(slots.species),
        "group_offsets": device.to_device(slots.groups),
    }
    if stage.work_rows:
        given["workspace"] = device.empty(n_groups * stage.work_rows * TILE, dtype)
    for argument in stage.arguments:
        if argument.role == "tiles in":
            given[argument.name] = device.to_device(slots.tiles(inputs[argument.value].astype(dtype)))
        else:
            given[argument.name] = device.empty((n_tiles, case.values[argument.value].size, TILE), dtype)
    kernel.launch(n_groups, stage.shared_bytes, **given)
    outputs = {a.value: slots.atoms_of(device.to_host(given[a.name])) for a in stage.arguments if a.role == "tiles out"}
    return outputs, device.to_host(given["gradients"])


def check(
    device: Device, case: Case, dtype: str, *, n_atoms: int = 41, n_species: int = 3, n_groups: int = 2, **options: Any
) -> AtomStage:  # fmt: skip
    """Run a case and compare with NumPy: 1e-10 in float64, 2e-5 in float32, relative to the largest number."""
    species = np.random.default_rng(7).integers(0, n_species, n_atoms).astype(np.int32)
    inputs, slots = case.random_inputs(n_atoms), Slots.of(species, n_groups)
    stage = case.stage(dtype, **options)
    outputs, gradients = run_stage(device, stage, case, inputs, slots, dtype)
    relative = 1e-10 if dtype == "float64" else 2e-5
    expected = case.expected(inputs, species)
    assert outputs.keys() == case.kept
    for name, values in outputs.items():
        close(values, expected[name], relative, name)
    for atoms, row in zip(slots.members(), gradients, strict=True):
        part = {v.name: inputs[v.name] if v.space == "param" else inputs[v.name][atoms] for v in case.inputs}
        wanted = case.expected(part, species[atoms])
        for name, (first, size) in column_layout(case.gradients).items():
            close(row[first : first + size], wanted[name], relative, name)
    return stage


def close(values: NDArray[Any], expected: NDArray[Any], relative: float, name: str) -> None:
    """Agreement relative to the largest number."""
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(values, expected, rtol=0, atol=relative * scale, err_msg=name)
