"""Program: an immutable, hashable, printable and serialisable list of steps that any backend can execute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from etn_gpu.errors import PlanError
from etn_gpu.plan.formula import check_code
from etn_gpu.plan.operations import (
    SPACES,
    Copy,
    CopyBlock,
    EdgeSum,
    Fold,
    Functions,
    Gather,
    Harmonics,
    Mix,
    Nearest,
    OfScalars,
    Operation,
    PairTable,
    Products,
    Space,
)
from etn_gpu.plan.reach import spans, species_count
from etn_gpu.plan.serialise import decode, encode


@dataclass(frozen=True)
class Value:
    """A named array of a Program: ``size`` components in a space ('param', 'edge' or 'atom')."""

    name: str
    space: Space
    size: int

    def __str__(self) -> str:
        return f"{self.name}[{self.space} {self.size}]"


@dataclass(frozen=True)
class Term:
    """``scale`` times an operation evaluated at its operands (the values of all slots but ``slot``, in slot order)."""

    operation: Operation
    slot: int
    operands: tuple[str, ...]
    scale: float = 1.0

    @property
    def operand_slots(self) -> tuple[int, ...]:
        """The slot of each operand."""
        return tuple(s for s in range(len(self.operation.slots)) if s != self.slot)

    def __str__(self) -> str:
        slots = self.operation.slots
        args = ", ".join(f"{slots[s]}={name}" for s, name in zip(self.operand_slots, self.operands, strict=True))
        order = f"^({self.operation.order})" if isinstance(self.operation, OfScalars) and self.operation.order else ""
        scale = "" if self.scale == 1.0 else f"{self.scale:g} "
        return f"{scale}{self.operation.name}{order}->{slots[self.slot]}({args})"


@dataclass(frozen=True)
class Step:
    """``out`` = the sum of its terms. A value is written by exactly one step."""

    out: Value
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return f"{self.out} = " + " + ".join(map(str, self.terms))


@dataclass(frozen=True)
class Program:
    """Inputs, steps in execution order and named outputs.

    Two Programs are equal when they do the same steps under the same names; ``digest`` is stable between processes
    and versions of Python. ``str(program)`` is a listing, ``to_json``/``from_json`` are exact.
    """

    inputs: tuple[Value, ...]
    steps: tuple[Step, ...]
    outputs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def values(self) -> dict[str, Value]:
        """All values by name."""
        return {v.name: v for v in (*self.inputs, *(s.out for s in self.steps))}

    @cached_property
    def output_names(self) -> dict[str, str]:
        """Name of the value behind each output."""
        return dict(self.outputs)

    def output(self, name: str) -> Value:
        """The value behind output ``name``; PlanError lists the outputs there are."""
        if name not in self.output_names:
            raise PlanError(f"the Program has no output {name!r}; its outputs are {sorted(self.output_names)}")
        return self.values[self.output_names[name]]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON form."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @cached_property
    def n_species(self) -> int | None:
        """Number of species that the tables of all steps hold; None without such tables."""
        counts = (species_count(term.operation) for step in self.steps for term in step.terms)
        return min((n for n in counts if n is not None), default=None)

    @cached_property
    def gathers(self) -> bool:
        """Whether values of atoms are brought to the edges that lead to them: it takes several passes then."""
        return any(isinstance(term.operation, Gather) for step in self.steps for term in step.terms)

    @cached_property
    def batched_inputs(self) -> tuple[Value, ...]:
        """The inputs on edges and atoms."""
        return tuple(v for v in self.inputs if v.space != "param")

    @cached_property
    def parameter_inputs(self) -> tuple[Value, ...]:
        """The inputs in parameter space."""
        return tuple(v for v in self.inputs if v.space == "param")

    @cached_property
    def has_parameter_outputs(self) -> bool:
        """Whether an output is in parameter space."""
        return any(self.values[value].space == "param" for _, value in self.outputs)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __str__(self) -> str:
        lines = ["inputs  " + ", ".join(map(str, self.inputs))]
        lines += [f"{i:4d}    {step}" for i, step in enumerate(self.steps)]
        lines.append("outputs " + ", ".join(f"{k} = {v}" for k, v in self.outputs))
        return "\n".join(lines)

    def to_json(self) -> str:
        """Canonical JSON text."""
        return json.dumps(encode(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Program:
        """Rebuild a Program from :meth:`to_json`; PlanError when the text is not one."""
        try:
            program = decode(json.loads(text), _CLASSES)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PlanError(f"this text is not a serialised Program: {error}") from error
        if not isinstance(program, Program):
            raise PlanError(f"this text holds a {type(program).__name__}, expected a Program")
        return program


_CLASSES = {c.__name__: c for c in (Value, Term, Step, Program)}


def _check(program: Program) -> None:
    """Raise PlanError unless every operand is defined before use, sizes agree and spaces fit the operation."""
    known: dict[str, Value] = {}
    for value in program.inputs:
        _define(value, known)
    for step in program.steps:
        for term in step.terms:
            _check_term(step.out, term, known)
        _define(step.out, known)
    names = [name for name, _ in program.outputs]
    sums = {t.operation.merged for s in program.steps for t in s.terms if isinstance(t.operation, EdgeSum)}
    if len(sums) > 1 and not program.gathers:
        raise PlanError("some sums over edges tell the species of neighbours apart and some do not; all must, or none")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise PlanError(f"these outputs are given more than once: {repeated}")
    for name, value_name in program.outputs:
        if value_name not in known:
            raise PlanError(f"output {name!r} names the value {value_name!r}, which no step writes")


def _define(value: Value, known: dict[str, Value]) -> None:
    if value.name in known:
        raise PlanError(f"the value {value.name!r} is defined twice")
    if value.space not in SPACES or value.size < 0:
        raise PlanError(f"{value} needs a space among {SPACES} and a size >= 0")
    known[value.name] = value


def _check_term(out: Value, term: Term, known: dict[str, Value]) -> None:
    operation = term.operation
    if isinstance(operation, Functions):
        check_code(operation)
    if not 0 <= term.slot < len(operation.slots):
        raise PlanError(f"{operation.name} has no slot {term.slot}; its slots are {operation.slots}")
    if len(term.operands) != len(operation.slots) - 1:
        raise PlanError(f"{operation.name} takes {len(operation.slots) - 1} operands, got {term.operands}")
    for slot, first, stop in spans(operation):
        if first < 0 or stop > operation.sizes[slot]:
            raise PlanError(
                f"{operation.name} in {out.name!r} addresses the components {first}..{stop - 1} of slot "
                f"{operation.slots[slot]!r}, which has {operation.sizes[slot]}"
            )
    for slot, name in zip(term.operand_slots, term.operands, strict=True):
        if name not in known:
            raise PlanError(f"{operation.name} in {out.name!r} reads {name!r} before it is written")
        if known[name].size != operation.sizes[slot]:
            raise PlanError(
                f"{operation.name} in {out.name!r}: slot {operation.slots[slot]!r} has {operation.sizes[slot]} "
                f"components, but {known[name]} was given"
            )
    if isinstance(operation, Nearest) and term.slot != 2:
        raise PlanError(f"{operation.name} gives z only, not {operation.slots[term.slot]!r}")
    if out.size != operation.sizes[term.slot]:
        raise PlanError(f"{operation.name} writes {operation.sizes[term.slot]} components into {out}")
    spaces = [known[n].space for n in term.operands]
    spaces.insert(term.slot, out.space)
    if not _spaces_fit(operation, spaces):
        raise PlanError(f"{operation.name} cannot join the spaces {spaces} (slots {operation.slots})")


def _spaces_fit(operation: Operation, spaces: list[Space]) -> bool:
    if isinstance(operation, EdgeSum):
        return spaces == ["edge", "edge", "atom"]
    if isinstance(operation, Gather):
        return spaces == ["atom", "edge"]
    if isinstance(operation, Mix):
        return spaces[0] == "param" and spaces[1] == spaces[2] == "atom"
    if isinstance(operation, PairTable):
        return spaces == ["param", "edge"]
    if isinstance(operation, Nearest):
        return spaces == ["edge", "param", "edge"]
    if isinstance(operation, Fold):
        return set(spaces) == {"param"}
    if isinstance(operation, Functions | Products) and "param" in spaces:
        return False
    if isinstance(operation, OfScalars | Harmonics) and not isinstance(operation, Functions):
        return set(spaces) == {"edge"}
    return len(set(spaces)) == 1


def used_values(steps: Iterable[Step], outputs: Iterable[str]) -> set[str]:
    """Names of all values that the outputs depend on."""
    needed = set(outputs)
    for step in reversed(list(steps)):
        if step.out.name in needed:
            needed.update(name for term in step.terms for name in term.operands)
    return needed


def identity(value: Value, source: str) -> Term:
    """The term that copies all components of ``source``, a value of the same size as ``value``."""
    block = CopyBlock((0, 0), (value.size, 1, 1), ((1, 0, 0), (1, 0, 0)))
    return Term(Copy((value.size, value.size), (block,)), 1, (source,))
