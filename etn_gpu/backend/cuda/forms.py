"""What a routine of an atom stage computes, and its text: operands into registers, from there into accumulators.

A *form* is what is compiled: widths, couplings and the shape of the expression. Addresses are arguments that a routine
reads from its task, so that one routine serves every task of the same form; distances that are nearly always the same
are written into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from etn_gpu.backend.cuda.scalars import literal

#: Lanes of a tile: numbers from one component of a value to the next.
TILE = 32


@dataclass(frozen=True)
class Coupling:
    """out[o] += sum C[o, a, b] A[a] B[b], ``entries`` (o, a, b, C) ordered; ``contracted`` is 'a', 'b' or 'pairs'.

    The operand that is contracted with C first gives a small matrix, which the compiler keeps over a loop in which
    that operand does not change; with 'pairs' the products A[a] B[b] come first.
    """

    entries: tuple[tuple[int, int, int, float], ...]
    contracted: str = "pairs"

    @property
    def inner(self) -> int:
        """Places of C where, whatever the operand that is contracted, something remains to be done for each product."""
        position = {"pairs": (1, 2), "a": (0, 2), "b": (0, 1)}[self.contracted]
        return len({tuple(entry[k] for k in position) for entry in self.entries})

    def lines(self, dtype: np.dtype) -> Iterator[str]:
        """Statements that add to x[o], with operands a and b."""
        if self.contracted == "pairs":
            groups = _grouped(self.entries, 1, 2)
            for (i, j), entries in groups.items():
                yield f"const Real q{i}_{j} = a[{i}] * b[{j}];"
                for o, _, _, c in entries:
                    yield f"x[{o}] += {_times(c, f'q{i}_{j}', dtype)};"
            return
        kept, summed, name, other = (2, 1, "a", "b") if self.contracted == "a" else (1, 2, "b", "a")
        for (o, k), entries in _grouped(self.entries, 0, kept).items():
            terms = [_times(entry[3], f"{name}[{entry[summed]}]", dtype) for entry in entries]
            yield f"x[{o}] += ({' + '.join(terms)}) * {other}[{k}];"


def _grouped(
    entries: tuple[tuple[int, int, int, float], ...], first: int, second: int
) -> dict[tuple[int, int], list[tuple[int, int, int, float]]]:
    groups: dict[tuple[int, int], list[tuple[int, int, int, float]]] = {}
    for entry in entries:
        groups.setdefault((int(entry[first]), int(entry[second])), []).append(entry)
    return groups


def _times(coefficient: float, factor: str, dtype: np.dtype) -> str:
    return factor if coefficient == 1.0 else f"{literal(coefficient, dtype)} * {factor}"


class Text(Protocol):
    """Where a routine is written to."""

    def argument(self) -> str:
        """The next argument of the task, at the present indices of its loops."""

    def array(self, size: int, empty: bool) -> str:
        """Name of a new array in registers, of zeros unless it is ``empty``."""

    def line(self, text: str) -> None:
        """A line of code."""

    def coupling(self, coupling: Coupling) -> str:
        """Name of the function (x, a, b) of a coupling."""


@dataclass(frozen=True)
class Held:
    """Components that lie in memory: in rows of the stage, or in the tile that the pointer ``tile`` leads to."""

    width: int
    tile: str = ""

    @property
    def cost(self) -> float:
        """Instructions for one product of a loop, about."""
        return self.width

    @property
    def arguments(self) -> int:
        """How many arguments its text takes."""
        return 1

    def add(self, text: Text, x: str) -> None:
        """Write code that adds the components to the array ``x``."""
        text.line(f"add_held<{self.width}>({x}, at({self.tile or 'own'}, {text.argument()}));")


@dataclass(frozen=True)
class Mixed:
    """sum_r w[r] y[r, m] over ``count`` rows of a held value; weights of each species ``stride`` apart if not 0."""

    width: int
    count: int
    stride: int = 0
    tile: str = ""

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return self.count * (1 + 1.5 * self.width)

    @property
    def arguments(self) -> int:
        """See :class:`Held`."""
        return 4

    def add(self, text: Text, x: str) -> None:
        """See :class:`Held`."""
        w, step, source, pitch = (text.argument() for _ in range(4))
        text.line(
            f"add_mixed<{self.width}, {self.count}>({x}, {weights(w, self.stride)}, {step}, "
            f"at({self.tile or 'own'}, {source}), {pitch});"
        )


@dataclass(frozen=True)
class Coupled:
    """Clebsch-Gordan product of two operands."""

    width: int
    coupling: Coupling
    a: Operand
    b: Operand

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return self.a.cost + self.b.cost + self.products

    @property
    def products(self) -> float:
        """Products of the coupling alone, where nothing stays the same in a loop."""
        return len(self.coupling.entries) + self.coupling.inner

    @property
    def arguments(self) -> int:
        """See :class:`Held`."""
        return self.a.arguments + self.b.arguments

    def add(self, text: Text, x: str) -> None:
        """See :class:`Held`."""
        a, b = read(text, self.a), read(text, self.b)
        text.line(f"{text.coupling(self.coupling)}({x}, {a}, {b});")


@dataclass(frozen=True)
class Added:
    """A sum of operands, each after the first times a factor of its own."""

    width: int
    parts: tuple[Operand, ...]

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return sum(part.cost + self.width for part in self.parts)

    @property
    def arguments(self) -> int:
        """See :class:`Held`."""
        return sum(part.arguments for part in self.parts) + len(self.parts) - 1

    def add(self, text: Text, x: str) -> None:
        """See :class:`Held`."""
        self.parts[0].add(text, x)
        for part in self.parts[1:]:
            factor = text.argument()
            y = read(text, part)
            text.line(f"for (int m = 0; m < {self.width}; m++) {x}[m] += factors[{factor}] * {y}[m];")


Operand = Held | Mixed | Coupled | Added


def read(text: Text, operand: Operand) -> str:
    """Name of an array that holds an operand."""
    x = text.array(operand.width, isinstance(operand, Held))
    if isinstance(operand, Held):
        text.line(f"read_held<{operand.width}>({x}, at({operand.tile or 'own'}, {text.argument()}));")
    else:
        operand.add(text, x)
    return x


def weights(argument: str, stride: int) -> str:
    """Pointer to weights, those of the atom's species where there is a table."""
    return f"parameters + {argument}" + (f" + species * {stride}" if stride else "")


@dataclass(frozen=True)
class Sum:
    """Accumulates operands."""

    operand: Operand

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width of what is accumulated."""
        return 1, self.operand.width

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return self.operand.cost

    def write(self, text: Text) -> None:
        """Write the body of the loops, which adds to ``z``."""
        self.operand.add(text, "z")


@dataclass(frozen=True)
class Mixing:
    """z[r, m] += w[r] x[m] for several rows r; weights as in :class:`Mixed`."""

    rows: int
    operand: Operand
    stride: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """See :class:`Sum`."""
        return self.rows, self.operand.width

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return self.operand.cost + self.rows * (1 + self.operand.width)

    def write(self, text: Text) -> None:
        """See :class:`Sum`."""
        w, step = text.argument(), text.argument()
        x = read(text, self.operand)
        text.line(f"spread<{self.rows}, {self.operand.width}>(z, {weights(w, self.stride)}, {step}, {x});")


@dataclass(frozen=True)
class Filling:
    """Ones, which the factor of the task turns into a constant."""

    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """See :class:`Sum`."""
        return 1, self.width

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return self.width

    def write(self, text: Text) -> None:
        """See :class:`Sum`."""
        text.line(f"for (int m = 0; m < {self.width}; m++) z[m] = 1;")


@dataclass(frozen=True)
class Gradient:
    """gradient[r] += sum over the atoms of z[r] . x; a table over species where ``stride`` is not 0.

    ``z`` is one operand for all ``rows``: so many times the width of x, held side by side; or a single row.
    """

    rows: int
    z: Operand
    x: Operand
    stride: int = 0

    @property
    def cost(self) -> float:
        """See :class:`Held`."""
        return self.z.cost + self.x.cost + self.rows * (self.x.width + 30)

    def write(self, text: Text) -> None:
        """Write the body of the loops, which adds to the gradient."""
        target, step = text.argument(), text.argument()
        z, x = read(text, self.z), read(text, self.x)
        shape = f"{self.rows}, {self.x.width}"
        given = f"gradient + {target}, {step}, {z}, {x}, factor, there"
        if self.stride:
            text.line(f"add_gradients<{shape}>({given}, species, {self.stride});")
        else:
            text.line(f"add_gradient<{shape}>({given});")


Form = Sum | Mixing | Filling | Gradient


def first_coupling(form: Form) -> tuple[Coupled, int] | None:
    """A Clebsch-Gordan product in a form, and the number of arguments before its own; None without one."""
    start, operand = 0, getattr(form, "operand", None)
    if isinstance(form, Mixing):
        start = 2
    elif isinstance(form, Gradient):
        start, operand = 2 + form.z.arguments, form.x
    if isinstance(operand, Added):
        operand = operand.parts[0]
    return (operand, start) if isinstance(operand, Coupled) else None


def couplings(form: Form) -> int:
    """How many Clebsch-Gordan products stand side by side in a form."""
    operand = form.x if isinstance(form, Gradient) else getattr(form, "operand", None)
    return sum(isinstance(part, Coupled) for part in (operand.parts if isinstance(operand, Added) else (operand,)))


def contracting(form: Form, contracted: str) -> Form:
    """The form with that operand of its Clebsch-Gordan products contracted first."""
    if isinstance(form, Gradient):
        return replace(form, x=_contracting(form.x, contracted))
    if isinstance(form, Sum | Mixing):
        return replace(form, operand=_contracting(form.operand, contracted))
    return form


def _contracting(operand: Operand, contracted: str) -> Operand:
    if isinstance(operand, Coupled):
        return replace(operand, coupling=replace(operand.coupling, contracted=contracted))
    if isinstance(operand, Added):
        return replace(operand, parts=tuple(_contracting(part, contracted) for part in operand.parts))
    return operand
