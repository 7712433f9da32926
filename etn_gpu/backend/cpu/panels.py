"""Sums over the edges of an atom: small matrix products, one edge after the other.

An edge keeps its radial functions side by side, PACK to a register, so that

    S[m, b] += f[e, b] y[m, e]      G -> f~[e, b] = sum_m y[m, e] G[m, b]      G -> y~[e, m] = sum_b f[b, e] G[b, m]

run on whole registers for any number of edges and species, without sums over lanes. What belongs to the atoms lies in
*tiles*, one for each atom of the block and each species of neighbours; :func:`unpack` and :func:`pack` turn tiles into
rows (one lane an atom) and back by transposing registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from etn_gpu.backend.cpu.ir import PACK, Function, Module, Vector
from etn_gpu.plan.operations import EdgeSum

#: Registers of a tile that are held while the edges of an atom run through.
REGISTERS = 24


def padded(count: int) -> int:
    """``count`` rounded up to whole registers."""
    return -(-count // PACK) * PACK


@dataclass(frozen=True)
class Panel:
    """Blocks of an :class:`EdgeSum` that share radial functions: [species, count, dim] for consecutive rows of y.

    ``targets`` gives, for each row of y, (first row of its block in S, rows of y in the block, number in the block).
    An atom has ``components`` tiles: one for each species of neighbours, or, with ``table`` > 0, one for each component
    of an embedding of that many species, T[k] = sum_species w[k, species] S[species].
    """

    radial: int
    count: int
    angular: int
    targets: tuple[tuple[int, int, int], ...]
    components: int
    table: int = 0

    @property
    def dim(self) -> int:
        """Rows of y."""
        return len(self.targets)

    @property
    def radial_tile(self) -> int:
        """Elements of a tile [dim, count]."""
        return self.dim * padded(self.count)

    @property
    def angular_tile(self) -> int:
        """Elements of a tile [count, dim]."""
        return self.count * padded(self.dim)

    @property
    def of_one_species(self) -> Panel:
        """The same panel for rows that hold one species only, block after block."""
        targets, start, blocks = [], 0, dict[int, int]()
        for target, dim, number in self.targets:
            if target not in blocks:
                blocks[target] = start
                start += dim * self.count
            targets.append((blocks[target], dim, number))
        return replace(self, targets=tuple(targets))


def panels(operation: EdgeSum) -> list[Panel]:
    """The panels of an edge sum; neighbouring blocks with the same radial functions are joined."""
    filled = sorted((b for b in operation.blocks if b.count and b.dim), key=lambda b: (b.radial, b.count, b.angular))
    found = []
    for (radial, count), blocks in groupby(filled, key=lambda b: (b.radial, b.count)):
        angular, targets = -1, list[tuple[int, int, int]]()
        for b in blocks:
            if targets and b.angular != angular + len(targets):
                found.append(Panel(radial, count, angular, tuple(targets), operation.n_species))
                targets = []
            if not targets:
                angular = b.angular
            targets += [(b.target, b.dim, m) for m in range(b.dim)]
        found.append(Panel(radial, count, angular, tuple(targets), operation.n_species))
    return found


#: Arguments of the functions over runs of edges; ``weights`` is the table of an embedding.
EDGE_ARGUMENTS = ("tiles", "packed", "factors", "weights", "runs", "i64 n_runs")


class Runs:
    """A loop over runs (species, first edge, end, place of the atom) inside a function with EDGE_ARGUMENTS.

    A run meets one tile, or all of them with the weights of its species.
    """

    def __init__(self, f: Function, panel: Panel, tile: int) -> None:
        self.f, self.panel, self._tile = f, panel, tile
        self.loop = f.loop("%n_runs")
        run = f.at("%runs", f.integer("mul", self.loop.index, 4), "i64")
        self._species, self.first, self.end, place = (f.load_integer(run, k) for k in range(4))
        number = f.integer("mul", place, panel.components)
        if not panel.table:
            number = f.integer("add", number, self._species)
        self.tile = f.at("%tiles", f.integer("mul", number, tile))

    def _weights(self) -> list[Vector]:
        f, panel = self.f, self.panel
        column = f.at("%weights", self._species)
        return [f.broadcast(column, k * panel.table, PACK) for k in range(panel.components)]

    def start(self, elements: Sequence[int]) -> list[Vector]:
        """What sums over the edges of the run start from."""
        if self.panel.table:
            return [self.f.constant(0.0, PACK)] * len(elements)
        return [self.f.load(self.tile, at, PACK) for at in elements]

    def finish(self, sums: Sequence[Vector], elements: Sequence[int]) -> None:
        """Put the sums back, or add them to all tiles."""
        f = self.f
        if not self.panel.table:
            for total, at in zip(sums, elements, strict=True):
                f.store(total, self.tile, at)
            return
        for k, weight in enumerate(self._weights()):
            for total, at in zip(sums, elements, strict=True):
                place = k * self._tile + at
                f.store(f.fma(weight, total, f.load(self.tile, place, PACK)), self.tile, place)

    def hold(self, elements: Sequence[int]) -> list[Vector]:
        """What is spread over the edges of the run."""
        f = self.f
        if not self.panel.table:
            return self.start(elements)
        weights = self._weights()
        held = []
        for at in elements:
            total: Vector | None = None
            for k, weight in enumerate(weights):
                total = f.fma(weight, f.load(self.tile, k * self._tile + at, PACK), total)
            assert total is not None
            held.append(total)
        return held


def sum_edges(f: Function, panel: Panel, packed: str, y: str, width: int) -> None:
    """Add the edges of all runs to the tiles S[m, b]; ``packed`` [edge, b] and ``y`` [m, width] are pointers."""
    count = padded(panel.count)
    runs = Runs(f, panel, panel.radial_tile)
    tile_rows = max(1, REGISTERS // (count // PACK))
    for start in range(0, panel.dim, tile_rows):
        rows = range(start, min(start + tile_rows, panel.dim))
        elements = [m * count + b for m in rows for b in range(0, count, PACK)]
        edges = f.loop(runs.end, runs.start(elements), runs.first)
        source = f.at(packed, f.integer("mul", edges.index, count))
        values = [f.load(source, b, PACK) for b in range(0, count, PACK)]
        column = f.at(y, edges.index)
        sums = iter(edges.values)
        new = []
        for m in rows:
            factor = f.broadcast(column, m * width, PACK)
            new += [f.fma(value, factor, next(sums)) for value in values]
        runs.finish(edges.close(new), elements)
    runs.loop.close()


def spread_radial(f: Function, panel: Panel, packed: str, y: str, width: int) -> None:
    """packed[edge, b] = sum_m y[m, edge] G[m, b] with the tiles G[m, b]."""
    count = padded(panel.count)
    _spread(f, panel, panel.radial_tile, packed, y, (panel.dim, count), width)


def spread_angular(f: Function, panel: Panel, packed: str, radial: str, width: int) -> None:
    """packed[edge, m] = sum_b f[b, edge] G[b, m] with the tiles G[b, m]."""
    _spread(f, panel, panel.angular_tile, packed, radial, (panel.count, padded(panel.dim)), width)


def _spread(
    f: Function, panel: Panel, tile: int, packed: str, factors: str, shape: tuple[int, int], width: int
) -> None:
    """packed[edge, j] = sum_i factors[i, edge] G[i, j], G [shape] in tiles of ``tile`` elements."""
    n, size = shape
    runs = Runs(f, panel, tile)
    for start in range(0, size, REGISTERS // n * PACK or PACK):
        parts = range(start, min(start + (REGISTERS // n * PACK or PACK), size), PACK)
        places = [(i, j) for i in range(n) for j in parts]
        held = dict(zip(places, runs.hold([i * size + j for i, j in places]), strict=True))
        edges = f.loop(runs.end, (), runs.first)
        column = f.at(factors, edges.index)
        sums: dict[tuple[int, int], Vector] = {}
        for i in range(n):
            factor = f.broadcast(column, i * width, PACK)
            for j in parts:
                # Two chains of additions for each register: one alone would wait for its own result.
                sums[i % 2, j] = f.fma(factor, held[i, j], sums.get((i % 2, j)))
        out = f.at(packed, f.integer("mul", edges.index, size))
        for j in parts:
            f.store(f.add(sums[0, j], sums[1, j]) if n > 1 else sums[0, j], out, j)
        edges.close()
    runs.loop.close()


#: Arguments of the functions between rows and tiles: ``tiles`` is the first atom's tile of the species.
ARGUMENTS = ("rows", "tiles", "i64 species")


class _Groups:
    """A loop over PACK atoms of a block at a time, inside a function with the arguments ARGUMENTS.

    ``rows`` is the first row of S for these atoms, ``tiles`` the tile of the first of them, ``stride`` the elements
    from one atom's tile to the next one's.
    """

    def __init__(self, f: Function, panel: Panel, tile: int) -> None:
        self.f, self.panel = f, panel
        self.stride = panel.components * tile
        self._group = f.loop(f.stride // PACK)
        first = f.integer("mul", self._group.index, PACK)
        self.rows = f.at("%rows", first)
        self.tiles = f.at("%tiles", f.integer("mul", first, self.stride))

    def row(self, m: int, b: str | None = None) -> str:
        """Address of row (species, b, m) of S; b = 0 without ``b``."""
        f = self.f
        target, dim, number = self.panel.targets[m]
        at = f.integer("mul", "%species", self.panel.count * dim * f.stride)
        at = f.integer("add", at, (target + number) * f.stride)
        if b is not None:
            at = f.integer("add", at, f.integer("mul", b, dim * f.stride))
        return f.at(self.rows, at)

    def step(self, m: int) -> int:
        """Elements from row (b, m) to row (b + 1, m)."""
        return self.panel.targets[m][1] * self.f.stride

    def store(self, rows: list[Vector], at: int, scale: float, tiles: str | None = None) -> None:
        """Transpose up to PACK rows into element ``at`` of the tiles."""
        f = self.f
        if scale != 1.0:
            rows = [f.multiply(f.constant(scale, PACK), row) for row in rows]
        rows = rows + [f.constant(0.0, PACK)] * (PACK - len(rows))
        for k, column in enumerate(f.transpose(rows)):
            f.store(column, tiles or self.tiles, k * self.stride + at)

    def close(self) -> None:
        """End the loop."""
        self._group.close()


def unpack_function(module: Module, panel: Panel, scale: float, add: bool) -> str:
    """Name of the function ARGUMENTS: rows of S from the tiles S[m, b]."""

    def build(f: Function) -> None:
        count = padded(panel.count)
        groups = _Groups(f, panel, panel.radial_tile)
        for m in range(panel.dim):
            first = groups.row(m)
            for b in range(0, panel.count, PACK):
                atoms = [f.load(groups.tiles, k * groups.stride + m * count + b, PACK) for k in range(PACK)]
                for k, row in enumerate(f.transpose(atoms)[: panel.count - b]):
                    _store_row(f, row, first, (b + k) * groups.step(m), scale, add)
        groups.close()

    return module.function(("unpack", panel, scale, add), ARGUMENTS, build)


def _store_row(f: Function, row: Vector, pointer: str, at: int, scale: float, add: bool) -> None:
    old = f.load(pointer, at, PACK) if add else None
    if scale != 1.0:
        row = f.fma(f.constant(scale, PACK), row, old)
    elif old is not None:
        row = f.add(row, old)
    f.store(row, pointer, at)


def pack_radial_function(module: Module, panel: Panel, scale: float) -> str:
    """Name of the function ARGUMENTS: tiles G[m, b] from the rows of S."""

    def build(f: Function) -> None:
        count = padded(panel.count)
        groups = _Groups(f, panel, panel.radial_tile)
        for m in range(panel.dim):
            first = groups.row(m)
            for b in range(0, count, PACK):
                there = range(b, min(b + PACK, panel.count))
                groups.store([f.load(first, k * groups.step(m), PACK) for k in there], m * count + b, scale)
        groups.close()

    return module.function(("pack radial", panel, scale), ARGUMENTS, build)


def pack_angular_function(module: Module, panel: Panel, scale: float) -> str:
    """Name of the function ARGUMENTS: tiles G[b, m] from the rows of S."""

    def build(f: Function) -> None:
        dim = padded(panel.dim)
        groups = _Groups(f, panel, panel.angular_tile)
        radial = f.loop(panel.count)
        tiles = f.at(groups.tiles, f.integer("mul", radial.index, dim))
        rows = [f.load(groups.row(m, radial.index), 0, PACK) for m in range(panel.dim)]
        for m in range(0, dim, PACK):
            groups.store(rows[m : m + PACK], m, scale, tiles)
        radial.close()
        groups.close()

    return module.function(("pack angular", panel, scale), ARGUMENTS, build)
