"""What an evaluation returns: flat arrays for a batch, and one ASE-named dictionary per structure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.potential import assembly
from etn_gpu.potential.finite import not_finite
from etn_gpu.potential.grade import structure_grades
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]


class Result(dict[str, Any]):
    """Properties of one structure under ASE's names.

    energy, free_energy (eV), energies [n] (eV), forces [n, 3] (eV/A), stress [6] and its shares stresses [n, 6] (Voigt,
    eV/A^3; only where all three directions are periodic); extrapolation_grades [n] of the atoms and
    extrapolation_grade, the largest of them, where the potential gives grades (:mod:`etn_gpu.potential.grade`). Of a
    network for a dipole or a quantity of atoms it is that alone, under its name.

    ``extrapolating`` is True when the grade is above the threshold, or, without a grade, when two atoms are closer than
    any pair of their elements in the training data. ``closest`` is the distance of the two closest atoms in A, images
    included, inf where none are within the cutoff.
    """

    def __init__(self, properties: dict[str, Any], *, extrapolating: bool = False, closest: float = math.inf) -> None:
        super().__init__(properties)
        self.extrapolating, self.closest = extrapolating, closest


@dataclass(frozen=True)
class BatchResult:
    """Properties of a batch.

    energies [N] of atoms and energy [S] in eV, forces [N, 3] in eV/A, stress [S, 6] and its shares stresses [N, 6] in
    eV/A^3 (nan where not periodic in all three directions); None where not asked for. ``backend`` and ``dtype`` say
    what computed them. grades [N] are extrapolation grades.
    """

    atom_offsets: NDArray[np.int64]
    energies: Array
    energy: Array
    forces: Array | None
    stress: Array | None
    stresses: Array | None
    grades: Array | None
    extrapolating: NDArray[np.bool_]
    backend: str
    dtype: str
    #: Volumes [S] in A^3, nan where not periodic in all three directions.
    volumes: Array
    #: Distances of the closest atoms [S] in A, inf where none are within the cutoff.
    closest: Array
    #: dE/d(strain) [S, 6] in eV (Voigt), whatever the periodicity; None where stress was not asked for.
    virial: Array | None

    @staticmethod
    def assemble(
        batch: StructureBatch,
        energies: Array,
        forces: Array | None,
        virials: Array | None,
        grades: Array | None,
        extrapolating: NDArray[np.bool_],
        backend: str,
        dtype: str,
    ) -> BatchResult:
        """Sum up per structure; ``virials`` [N, 6] in eV."""
        offsets = batch.atom_offsets
        energy = assembly.segment_sum(energies[:, None], offsets)[:, 0]
        both = None if virials is None else (virials, assembly.segment_sum(virials, offsets))
        return BatchResult.of_sums(
            offsets, batch.volumes, energies, energy, forces, both, grades, extrapolating, backend, dtype,
            batch.shortest,
        )  # fmt: skip

    @staticmethod
    def of_sums(
        atom_offsets: NDArray[np.int64],
        volumes: Array,
        energies: Array,
        energy: Array,
        forces: Array | None,
        virials: tuple[Array, Array] | None,
        grades: Array | None,
        extrapolating: NDArray[np.bool_],
        backend: str,
        dtype: str,
        closest: Array,
    ) -> BatchResult:
        """Stresses from ``virials`` of atoms [N, 6] and of structures [S, 6] in eV, and ``volumes`` [S] in A^3."""
        stress = stresses = None
        if virials is not None:
            stresses = virials[0] / np.repeat(volumes, atom_offsets[1:] - atom_offsets[:-1])[:, None]
            stress = virials[1] / volumes[:, None]
        return BatchResult(
            atom_offsets, energies, energy, forces, stress, stresses, grades, extrapolating, backend, dtype, volumes,
            closest,
            None if virials is None else virials[1],
        )  # fmt: skip

    def outcomes(self) -> list[Result | StructureError]:
        """The result of each structure, or an error in the place of one whose results are not finite."""
        failures = not_finite(self)
        return [failures.get(s, result) for s, result in enumerate(self)] if failures else list(self)

    def __iter__(self) -> Iterator[Result]:
        periodic = np.isfinite(self.volumes).tolist()
        grades = None if self.grades is None else structure_grades(self.grades, self.atom_offsets).tolist()
        ends, closest = self.atom_offsets.tolist(), self.closest.tolist()
        scalars = zip(self.energy.tolist(), self.extrapolating.tolist(), ends[:-1], ends[1:], strict=True)
        for s, (energy, extrapolating, a, b) in enumerate(scalars):
            properties: dict[str, Any] = {"energy": energy, "free_energy": energy}
            properties["energies"] = self.energies[a:b].copy()
            if self.forces is not None:
                properties["forces"] = self.forces[a:b].copy()
            if self.stress is not None and self.stresses is not None and periodic[s]:
                properties["stress"] = self.stress[s].copy()
                properties["stresses"] = self.stresses[a:b].copy()
            if self.grades is not None and grades is not None:
                properties["extrapolation_grade"] = grades[s]
                properties["extrapolation_grades"] = self.grades[a:b].copy()
            yield Result(properties, extrapolating=extrapolating, closest=closest[s])
