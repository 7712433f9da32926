"""The NumPy executor: array passes term by term, written to be read. It is the oracle of all other backends.

What an atom gets does not depend on the others in its batch, bit for bit. So no library for matrices is called on atoms
or edges, which takes different paths for different numbers of columns: sums run over whole rows of columns, one summand
after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from etn_gpu.backend.array_arithmetic import functions
from etn_gpu.backend.contraction import contract
from etn_gpu.backend.geometry import Geometry, nearest_neighbours, pairs_of_edges
from etn_gpu.backend.radial import inverse_powers, radial_functions
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    Couple,
    CoupleBlock,
    EdgeSum,
    Fold,
    Functions,
    Gather,
    Harmonics,
    Mix,
    Nearest,
    PairTable,
    Powers,
    Products,
    Radial,
)
from etn_gpu.plan.program import Program, Term, Value
from etn_gpu.symmetry import YZX_TO_XYZ, clebsch_gordan, solid_harmonics

Array = NDArray[np.floating]


def run(
    program: Program,
    inputs: Mapping[str, Array],
    geometry: Geometry,
    *,
    dtype: np.dtype,
    samples: NDArray[np.int64] | None = None,
) -> dict[str, Array]:
    """Execute ``program``. Edge and atom arrays are [n, size], parameters [size]; see :func:`etn_gpu.backend.run`."""
    if samples is not None:
        return _run_samples(program, inputs, geometry, dtype, samples)
    values: dict[str, Array] = {}
    for value in program.inputs:
        values[value.name] = np.asarray(inputs[value.name], dtype).T
    for step in program.steps:
        out = np.zeros((step.out.size, *_columns(step.out, geometry)), dtype)
        for term in step.terms:
            at: list[Array] = [values[name] for name in term.operands]
            at.insert(term.slot, out)
            _apply(term, at, geometry)
        values[step.out.name] = out
    return {name: np.ascontiguousarray(values[v].T) for name, v in program.outputs}


def _run_samples(
    program: Program, inputs: Mapping[str, Array], geometry: Geometry, dtype: np.dtype, samples: NDArray[np.int64]
) -> dict[str, Array]:
    """One run per sample (a range of atoms): parameter outputs are stacked, the others concatenated."""
    if not program.gathers:  # neighbours may be in other samples then
        geometry = Geometry(geometry.edge_offsets, geometry.species, geometry.edge_species)
    parts = []
    for first, last in pairwise(samples):
        edges = slice(geometry.edge_offsets[first], geometry.edge_offsets[last])
        cut = {"edge": edges, "atom": slice(first, last), "param": slice(None)}
        chosen = {v.name: np.asarray(inputs[v.name])[cut[v.space]] for v in program.inputs}
        parts.append(run(program, chosen, geometry.part(first, last), dtype=dtype))
    results = {}
    for name, v in program.outputs:
        value = program.values[v]
        join: Callable[..., Array] = np.stack if value.space == "param" else np.concatenate
        results[name] = join([p[name] for p in parts]) if parts else np.empty((0, value.size), dtype)
    return results


def apply_parameter_term(term: Term, at: list[Array]) -> None:
    """A term between parameters only; arrays may carry leading sample axes [..., size], as gradients per sample do."""
    operation = term.operation
    if isinstance(operation, Fold):
        _fold(operation, term, at)
    elif isinstance(operation, Couple | Copy):
        # Sample axes go last, where edges and atoms are otherwise; an array without them holds for every sample.
        samples = max(array.ndim for array in at) - 1
        at = [array.reshape((1,) * (samples + 1 - array.ndim) + array.shape).T for array in at]
        if isinstance(operation, Couple):
            _couple(operation, term, at)
        else:
            _copy(operation, term, at)
    elif isinstance(operation, Constant):
        at[0][..., operation.offset : operation.offset + operation.count] += term.scale * operation.value
    else:
        raise BackendError(f"the operation {operation.name!r} does not act between parameters")


def _columns(value: Value, geometry: Geometry) -> tuple[int, ...]:
    return () if value.space == "param" else (geometry.count(value.space),)


def _apply(term: Term, at: list[Array], geometry: Geometry) -> None:
    """Add the term to ``at[term.slot]``; ``at`` holds the arrays of all slots."""
    operation = term.operation
    if isinstance(operation, Couple):
        _couple(operation, term, at)
    elif isinstance(operation, Products):
        _products(operation, term, at)
    elif isinstance(operation, Mix):
        _mix(operation, term, at, geometry)
    elif isinstance(operation, EdgeSum):
        _edge_sum(operation, term, at, geometry)
    elif isinstance(operation, Gather):
        _gather(term, at, geometry)
    elif isinstance(operation, PairTable):
        _pair_table(operation, term, at, geometry)
    elif isinstance(operation, Nearest):
        at[2][0] += term.scale * nearest_neighbours(geometry, operation.n_species, at[0].T, at[1])
    elif isinstance(operation, Fold):
        _fold(operation, term, at)
    elif isinstance(operation, Copy):
        _copy(operation, term, at)
    elif isinstance(operation, Radial):
        at[1][...] += term.scale * radial_functions(operation, at[0][0])
    elif isinstance(operation, Powers):
        at[1][...] += term.scale * inverse_powers(operation, at[0][0])
    elif isinstance(operation, Functions):
        at[-1][...] += term.scale * functions(operation, at[0], list(at[1]) if operation.parameters else [])
    elif isinstance(operation, Harmonics):
        at[1][...] += term.scale * _harmonics(operation, at[0])
    elif isinstance(operation, Constant):
        at[0][operation.offset : operation.offset + operation.count] += term.scale * operation.value
    else:
        raise BackendError(f"the numpy backend does not know the operation {operation.name!r}")


def _harmonics(operation: Harmonics, x: Array) -> Array:
    """Solid harmonics [(lmax+1)^2, E] of the vectors x [3, E] (y, z, x); not a number where a vector is not finite."""
    finite = np.isfinite(x).all(axis=0)
    values = solid_harmonics(operation.lmax, np.where(finite, x, 0.0)[YZX_TO_XYZ].T).T
    return np.where(finite, values, np.nan)


def _strided(array: Array, block: CopyBlock, slot: int) -> Array:
    step = array.strides[0]
    shape = (*block.counts, *array.shape[1:])
    strides = (*(step * k for k in block.strides[slot]), *array.strides[1:])
    return _view(array, 0, block.offsets[slot], shape, strides)


def _view(array: Array, axis: int, first: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A strided part of an array, from the component ``first`` of its first (0) or last (-1) axis on."""
    if array.size and array.flags.c_contiguous:  # in a tenth of the time of `as_strided`
        return np.ndarray(shape, array.dtype, array, first * array.strides[axis], strides)
    return as_strided(array[first:] if axis == 0 else array[..., first:], shape, strides)


def _copy(operation: Copy, term: Term, at: list[Array]) -> None:
    for block in operation.blocks:
        out, source = (_strided(at[s], block, s) for s in (term.slot, 1 - term.slot))
        out += term.scale * source


def _sum_products(equation: str, *factors: Array) -> Array:
    """einsum with the columns as the only axis of each ellipsis, in an order that does not depend on their number.

    The innermost loop of NumPy runs over the columns, which lie side by side, and adds one product after the other to
    each. A single column would leave that loop to a summed index and its partial sums: it is taken twice.
    """
    terms = equation.split("->")[0].split(",")
    in_columns = [name.endswith("...") for name in terms]
    single = all(f.shape[-1] == 1 for f, there in zip(factors, in_columns, strict=True) if there)
    if single:
        pairs = zip(factors, in_columns, strict=True)
        factors = tuple(np.repeat(f, 2, axis=-1) if there else f for f, there in pairs)
    found: Array = np.einsum(equation, *factors)
    return found[..., :1] if single else found


def _couple(operation: Couple, term: Term, at: list[Array]) -> None:
    at = [array if array.ndim > 1 else array[:, None] for array in at]
    for block in operation.blocks:
        out = term.slot
        own = [[t for t in range(3) if block.counts[t] > 1 and strides[t]] for strides in block.strides]
        # The coefficients go to the operand of fewer multiplicities; the other also carries what neither depends on.
        near, far = sorted((s for s in range(3) if s != out), key=lambda s: prod(block.counts[t] for t in own[s]))
        own[far] = [t for t in range(3) if block.counts[t] > 1 and (t in own[far] or t not in own[near])]
        views = [_multiplicities(array, block, s, own[s]) for s, array in enumerate(at)]
        loops = ["".join("xyz"[t] for t in axes) for axes in own]
        a, b, c = ("mnp"[s] for s in (near, far, out))
        cg = (term.scale * block.coefficient * clebsch_gordan(*block.ls)).astype(at[out].dtype)
        turned = _sum_products(f"mnp,{loops[near]}{a}...->{loops[near]}{b}{c}...", cg, views[near])
        equation = f"{loops[near]}{b}{c}...,{loops[far]}{b}...->{loops[out]}{c}..."
        views[out] += _sum_products(equation, turned, views[far])


def _multiplicities(array: Array, block: CoupleBlock, slot: int, axes: Sequence[int]) -> Array:
    """The view [multiplicities of some loops, 2l+1, columns] of a slot."""
    dim, step = 2 * block.ls[slot] + 1, array.strides[0]
    shape = (*(block.counts[t] for t in axes), dim, *array.shape[1:])
    strides = (*(step * dim * block.strides[slot][t] for t in axes), step, *array.strides[1:])
    return _view(array, 0, block.offsets[slot], shape, strides)


def _products(operation: Products, term: Term, at: list[Array]) -> None:
    first, second = (s for s in range(3) if s != term.slot)
    out = at[term.slot]
    for row in operation.rows:
        factor = out.dtype.type(term.scale * row[3])
        out[int(row[term.slot])] += factor * (at[first][int(row[first])] * at[second][int(row[second])])


def _mix(operation: Mix, term: Term, at: list[Array], geometry: Geometry) -> None:
    w, x, z = at
    groups = [(0, np.arange(geometry.n_atoms))]
    if operation.species_stride:
        groups = [(int(t), np.flatnonzero(geometry.species == t)) for t in np.unique(geometry.species)]
    for species, columns in groups:
        for b in operation.blocks:
            base = b.weight + species * operation.species_stride
            step = w.strides[0]
            weights = as_strided(w[base:], (b.rows, b.cols), (step * b.row_stride, step))
            source = np.take(x[b.source : b.source + b.cols * b.dim], columns, axis=1).reshape(b.cols, b.dim, -1)
            target = np.take(z[b.target : b.target + b.rows * b.dim], columns, axis=1).reshape(b.rows, b.dim, -1)
            if term.slot == 0:
                weights += term.scale * np.tensordot(target, source, axes=((1, 2), (1, 2)))
            elif term.slot == 1:
                found = term.scale * _sum_products("rk,rm...->km...", weights, target)
                x[b.source : b.source + b.cols * b.dim, columns] += found.reshape(b.cols * b.dim, -1)
            else:
                found = term.scale * _sum_products("rk,km...->rm...", weights, source)
                z[b.target : b.target + b.rows * b.dim, columns] += found.reshape(b.rows * b.dim, -1)


def _edge_sum(operation: EdgeSum, term: Term, at: list[Array], geometry: Geometry) -> None:
    f, y, total = at
    centre = np.repeat(np.arange(geometry.n_atoms), np.diff(geometry.edge_offsets))
    for species in range(operation.n_species):
        chosen = np.full(geometry.n_edges, True) if operation.merged else geometry.edge_species == species
        edges = np.flatnonzero(chosen)
        for b in operation.blocks:
            start = b.target + species * b.count * b.dim
            block = total[start : start + b.count * b.dim].reshape(b.count, b.dim, -1)
            radial, angular = slice(b.radial, b.radial + b.count), slice(b.angular, b.angular + b.dim)
            if term.slot == 2:
                products = f[radial, None, edges] * y[None, angular, edges]
                np.add.at(block.transpose(2, 0, 1), centre[edges], term.scale * products.transpose(2, 0, 1))
            elif term.slot == 0:
                spread, factors = np.take(block, centre[edges], axis=2), np.take(y[angular], edges, axis=1)
                f[radial, edges] += term.scale * _sum_products("bm...,m...->b...", spread, factors)
            else:
                spread, factors = np.take(block, centre[edges], axis=2), np.take(f[radial], edges, axis=1)
                y[angular, edges] += term.scale * _sum_products("bm...,b...->m...", spread, factors)


def _gather(term: Term, at: list[Array], geometry: Geometry) -> None:
    x, z = at
    neighbour, _ = geometry.neighbours()
    if term.slot == 1:
        z += term.scale * x[:, neighbour]
    else:
        np.add.at(x.T, neighbour, term.scale * z.T)


def _pair_table(operation: PairTable, term: Term, at: list[Array], geometry: Geometry) -> None:
    w, z = at
    pairs = pairs_of_edges(geometry, operation.n_species)
    table = w.reshape(-1, operation.count)
    if term.slot == 1:
        z += term.scale * table[pairs].T
    else:
        np.add.at(table, pairs, term.scale * z.T)


def _fold(operation: Fold, term: Term, at: list[Array]) -> None:
    views = []
    for array, view in zip(at, operation.views, strict=True):
        samples, step = array.ndim - 1, array.strides[-1]
        strides = (*array.strides[:samples], *(step * k for k in view.strides))
        views.append(_view(array, -1, view.offset, (*array.shape[:samples], *view.shape), strides))
    names = [view.indices for view in operation.views]
    out, result = views.pop(term.slot), names.pop(term.slot)
    out += term.scale * contract(names, result, views)
