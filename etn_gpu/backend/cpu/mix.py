"""Mixing of multiplicities, out[r, m] = sum_k w[r, k] x[k, m], and the gradient in its weights.

The rows of a block are [multiplicity, m]. The weights are numbers, the same in every lane; where they depend on the
species of the atom, the function runs once for each species in the block and ``mask`` picks its lanes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from etn_gpu.backend.cpu.ir import PACK, Function, Module, Vector
from etn_gpu.backend.cpu.memory import literal

#: Vectors that one pass keeps in registers, of 32.
REGISTERS = 24
#: Components that are done at once where there are more than LARGE: irreps have at most that many.
PART, LARGE = 8, 17


@dataclass(frozen=True)
class Shape:
    """Output multiplicities, input multiplicities, components m, and the strides of w over both.

    ``pitch`` is the number of components from one multiplicity to the next: more than ``dim`` for a part of them.
    """

    rows: int
    cols: int
    dim: int
    row_stride: int
    col_stride: int
    pitch: int

    @property
    def parts(self) -> list[tuple[int, Shape]]:
        """First component and shape of parts that fit into the registers."""
        size = PART if self.dim > LARGE else self.dim
        return [(m, replace(self, dim=min(size, self.dim - m))) for m in range(0, self.dim, size)]


def mix_function(module: Module, shape: Shape, scale: float, masked: bool, add: bool) -> str:
    """Name of the function (out, x, w, mask) that sets, or with ``add`` increments, all output rows.

    Without ``masked`` the mask is not read.
    """

    def build(f: Function) -> None:
        tile = max(1, min(shape.rows, REGISTERS // shape.dim))
        passes, rest = divmod(shape.rows, tile)
        if passes > 1:
            loop = f.loop(passes)
            _tile(f, shape, f.integer("mul", loop.index, tile), tile, scale, masked, add)
            loop.close()
        elif passes:
            _tile(f, shape, 0, tile, scale, masked, add)
        if rest:
            _tile(f, shape, passes * tile, rest, scale, masked, add)

    return module.function(("mix", shape, scale, masked, add), ("out", "x", "w", "mask"), build, ("out", "x", "mask"))


def _tile(f: Function, shape: Shape, first: int | str, tile: int, scale: float, masked: bool, add: bool) -> None:
    """Output rows first .. first + tile - 1."""
    dim, stride, pitch = shape.dim, f.stride, shape.pitch * f.stride
    weights = f.at("%w", f.product(first, shape.row_stride))
    out = f.at("%out", f.product(first, pitch))
    sums: list[Vector | None] = [None] * (tile * dim)

    def accumulate(sums: list[Vector | None], k: int | str) -> list[Vector | None]:
        at = f.product(k, pitch)
        source = f.at("%x", at)
        column = f.at(weights, f.product(k, shape.col_stride))
        x = [f.load(source, m * stride) for m in range(dim)]
        new = list(sums)
        for r in range(tile):
            w = f.broadcast(column, r * shape.row_stride)
            for m in range(dim):
                new[r * dim + m] = f.fma(w, x[m], sums[r * dim + m])
        return new

    if shape.cols * tile * dim <= REGISTERS:
        for k in range(shape.cols):
            sums = accumulate(sums, k)
    else:
        zero = f.constant(0.0)
        loop = f.loop(shape.cols, [zero] * (tile * dim))
        sums = [*loop.close(_filled(accumulate([*loop.values], loop.index)))]
    places = [r * pitch + m * stride for r in range(tile) for m in range(dim)]
    _finish(f, _filled(sums), out, places, scale, masked, add)


def _filled(values: list[Vector | None]) -> list[Vector]:
    assert all(v is not None for v in values)
    return [v for v in values if v is not None]


def _finish(
    f: Function, sums: list[Vector], out: str, places: list[int], scale: float, masked: bool, add: bool
) -> None:
    factor: Vector | None = None if scale == 1.0 else f.constant(scale)
    if masked:
        mask = f.load("%mask")
        factor = mask if factor is None else f.multiply(mask, factor)
    for value, place in zip(sums, places, strict=True):
        old = f.load(out, place) if add else None
        if factor is not None:
            value = f.fma(factor, value, old)
        elif old is not None:
            value = f.add(value, old)
        f.store(value, out, place)


def weights_function(module: Module, shape: Shape, scale: float, masked: bool) -> str:
    """Name of the function (gradient, out, x, mask): gradient[r, k] += scale sum_m out[r, m] . x[k, m].

    ``gradient`` is float64 whatever the type of the rows; the columns lie side by side.
    """

    def build(f: Function) -> None:
        together = max(1, min(shape.rows, PACK // shape.cols)) if shape.cols < PACK else 1
        passes, rest = divmod(shape.rows, together)
        if passes > 1:
            loop = f.loop(passes)
            _gradient_rows(f, shape, f.integer("mul", loop.index, together), together, scale, masked)
            loop.close()
        elif passes:
            _gradient_rows(f, shape, 0, together, scale, masked)
        if rest:
            _gradient_rows(f, shape, passes * together, rest, scale, masked)

    return module.function(
        ("weights", shape, scale, masked), ("gradient", "out", "x", "mask"), build, ("out", "x", "mask")
    )


def _gradient_rows(f: Function, shape: Shape, first: int | str, rows: int, scale: float, masked: bool) -> None:
    dim, stride, pitch = shape.dim, f.stride, shape.pitch * f.stride
    at = f.product(first, shape.row_stride)
    gradient = f.at("%gradient", at, "double")
    target = f.at("%out", f.product(first, pitch))
    mask = f.load("%mask") if masked else None
    bars = [f.load(target, r * pitch + m * stride) for r in range(rows) for m in range(dim)]
    if mask is not None:
        bars = [f.multiply(mask, bar) for bar in bars]
    whole, rest = divmod(shape.cols, PACK) if rows == 1 else (0, shape.cols)
    if whole:
        loop = f.loop(whole)
        _gradient_tile(f, shape, gradient, bars, f.integer("mul", loop.index, PACK), PACK, scale)
        loop.close()
    if rest:
        _gradient_tile(f, shape, gradient, bars, whole * PACK, rest, scale)


def _gradient_tile(
    f: Function, shape: Shape, gradient: str, bars: list[Vector], first: int | str, cols: int, scale: float
) -> None:
    """Columns first .. first + cols - 1 of the rows whose cotangents are ``bars``."""
    dim, stride, pitch = shape.dim, f.stride, shape.pitch * f.stride
    source = f.at("%x", f.product(first, pitch))
    gradient = f.at(gradient, first, "double")
    x = [f.load(source, k * pitch + m * stride) for k in range(cols) for m in range(dim)]
    rows = len(bars) // dim
    sums = []
    for r in range(rows):
        for k in range(cols):
            total = None
            for m in range(dim):
                total = f.fma(bars[r * dim + m], x[k * dim + m], total)
            assert total is not None
            sums.append(total)
    totals = _as_double(f, f.sums(sums), scale)
    if cols == PACK:
        old = f.emit(f"load <{PACK} x double>, ptr {gradient}, align 8")
        new = f.emit(f"fadd <{PACK} x double> {old}, {totals}")
        f.line(f"store <{PACK} x double> {new}, ptr {gradient}, align 8")
        return
    for r in range(rows):
        for k in range(cols):
            at = f.at(gradient, r * shape.row_stride + k, "double")
            lane = f.emit(f"extractelement <{PACK} x double> {totals}, i64 {r * cols + k}")
            new = f.emit(f"fadd double {f.emit(f'load double, ptr {at}')}, {lane}")
            f.line(f"store double {new}, ptr {at}")


def _as_double(f: Function, value: Vector, scale: float) -> str:
    name = value.name
    if f.module.scalar == "float":
        name = f.emit(f"fpext {f.kind(PACK)} {name} to <{PACK} x double>")
    if scale == 1.0:
        return name
    return f.emit(f"fmul <{PACK} x double> {name}, splat (double {literal(scale)})")
