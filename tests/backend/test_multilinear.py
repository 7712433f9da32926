"""Every multilinear operation in every slot, against tables written out with explicit loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.errors import BackendError
from etn_gpu.plan import Program, Step, Term, Value
from etn_gpu.plan.operations import (
    Copy,
    CopyBlock,
    Couple,
    CoupleBlock,
    EdgeSum,
    EdgeSumBlock,
    Fold,
    Mix,
    MixBlock,
    Nearest,
    Operation,
    PairTable,
    Products,
    View,
)
from etn_gpu.symmetry import clebsch_gordan

Array = NDArray[np.float64]
Inputs = dict[str, Array]
TOLERANCE = {"float64": 1e-13, "float32": 3e-6}


def program_of(operation: Operation, slot: int, spaces: tuple[str, ...]) -> Program:
    """``out = 0.75 T - 1.25 T``: two terms, so that adding and scaling are part of the test."""
    values = [Value(f"in{s}", space, operation.sizes[s]) for s, space in enumerate(spaces)]
    inputs = tuple(v for s, v in enumerate(values) if s != slot)
    names = tuple(v.name for v in inputs)
    out = Value("out", spaces[slot], operation.sizes[slot])
    terms = (Term(operation, slot, names, 0.75), Term(operation, slot, names, -1.25))
    return Program(inputs, (Step(out, terms),), (("out", "out"),))


def couple_table(operation: Couple) -> Array:
    table = np.zeros(operation.sizes)
    for block in operation.blocks:
        coefficients = block.coefficient * clebsch_gordan(*block.ls)
        for index in np.ndindex(block.counts):
            starts = [block.offsets[s] + int(np.dot(index, block.strides[s])) * (2 * block.ls[s] + 1) for s in range(3)]
            for m in np.ndindex(coefficients.shape):
                table[tuple(starts[s] + m[s] for s in range(3))] += coefficients[m]
    return table


def copy_table(operation: Copy) -> Array:
    table = np.zeros(operation.sizes)
    for block in operation.blocks:
        for index in np.ndindex(block.counts):
            table[tuple(block.offsets[s] + int(np.dot(index, block.strides[s])) for s in range(2))] += 1.0
    return table


def mix_table(operation: Mix, species: int) -> Array:
    table = np.zeros(operation.sizes)
    for b in operation.blocks:
        for r, k, m in np.ndindex(b.rows, b.cols, b.dim):
            weight = b.weight + species * operation.species_stride + r * b.row_stride + k
            table[weight, b.source + k * b.dim + m, b.target + r * b.dim + m] += 1.0
    return table


def edge_sum_table(operation: EdgeSum, species: int) -> Array:
    table = np.zeros(operation.sizes)
    for block in operation.blocks:
        for b, m in np.ndindex(block.count, block.dim):
            target = block.target + (species * block.count + b) * block.dim + m
            table[block.radial + b, block.angular + m, target] += 1.0
    return table


def fold_table(operation: Fold) -> Array:
    table = np.zeros(operation.sizes)
    extents = {i: n for view in operation.views for i, n in zip(view.indices, view.shape, strict=True)}
    for numbers in np.ndindex(*extents.values()):
        at = dict(zip(extents, numbers, strict=True))
        key = [v.offset + sum(at[i] * k for i, k in zip(v.indices, v.strides, strict=True)) for v in operation.views]
        table[tuple(key)] += 1.0
    return table


def contract(table: Array, slot: int, arrays: list[Array]) -> Array:
    """The derivative of the form ``table`` with respect to ``slot``, at vectors [size], or rows [n, size] of them."""
    letters = "abcdef"[: table.ndim]
    others = [letters[s] for s in range(table.ndim) if s != slot]
    rows = ["n" if x.ndim == 2 else "" for x in arrays]
    inputs = ",".join(n + letter for n, letter in zip(rows, others, strict=True))
    return np.einsum(f"{letters},{inputs}->{max(rows)}{letters[slot]}", table, *arrays, optimize=True)


def check(
    backend: str, dtype: str, operation: Operation, slot: int, spaces: tuple[str, ...], geometry: Geometry,
    inputs_for: Callable[..., Inputs], expected: Callable[[Inputs], Array],
    size: Callable[[Inputs], Array] | None = None,
) -> None:  # fmt: skip
    """``size`` gives what the tolerance is relative to: the sum of the absolute values, where terms may cancel."""
    program = program_of(operation, slot, spaces)
    inputs = inputs_for(program, geometry)
    out = run(program, inputs, geometry, backend=backend, dtype=dtype)["out"]
    form = expected(inputs)
    wanted = -0.5 * form
    assert out.dtype == dtype
    assert out.shape == wanted.shape
    largest = np.abs(size(inputs) if size else form).max(initial=0)
    np.testing.assert_allclose(out, wanted, rtol=0, atol=TOLERANCE[dtype] * (1 + largest))


@st.composite
def coupling(draw: st.DrawFn) -> Couple:
    """One to three blocks; each multiplicity loop runs through a random choice of slots, in a random order."""
    blocks, sizes = [], [1, 1, 1]
    for _ in range(draw(st.integers(1, 3))):
        l0, l1 = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        ls = (l0, l1, draw(st.integers(abs(l0 - l1), l0 + l1)))
        counts = draw(st.tuples(*[st.integers(1, 3)] * 3))
        strides, offsets = [], []
        for s in range(3):
            step, of_slot = 1, [0, 0, 0]
            for t in draw(st.permutations(range(3))):
                if draw(st.booleans()):
                    of_slot[t] = step
                    step *= counts[t]
            offsets.append(draw(st.integers(0, 3)))
            strides.append((of_slot[0], of_slot[1], of_slot[2]))
            sizes[s] = max(sizes[s], offsets[s] + step * (2 * ls[s] + 1))
        coefficient = draw(st.sampled_from((1.0, -0.5, 3.0)))
        blocks.append(
            CoupleBlock(
                ls, (offsets[0], offsets[1], offsets[2]), counts, (strides[0], strides[1], strides[2]), coefficient
            )
        )
    return Couple((sizes[0], sizes[1], sizes[2]), tuple(blocks))


@pytest.mark.parametrize("slot", [0, 1, 2])
@given(operation=coupling(), space=st.sampled_from(("edge", "atom", "param")), dtype=st.sampled_from(list(TOLERANCE)))
@settings(max_examples=25)
def test_couple(
    backend: str, slot: int, operation: Couple, space: str, dtype: str, geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Inputs],
) -> None:  # fmt: skip
    geometry = geometry_of([3, 0, 7, 1], 2)
    table = couple_table(operation)

    def size(inputs: Inputs) -> Array:
        return contract(np.abs(table), slot, [np.abs(x) for x in inputs.values()])

    check(
        backend,
        dtype,
        operation,
        slot,
        (space,) * 3,
        geometry,
        inputs_for,
        lambda inputs: contract(table, slot, list(inputs.values())),
        size,
    )


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("space", ["edge", "atom"])
def test_couple_on_every_batch(
    backend: str, slot: int, space: str, geometry: Geometry, inputs_for: Callable[..., Inputs]
) -> None:
    outer = CoupleBlock((1, 2, 3), (1, 0, 2), (2, 3, 1), ((1, 0, 0), (0, 1, 0), (3, 1, 0)))
    dot = CoupleBlock((1, 1, 0), (0, 3, 0), (2, 1, 1), ((1, 0, 0), (1, 0, 0), (0, 0, 0)), 3.0**0.5)
    operation = Couple((7, 15, 44), (outer, dot))
    table = couple_table(operation)
    check(
        backend, "float64", operation, slot, (space,) * 3, geometry, inputs_for,
        lambda inputs: contract(table, slot, list(inputs.values())),
    )  # fmt: skip


@st.composite
def sparse_products(draw: st.DrawFn) -> Products:
    """Rows in any order, several for one component of the output, components that no row reaches."""
    sizes = draw(st.tuples(*[st.integers(1, 5)] * 3))
    cells = st.tuples(*[st.integers(0, n - 1) for n in sizes])
    chosen = draw(st.lists(cells, max_size=20, unique=True))
    numbers = draw(st.lists(st.sampled_from((1.0, -0.5, 3.0)), min_size=len(chosen), max_size=len(chosen)))
    return Products(sizes, tuple((*cell, c) for cell, c in zip(chosen, numbers, strict=True)))


@pytest.mark.parametrize("slot", [0, 1, 2])
@given(operation=sparse_products(), space=st.sampled_from(("edge", "atom")), dtype=st.sampled_from(list(TOLERANCE)))
@settings(max_examples=25)
def test_products(
    backend: str, slot: int, operation: Products, space: str, dtype: str, geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Inputs],
) -> None:  # fmt: skip
    table = np.zeros(operation.sizes)
    for i, j, k, c in operation.rows:
        table[i, j, k] = c

    def size(inputs: Inputs) -> Array:
        return contract(np.abs(table), slot, [np.abs(x) for x in inputs.values()])

    check(
        backend, dtype, operation, slot, (space,) * 3, geometry_of([3, 0, 7, 1] * 5, 2), inputs_for,
        lambda inputs: contract(table, slot, list(inputs.values())), size,
    )  # fmt: skip


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("space", ["edge", "atom", "param"])
def test_copy(backend: str, slot: int, space: str, geometry: Geometry, inputs_for: Callable[..., Inputs]) -> None:
    regroup = CopyBlock((1, 0), (2, 3, 2), ((6, 2, 1), (1, 4, 2)))
    plain = CopyBlock((4, 12), (5, 1, 1), ((1, 0, 0), (1, 0, 0)))
    operation = Copy((13, 17), (regroup, plain))
    table = copy_table(operation)

    def expected(inputs: Inputs) -> Array:
        (x,) = inputs.values()
        return x @ (table if slot == 1 else table.T)

    check(backend, "float64", operation, slot, (space,) * 2, geometry, inputs_for, expected)


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("stride", [0, 31], ids=["shared", "by-species"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_mix(
    backend: str, dtype: str, slot: int, stride: int, geometry: Geometry, inputs_for: Callable[..., Inputs]
) -> None:
    blocks = (
        MixBlock(0, 3, 5, 3, 3, 2, 0),  # five rows: one group of four and one more
        MixBlock(15, 8, 2, 6, 1, 11, 15),  # rows with a gap between them
        MixBlock(2, 5, 1, 1, 5, 0, 12),  # weights and components shared with the first
    )
    operation = Mix((31 + 5 * stride, 17, 18), blocks, stride)
    tables = [mix_table(operation, t if stride else 0) for t in range(5)]

    def expected(inputs: Inputs) -> Array:
        out = np.zeros((len(geometry.species), operation.sizes[slot]))
        for species in np.unique(geometry.species):
            rows = geometry.species == species
            arrays = [x if name == "in0" else x[rows] for name, x in inputs.items()]
            out[rows] = contract(tables[species], slot, arrays)
        return out.sum(axis=0) if slot == 0 else out

    check(backend, dtype, operation, slot, ("param", "atom", "atom"), geometry, inputs_for, expected)


SCATTERED = (EdgeSumBlock(1, 5, 1, 3, 0), EdgeSumBlock(0, 2, 0, 1, 75), EdgeSumBlock(2, 3, 4, 5, 87))
#: More rows than registers, more radial functions than lanes.
LARGE = (EdgeSumBlock(0, 9, 0, 25, 0), EdgeSumBlock(0, 9, 25, 13, 1125), EdgeSumBlock(0, 9, 38, 17, 1710))


@pytest.mark.parametrize(
    ("blocks", "sizes"), [(SCATTERED, (6, 9, 163)), (LARGE, (9, 55, 2475))], ids=["scattered", "large"]
)
@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_edge_sum(
    backend: str, dtype: str, slot: int, blocks: tuple[EdgeSumBlock, ...], sizes: tuple[int, int, int],
    geometry: Geometry, inputs_for: Callable[..., Inputs],
) -> None:  # fmt: skip
    n_species = 5
    operation = EdgeSum(sizes, blocks, n_species)
    tables = {t: edge_sum_table(operation, t) for t in np.unique(geometry.edge_species)}
    centre = np.repeat(np.arange(geometry.n_atoms), np.diff(geometry.edge_offsets))

    def expected(inputs: Inputs) -> Array:
        out = np.zeros((geometry.count("atom" if slot == 2 else "edge"), operation.sizes[slot]))
        for species in np.unique(geometry.edge_species):
            (edges,) = np.nonzero(geometry.edge_species == species)
            arrays = [x[centre[edges] if name == "in2" else edges] for name, x in inputs.items()]
            np.add.at(out, centre[edges] if slot == 2 else edges, contract(tables[species], slot, arrays))
        return out

    check(backend, dtype, operation, slot, ("edge", "edge", "atom"), geometry, inputs_for, expected)


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_edge_sum_of_merged_neighbours(
    backend: str, dtype: str, slot: int, geometry: Geometry, inputs_for: Callable[..., Inputs]
) -> None:
    blocks = tuple(replace(b, target=t) for b, t in zip(SCATTERED, (0, 15, 17), strict=True))
    operation = EdgeSum((6, 9, 32), blocks, 1, merged=True)
    table = edge_sum_table(operation, 0)
    centre = np.repeat(np.arange(geometry.n_atoms), np.diff(geometry.edge_offsets))

    def expected(inputs: Inputs) -> Array:
        out = np.zeros((geometry.count("atom" if slot == 2 else "edge"), operation.sizes[slot]))
        arrays = [x[centre] if name == "in2" else x for name, x in inputs.items()]
        np.add.at(out, centre if slot == 2 else np.arange(geometry.n_edges), contract(table, slot, arrays))
        return out

    check(backend, dtype, operation, slot, ("edge", "edge", "atom"), geometry, inputs_for, expected)


def test_pair_table(backend: str, geometry: Geometry, inputs_for: Callable[..., Inputs]) -> None:
    operation = PairTable(3, 5)

    def expected(inputs: Inputs) -> Array:
        (w,) = inputs.values()
        centre = geometry.species[np.repeat(np.arange(geometry.n_atoms), np.diff(geometry.edge_offsets))]
        return w.reshape(5, 5, 3)[centre, geometry.edge_species]

    check(backend, "float64", operation, 1, ("param", "edge"), geometry, inputs_for, expected)


def test_gradient_of_a_pair_table(geometry: Geometry, inputs_for: Callable[..., Inputs]) -> None:
    operation = PairTable(3, 5)

    def expected(inputs: Inputs) -> Array:
        (z,) = inputs.values()
        centre = geometry.species[np.repeat(np.arange(geometry.n_atoms), np.diff(geometry.edge_offsets))]
        out = np.zeros((5, 5, 3))
        np.add.at(out, (centre, geometry.edge_species), z)
        return out.ravel()

    check("numpy", "float64", operation, 0, ("param", "edge"), geometry, inputs_for, expected)


def test_nearest(backend: str) -> None:
    """Beyond its cutoff a pair does not count; equal ones share the mark; an atom may have no neighbours."""
    counts, edge_species = [3, 0, 2, 2], [0, 0, 1, 0, 1, 1, 1]
    geometry = Geometry(
        np.concatenate(([0], np.cumsum(counts))), np.array([0, 1, 1, 0], np.int32), np.array(edge_species, np.int32)
    )
    lengths = np.array([2.0, 1.5, 1.9, 2.0, 2.0, 1.2, 1.3])
    x = lengths[:, None] * np.array([0.6, 0.0, -0.8])
    starts, cutoffs = [0.0, 0.5, 0.3, 0.3], [3.0, 1.1 + 0.9, 3.0, 3.0]
    operation = Nearest(2)
    out = Value("out", "edge", 1)
    terms = (Term(operation, 2, ("x", "w"), 3.0), Term(operation, 2, ("x", "w"), -1.0))
    program = Program((Value("x", "edge", 3), Value("w", "param", 8)), (Step(out, terms),), (("out", "out"),))
    found = run(program, {"x": x, "w": np.array(starts + cutoffs)}, geometry, backend=backend)["out"][:, 0]
    np.testing.assert_array_equal(found, [0.0, 0.0, 2.0, 1.0, 1.0, 2.0, 0.0])
    cutoffs[1] = 1.0
    found = run(program, {"x": x, "w": np.array(starts + cutoffs)}, geometry, backend=backend)["out"][:, 0]
    np.testing.assert_array_equal(found, [0.0, 2.0, 0.0, 1.0, 1.0, 0.0, 0.0])


def test_nearest_of_what_is_computed_is_refused(geometry: Geometry) -> None:
    shifted = Step(
        Value("y", "edge", 3), (Term(Copy((3, 3), (CopyBlock((0, 0), (3, 1, 1), ((1, 0, 0), (1, 0, 0))),)), 1, ("x",)),)
    )
    mark = Step(Value("out", "edge", 1), (Term(Nearest(5), 2, ("y", "w")),))
    program = Program((Value("x", "edge", 3), Value("w", "param", 50)), (shifted, mark), (("out", "out"),))
    with pytest.raises(BackendError, match="take numbers of pairs from what the Program computes"):
        run(program, {"x": np.ones((geometry.n_edges, 3)), "w": np.ones(50)}, geometry, backend="numba")


@pytest.mark.parametrize("slot", [0, 1, 2, 3])
def test_fold(backend: str, slot: int, geometry_of: Callable[..., Geometry], inputs_for: Callable[..., Inputs]) -> None:
    views = (
        View("nbs", 1, (2, 3, 2), (6, 2, 1)),
        View("sc", 0, (2, 4), (1, 2)),
        View("bc", 2, (3, 4), (4, 1)),
        View("cn", 3, (4, 2), (2, 1)),
    )
    operation = Fold((13, 8, 14, 11), views)
    table = fold_table(operation)
    check(
        backend, "float64", operation, slot, ("param",) * 4, geometry_of([2, 1], 1), inputs_for,
        lambda inputs: contract(table, slot, list(inputs.values())),
    )  # fmt: skip
