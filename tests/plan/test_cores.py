"""Cores: which sector triples couple, and where their reduced blocks lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import NetworkError
from etn_gpu.plan import Core
from etn_gpu.plan.cores import sectors
from etn_gpu.symmetry import Irrep, Irreps

irreps = st.dictionaries(
    st.builds(Irrep, st.integers(0, 3), st.sampled_from((1, -1))), st.integers(1, 3), min_size=1, max_size=4
).map(lambda leg: Irreps((mul, ir) for ir, mul in leg.items()))


@given(irreps)
def test_sectors_are_the_blocks_of_the_leg(leg: Irreps) -> None:
    found = [(Irrep(s.l, s.p), s.mul, slice(s.offset, s.offset + s.mul * s.dim)) for s in sectors(leg)]
    assert found == [(ir, mul, where) for (mul, ir), where in zip(leg, leg.slices(), strict=True)]


def test_empty_blocks_are_no_sectors() -> None:
    assert [(s.l, s.offset) for s in sectors(Irreps("2x0e+0x1o+1x2e"))] == [(0, 0), (2, 2)]


def test_an_irrep_named_twice() -> None:
    with pytest.raises(NetworkError, match=r"the leg 1x0e\+2x1o\+3x0e names an irrep twice; pass .*simplify\(\)"):
        sectors(Irreps("1x0e+2x1o+3x0e"))


@given(irreps, irreps, irreps)
def test_weights_are_one_matrix_for_each_coupled_sector(left: Irreps, feature: Irreps, out: Irreps) -> None:
    core = Core("G", left, feature, out)
    addresses = []
    for path in core.paths:
        irs = [Irrep(s.l, s.p) for s in (path.left, path.feature, path.out)]
        assert irs[2] in tuple(irs[0] * irs[1])
        columns = sum(q.left.mul * q.feature.mul for q in core.paths if (q.out.l, q.out.p) == (path.out.l, path.out.p))
        assert path.row_stride == columns
        addresses += [
            path.weight + c * path.row_stride + a * path.feature.mul + b
            for c in range(path.out.mul)
            for a in range(path.left.mul)
            for b in range(path.feature.mul)
        ]
    assert sorted(addresses) == list(range(core.size))
    allowed = sum(ir in tuple(a * b) for _, a in left for _, b in feature for _, ir in out)
    assert len(core.paths) == allowed


def test_layout_of_a_small_core() -> None:
    core = Core("G", Irreps("2x0e+1x1o"), Irreps("3x0e+2x1o"), Irreps("2x0e+1x1o"))
    layout = [(p.left.l, p.feature.l, p.out.l, p.weight, p.row_stride) for p in core.paths]
    assert layout == [(0, 0, 0, 0, 8), (1, 1, 0, 6, 8), (0, 1, 1, 16, 7), (1, 0, 1, 20, 7)]
    assert core.size == 23
