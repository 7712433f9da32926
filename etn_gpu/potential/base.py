"""A potential: a form, which says how energies are computed, with its numbers, ready to evaluate structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu import backend as backends
from etn_gpu.backend.constants import Constants, frozen
from etn_gpu.errors import NetworkError, StructureError
from etn_gpu.plan import Program
from etn_gpu.potential import assembly
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.formulation import Form
from etn_gpu.potential.grade import (
    LACKS_GRADE,
    THRESHOLD,
    ExtrapolationGrade,
    check_grade,
    check_threshold,
    structure_grades,
)
from etn_gpu.potential.grade_program import FACTORS
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.potential.programs import programs
from etn_gpu.potential.quantity_results import quantity_results
from etn_gpu.potential.references import REFERENCES
from etn_gpu.potential.report import PlanReport, ProgramReport, report
from etn_gpu.potential.results import BatchResult, Result
from etn_gpu.potential.structure_lists import as_list, chunks_of
from etn_gpu.potential.terms import Terms
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.bounded import bounded_batches
from etn_gpu.structures.targets import Quantity

if TYPE_CHECKING:
    from ase import Atoms

#: Atoms evaluated at once by :meth:`Potential.evaluate`: bounds the memory for neighbour lists. A device cuts them
#: up itself, by its own memory, and copies one part while it computes another.
BATCH_ATOMS, DEVICE_BATCH_ATOMS = 50_000, 10_000_000
#: Edges evaluated at once on a CPU, where each takes 80 bytes: more than so many atoms of any solid have within 6 A.
BATCH_EDGES = 10_000_000
#: The default precision of evaluations on a device: float64 takes several times as long on many of them.
DEVICE_DTYPE = "float32"


class Potential:
    """A potential with energies of atoms, whatever the method: a network, or one that was read from another's file.

    Args:
        form: how energies are computed: the architecture of a network, or the formulation of another method.
        parameters: one array per name in ``form.parameter_shapes``, float64.
        dtype: 'float64' or 'float32', the default precision of evaluations on a CPU; it belongs to the model.
        minimum_distances: [n_species, n_species] closest pairs in the training data in A, 0 where unknown.
        metadata: training data, licence, citation, errors, formation references, ... (JSON-ready).
        terms: what the energy is a sum of beside what ``form`` computes, None for nothing.
        grade: what extrapolation grades need, None for a potential that gives none.
        quantity: what the output of a network is where it is no energy: a dipole, or a quantity of atoms.

    Raises:
        NetworkError: parameters that are missing, misshapen or not finite; misshapen or infinite minimum distances;
            terms for other species, beyond the cutoff, or of a potential that has no energy; a grade of another
            potential, or of one that is no network; a quantity with other irreps than the output.
    """

    def __init__(
        self,
        form: Form,
        parameters: Mapping[str, ArrayLike],
        *,
        dtype: str = "float64",
        minimum_distances: ArrayLike | None = None,
        metadata: Mapping[str, Any] | None = None,
        terms: Terms | None = None,
        grade: ExtrapolationGrade | None = None,
        quantity: Quantity | None = None,
    ) -> None:
        self.form, self.quantity = form, quantity
        self._parameters = _checked(form, parameters)
        self.dtype = backends.check_dtype(dtype).name
        n = form.n_species
        distances = np.zeros((n, n)) if minimum_distances is None else np.array(minimum_distances, np.float64)
        if distances.shape != (n, n) or not (np.isfinite(distances) & (distances >= 0)).all():
            raise NetworkError(
                f"minimum_distances must be {n} x {n} distances in A for {form.species}, 0 where unknown; got "
                f"{distances.tolist()}"
            )
        distances.flags.writeable = False
        self.minimum_distances = distances
        self.metadata: dict[str, Any] = dict(metadata or {})
        if quantity is not None and quantity.irreps != form.target:
            raise NetworkError(f"the output of this potential is {form.target}; {quantity} needs {quantity.irreps}")
        if terms is not None and not self.is_energy:
            raise NetworkError(f"terms are of energies; this potential has the {self.output}")
        if grade is not None:
            if quantity is not None:
                raise self._no_grade()
            if not isinstance(form, Architecture):
                raise _without_grade(form)
            check_grade(grade, form)
        self.terms, self.grade = terms, grade
        self._constants = self._as_constants()
        #: The terms as backends compute them.
        self.term_tables = None if terms is None else terms.tables(form.species, form.cutoff)

    @property
    def parameters(self) -> Mapping[str, NDArray[np.float64]]:
        """The parameters, which never change: copies of them may be kept on devices."""
        return MappingProxyType(self._parameters)

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""
        return self.form.species

    @property
    def cutoff(self) -> float:
        """Cutoff radius in A."""
        return self.form.cutoff

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return self.form.n_parameters

    @property
    def reference_energies(self) -> dict[str, float]:
        """Energy of an isolated-atom-like reference E0 of each element in eV, part of every atomic energy."""
        values = self.parameters.get(REFERENCES, np.zeros(len(self.species)))
        return dict(zip(self.species, map(float, values), strict=True))

    @property
    def program(self) -> Program:
        """The energy Program."""
        return programs(self.form).energy

    def with_terms(self, terms: Terms | None) -> Self:
        """The same potential with other terms beside its network, or none.

        Raises:
            NetworkError: terms that do not fit it.
        """
        return self._with(terms=terms)

    def with_grade(self, grade: ExtrapolationGrade | None) -> Self:
        """The same potential with what extrapolation grades need, or without.

        Raises:
            NetworkError: a grade that does not fit it.
        """
        return self._with(grade=grade)

    def _with(self, **parts: Any) -> Self:
        names = ("dtype", "minimum_distances", "metadata", "terms", "grade", "quantity")
        kept = {name: getattr(self, name) for name in names}
        return type(self)(self.form, self.parameters, **(kept | parts))

    @property
    def is_energy(self) -> bool:
        """Whether the output is an energy; that of a network may be a quantity, or have another irrep."""
        return self.form.is_energy and self.quantity is None

    @property
    def output(self) -> str:
        """What the potential gives where it gives no energy, in words that follow on 'the'."""
        return f"covariant output {self.target}" if self.quantity is None else f"output {self.quantity}"

    @property
    def target(self) -> str:
        """Irrep of the output, '1x0e' for an energy."""
        return self.form.target

    def plan_report(self) -> PlanReport | ProgramReport:
        """Work and traffic per atom, for a network with the planned contraction; ``print`` it."""
        return report(programs(self.form))

    def evaluate(
        self,
        structures: Atoms | Sequence[Atoms],
        *,
        forces: bool = True,
        stress: bool = True,
        grade: bool | None = None,
        threshold: float = THRESHOLD,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> list[Result]:
        """Evaluate one or many structures as ragged batches; one :class:`Result` per structure, in order.

        A network with a :attr:`quantity` gives that instead of energies, forces and stresses, under its name.
        ``backend`` 'numba', 'numpy' or 'cuda' (default: ETN_GPU_BACKEND, else the best on a CPU); ``dtype`` 'float64'
        or 'float32' (default: the model's, on a GPU 'float32', with edge vectors and sums in float64). On one backend
        and in one dtype the result of a structure does not depend on the others, bit for bit. ``grade``: whether
        extrapolation grades are computed, for about a fifth of the cost (default: if the potential has what they need);
        a structure with a grade above ``threshold`` is flagged as extrapolating.

        Raises:
            StructureError: a structure that cannot be evaluated, or whose results are not finite, named by its index.
            BackendError: a backend or dtype that cannot be used here.
            NetworkError: grades that the potential cannot give, a threshold below 1, a covariant output.
        """
        many = as_list(structures)
        results: list[Result] = []
        most = DEVICE_BATCH_ATOMS if backends.resolve(backend) == "cuda" else BATCH_ATOMS
        for chunk in chunks_of(many, most):
            for outcome in self.evaluate_each(
                chunk, forces=forces, stress=stress, grade=grade, threshold=threshold,
                backend=backend, dtype=dtype, threads=threads,
            ):  # fmt: skip
                if isinstance(outcome, StructureError):
                    where = f"structure {len(results)} (of {len(many)}, counted from 0)"
                    raise StructureError(f"{where}: {outcome}") from outcome
                results.append(outcome)
        return results

    def precision(self, backend: str, dtype: str | None = None) -> str:
        """The precision of evaluations on a backend: ``dtype``, or its default.

        Raises:
            BackendError: a dtype that there is not.
        """
        default = DEVICE_DTYPE if backend == "cuda" else self.dtype
        return f"float{8 * backends.check_dtype(dtype or default).itemsize}"

    def evaluate_each(
        self,
        structures: Sequence[Atoms],
        *,
        forces: bool = True,
        stress: bool = True,
        grade: bool | None = None,
        threshold: float = THRESHOLD,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> list[Result | StructureError]:
        """As :meth:`evaluate`, but with the error in the place of a structure that cannot be evaluated.

        On a CPU all of them are one batch, or several where that would have more than ``BATCH_EDGES`` edges.

        Others of the batch, those with errors included, do not change a bit of the result of a structure.

        Raises:
            BackendError: a backend or dtype that cannot be used here.
            NetworkError: the potential has a covariant output that is no known quantity, or gives no grades.
        """
        if self.quantity is not None:
            self._gives_grade(grade)
            name = backends.resolve(backend)
            execution = Execution(name, self.precision(name, dtype), threads)
            return quantity_results(self, self.quantity, structures, execution, BATCH_EDGES)
        self._check_energy()
        if backends.resolve(backend) == "cuda":
            from etn_gpu.potential.on_device import evaluate_each_on_device

            return evaluate_each_on_device(
                self, structures, forces=forces, stress=stress, grade=self._gives_grade(grade),
                threshold=check_threshold(threshold), dtype=self.precision("cuda", dtype),
            )  # fmt: skip
        outcomes: list[Result | StructureError] = []
        for batch in bounded_batches(structures, self.species, self.cutoff, BATCH_EDGES):
            results = self.evaluate_batch(
                batch, forces=forces, stress=stress, grade=grade, threshold=threshold,
                backend=backend, dtype=dtype, threads=threads,
            )  # fmt: skip
            of_batch: dict[int, Result | StructureError] = dict(batch.failures)
            of_batch |= zip(map(int, batch.kept), results.outcomes(), strict=True)
            outcomes += [of_batch[s] for s in range(len(of_batch))]
        return outcomes

    def evaluate_batch(
        self,
        batch: StructureBatch,
        *,
        forces: bool = True,
        stress: bool = True,
        grade: bool | None = None,
        threshold: float = THRESHOLD,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> BatchResult:
        """Evaluate a batch that was built with this potential's species and at least its cutoff.

        Numbers that are not finite are returned as they came out; :meth:`BatchResult.outcomes` has errors for them.

        Raises:
            StructureError: the batch has other species or a smaller cutoff.
            NetworkError: the potential has a covariant output instead of an energy; see :meth:`evaluate`.
        """
        self.check_batch(batch)
        graded = self._gives_grade(grade)
        threshold = check_threshold(threshold)
        name = backends.resolve(backend)
        kind = self.precision(name, dtype)
        kernel = Kernel(self.form, Execution(name, kind, threads), tables=self.term_tables)
        environments = Environments.of(batch)
        gradient, grades = None, None
        if graded:
            energies, gradient, grades = kernel.graded(self._constants, environments)
        elif forces or stress:
            energies, gradient = kernel.energies_and_gradients(self._constants, environments)
        else:
            energies = kernel.energies(self._constants, environments)
        force = virial = None
        if gradient is not None and (forces or stress):
            force, virial = assembly.forces_and_virials(batch, gradient, threads)
        if grades is None:
            far = batch.closer_than(self.minimum_distances)
        else:
            far = structure_grades(grades, batch.atom_offsets) > threshold
        return BatchResult.assemble(
            batch, energies, force if forces else None, virial if stress else None, grades, far, name, kind
        )

    def checksum(self) -> str:
        """A sum over everything that a file of the model holds: equal for models that are equal bit for bit."""
        from etn_gpu.potential.file import checksum

        return checksum(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model file ``path`` (``*.etn``); see :mod:`etn_gpu.potential.file`."""
        from etn_gpu.potential.file import save

        save(self, path)

    def _as_constants(self) -> Constants:
        """The parameters as backends take them, with those of grades."""
        return Constants(self._parameters | ({} if self.grade is None else {FACTORS: self.grade.factors}))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_constants"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._parameters = {name: frozen(values) for name, values in self._parameters.items()}
        self._constants = self._as_constants()

    def __repr__(self) -> str:
        symbols = " ".join(self.species)
        return f"{type(self).__name__}({symbols}, {self.form.described}, {self.n_parameters} parameters, {self.dtype})"

    def _check_energy(self) -> None:
        if not self.is_energy:
            instead = "use evaluate() or covariants()" if self.quantity else "use covariants() instead of evaluate()"
            raise NetworkError(f"this potential has the {self.output}; {instead}")

    def _no_grade(self) -> NetworkError:
        return NetworkError(f"grades are of energies; this potential has the {self.output}")

    def _gives_grade(self, asked: bool | None) -> bool:
        if asked and self.grade is None:
            raise self._no_grade() if self.quantity else _without_grade(self.form)
        return self.grade is not None if asked is None else asked

    def check_batch(self, batch: StructureBatch) -> None:
        """StructureError for a batch of other species or with a smaller cutoff, NetworkError without an energy."""
        self._check_energy()
        if tuple(batch.species) != self.species or batch.cutoff < self.cutoff:
            raise StructureError(
                f"the batch was built for species {batch.species} and cutoff {batch.cutoff} A, this potential needs "
                f"{self.species} and at least {self.cutoff} A"
            )


def _without_grade(form: Form) -> NetworkError:
    """The error of a potential that gives no grades."""
    if isinstance(form, Architecture):
        return NetworkError(f"this potential {LACKS_GRADE}")
    return NetworkError(f"extrapolation grades are those of a network; this is {form.described}")


def _checked(form: Form, parameters: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    shapes = form.parameter_shapes
    if set(parameters) != set(shapes):
        raise NetworkError(f"parameters {sorted(parameters)} were given, this potential has {sorted(shapes)}")
    out = {}
    for name, shape in shapes.items():
        array = frozen(parameters[name])
        if array.shape != shape:
            raise NetworkError(f"the parameter {name!r} has shape {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            raise NetworkError(f"the parameter {name!r} holds NaN or infinite values")
        out[name] = array
    return out
