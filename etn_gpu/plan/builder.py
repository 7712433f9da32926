"""ProgramBuilder: collects steps under fresh names; identical steps are made only once."""

from __future__ import annotations

from collections.abc import Iterable

from etn_gpu.errors import PlanError
from etn_gpu.plan.operations import Space
from etn_gpu.plan.program import Program, Step, Term, Value, used_values


class ProgramBuilder:
    """Grows a Program step by step; a step with the space and terms of an earlier one returns the earlier value."""

    def __init__(self, program: Program | None = None) -> None:
        self._inputs: list[Value] = list(program.inputs) if program else []
        self._steps: list[Step] = list(program.steps) if program else []
        self._values: dict[str, Value] = dict(program.values) if program else {}
        self._seen: dict[tuple[Space, tuple[Term, ...]], Value] = {(s.out.space, s.terms): s.out for s in self._steps}

    def input(self, name: str, space: Space, size: int) -> Value:
        """Declare an input."""
        value = Value(name, space, size)
        if name in self._values:
            raise PlanError(f"the value {name!r} is defined twice")
        self._inputs.append(value)
        self._values[name] = value
        return value

    def step(self, hint: str, space: Space, terms: Iterable[Term], *, apart: bool = False) -> Value:
        """Append ``out = sum of terms`` and return ``out``, named after ``hint``; ``apart``: also one that is there."""
        terms = tuple(terms)
        if not terms:
            raise PlanError(f"the step {hint!r} has no terms")
        key = (space, terms)
        if apart or key not in self._seen:
            first = terms[0]
            value = Value(self._fresh(hint), space, first.operation.sizes[first.slot])
            self._steps.append(Step(value, terms))
            self._values[value.name] = value
            self._seen[key] = value
        return self._seen[key]

    def value(self, name: str) -> Value:
        """The value called ``name``; PlanError when there is none."""
        if name not in self._values:
            raise PlanError(f"there is no value {name!r}; there are {sorted(self._values)}")
        return self._values[name]

    def build(self, outputs: dict[str, str], keep_inputs: Iterable[str] = ()) -> Program:
        """The Program of all steps that ``outputs`` (output name -> value name) need; unused inputs go unless kept."""
        needed = used_values(self._steps, outputs.values()) | set(keep_inputs)
        inputs = tuple(v for v in self._inputs if v.name in needed)
        steps = tuple(s for s in self._steps if s.out.name in needed)
        return Program(inputs, steps, tuple(outputs.items()))

    def _fresh(self, hint: str) -> str:
        if hint not in self._values:
            return hint
        number = 1
        while f"{hint}.{number}" in self._values:
            number += 1
        return f"{hint}.{number}"
