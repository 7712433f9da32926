"""Clebsch-Gordan coupling as straight-line code.

With coefficients C[o, a, b] the sum  out[o] += sum_{a, b} C[o, a, b] A[a] B[b]  is done in two steps: first one operand
is contracted with C into a small matrix T[o, a], then T is applied to every multiplicity of the other operand. Where
neither operand is used twice, the products A[a] B[b] are formed first instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.arithmetic import Arithmetic, N
from etn_gpu.symmetry import clebsch_gordan

Table = NDArray[np.float64]


def coefficients(ls: tuple[int, int, int], slot: int) -> Table:
    """C[out, a, b]: Clebsch-Gordan coefficients with the output slot first, the operands in slot order."""
    return np.transpose(clebsch_gordan(*ls), (slot, *(s for s in range(3) if s != slot)))


def cheapest(table: Table, counts: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """'a' or 'b', the operand to contract with the table, or 'pairs'; a, b are the strides of the operands."""
    entries = np.count_nonzero(table)
    total = int(np.prod(counts))

    def steps(strides: tuple[int, ...]) -> int:
        return int(np.prod([n for n, k in zip(counts, strides, strict=True) if k]))

    works = {
        "pairs": total * (entries + np.count_nonzero(np.any(table, axis=0))),
        "b": steps(b) * entries + total * np.count_nonzero(np.any(table, axis=2)),
        "a": steps(a) * entries + total * np.count_nonzero(np.any(table, axis=1)),
    }
    return min(works, key=lambda name: works[name])


def contract(f: Arithmetic[N], table: Table, b: Sequence[N]) -> dict[tuple[int, int], N]:
    """T[o, a] = sum_b table[o, a, b] b, where it is not zero."""
    matrix: dict[tuple[int, int], N] = {}
    for o, a in zip(*np.nonzero(np.any(table, axis=2)), strict=True):
        total: N | None = None
        for k in np.flatnonzero(table[o, a]):
            total = f.fma(f.constant(float(table[o, a, k])), b[int(k)], total)
        assert total is not None
        matrix[int(o), int(a)] = total
    return matrix


def accumulate(
    f: Arithmetic[N], table: Table, a: Sequence[N], b: Sequence[N], out: Sequence[N | None]
) -> list[N | None]:
    """out[o] + sum table[o, a, b] a b by products of pairs; None stands for zero."""
    result = list(out)
    for i, j in zip(*np.nonzero(np.any(table, axis=0)), strict=True):
        pair = f.multiply(a[i], b[j])
        for o in np.flatnonzero(table[:, i, j]):
            result[o] = f.fma(f.constant(float(table[o, i, j])), pair, result[o])
    return result
