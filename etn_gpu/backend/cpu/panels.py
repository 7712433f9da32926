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
from itertools import groupby, pairwise, product

from etn_gpu.backend.cpu.ir import PACK, Function, Module, Vector
from etn_gpu.plan.operations import EdgeSum

#: Registers of a tile that are held while the edges of an atom run through.
REGISTERS = 24
#: Sums that run side by side over the edges: one alone would wait for its own result.
SUMS = 4
#: Numbers of a run: species, first edge, end, place of the atom, whether it was cut before, whether behind.
RUN = 6


def padded(count: int, lanes: int = PACK) -> int:
    """``count`` rounded up to whole registers of ``lanes``."""
    return -(-count // lanes) * lanes


@dataclass(frozen=True)
class Panel:
    """Blocks of an :class:`EdgeSum` that share radial functions: [species, count, dim] for consecutive rows of y.

    ``targets`` gives, for each row of y, (first row of its block in S, rows of y in the block, number in the block).
    An atom has ``components`` tiles: one for each species of neighbours, or, with ``table`` > 0, one for each component
    of an embedding of that many species, T[k] = sum_species w[k, species] S[species]. Behind those of all atoms come
    ``spare`` more, see :meth:`Runs.start`. Cotangents of y lie in registers of ``lanes``.
    """

    radial: int
    count: int
    angular: int
    targets: tuple[tuple[int, int, int], ...]
    components: int
    lanes: int
    table: int = 0

    @property
    def dim(self) -> int:
        """Rows of y."""
        return len(self.targets)

    @property
    def spare(self) -> int:
        """Tiles behind those of all atoms."""
        return 2 if self.table else 0  # one is used: an even number of tiles fills whole registers

    @property
    def radial_width(self) -> int:
        """Elements of the radial functions of an edge, side by side."""
        return padded(self.count)

    @property
    def angular_width(self) -> int:
        """Elements of the cotangents of y of an edge, side by side."""
        return padded(self.dim, self.lanes)

    @property
    def radial_tile(self) -> int:
        """Elements of a tile [dim, count]."""
        return self.dim * self.radial_width

    @property
    def angular_tile(self) -> int:
        """Elements of a tile [count, dim]."""
        return self.count * self.angular_width

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


def panels(operation: EdgeSum, lanes: int) -> list[Panel]:
    """The panels of an edge sum; neighbouring blocks with the same radial functions are joined."""
    filled = sorted((b for b in operation.blocks if b.count and b.dim), key=lambda b: (b.radial, b.count, b.angular))
    found = []
    for (radial, count), blocks in groupby(filled, key=lambda b: (b.radial, b.count)):
        angular, targets = -1, list[tuple[int, int, int]]()
        for b in blocks:
            if targets and b.angular != angular + len(targets):
                found.append(Panel(radial, count, angular, tuple(targets), operation.n_species, lanes))
                targets = []
            if not targets:
                angular = b.angular
            targets += [(b.target, b.dim, m) for m in range(b.dim)]
        found.append(Panel(radial, count, angular, tuple(targets), operation.n_species, lanes))
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
        self._run = run = f.at("%runs", f.integer("mul", self.loop.index, RUN), "i64")
        self._species, self.first, self.end, place = (f.load_integer(run, k) for k in range(4))
        self._spare = f.at("%tiles", panel.components * f.stride * tile)
        number = f.integer("mul", place, panel.components)
        if not panel.table:
            number = f.integer("add", number, self._species)
        self.tile = f.at("%tiles", f.integer("mul", number, tile))

    def _weights(self, lanes: int) -> list[Vector]:
        f, panel = self.f, self.panel
        column = f.at("%weights", self._species)
        return [f.broadcast(column, k * panel.table, lanes) for k in range(panel.components)]

    def start(self, elements: Sequence[int]) -> list[Vector]:
        """What sums over the edges of the run start from.

        Where runs are cut depends on the other atoms of the block, and embedded sums must not: a run that was cut
        behind leaves its sums in the spare tile, and the next one goes on there.
        """
        f = self.f
        if self.panel.table:
            before = f.label
            with f.when_more_than(f.load_integer(self._run, 4), 0):
                kept = [f.load(self._spare, at, PACK) for at in elements]
                inside = f.label
            zero, kind = f.constant(0.0, PACK).name, f.kind(PACK)
            return [Vector(f.emit(f"phi {kind} [ {zero}, %{before} ], [ {v.name}, %{inside} ]"), PACK) for v in kept]
        return [f.load(self.tile, at, PACK) for at in elements]

    def finish(self, sums: Sequence[Vector], elements: Sequence[int]) -> None:
        """Put the sums back, or add them to all tiles."""
        f = self.f
        if not self.panel.table:
            for total, at in zip(sums, elements, strict=True):
                f.store(total, self.tile, at)
            return
        cut = f.load_integer(self._run, 5)
        with f.when_more_than(cut, 0):
            for total, at in zip(sums, elements, strict=True):
                f.store(total, self._spare, at)
        with f.when_more_than(f.integer("sub", 1, cut), 0):
            for k, weight in enumerate(self._weights(PACK)):
                for total, at in zip(sums, elements, strict=True):
                    place = k * self._tile + at
                    f.store(f.fma(weight, total, f.load(self.tile, place, PACK)), self.tile, place)

    def hold(self, elements: Sequence[int], lanes: int) -> list[Vector]:
        """What is spread over the edges of the run, in registers of ``lanes``."""
        f = self.f
        if not self.panel.table:
            return [f.load(self.tile, at, lanes) for at in elements]
        weights = self._weights(lanes)
        held = []
        for at in elements:
            total: Vector | None = None
            for k, weight in enumerate(weights):
                total = f.fma(weight, f.load(self.tile, k * self._tile + at, lanes), total)
            assert total is not None
            held.append(total)
        return held


def _pieces(count: int, most: int) -> list[range]:
    """0 .. count-1 in pieces of nearly the same length, at most ``most``."""
    pieces = -(-count // most)
    cuts = [count * k // pieces for k in range(pieces + 1)]
    return [range(a, b) for a, b in pairwise(cuts)]


def sum_edges(f: Function, panel: Panel, packed: str, y: str, width: int) -> None:
    """Add the edges of all runs to the tiles S[m, b]; ``packed`` [edge, b] and ``y`` [m, width] are pointers."""
    count = panel.radial_width
    runs = Runs(f, panel, panel.radial_tile)
    for rows in _pieces(panel.dim, max(1, REGISTERS // (count // PACK))):
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
    _spread(f, Runs(f, panel, panel.radial_tile), packed, y, (panel.dim, panel.radial_width), PACK, width)


def spread_angular(f: Function, panel: Panel, packed: str, radial: str, width: int) -> None:
    """packed[edge, m] = sum_b f[b, edge] G[b, m] with the tiles G[b, m]."""
    runs = Runs(f, panel, panel.angular_tile)
    _spread(f, runs, packed, radial, (panel.count, panel.angular_width), panel.lanes, width)


def _spread(f: Function, runs: Runs, packed: str, factors: str, shape: tuple[int, int], lanes: int, width: int) -> None:
    """packed[edge, j] = sum_i factors[i, edge] G[i, j], G [shape] in registers of ``lanes``."""
    n, size = shape
    factor_rows = _pieces(n, REGISTERS)
    columns = _pieces(size // lanes, REGISTERS // max(map(len, factor_rows)))
    for chosen, registers in product(factor_rows, columns):
        parts = [register * lanes for register in registers]
        places = [(i, j) for i in chosen for j in parts]
        held = dict(zip(places, runs.hold([i * size + j for i, j in places], lanes), strict=True))
        edges = f.loop(runs.end, (), runs.first)
        column = f.at(factors, edges.index)
        out = f.at(packed, f.integer("mul", edges.index, size))
        sums: dict[tuple[int, int], Vector] = {(0, j): f.load(out, j, lanes) for j in parts if chosen.start}
        chains = min(len(chosen), -(-SUMS // len(parts)))
        for i in chosen:
            factor = f.broadcast(column, i * width, lanes)
            for j in parts:
                at = i % chains, j
                sums[at] = f.fma(factor, held[i, j], sums.get(at))
        for j in parts:
            f.store(_total(f, [sums[k, j] for k in range(chains)]), out, j)
        edges.close()
    runs.loop.close()


def _total(f: Function, parts: list[Vector]) -> Vector:
    """The sum of ``parts``, pair by pair."""
    while len(parts) > 1:
        parts = [*(f.add(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)), *parts[len(parts) // 2 * 2 :]]
    return parts[0]


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
        count = panel.radial_width
        groups = _Groups(f, panel, panel.radial_tile)
        for m in range(panel.dim):
            first = groups.row(m)
            for b in range(0, panel.count, PACK):
                atoms = f.load_transpose(groups.tiles, m * count + b, groups.stride, PACK)
                for k, row in enumerate(atoms[: panel.count - b]):
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
        count = panel.radial_width
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
        dim = panel.angular_width
        groups = _Groups(f, panel, panel.angular_tile)
        radial = f.loop(panel.count)
        tiles = f.at(groups.tiles, f.integer("mul", radial.index, dim))
        rows = [f.load(groups.row(m, radial.index), 0, PACK) for m in range(panel.dim)]
        for m in range(0, dim, PACK):
            groups.store(rows[m : m + PACK], m, scale, tiles)
        radial.close()
        groups.close()

    return module.function(("pack angular", panel, scale), ARGUMENTS, build)
