"""The tables of the numba backend: rows of the workspace, and Programs that it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.backend.cpu.lowering import lower
from etn_gpu.backend.rows import Rows
from etn_gpu.errors import BackendError
from etn_gpu.plan import ProgramBuilder, Term
from etn_gpu.plan.operations import Mix, MixBlock

MIX = Mix((1, 1, 1), (MixBlock(0, 1, 1, 1, 1, 0, 0),))


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=30))
def test_rows_never_overlap_and_are_reused(requests: list[tuple[int, int]]) -> None:
    rows = Rows()
    held: dict[str, int] = {}
    peak = 0
    for number, (size, release) in enumerate(requests):
        name = f"v{number}"
        held[name] = size
        rows.allocate(name, size)
        taken = [range(rows.at[n], rows.at[n] + s) for n, s in held.items()]
        assert len(set().union(*taken)) == sum(held.values()), "two values share a row"
        assert all(block.stop <= rows.count for block in taken)
        peak = max(peak, sum(held.values()))
        for old in list(held)[:release]:
            rows.release(old, held.pop(old))
    for name, size in held.items():
        rows.release(name, size)
    assert peak <= rows.count <= sum(size for size, _ in requests)
    assert rows.free == ([(0, rows.count)] if rows.count else []), "free rows are merged"


def test_a_sum_over_atoms_inside_a_sum_over_atoms() -> None:
    builder = ProgramBuilder()
    x = builder.input("x", "atom", 1)
    total = builder.step("total", "param", (Term(MIX, 0, (x.name, x.name)),))
    scaled = builder.step("scaled", "atom", (Term(MIX, 2, (total.name, x.name)),))
    with pytest.raises(BackendError, match=r"\['total'\] are sums over atoms, used again inside a sum over atoms"):
        lower(builder.build({"scaled": scaled.name}), np.dtype("float64"))
