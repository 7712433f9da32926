"""Programs and batches to differentiate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    Couple,
    CoupleBlock,
    EdgeSum,
    EdgeSumBlock,
    Fold,
    Harmonics,
    Mix,
    MixBlock,
    Powers,
    Products,
    Radial,
    View,
)

Arrays = dict[str, NDArray[np.float64]]


def small_geometry() -> Geometry:
    """Four atoms of two species; one has no edges."""
    rng = np.random.default_rng(3)
    counts = [3, 0, 2, 4]
    neighbours = np.concatenate([np.sort(rng.integers(0, 2, n)) for n in counts])
    return Geometry(
        np.concatenate(([0], np.cumsum(counts))), np.array([0, 1, 1, 0], np.int32), neighbours.astype(np.int32)
    )


def every_operation() -> Program:
    """A small model in which every operation appears, some of them twice; outputs in all three spaces."""
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    builder.input("w", "param", 12)
    builder.input("u", "param", 2)
    once = ((0, 0, 0),) * 3
    square = Couple((3, 3, 1), (CoupleBlock((1, 1, 0), (0, 0, 0), (1, 1, 1), once, 3.0**0.5),))
    builder.step("s", "edge", (Term(square, 2, ("x", "x")),))
    builder.step("r", "edge", (Term(Radial(3, 4.0, 0.5), 1, ("s",)),))
    builder.step("p", "edge", (Term(Powers(2), 1, ("s",)),))
    outer_product = CoupleBlock((0, 0, 0), (0, 0, 0), (3, 3, 1), ((1, 0, 0), (0, 1, 0), (1, 3, 0)))
    builder.step("f", "edge", (Term(Couple((3, 3, 9), (outer_product,)), 2, ("r", "p")),))
    builder.step("y", "edge", (Term(Harmonics(2), 1, ("x",), 0.5),))
    edge_sum = EdgeSum((9, 9, 54), (EdgeSumBlock(3, 3, 1, 3, 0), EdgeSumBlock(0, 3, 0, 1, 36)), 2)
    builder.step("S", "atom", (Term(edge_sum, 2, ("f", "y")),))
    views = (View("ij", 0, (6, 2), (2, 1)), View("s", 0, (2,), (1,)), View("sij", 0, (2, 6, 2), (12, 2, 1)))
    builder.step("W", "param", (Term(Fold((12, 2, 24), views), 2, ("w", "u")),))
    mix = Mix((24, 54, 10), (MixBlock(0, 6, 2, 6, 3, 0, 0), MixBlock(3, 3, 3, 3, 1, 36, 6)), 12)
    builder.step("v", "atom", (Term(Constant(10, 9, 1, 1.0), 0, ()), Term(mix, 2, ("W", "S"))))
    outer = CoupleBlock((1, 1, 2), (0, 3, 0), (1, 1, 1), once, 2.0)
    dots = CoupleBlock((1, 1, 0), (0, 0, 5), (2, 1, 1), ((1, 0, 0), (1, 0, 0), (0, 0, 0)))
    builder.step("h", "atom", (Term(Couple((10, 10, 6), (outer, dots)), 2, ("v", "v")),))
    squares = (
        CoupleBlock((2, 2, 0), (0, 0, 0), (1, 1, 1), once),
        CoupleBlock((0, 0, 0), (5, 5, 0), (1, 1, 1), once),
    )
    norm = Couple((6, 6, 1), squares)
    formula = Formula()
    x = formula.variable
    operation = formula.functions([x.tanh(), (0.5 * x).sin() * (x * x + 2.0) ** -1.5], count=6)
    builder.step("t", "atom", (Term(operation, 1, ("h",)),))
    rows = Products((6, 12, 1), ((0, 3, 0, 2.0), (5, 11, 0, -1.0), (2, 0, 0, 0.5)))
    last = Copy((10, 1), (CopyBlock((9, 0), (1, 1, 1), ((1, 0, 0), (1, 0, 0))),))
    builder.step("e", "atom", (Term(norm, 2, ("h", "h")), Term(rows, 2, ("h", "t")), Term(last, 1, ("v",), -3.0)))
    envelope = formula.functions([x.below(9.0, (9.0 - x) ** 2 * (-x).exp(), 0.0), x.cos()])
    builder.step("c", "edge", (Term(envelope, 1, ("s",)),))
    spread = Products((2, 9, 9), ((0, 0, 8, 0.3), (1, 4, 2, 1.0), (1, 5, 2, -2.0)))
    builder.step("m", "edge", (Term(edge_sum, 1, ("f", "S"), 0.1), Term(spread, 2, ("c", "f"))))
    return builder.build({"energy": "e", "message": "m", "weights": "W"})


def random_program(seed: int) -> Program:
    """Random steps: bilinear couplings, sums and mixings of values made before, with multiplicities 1..3 and l <= 2."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder()
    leg = 9
    for name, space, size in (("x", "edge", 3), ("q", "atom", leg), ("p", "param", 18)):
        builder.input(name, space, size)
    builder.step("y", "edge", (Term(Harmonics(2), 1, ("x",)),))
    pools = {"edge": ["y"], "atom": ["q"], "param": ["p"]}

    def pick(space: str) -> str:
        return str(rng.choice(pools[space]))

    def coupling() -> Couple:
        blocks = []
        for _ in range(3):
            l0, l1 = (int(k) for k in rng.integers(0, 3, 2))
            l2 = int(rng.integers(abs(l0 - l1), min(l0 + l1, 2) + 1))
            once = ((0, 0, 0),) * 3
            blocks.append(CoupleBlock((l0, l1, l2), (l0**2, l1**2, l2**2), (1, 1, 1), once, float(rng.normal())))
        return Couple((leg, leg, leg), tuple(blocks))

    edge_sum = EdgeSum((leg, leg, leg), (EdgeSumBlock(1, 1, 4, 3, 3), EdgeSumBlock(0, 1, 8, 1, 1)), 2)
    mix = Mix((18, leg, leg), (MixBlock(0, 3, 3, 3, 3, 0, 0), MixBlock(2, 4, 2, 3, 1, 5, 4)), 7)
    for number in range(8):
        kind = rng.integers(0, 5)
        space = "edge" if kind in (0, 1) else "param" if kind == 4 else "atom"
        scale = float(rng.normal())
        if kind == 0 or (kind == 2 and rng.random() < 0.5):
            terms = [Term(coupling(), int(rng.integers(0, 3)), (pick(space), pick(space)), scale)]
        elif kind == 1:
            slot = int(rng.integers(0, 2))
            terms = [Term(edge_sum, slot, (pick("edge"), pick("atom")), scale)]
        elif kind == 2:
            terms = [Term(edge_sum, 2, (pick("edge"), pick("edge")), scale)]
        elif kind == 3:
            terms = [Term(mix, 2, (pick("param"), pick("atom")), scale)]
        else:
            views = (View("a", 2, (3,), (4,)), View("b", 0, (6,), (3,)), View("ab", 0, (3, 6), (6, 1)))
            terms = [Term(Fold((18, 18, 18), views), 2, (pick("param"), pick("param")), scale)]
        if len(pools[space]) > 1 and rng.random() < 0.5:
            size = 18 if space == "param" else leg
            block = CopyBlock((0, 2), (3, 2, 1), ((2, 1, 0), (1, 3, 0)))
            terms.append(Term(Copy((size, size), (block,)), 1, (pick(space),)))
        pools[space].append(builder.step(f"{space}{number}", space, terms).name)
    return builder.build({space: names[-1] for space, names in pools.items()})


@pytest.fixture(scope="session")
def full_program() -> Program:
    """The Program with every operation."""
    return every_operation()


@pytest.fixture(scope="session")
def random_programs() -> Callable[[int], Program]:
    """A random Program for each seed."""
    return random_program


@pytest.fixture(scope="session")
def geometry() -> Geometry:
    """A small ragged batch."""
    return small_geometry()


@pytest.fixture(scope="session")
def numbers(geometry: Geometry) -> Callable[..., Any]:
    """``numbers(values, seed)``: a random array for each of these values of a Program."""

    def draw(values: Any, seed: int) -> Arrays:
        rng = np.random.default_rng(seed)
        arrays = {}
        for value in values:
            lead = () if value.space == "param" else (geometry.count(value.space),)
            arrays[value.name] = rng.standard_normal((*lead, value.size))
        return arrays

    return draw


@pytest.fixture(scope="session")
def evaluate(geometry: Geometry) -> Callable[..., Any]:
    """``evaluate(program, inputs, backend)`` on the small batch, in float64."""

    def call(program: Program, inputs: Arrays, backend: str = "numpy") -> Any:
        return run(program, inputs, geometry, backend=backend)

    return call
