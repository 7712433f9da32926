"""Steps on edges with which the Programs of all potentials begin: distances, directions, harmonics."""

from __future__ import annotations

from etn_gpu.plan import ProgramBuilder, Term
from etn_gpu.plan.operations import Copy, CopyBlock, Couple, CoupleBlock, Harmonics, Powers, Radial
from etn_gpu.plan.program import Value

_ONCE = ((0, 0, 0),) * 3


def functions(
    builder: ProgramBuilder, x: Value, radial: Radial, lmax: int, *, apart: bool = False
) -> tuple[Value, Value]:
    """Radial functions of the vectors ``x`` (x, y, z), and harmonics l = 0 .. lmax of their directions.

    ``apart``: by steps of their own, so that gradients meet those of others in ``x`` and not before.
    """
    x, s = vectors(builder, x, apart=apart)
    f = builder.step("radial", "edge", (Term(radial, 1, (s.name,)),))
    return f, harmonics(builder, lmax, directions(builder, x, s))


def vectors(builder: ProgramBuilder, x: Value, *, apart: bool = False) -> tuple[Value, Value]:
    """The vectors ``x`` (x, y, z) in the order y, z, x, that of m = -1, 0, 1 of l = 1, and r^2."""
    each = ((1, 0, 0), (1, 0, 0))
    order = Copy((3, 3), (CopyBlock((1, 0), (2, 1, 1), each), CopyBlock((0, 2), (1, 1, 1), each)))
    x = builder.step("yzx", "edge", (Term(order, 1, (x.name,)),), apart=apart)
    square = Couple((3, 3, 1), (CoupleBlock((1, 1, 0), (0, 0, 0), (1, 1, 1), _ONCE, 3.0**0.5),))
    return x, builder.step("r2", "edge", (Term(square, 2, (x.name, x.name)),))


def directions(builder: ProgramBuilder, x: Value, s: Value) -> Value:
    """Unit vectors (y, z, x)."""
    powers = builder.step("powers", "edge", (Term(Powers(1), 1, (s.name,)),))
    block = CoupleBlock((1, 0, 1), (0, 1, 0), (1, 1, 1), _ONCE)
    divide = Couple((x.size, powers.size, x.size), (block,))
    return builder.step("direction", "edge", (Term(divide, 2, (x.name, powers.name)),))


def harmonics(builder: ProgramBuilder, lmax: int, direction: Value) -> Value:
    """Racah-normalised harmonics, l = 0 .. lmax: sqrt(4 pi / (2 l + 1)) Y_lm, real, m = -l .. l."""
    return builder.step("harmonics", "edge", (Term(Harmonics(lmax), 1, (direction.name,)),))
