"""Units of work for other processes: the structures of the stream, grouped as without other processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.screening import FileSource, MemorySource, Source, demo_structures
from etn_gpu.screening.batching import Candidate, groups
from etn_gpu.screening.stream import Place, Stream
from etn_gpu.screening.units import units
from etn_gpu.structures.xyz_ranges import FrameRange


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("units")
    some = list(demo_structures(40))
    write(folder / "a.extxyz", some[:20])
    with (folder / "a.extxyz").open("a") as file:
        file.write("2\nno numbers\nW 0 0 x\nMo 1 1 1\n")
    write(folder / "a.extxyz", some[20:25], append=True)
    (folder / "prose.txt").write_text("This is no structure.\n")
    write(folder / "b.traj", some[25:30])
    write(folder / "c.extxyz", some[30:])
    return [folder / name for name in ("a.extxyz", "a.extxyz", "prose.txt", "b.traj", "c.extxyz", "gone.extxyz")]


@given(most=st.integers(1, 200), at_once=st.integers(1, 4), source=st.integers(0, 4), taken=st.integers(0, 26))
def test_units_hold_the_groups_of_the_stream(
    paths: list[Path], most: int, at_once: int, source: int, taken: int
) -> None:
    one = FileSource(paths[0])
    sources: list[Source] = [one, one, *map(FileSource, paths[2:]), MemorySource("m", list(demo_structures(7)))]
    place = Place(source, taken)
    expected = list(groups(Stream(sources, place), most))
    found = list(units(Stream(sources, place).cut(), most, at_once))
    assert len(found) == -(-len(expected) // at_once)
    regrouped: list[list[Candidate]] = []
    for unit in found:
        candidates = list(pickle.loads(pickle.dumps(unit)).candidates())
        assert len(candidates) == unit.count
        regrouped += groups(candidates, most)
    assert regrouped == expected


def test_files_are_only_cut(paths: list[Path]) -> None:
    (unit,) = units(Stream([FileSource(paths[0]), FileSource(paths[3])]).cut(), 10**9, 1)
    (_, cut), read = unit.parts
    assert isinstance(cut, FrameRange)
    assert cut.count == 25  # all but the last one
    assert len(read) == 6
