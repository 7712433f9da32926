"""Straight-line CUDA C++: every number is a constant variable of type ``Real``, assigned once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etn_gpu.errors import BackendError


def literal(value: float, dtype: np.dtype) -> str:
    """``value``, rounded to ``dtype``, as C++ writes it: the shortest decimal that gives the same bits.

    Raises:
        BackendError: it is not finite in ``dtype``.
    """
    with np.errstate(over="ignore"):
        rounded = np.dtype(dtype).type(value)
    if not np.isfinite(rounded):
        raise BackendError(f"the constant {value!r} is not finite in {np.dtype(dtype)}; a kernel cannot hold it")
    return str(rounded) + ("f" if np.dtype(dtype).itemsize == 4 else "")


def real(dtype: np.dtype) -> str:
    """The type of ``dtype`` in C++."""
    return "float" if dtype.itemsize == 4 else "double"


@dataclass(frozen=True)
class Scalar:
    """A number: the name of a variable, or a literal."""

    name: str


class Scalars:
    """Writes lines of CUDA C++; see :class:`~etn_gpu.backend.arithmetic.Arithmetic`."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self.lines: list[str] = []
        self._one = self.constant(1.0)
        self._count = 0

    def new_name(self) -> str:
        """A fresh name."""
        self._count += 1
        return f"v{self._count}"

    def emit(self, expression: str) -> Scalar:
        """A new variable with this value."""
        name = self.new_name()
        self.lines.append(f"const Real {name} = {expression};")
        return Scalar(name)

    def packs(self, pointer: str, first: int, count: int) -> list[Scalar]:
        """``count`` numbers from element ``first`` on, in loads of 16 bytes; the first must be aligned to them."""
        letters = "xyzw"[: 16 // self.dtype.itemsize]
        values: list[Scalar] = []
        whole = count // len(letters) * len(letters)
        for k in range(0, whole, len(letters)):
            name = self.new_name()
            self.lines.append(f"const auto {name} = pack({pointer} + {first + k});")
            values += [Scalar(f"{name}.{letter}") for letter in letters]
        return values + [self.emit(f"{pointer}[{first + k}]") for k in range(whole, count)]

    def line(self, text: str) -> None:
        """Any other line."""
        self.lines.append(text)

    def constant(self, value: float) -> Scalar:
        """A literal."""
        return Scalar(literal(value, self.dtype))

    def add(self, a: Scalar, b: Scalar) -> Scalar:
        """a + b."""
        return self.emit(f"{a.name} + {b.name}")

    def subtract(self, a: Scalar, b: Scalar) -> Scalar:
        """a - b."""
        return self.emit(f"{a.name} - {b.name}")

    def multiply(self, a: Scalar, b: Scalar) -> Scalar:
        """a b."""
        if self._one in (a, b):
            return b if a == self._one else a
        return self.emit(f"{a.name} * {b.name}")

    def divide(self, a: Scalar, b: Scalar) -> Scalar:
        """a / b."""
        return self.emit(f"{a.name} / {b.name}")

    def negate(self, a: Scalar) -> Scalar:
        """-a."""
        return self.emit(f"-({a.name})")

    def fma(self, a: Scalar, b: Scalar, c: Scalar | None) -> Scalar:
        """a b + c, rounded once; a b without c."""
        if c is None:
            return self.multiply(a, b)
        if self._one in (a, b):
            return self.add(self.multiply(a, b), c)
        return self.emit(f"fma({a.name}, {b.name}, {c.name})")

    def scaled(self, a: Scalar, number: float) -> Scalar:
        """``number`` times a."""
        return self.multiply(self.constant(number), a)

    def sqrt(self, a: Scalar) -> Scalar:
        """The square root."""
        return self.emit(f"sqrt({a.name})")

    def exp(self, a: Scalar) -> Scalar:
        """e^a."""
        return self.emit(f"exp({a.name})")

    def log(self, a: Scalar) -> Scalar:
        """The natural logarithm."""
        return self.emit(f"log({a.name})")

    def sin(self, a: Scalar) -> Scalar:
        """The sine."""
        return self.emit(f"sin({a.name})")

    def cos(self, a: Scalar) -> Scalar:
        """The cosine."""
        return self.emit(f"cos({a.name})")

    def tanh(self, a: Scalar) -> Scalar:
        """The hyperbolic tangent."""
        return self.emit(f"tanh({a.name})")

    def below(self, a: Scalar, limit: Scalar, then: Scalar, otherwise: Scalar) -> Scalar:
        """``then`` where a < limit or a is not a number, else ``otherwise``."""
        return self.emit(f"{a.name} >= {limit.name} ? {otherwise.name} : {then.name}")
