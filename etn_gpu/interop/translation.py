"""A potential of another method as a Program with its numbers, and steps that several methods share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.plan import ProgramBuilder, Term
from etn_gpu.plan.operations import Copy, CopyBlock, Couple, CoupleBlock, Harmonics, Powers
from etn_gpu.plan.program import Value
from etn_gpu.potential.formulation import Formulation

ONCE = ((0, 0, 0),) * 3


@dataclass(frozen=True)
class Translation:
    """What a reader makes of files: the formulation, flat float64 arrays for its inputs, and reference energies.

    ``references`` [n_species] are the energies E0 of isolated atoms in eV; ``metadata`` is JSON-ready: what the file
    says of itself.
    """

    formulation: Formulation
    parameters: Mapping[str, NDArray[np.float64]]
    references: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def vectors(builder: ProgramBuilder) -> tuple[Value, Value]:
    """The input ``x``, in the order y, z, x of l = 1, and r^2."""
    x = builder.input("x", "edge", 3)
    once = ((1, 0, 0), (1, 0, 0))
    order = Copy((3, 3), (CopyBlock((1, 0), (2, 1, 1), once), CopyBlock((0, 2), (1, 1, 1), once)))
    x = builder.step("yzx", "edge", (Term(order, 1, (x.name,)),))
    square = Couple((3, 3, 1), (CoupleBlock((1, 1, 0), (0, 0, 0), (1, 1, 1), ONCE, 3.0**0.5),))
    return x, builder.step("r2", "edge", (Term(square, 2, (x.name, x.name)),))


def directions(builder: ProgramBuilder, x: Value, s: Value) -> Value:
    """Unit vectors (y, z, x)."""
    powers = builder.step("powers", "edge", (Term(Powers(1), 1, (s.name,)),))
    block = CoupleBlock((1, 0, 1), (0, 1, 0), (1, 1, 1), ONCE)
    divide = Couple((x.size, powers.size, x.size), (block,))
    return builder.step("direction", "edge", (Term(divide, 2, (x.name, powers.name)),))


def harmonics(builder: ProgramBuilder, lmax: int, direction: Value) -> Value:
    """Racah-normalised harmonics, l = 0 .. lmax: sqrt(4 pi / (2 l + 1)) Y_lm, real, m = -l .. l."""
    return builder.step("harmonics", "edge", (Term(Harmonics(lmax), 1, (direction.name,)),))
