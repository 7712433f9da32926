"""Evaluate the Programs of a potential on a batch: energies, edge gradients, gradients in the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.backend import Geometry
from etn_gpu.backend.constants import Constants
from etn_gpu.backend.terms import SiteTerms, TermTables
from etn_gpu.plan import Program
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.formulation import Form
from etn_gpu.potential.grade_program import feature_program, graded_program, site_grades
from etn_gpu.potential.programs import programs
from etn_gpu.potential.references import REFERENCES, atomic_energies, references_gradient
from etn_gpu.structures import StructureBatch

Array = NDArray[np.floating]
Parameters = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Execution:
    """Where and how to run: backend name or None, dtype, threads or None."""

    backend: str | None = None
    dtype: str = "float64"
    threads: int | None = None


@dataclass(frozen=True)
class Environments:
    """Atoms with their edges, all that the Programs see of a batch: species, and edge vectors [E, 3] in A."""

    geometry: Geometry
    vectors: NDArray[np.float64]

    @staticmethod
    def of(batch: StructureBatch) -> Environments:
        """The environments of all atoms of a batch."""
        return Environments(
            Geometry(
                batch.edge_offsets,
                batch.species_index,
                batch.species_index[batch.neighbour],
                batch.neighbour,
                batch.reverse,
            ),
            batch.vectors,
        )

    def gather(self, atoms: NDArray[np.int64]) -> tuple[Environments, NDArray[np.int64]]:
        """The environments of ``atoms``, in that order and repeated as they are, and the edges they came from.

        Neighbours are not known in them: see :meth:`gather_runs`.
        """
        offsets = self.geometry.edge_offsets
        start, stop = offsets[atoms], offsets[atoms + 1]
        edges = ranges(start, stop)
        geometry = Geometry(
            np.concatenate(([0], np.cumsum(stop - start))),
            self.geometry.species[atoms],
            self.geometry.edge_species[edges],
        )
        return Environments(geometry, self.vectors[edges]), edges

    def gather_runs(
        self, start: NDArray[np.int64], stop: NDArray[np.int64]
    ) -> tuple[Environments, NDArray[np.int64], NDArray[np.int64]]:
        """The environments of the atoms start[k] .. stop[k]-1, whole structures, one run after the other; the atoms and
        the edges that they came from. Runs may be repeated, and the neighbours of an atom are those in its own."""
        atoms = ranges(start, stop)
        gathered, edges = self.gather(atoms)
        neighbour, reverse = self.geometry.neighbours()
        lengths, offsets = stop - start, self.geometry.edge_offsets
        n_edges = offsets[stop] - offsets[start]
        moved = np.repeat(np.cumsum(lengths) - lengths - start, n_edges)
        edges_moved = np.repeat(np.cumsum(n_edges) - n_edges - offsets[start], n_edges)
        geometry = replace(gathered.geometry, neighbour=neighbour[edges] + moved, reverse=reverse[edges] + edges_moved)
        return Environments(geometry, gathered.vectors), atoms, edges


def ranges(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ranges start[k] .. stop[k]-1, one after the other."""
    lengths = stop - start
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths - start, lengths)


class Kernel:
    """The Programs of one potential on one backend.

    ``before_run`` is called with each Program before it is executed; what it raises ends the computation. ``tables``
    are those of the terms beside the network; :meth:`energies` and :meth:`energies_and_gradients` have them, all other
    derivatives are the network's alone. Parameters that never change are best given as
    :class:`~etn_gpu.backend.constants.Constants`.
    """

    def __init__(
        self,
        form: Form,
        execution: Execution | None = None,
        before_run: Callable[[Program], None] = lambda program: None,
        tables: TermTables | None = None,
    ) -> None:
        self.form = form
        self.execution = execution or Execution()
        self.before_run = before_run
        self.tables = tables
        self.programs = programs(form)

    @property
    def _network(self) -> Architecture:
        """The architecture of a network, which alone has features and grades."""
        assert isinstance(self.form, Architecture), self.form.described
        return self.form

    def energies(self, parameters: Parameters, environments: Environments) -> NDArray[np.float64]:
        """Atomic energies [N] in eV, or the covariant output [N, 2l+1]."""
        out = self._run(self.programs.energy, parameters, environments)["e"]
        if not self.form.is_energy:
            return out.astype(np.float64)
        values: Array = out[:, 0]
        if self.tables is not None:
            values = self._terms(self.tables, environments).energies(values)
        return atomic_energies(values, parameters, environments.geometry.species)

    def energies_and_gradients(
        self, parameters: Parameters, environments: Environments
    ) -> tuple[NDArray[np.float64], Array]:
        """Atomic energies [N] in eV and edge gradients dE/dx_e [E, 3] in eV/A."""
        energies, gradient, _ = self._with_gradients(self.programs.gradient, parameters, environments)
        return energies, gradient

    def graded(
        self, parameters: Parameters, environments: Environments
    ) -> tuple[NDArray[np.float64], Array, NDArray[np.float64]]:
        """As :meth:`energies_and_gradients`, and the extrapolation grades [N]. One of the parameters is ``FACTORS``,
        the factors [S, n, n] of :class:`~etn_gpu.potential.grade.ExtrapolationGrade`."""
        program = graded_program(self._network)
        energies, gradient, grades = self._with_gradients(program, parameters, environments)
        assert grades is not None
        return energies, gradient, grades

    def features(self, parameters: Parameters, environments: Environments) -> NDArray[np.float64]:
        """Features [N, n] of the sites, see :mod:`etn_gpu.potential.grade_program`."""
        return self.features_and_weights(parameters, environments)[0]

    def features_and_weights(
        self, parameters: Parameters, environments: Environments
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Features [N, n] of the sites as :meth:`graded` has them, and the weights [N] that the terms leave to the
        network, None without terms."""
        weights = None if self.tables is None else self._terms(self.tables, environments).weights
        e_bar = np.ones(environments.geometry.n_atoms) if weights is None else weights
        out = self._run(feature_program(self._network), parameters, environments, e_bar=e_bar[:, None])
        return out["b"].astype(np.float64), weights

    def _with_gradients(
        self, program: Program, parameters: Parameters, environments: Environments
    ) -> tuple[NDArray[np.float64], Array, NDArray[np.float64] | None]:
        """Energies, edge gradients, and grades if the Program has them, with the terms beside the network."""
        terms = None if self.tables is None else self._terms(self.tables, environments)
        weights = np.ones(environments.geometry.n_atoms) if terms is None else terms.weights
        out = self._run(program, parameters, environments, e_bar=weights[:, None])
        values, gradient = out["e"][:, 0], out["g"]
        grades = site_grades(out["q"][:, 0], None if terms is None else weights) if "q" in out else None
        if terms is not None:
            terms.add_to_gradients(values, gradient)
            values = terms.energies(values)
        return atomic_energies(values, parameters, environments.geometry.species), gradient, grades

    def _terms(self, tables: TermTables, environments: Environments) -> SiteTerms:
        """The terms beside the network on these environments: by loops, unless the oracle was asked for."""
        of_backend: type[SiteTerms] = SiteTerms
        if backends.resolve(self.execution.backend) != "numpy":
            from etn_gpu.backend.cpu.terms import CompiledTerms

            of_backend = CompiledTerms
        return of_backend(tables, environments.geometry, environments.vectors, self.execution.threads)

    def hessian_vector(self, parameters: Parameters, environments: Environments, dx: NDArray[np.float64]) -> Array:
        """Derivative of the edge gradients along ``dx``, a displacement of the edge vectors in A: both [E, 3]."""
        e_bar = np.ones((environments.geometry.n_atoms, 1))
        program = self.programs.hessian_vector
        out = self._run(program, parameters, environments, dx=dx, e_bar=e_bar)
        return out["d_g"]

    def parameter_gradient(
        self,
        parameters: Parameters,
        environments: Environments,
        energy_bar: NDArray[np.float64],
        dx: NDArray[np.float64] | None,
        samples: NDArray[np.int64] | None = None,
    ) -> dict[str, Array]:
        """Gradient of sum_i energy_bar_i E_i + sum_e dx_e . dE/dx_e with respect to the parameters.

        energy_bar [N], of a covariant output [N, 2l+1]; dx [E, 3] in A, or None where only energies matter; one row per
        sample where ``samples`` are given (see :func:`etn_gpu.backend.run`).
        """
        e_bar = energy_bar.reshape(environments.geometry.n_atoms, -1)
        if dx is None:
            out = self._run(self.programs.energy_parameter_gradient, parameters, environments, samples, e_bar=e_bar)
        else:
            extra = {"dx": dx, "e_bar": e_bar, "de_bar": np.ones_like(e_bar)}
            out = self._run(self.programs.parameter_gradient, parameters, environments, samples, **extra)
        found = {name: out[f"{name}_bar"] for name in self.form.network_shapes}
        return found | self._references_gradient(environments, e_bar[:, 0], samples)

    def _references_gradient(
        self, environments: Environments, energy_bar: NDArray[np.float64], samples: NDArray[np.int64] | None
    ) -> dict[str, Array]:
        """The same gradient with respect to the reference energies, where there are any."""
        if not self.form.is_energy:
            return {}
        species = environments.geometry.species
        return {REFERENCES: references_gradient(energy_bar, species, self.form.n_species, samples)}

    def _run(
        self,
        program: Program,
        parameters: Parameters,
        environments: Environments,
        samples: NDArray[np.int64] | None = None,
        **extra: Array,
    ) -> dict[str, Array]:
        self.before_run(program)
        constants = parameters if isinstance(parameters, Constants) else None
        inputs = {"x": environments.vectors, **extra}
        if constants is None:
            inputs |= {name: np.ravel(value) for name, value in parameters.items()}
        e = self.execution
        return backends.run(
            program, inputs, environments.geometry, backend=e.backend, dtype=e.dtype, samples=samples,
            threads=e.threads, constants=constants,
        )  # fmt: skip
