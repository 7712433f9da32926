"""Formulas of one variable, written down as the code of a :class:`~etn_gpu.plan.operations.Functions`.

    formula = Formula()
    r = formula.variable ** 0.5
    decay = (-2.0 * r).exp()
    operation = formula.functions([decay, r * decay])

Equal numbers are written once, so that recursions stay as short as they look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from etn_gpu.errors import PlanError
from etn_gpu.plan.operations import Functions

Instruction = tuple[str | float, ...]
#: What follows the name of an instruction: numbers computed before (n) and literals (v).
SHAPES = {
    "variable": "", "parameter": "v", "constant": "v", "add": "nn", "multiply": "nn", "power": "nv", "exp": "n",
    "log": "n", "sin": "n", "cos": "n", "tanh": "n", "below": "nvnn",
}  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number of a formula; +, -, *, / and ** a literal give others."""

    formula: Formula
    index: int

    def __add__(self, other: Number | float) -> Number:
        return self.formula.emit("add", self.index, self.formula.number(other).index)

    __radd__ = __add__

    def __neg__(self) -> Number:
        return self * -1.0

    def __sub__(self, other: Number | float) -> Number:
        return self + -self.formula.number(other)

    def __rsub__(self, other: Number | float) -> Number:
        return self.formula.number(other) + -self

    def __mul__(self, other: Number | float) -> Number:
        return self.formula.emit("multiply", self.index, self.formula.number(other).index)

    __rmul__ = __mul__

    def __pow__(self, exponent: float) -> Number:
        return self if exponent == 1 else self.formula.emit("power", self.index, float(exponent))

    def __truediv__(self, other: Number | float) -> Number:
        return self * (other**-1.0 if isinstance(other, Number) else 1.0 / other)

    def __rtruediv__(self, other: float) -> Number:
        return other * self**-1.0

    def exp(self) -> Number:
        """e to this power."""
        return self.formula.emit("exp", self.index)

    def log(self) -> Number:
        """The natural logarithm, of numbers above zero."""
        return self.formula.emit("log", self.index)

    def sin(self) -> Number:
        """The sine, of radians."""
        return self.formula.emit("sin", self.index)

    def cos(self) -> Number:
        """The cosine, of radians."""
        return self.formula.emit("cos", self.index)

    def tanh(self) -> Number:
        """The hyperbolic tangent."""
        return self.formula.emit("tanh", self.index)

    def below(self, limit: float, then: Number | float, otherwise: Number | float) -> Number:
        """``then`` where this number < limit, else ``otherwise``."""
        first, second = self.formula.number(then), self.formula.number(otherwise)
        return self.formula.emit("below", self.index, float(limit), first.index, second.index)


class Formula:
    """Collects the instructions."""

    def __init__(self) -> None:
        self._code: list[Instruction] = []
        self._seen: dict[Instruction, int] = {}
        self.variable = self.emit("variable")

    def parameter(self, number: int) -> Number:
        """Number ``number`` of the second operand."""
        return self.emit("parameter", number)

    def emit(self, name: str, *arguments: float) -> Number:
        """The number that an instruction computes."""
        if name in ("add", "multiply"):
            arguments = tuple(sorted(arguments))
        instruction: Instruction = (name, *arguments)
        if instruction not in self._seen:
            self._seen[instruction] = len(self._code)
            self._code.append(instruction)
        return Number(self, self._seen[instruction])

    def number(self, value: Number | float) -> Number:
        """A literal as a number."""
        return value if isinstance(value, Number) else self.emit("constant", float(value))

    def functions(self, results: Sequence[Number | float], count: int = 1) -> Functions:
        """The operation that computes ``results`` of each of ``count`` variables; what they do not need is left out."""
        wanted = [self.number(r).index for r in results]
        needed = set(wanted)
        for index in range(len(self._code) - 1, -1, -1):
            if index in needed:
                needed |= {int(k) for k in _arguments(self._code[index], "n")}
        place = {index: at for at, index in enumerate(sorted(needed))}
        code = tuple(_renumbered(self._code[index], place) for index in sorted(needed))
        read = [int(arguments[0]) for name, *arguments in code if name == "parameter"]
        return Functions(code, tuple(place[k] for k in wanted), count, max(read, default=-1) + 1)


def _arguments(instruction: Instruction, kind: str) -> list[float]:
    shape = SHAPES[str(instruction[0])]
    return [float(a) for a, k in zip(instruction[1:], shape, strict=True) if k == kind]


def _renumbered(instruction: Instruction, place: dict[int, int]) -> Instruction:
    name, *arguments = instruction
    shape = SHAPES[str(name)]
    return (name, *(place[int(a)] if k == "n" else a for a, k in zip(arguments, shape, strict=True)))


def check_code(operation: Functions) -> None:
    """Raise PlanError unless every instruction is known and uses numbers that come before it."""
    for at, instruction in enumerate(operation.code):
        name, *arguments = instruction or ("nothing",)
        if name not in SHAPES or len(arguments) != len(SHAPES[str(name)]):
            raise PlanError(f"{instruction} is no instruction of functions; there are {SHAPES}")
        if any(not isinstance(a, int | float) or not isfinite(a) for a in arguments):
            raise PlanError(f"the instruction {instruction} needs finite numbers")
        if any(not (k.is_integer() and 0 <= k < at) for k in _arguments(instruction, "n")):
            raise PlanError(f"the instruction {instruction}, number {at}, reads a number that does not come before it")
        if name == "parameter" and arguments[0] not in range(operation.parameters):
            raise PlanError(f"the instruction {instruction}: there are {operation.parameters} parameters")
        if name == "power" and not float(2 * arguments[1]).is_integer():
            raise PlanError(f"the instruction {instruction}: an exponent is a multiple of 1/2")
    if not operation.count > 0 or any(not 0 <= k < len(operation.code) for k in operation.results):
        raise PlanError(
            f"functions of {operation.count} variables, results {operation.results} of {len(operation.code)} numbers"
        )
    if operation.order < 0:
        raise PlanError(f"the order of a derivative is 0 or more, got {operation.order}")
