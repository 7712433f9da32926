"""Between tiles and atom values: sums over edges become rows, and rows become what is spread over edges.

A sum S[species, b, m] over edges is usually mixed into site vectors at once (and its cotangent made by the adjoint of
that mixing just before it is spread over the edges). Then S is never held for all species: tiles and mixing meet
species by species in the rows of one of them, and species that are no neighbours of a block's atoms cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.atoms import AtomSteps, Written
from etn_gpu.backend.cpu.counted import Loop
from etn_gpu.backend.cpu.edges import Use
from etn_gpu.backend.cpu.ir import PACK, Module
from etn_gpu.backend.cpu.mix import Shape
from etn_gpu.backend.cpu.panels import Panel, pack_angular_function, pack_radial_function, unpack_function
from etn_gpu.plan.operations import EdgeSum, Mix, MixBlock, Operation
from etn_gpu.plan.program import Step, Term

SCRATCH = "#species"


@dataclass(frozen=True)
class SiteMix:
    """A mixing of an edge sum: for each block of the mixing, where the block of the sum lies for one species."""

    term: Term
    operation: Mix
    #: (block of the mixing, radial functions per species, first row among the rows of one species)
    blocks: tuple[tuple[MixBlock, int, int], ...]
    #: Rows that one species takes.
    rows: int


@dataclass(frozen=True)
class Embedding:
    """A mixing of species: parameter ``weights`` from number ``offset`` on, [components, species]."""

    weights: str
    offset: int
    components: int
    species: int


class Sites:
    """Which values are never held for all species, because they are only mixed or only spread over edges.

    ``mixed``: terms that mix a sum, with the name of the sum. ``spread``: values that are only spread over edges, with
    the adjoint mixings that make them. ``embedded``: sums, and values that are spread, whose species are embedded on
    the way. ``unheld``: all values that nothing has to make.
    """

    def __init__(self, body: Sequence[Step], outputs: Set[str]) -> None:
        self.mixed: dict[Term, tuple[SiteMix, str]] = {}
        self.spread: dict[str, list[SiteMix]] = {}
        self.embedded: dict[str, Embedding] = {}
        self.unheld: set[str] = set()
        self._made = {step.out.name: step for step in body}
        self._readers: dict[str, list[Term]] = {}
        self._writes: dict[Term, str] = {}
        for step in body:
            for term in step.terms:
                self._writes[term] = step.out.name
                for name in term.operands:
                    self._readers.setdefault(name, []).append(term)
        for name, step in self._made.items():
            if step.out.space == "atom" and name not in outputs and name in self._readers:
                self._look_at_spread(name, step)
                self._look_at_sum(name, step, outputs)

    def _look_at_spread(self, name: str, step: Step) -> None:
        sums = [t.operation for t in self._readers[name] if isinstance(t.operation, EdgeSum)]
        if len(sums) != len(self._readers[name]):
            return
        sites = _all_sites(step.terms, 1, sums)
        (first, *others) = step.terms
        embedding = None if others else _embedding(first, 1, sums)
        source = first.operands[-1]
        if sites is None and embedding is not None and source in self._made and self._readers[source] == [first]:
            sites = _all_sites(self._made[source].terms, 1, [_embedded_sum(first.operation, sums[0])])
            if sites is not None:
                self.embedded[name] = embedding
                self.unheld.add(source)
        if sites is not None:
            self.spread[name] = sites
            self.unheld.add(name)

    def _look_at_sum(self, name: str, step: Step, outputs: Set[str]) -> None:
        sums = [t.operation for t in step.terms if isinstance(t.operation, EdgeSum)]
        if len(sums) != len(step.terms):
            return
        sites, readers = _all_sites(self._readers[name], 2, sums), self._readers[name]
        embedding = _embedding(readers[0], 2, sums) if len(readers) == 1 else None
        if sites is None and embedding is not None:
            middle = self._writes[readers[0]]
            if len(self._made[middle].terms) == 1 and middle not in outputs and middle in self._readers:
                sites = _all_sites(self._readers[middle], 2, [_embedded_sum(readers[0].operation, sums[0])])
                if sites is not None:
                    self.embedded[name] = embedding
                    self.unheld.add(middle)
        if sites is not None:
            self.mixed |= {site.term: (site, name) for site in sites}
            self.unheld.add(name)


def _all_sites(terms: Sequence[Term], slot: int, sums: Sequence[EdgeSum]) -> list[SiteMix] | None:
    """All ``terms`` as mixings of sums with the same layout; None where one is something else."""
    sites = [_site_mix(t, sums) if t.slot == slot else None for t in terms]
    found = [site for site in sites if site is not None]
    return found if len(found) == len(sites) else None


def _site_mix(term: Term, sums: Sequence[EdgeSum]) -> SiteMix | None:
    operation = term.operation
    if not isinstance(operation, Mix) or not sums or any(s.blocks != sums[0].blocks for s in sums):
        return None
    starts, at = {}, 0
    for b in sums[0].blocks:
        starts[b.target] = (b, at)
        at += b.count * b.dim
    found = []
    for block in operation.blocks:
        summed, start = starts.get(block.source, (None, 0))
        if summed is None or (block.cols, block.dim) != (sums[0].n_species * summed.count, summed.dim):
            return None
        found.append((block, summed.count, start))
    if sorted(start for _, _, start in found) != sorted(start for _, start in starts.values()):
        return None
    return SiteMix(term, operation, tuple(found), at)


def _embedding(term: Term, slot: int, sums: Sequence[EdgeSum]) -> Embedding | None:
    """``term`` as a mixing of the species of all blocks of a sum with the same weights; None where it is another."""
    operation = term.operation
    if not isinstance(operation, Mix) or term.slot != slot or operation.species_stride or term.scale != 1.0:
        return None
    if not sums or any(s.blocks != sums[0].blocks for s in sums):
        return None
    species, first = sums[0].n_species, operation.blocks[0]
    wanted = {(b.target, b.count * b.dim) for b in sums[0].blocks}
    same = all(
        (b.weight, b.rows, b.row_stride, b.cols) == (first.weight, first.rows, species, species)
        for b in operation.blocks
    )
    if not same or {(b.source, b.dim) for b in operation.blocks} != wanted:
        return None
    return Embedding(term.operands[0], first.weight, first.rows, species)


def _embedded_sum(operation: Operation, original: EdgeSum) -> EdgeSum:
    """The layout of an embedded sum, as if its components were species."""
    assert isinstance(operation, Mix)
    targets = {b.source: b.target for b in operation.blocks}
    blocks = tuple(replace(b, target=targets[b.target]) for b in original.blocks)
    return replace(original, blocks=blocks, n_species=operation.blocks[0].rows)


def unpack(steps: AtomSteps, out: str, use: Use, written: Written) -> None:
    """Rows of a sum, all species, from its tiles."""
    f, panel = steps.f, use.panel
    add = written.adds(_panel_rows(panel, written, panel.components))
    name = unpack_function(f.module, panel, use.term.scale, add)
    species = f.loop(panel.components)
    f.call(name, steps.row(out), _tiles(steps, use, species.index), f"i64 {species.index}")
    species.close()


def pack(steps: AtomSteps, source: str, use: Use) -> None:
    """Tiles from the rows of a value, all species."""
    f = steps.f
    species = f.loop(use.panel.components)
    f.call(
        _pack(f.module, use.panel, use), steps.row(source), _tiles(steps, use, species.index), f"i64 {species.index}"
    )
    species.close()


def unpack_and_mix(steps: AtomSteps, step: Step, site: SiteMix, uses: Sequence[Use], written: Written) -> None:
    """Add a mixing of a sum, that of ``uses``, to the output of ``step``."""
    f, rows = steps.f, steps.layout.rows
    parts = [written.part(block.target, block.rows * block.dim) for block, _, _ in site.blocks]
    written.adds(np.logical_or.reduce(parts), several=True)
    rows.allocate(SCRATCH, site.rows)
    loop, species = _species(steps, uses[0].panel)
    filled = Written(f, rows.at[SCRATCH], site.rows)
    for use in uses:
        panel = use.panel.of_one_species
        name = unpack_function(f.module, panel, use.term.scale, filled.adds(_panel_rows(panel, filled, 1)))
        f.call(name, steps.row(SCRATCH), _tiles(steps, use, species), "i64 0")
    for block, count, start in site.blocks:
        shape = Shape(block.rows, count, block.dim, block.row_stride, 1, block.dim)
        shift = f.integer("mul", species, count)
        steps.mix(
            site.operation, shape, site.term, block.weight, steps.row(step.out.name, block.target),
            steps.row(SCRATCH, start), True, shift,
        )  # fmt: skip
    loop.close()
    rows.release(SCRATCH, site.rows)


def mix_and_pack(steps: AtomSteps, sites: Sequence[SiteMix], uses: Sequence[Use]) -> None:
    """Tiles for ``uses`` of the value that is the sum of adjoint mixings ``sites``."""
    f, rows = steps.f, steps.layout.rows
    rows.allocate(SCRATCH, sites[0].rows)
    loop, species = _species(steps, uses[0].panel)
    filled = Written(f, rows.at[SCRATCH], sites[0].rows)
    for site in sites:
        source = site.term.operands[1]
        for block, count, start in site.blocks:
            shape = Shape(count, block.rows, block.dim, 1, block.row_stride, block.dim)
            add = filled.adds(filled.part(start, count * block.dim))
            steps.mix(
                site.operation, shape, site.term, block.weight, steps.row(SCRATCH, start),
                steps.row(source, block.target), add, f.integer("mul", species, count),
            )  # fmt: skip
    for use in uses:
        name = _pack(f.module, use.panel.of_one_species, use)
        f.call(name, steps.row(SCRATCH), _tiles(steps, use, species), "i64 0")
    loop.close()
    rows.release(SCRATCH, sites[0].rows)


def clear(steps: AtomSteps, use: Use, near: bool) -> None:
    """Zero the tiles that are summed into: all of them, or with ``near`` those that :func:`unpack_and_mix` reads."""
    f, panel = steps.f, use.panel
    if not near or panel.table or panel.components == 1:
        _zero(steps, f.at("%all_tiles", use.tiles), use.tile * (panel.components * f.stride + panel.spare))
        return
    loop, species = _species(steps, panel)
    atoms = f.loop(f.stride)
    tiles = f.at(_tiles(steps, use, species), f.integer("mul", atoms.index, panel.components * use.tile))
    _zero(steps, tiles, use.tile)
    atoms.close()
    loop.close()


def _zero(steps: AtomSteps, pointer: str, elements: int) -> None:
    """Zero whole registers of PACK."""
    f = steps.f
    lanes = f.lanes if elements % f.lanes == 0 else PACK
    loop = f.loop(elements // lanes)
    f.store(f.constant(0.0, lanes), pointer, f.integer("mul", loop.index, lanes))
    loop.close()


def _species(steps: AtomSteps, panel: Panel) -> tuple[Loop, str]:
    """A loop over the species that are neighbours of atoms of the block, or over all components of an embedding."""
    f = steps.f
    if panel.table or panel.components == 1:
        loop = f.loop(panel.components)
        return loop, loop.index
    loop = f.loop("%n_near")
    return loop, f.load_integer("%near", loop.index)


def _panel_rows(panel: Panel, written: Written, components: int) -> NDArray[np.bool_]:
    """The rows of a value that a panel reaches, for so many components."""
    parts = (written.part(target + number, components * panel.count, dim) for target, dim, number in panel.targets)
    return np.logical_or.reduce(list(parts))


def _pack(module: Module, panel: Panel, use: Use) -> str:
    build = pack_radial_function if use.term.slot == 0 else pack_angular_function
    return build(module, panel, use.term.scale)


def _tiles(steps: AtomSteps, use: Use, species: str) -> str:
    f = steps.f
    return f.at("%all_tiles", f.integer("add", f.integer("mul", species, use.tile), use.tiles))
