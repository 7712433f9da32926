"""LLVM functions as text: values in static single assignment, vectors as values, loops with carried values.

The numba backend writes its inner loops in LLVM's own language, because explicit vectors and registers decide the
speed and because text is compiled far faster than exec'd Python source. One :class:`Function` collects the lines of
one function; a :class:`Module` holds the functions of one Program, equal ones only once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from etn_gpu.backend.cpu import elementary
from etn_gpu.backend.cpu.counted import Loop
from etn_gpu.backend.cpu.memory import CONSTANTS, Tables

BYTES = 64
#: Lanes of the narrow vectors in which edges keep their radial functions together: one register of float64.
PACK = 8


@dataclass(frozen=True)
class Vector:
    """A value: its name (or literal) and its number of lanes."""

    name: str
    lanes: int


class Module:
    """The functions of one Program in one floating-point type; a row of atoms has ``vectors`` registers."""

    def __init__(self, dtype: np.dtype, vectors: int = 1) -> None:
        self.dtype = np.dtype(dtype)
        self.vectors = vectors
        self.scalar = "double" if self.dtype.itemsize == 8 else "float"
        self.lanes = BYTES // self.dtype.itemsize
        self._names: dict[Hashable, str] = {}
        self._texts: list[str] = []
        self._declared: dict[str, str] = {}
        #: Numbers that its functions read from memory.
        self.tables = Tables(self.dtype, self.scalar)

    def function(
        self, key: Hashable, arguments: Sequence[str], build: Callable[[Function], None], rows: Sequence[str] = ()
    ) -> str:
        """Name of the function that ``build`` writes; built once for each ``key``.

        Arguments are pointers that do not alias, unless their kind is given: 'i64 n_runs'. Those among ``rows`` point
        to rows of atoms: what ``build`` writes runs for each vector of a row.
        """
        if key not in self._names:
            self._names[key] = f"k{len(self._names)}"
            heads = [f"{a}.first" if a in rows else a for a in arguments]
            function = Function(self, self._names[key], heads, "internal")
            if rows:
                loop = function.loop(self.vectors)
                lane = function.integer("mul", loop.index, self.lanes)
                for name in rows:
                    function.line(f"%{name} = getelementptr {self.scalar}, ptr %{name}.first, i64 {lane}")
                build(function)
                loop.close()
            else:
                build(function)
            self._texts.append(function.text())
        return self._names[key]

    def export(self, function: Function) -> None:
        """Add a function under its own name."""
        self._texts.append(function.text())

    def intrinsic(self, name: str, result: str, arguments: Sequence[str]) -> str:
        """Name of an LLVM intrinsic, declared in this module."""
        self._declared[name] = f"declare {result} @{name}({', '.join(arguments)})"
        return name

    def text(self) -> str:
        """The module."""
        width = BYTES * 8
        attributes = (
            f'attributes #0 = {{ noinline nounwind "prefer-vector-width"="{width}" '
            f'"min-legal-vector-width"="{width}" }}'
        )
        return "\n".join([*self.tables.lines(), *self._texts, *self._declared.values(), attributes, ""])


class Function:
    """One LLVM function."""

    def __init__(self, module: Module, name: str, arguments: Sequence[str], linkage: str = "external") -> None:
        self.module = module
        self.lanes = module.lanes
        #: Elements from one row of atoms to the next.
        self.stride = module.lanes * module.vectors
        kinds = [a.split() if " " in a else ("ptr noalias", a) for a in arguments]
        heads = ", ".join(f"{kind} %{argument}" for kind, argument in kinds)
        self._lines = [f"define {linkage} void @{name}({heads}) #0 {{", "entry:"]
        self._count = 0
        self._labels = 0
        self.label = "entry"

    def text(self) -> str:
        """The finished function."""
        return "\n".join([*self._lines, "  ret void", "}"])

    # Lines and names.

    def line(self, text: str, *fields: str) -> None:
        """Append one line."""
        self._lines.append("  " + (text.format(*fields) if fields else text))

    def new_name(self) -> str:
        """A fresh value name."""
        self._count += 1
        return f"%v{self._count}"

    def emit(self, expression: str) -> str:
        """Append ``name = expression`` and return the name."""
        name = self.new_name()
        self._lines.append(f"  {name} = {expression}")
        return name

    def new_label(self) -> str:
        """A fresh label."""
        self._labels += 1
        return f"L{self._labels}"

    def open_label(self, label: str) -> None:
        """Start a basic block."""
        self._lines.append(f"{label}:")
        self.label = label

    def placeholder(self) -> int:
        """A line to be filled later."""
        self._lines.append("")
        return len(self._lines) - 1

    def fill(self, line: int, text: str) -> None:
        """Fill a placeholder."""
        self._lines[line] = "  " + text

    def loop(self, count: int | str, carried: Sequence[Vector] = (), start: int | str = 0) -> Loop:
        """A loop over start .. count-1; it runs at least once."""
        return Loop(self, str(start), str(count), carried)

    def call(self, name: str, *values: str) -> None:
        """Call a function of the module with pointers, or with what else has its kind before it ('i64 %n')."""
        self.line(f"call void @{name}({', '.join(v if ' ' in v else f'ptr {v}' for v in values)})")

    @contextmanager
    def when_more_than(self, a: str, b: int) -> Iterator[None]:
        """What is written inside runs where the integer a > b."""
        condition = self.emit(f"icmp sgt i64 {a}, {b}")
        inside, after = self.new_label(), self.new_label()
        self.line(f"br i1 {condition}, label %{inside}, label %{after}")
        self.open_label(inside)
        yield
        self.line(f"br label %{after}")
        self.open_label(after)

    # Integers and addresses.

    def integer(self, operation: str, a: str | int, b: str | int) -> str:
        """'add', 'sub' or 'mul' of 64-bit integers."""
        return self.emit(f"{operation} nsw i64 {a}, {b}")

    def product(self, a: str | int, b: int) -> str | int:
        """a b, worked out here where ``a`` is known."""
        return a * b if isinstance(a, int) else self.integer("mul", a, b)

    def load_integer(self, pointer: str, offset: int | str) -> str:
        """The 64-bit integer number ``offset`` behind ``pointer``."""
        return self.emit(f"load i64, ptr {self.at(pointer, offset, 'i64')}, align 8")

    def at(self, pointer: str, offset: int | str, kind: str | None = None) -> str:
        """Address of element ``offset``."""
        if offset in (0, "0"):
            return pointer
        return self.emit(f"getelementptr {kind or self.module.scalar}, ptr {pointer}, i64 {offset}")

    # Vectors.

    def kind(self, lanes: int) -> str:
        """LLVM type of a vector of ``lanes``."""
        return f"<{lanes} x {self.module.scalar}>"

    def load(self, pointer: str, offset: int | str = 0, lanes: int | None = None) -> Vector:
        """The vector that starts at element ``offset``."""
        n = lanes or self.lanes
        align = self.module.dtype.itemsize
        return Vector(self.emit(f"load {self.kind(n)}, ptr {self.at(pointer, offset)}, align {align}"), n)

    def store(self, value: Vector, pointer: str, offset: int | str = 0) -> None:
        """Store a vector from element ``offset`` on."""
        align = self.module.dtype.itemsize
        self.line(f"store {self.kind(value.lanes)} {value.name}, ptr {self.at(pointer, offset)}, align {align}")

    def broadcast(self, pointer: str, offset: int | str = 0, lanes: int | None = None) -> Vector:
        """The element at ``offset`` in every lane."""
        n = lanes or self.lanes
        scalar = self.emit(f"load {self.module.scalar}, ptr {self.at(pointer, offset)}")
        single = self.emit(f"insertelement {self.kind(n)} poison, {self.module.scalar} {scalar}, i64 0")
        kind = self.kind(n)
        return Vector(self.emit(f"shufflevector {kind} {single}, {kind} poison, <{n} x i32> zeroinitializer"), n)

    def constant(self, value: float, lanes: int | None = None) -> Vector:
        """``value`` in every lane: zero, or read where it is used."""
        if value == 0.0:
            return Vector("zeroinitializer", lanes or self.lanes)
        return self.broadcast(CONSTANTS, self.module.tables.place(value), lanes)

    def _binary(self, operation: str, a: Vector, b: Vector) -> Vector:
        return Vector(self.emit(f"{operation} {self.kind(a.lanes)} {a.name}, {b.name}"), a.lanes)

    def add(self, a: Vector, b: Vector) -> Vector:
        """a + b."""
        return self._binary("fadd", a, b)

    def subtract(self, a: Vector, b: Vector) -> Vector:
        """a - b."""
        return self._binary("fsub", a, b)

    def multiply(self, a: Vector, b: Vector) -> Vector:
        """a b."""
        return self._binary("fmul", a, b)

    def divide(self, a: Vector, b: Vector) -> Vector:
        """a / b."""
        return self._binary("fdiv", a, b)

    def negate(self, a: Vector) -> Vector:
        """-a; free where it is an operand of an fma."""
        return Vector(self.emit(f"fneg {self.kind(a.lanes)} {a.name}"), a.lanes)

    def fma(self, a: Vector, b: Vector, c: Vector | None) -> Vector:
        """a b + c, rounded once; a b without c."""
        if c is None:
            return self.multiply(a, b)
        return self._intrinsic("fma", a, b, c)

    def sqrt(self, a: Vector) -> Vector:
        """Square root of every lane."""
        return self._intrinsic("sqrt", a)

    def exp(self, a: Vector) -> Vector:
        """e^a in every lane."""
        return elementary.exp(self, a)

    def log(self, a: Vector) -> Vector:
        """Natural logarithm of every lane."""
        return elementary.log(self, a)

    def sin(self, a: Vector) -> Vector:
        """Sine of every lane."""
        return elementary.sine(self, a)

    def cos(self, a: Vector) -> Vector:
        """Cosine of every lane."""
        return elementary.sine(self, a, 1)

    def tanh(self, a: Vector) -> Vector:
        """Hyperbolic tangent of every lane."""
        return elementary.tanh(self, a)

    def _intrinsic(self, operation: str, *values: Vector) -> Vector:
        n = values[0].lanes
        kind = self.kind(n)
        suffix = f"v{n}f{8 * self.module.dtype.itemsize}"
        name = self.module.intrinsic(f"llvm.{operation}.{suffix}", kind, [kind] * len(values))
        arguments = ", ".join(f"{kind} {v.name}" for v in values)
        return Vector(self.emit(f"call {kind} @{name}({arguments})"), n)

    def below(self, a: Vector, limit: Vector, then: Vector, otherwise: Vector) -> Vector:
        """``then`` where a < limit or a is not a number, else ``otherwise``, lane by lane."""
        n, kind = a.lanes, self.kind(a.lanes)
        condition = self.emit(f"fcmp ult {kind} {a.name}, {limit.name}")
        return Vector(self.emit(f"select <{n} x i1> {condition}, {kind} {then.name}, {kind} {otherwise.name}"), n)

    def shuffle(self, a: Vector, b: Vector, lanes: Sequence[int]) -> Vector:
        """The lanes ``lanes`` of a and b side by side."""
        mask = ", ".join(f"i32 {k}" for k in lanes)
        kind = self.kind(a.lanes)
        text = f"shufflevector {kind} {a.name}, {kind} {b.name}, <{len(lanes)} x i32> <{mask}>"
        return Vector(self.emit(text), len(lanes))

    def split(self, a: Vector) -> list[Vector]:
        """Vectors of PACK lanes, side by side equal to ``a``."""
        if a.lanes == PACK:
            return [a]
        return [self.shuffle(a, a, range(k, k + PACK)) for k in range(0, a.lanes, PACK)]

    def join(self, parts: Sequence[Vector]) -> Vector:
        """One vector from one or two of PACK lanes."""
        return parts[0] if len(parts) == 1 else self.shuffle(parts[0], parts[1], range(2 * PACK))

    def deinterleave(self, pointer: str, size: int, components: Sequence[int]) -> list[Vector]:
        """``components``, one after the other, of an array [lane, size]: each as one vector over the lanes.

        The work of :meth:`_gather` grows with the square of the size, that of transposed blocks does not.
        """
        if size >= PACK:
            found: dict[int, Vector] = {}
            for first in _blocks(components[0], components[-1] + 1, size):
                halves = [self.load_transpose(pointer, half * size + first, size, PACK) for half in self._packs()]
                found |= {first + k: self.join([half[k] for half in halves]) for k in range(PACK)}
            return [found[c] for c in components]
        sources = [self.load(pointer, k * self.lanes) for k in range(size)]
        return [self._gather(sources, [e * size + c for e in range(self.lanes)]) for c in components]

    def interleave(self, values: Sequence[Vector], pointer: str) -> None:
        """Store vectors over the lanes as an array [lane, number of the vector]."""
        size = len(values)
        if size >= PACK:
            for first in _blocks(0, size, size):
                parts = [self.split(v) for v in values[first : first + PACK]]
                for number, half in enumerate(self._packs()):
                    for e, column in enumerate(self.transpose([p[number] for p in parts])):
                        self.store(column, pointer, (half + e) * size + first)
            return
        for k in range(size):
            flat = range(k * self.lanes, (k + 1) * self.lanes)
            self.store(
                self._gather(values, [(q % size) * self.lanes + q // size for q in flat]), pointer, k * self.lanes
            )

    def _packs(self) -> range:
        """First lanes of the parts of PACK lanes."""
        return range(0, self.lanes, PACK)

    def _gather(self, sources: Sequence[Vector], wanted: Sequence[int]) -> Vector:
        """The elements ``wanted`` of the sources, counted one source after the other."""
        n = self.lanes
        result = sources[0]
        place = {e: at for e, at in enumerate(wanted) if at < n}
        for number, source in enumerate(sources[1:], 1):
            lanes = [n + at % n if at // n == number else place.get(e, 0) for e, at in enumerate(wanted)]
            result = self.shuffle(result, source, lanes)
            place = {e: e for e, at in enumerate(wanted) if at // n <= number}
        return result

    def transpose(self, rows: Sequence[Vector]) -> list[Vector]:
        """The columns of n vectors of n lanes, in log2(n) passes over pairs of rows."""
        return self._transpose(rows, len(rows) // 2)

    def load_transpose(self, pointer: str, offset: int, pitch: int, n: int) -> list[Vector]:
        """The columns of n vectors of n lanes, ``pitch`` elements apart in memory.

        Half vectors are loaded to where the first pass of :meth:`transpose` would bring them.
        """
        half = n // 2
        rows = []
        for first in (0, half):
            for k in range(half):
                a, b = (self.load(pointer, offset + row * pitch + first, half) for row in (k, k + half))
                rows.append(self.shuffle(a, b, range(n)))
        return self._transpose(rows, half // 2)

    def _transpose(self, rows: Sequence[Vector], span: int) -> list[Vector]:
        """Exchange the lanes of pairs of rows, at first those that are ``span`` apart."""
        rows, n = list(rows), len(rows)
        while span:
            low = [k if not k & span else n + (k ^ span) for k in range(n)]
            high = [(k ^ span) if not k & span else n + k for k in range(n)]
            for i in range(n):
                if not i & span:
                    a, b = rows[i], rows[i + span]
                    rows[i], rows[i + span] = self.shuffle(a, b, low), self.shuffle(a, b, high)
            span //= 2
        return rows

    def sums(self, vectors: Sequence[Vector]) -> Vector:
        """The sum of the lanes of each of at most PACK vectors, side by side (zero in the lanes that are left)."""
        rows = []
        for v in vectors:
            first, *rest = self.split(v)
            for part in rest:
                first = self.add(first, part)
            rows.append(first)
        rows += [self.constant(0.0, PACK)] * (PACK - len(rows))
        span = PACK // 2
        while span:
            paired = []
            for a, b in zip(rows[:span], rows[span:], strict=True):
                low = [k if not k & span else PACK + (k ^ span) for k in range(PACK)]
                high = [(k ^ span) if not k & span else PACK + k for k in range(PACK)]
                paired.append(self.add(self.shuffle(a, b, low), self.shuffle(a, b, high)))
            rows, span = paired, span // 2
        return rows[0]


def _blocks(start: int, end: int, size: int) -> list[int]:
    """First numbers of blocks of PACK among 0 .. size-1 that hold start .. end-1; the last ones may overlap."""
    return [min(first, size - PACK) for first in range(start, end, PACK)]
