"""The ranking shows what sorting all rows would show."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.screening.ranking import RankBy, Ranking
from etn_gpu.screening.rows import Row

values = st.one_of(st.none(), st.floats(-5.0, 5.0), st.just(math.nan), st.sampled_from([0.0, 1.0, -1.0]))
rows = st.lists(st.tuples(values, st.sampled_from(["ok", "extrapolating"])), max_size=40)


@given(entries=rows, top=st.integers(0, 10), by=st.sampled_from(RankBy.offered(under_pressure=False)))
def test_same_as_sorting_everything(entries: list[tuple[float | None, str]], top: int, by: RankBy) -> None:
    everything = [
        Row("f", index, status="ok" if status == "ok" else "extrapolating", **{by.value: value})  # type: ignore[arg-type]
        for index, (value, status) in enumerate(entries)
    ]
    ranking = Ranking(by, top)
    for row in everything:
        ranking.offer(row)

    def key(row: Row) -> float:
        value: float = getattr(row, by.value)
        return abs(value) if by is RankBy.pressure else value

    ranked = [row for row in everything if (value := getattr(row, by.value)) is not None and not math.isnan(value)]
    assert ranking.rows() == sorted(ranked, key=key)[:top]
    assert ranking.n_ranked == len(ranked)


@pytest.mark.parametrize(("drop", "kept"), [(False, [2, 1]), (True, [1, 3])])
def test_extrapolating_rows_keep_their_place_unless_dropped(drop: bool, kept: list[int]) -> None:
    ranking = Ranking("energy_per_atom", 2, drop_extrapolating=drop)
    ranking.offer(Row("f", 0, energy_per_atom=-1.0, status="extrapolating"))
    ranking.offer(Row("f", 1, energy_per_atom=-2.0, status="ok"))
    ranking.offer(Row("f", 2, energy_per_atom=-3.0, status="extrapolating"))
    ranking.offer(Row("f", 3, energy_per_atom=-0.5, status="ok"))
    ranking.offer(Row("f", 4, status="extrapolating"))
    assert [row.index for row in ranking.rows()] == kept
    assert (ranking.n_ranked, ranking.n_dropped) == ((2, 2) if drop else (4, 0))


def test_unknown_column() -> None:
    with pytest.raises(ValueError, match="beauty"):
        Ranking("beauty")
