"""Between tiles and atom values: sums over edges become rows, and rows become what is spread over edges.

A sum S[species, b, m] over edges is usually mixed into site vectors at once (and its cotangent made by the adjoint of
that mixing just before it is spread over the edges). Then S is never held for all species: tiles and mixing meet
species by species in the rows of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etn_gpu.backend.cpu.atoms import AtomSteps, Written
from etn_gpu.backend.cpu.edges import Use
from etn_gpu.backend.cpu.ir import Module
from etn_gpu.backend.cpu.mix import Shape
from etn_gpu.backend.cpu.panels import Panel, pack_angular_function, pack_radial_function, unpack_function
from etn_gpu.plan.operations import EdgeSum, Mix, MixBlock
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


def site_mix(term: Term, sums: Sequence[EdgeSum]) -> SiteMix | None:
    """``term`` as a mixing of a sum with the layout of all ``sums``; None where it is another one."""
    operation = term.operation
    if not isinstance(operation, Mix) or term.slot == 0 or not sums or any(s.blocks != sums[0].blocks for s in sums):
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
    if len({id(b) for b, _, _ in found}) != len(sums[0].blocks):
        return None
    return SiteMix(term, operation, tuple(found), at)


def unpack(steps: AtomSteps, out: str, use: Use, written: Written) -> None:
    """Rows of a sum, all species, from its tiles."""
    f, panel = steps.f, use.panel
    touched = np.zeros(written.size, bool)
    for target, dim, number in panel.targets:
        touched[target + number : target + number + panel.species * panel.count * dim : dim] = True
    name = unpack_function(f.module, panel, use.term.scale, written.adds(touched))
    species = f.loop(panel.species)
    f.call(name, steps.row(out), _tiles(steps, use, species.index), f"i64 {species.index}")
    species.close()


def pack(steps: AtomSteps, source: str, use: Use) -> None:
    """Tiles from the rows of a value, all species."""
    f = steps.f
    species = f.loop(use.panel.species)
    f.call(
        _pack(f.module, use.panel, use), steps.row(source), _tiles(steps, use, species.index), f"i64 {species.index}"
    )
    species.close()


def unpack_and_mix(steps: AtomSteps, step: Step, site: SiteMix, uses: Sequence[Use], written: Written) -> None:
    """Add a mixing of a sum, that of ``uses``, to the output of ``step``."""
    f, rows = steps.f, steps.layout.rows
    touched = np.zeros(written.size, bool)
    for block, _, _ in site.blocks:
        touched[block.target : block.target + block.rows * block.dim] = True
    written.adds(touched, several=True)
    rows.allocate(SCRATCH, site.rows)
    species = f.loop(uses[0].panel.species)
    filled = Written(f, rows.at[SCRATCH], site.rows)
    for use in uses:
        panel = use.panel.of_one_species
        name = unpack_function(f.module, panel, use.term.scale, filled.adds(_all_rows(panel, site.rows)))
        f.call(name, steps.row(SCRATCH), _tiles(steps, use, species.index), "i64 0")
    for block, count, start in site.blocks:
        shape = Shape(block.rows, count, block.dim, block.row_stride, 1, block.dim)
        shift = f.integer("mul", species.index, count)
        steps.mix(
            site.operation, shape, site.term, block.weight, steps.row(step.out.name, block.target),
            steps.row(SCRATCH, start), True, shift,
        )  # fmt: skip
    species.close()
    rows.release(SCRATCH, site.rows)


def mix_and_pack(steps: AtomSteps, sites: Sequence[SiteMix], uses: Sequence[Use]) -> None:
    """Tiles for ``uses`` of the value that is the sum of adjoint mixings ``sites``."""
    f, rows = steps.f, steps.layout.rows
    rows.allocate(SCRATCH, sites[0].rows)
    species = f.loop(uses[0].panel.species)
    filled = Written(f, rows.at[SCRATCH], sites[0].rows)
    for site in sites:
        source = site.term.operands[1]
        for block, count, start in site.blocks:
            shape = Shape(count, block.rows, block.dim, 1, block.row_stride, block.dim)
            touched = np.zeros(site.rows, bool)
            touched[start : start + count * block.dim] = True
            add = filled.adds(touched)
            steps.mix(
                site.operation, shape, site.term, block.weight, steps.row(SCRATCH, start),
                steps.row(source, block.target), add, f.integer("mul", species.index, count),
            )  # fmt: skip
    for use in uses:
        name = _pack(f.module, use.panel.of_one_species, use)
        f.call(name, steps.row(SCRATCH), _tiles(steps, use, species.index), "i64 0")
    species.close()
    rows.release(SCRATCH, sites[0].rows)


def _all_rows(panel: Panel, size: int) -> np.ndarray:
    touched = np.zeros(size, bool)
    for target, dim, number in panel.targets:
        touched[target + number : target + number + panel.count * dim : dim] = True
    return touched


def _pack(module: Module, panel: Panel, use: Use) -> str:
    build = pack_radial_function if use.term.slot == 0 else pack_angular_function
    return build(module, panel, use.term.scale)


def _tiles(steps: AtomSteps, use: Use, species: str) -> str:
    f = steps.f
    return f.at("%all_tiles", f.integer("add", f.integer("mul", species, use.tile), use.tiles))
