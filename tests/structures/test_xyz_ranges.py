"""Ranges of a file that one process cuts and another reads: the frames that reading the whole file gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import DataError
from etn_gpu.structures import xyz_blocks
from etn_gpu.structures.frame import Frame
from etn_gpu.structures.reader import cut_structures, read_structures
from etn_gpu.structures.xyz_blocks import CutFrame
from etn_gpu.structures.xyz_ranges import frame_range

#: A frame that cannot be read and is cut all the same, one with other spaces, one without a lattice.
ODD = "2\nno lattice\nW 0 0 x\nMo 1 1 1\n1\n  Lattice='3 0 0 0 3 0 0 0 3' name=b\nW   0\t0 0\n1\n\nNb 0.5 0.25 1e-3\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    many = [
        Atoms(f"W{n}", positions=rng.random((n, 3)), cell=rng.random((3, 3)) + np.eye(3), pbc=True, info={"k": k})
        for k, n in enumerate(rng.integers(1, 9, size=40))
    ]
    path = tmp_path_factory.mktemp("ranges") / "a.extxyz"
    write(path, many[:20])
    with path.open("a") as file:
        file.write(ODD)
    write(path, many[20:], append=True)
    return path


def cut(path: Path, first: int = 0) -> list[Frame | CutFrame]:
    return list(cut_structures(path, first))


def read(path: Path, found: list[Frame | CutFrame], sizes: list[int]) -> list[Frame]:
    """The frames by ranges of so many, in turn."""
    frames: list[Frame] = []
    waiting: list[CutFrame] = []

    def flush() -> None:
        if waiting:
            frames.extend(frame_range(str(path), waiting).frames(str(path)))
            waiting.clear()

    for one in found:
        if isinstance(one, Frame):
            flush()
            frames.append(one)
            continue
        waiting.append(one)
        if len(waiting) == sizes[len(frames) % len(sizes)]:
            flush()
    flush()
    return frames


def assert_same(found: list[Frame], expected: list[Frame]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.index, str(one.error), one.size) == (other.index, str(other.error), other.size)
        assert one.atoms == other.atoms
        if one.atoms is not None and other.atoms is not None:
            assert one.atoms.info == other.atoms.info


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    first=st.integers(0, 42),
    mark=st.booleans(),
    block=st.sampled_from([64, 1000, 1 << 17]),
)
def test_ranges_give_the_frames_of_the_file(path: Path, sizes: list[int], first: int, mark: bool, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xyz_blocks, "_BLOCK", block)
        if mark:  # a byte order mark
            marked = path.with_name("marked.extxyz")
            marked.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
            path = marked
        found = cut(path, first)
        # All but the last one: nothing tells that it is whole before the end of the file.
        assert [isinstance(one, CutFrame) for one in found] == [True] * (len(found) - 1) + [False]
        expected = list(read_structures(path, f"{first}:"))
        assert [one.size for one in found[:-1] if isinstance(one, CutFrame)] == [
            frame.size if frame.atoms is None else len(frame.atoms) for frame in expected[:-1]
        ]
        assert_same(read(path, found, sizes), expected)


def test_what_is_cut_line_by_line_is_read_at_once(path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.extxyz"
    text = path.read_text().replace("\n1\n\nNb", "\n\n1\n\nNb")  # an empty line between frames
    odd.write_text(text)
    found = cut(odd)
    kinds = [isinstance(one, CutFrame) for one in found]
    assert kinds == sorted(kinds, reverse=True)
    assert 15 < sum(kinds) < 25
    assert_same(read(odd, found, [7]), list(read_structures(odd)))


@pytest.mark.parametrize("suffix", [".extxyz.gz", ".traj"])
def test_other_files_are_read_at_once(path: Path, tmp_path: Path, suffix: str) -> None:
    other = tmp_path / f"b{suffix}"
    write(other, [frame.atoms for frame in read_structures(path) if frame.atoms is not None])
    found = cut(other, 3)
    assert all(isinstance(one, Frame) for one in found)
    assert_same([one for one in found if isinstance(one, Frame)], list(read_structures(other, "3:")))


def test_beyond_the_end(path: Path) -> None:
    with pytest.raises(DataError, match="no structure found at index 43:"):
        cut(path, 43)


def test_a_file_that_is_not_there_or_another_one(path: Path, tmp_path: Path) -> None:
    some = [one for one in cut(path) if isinstance(one, CutFrame)][3:9]
    with pytest.raises(DataError, match=r"gone\.extxyz on .*cannot be opened \(No such file.*compress it \(gzip\)"):
        list(frame_range(str(tmp_path / "gone.extxyz"), some).frames("a"))
    other = tmp_path / "other.extxyz"
    content = bytearray(path.read_bytes())
    found = frame_range(str(other), some)
    content[found.offset + found.length - 3] ^= 1
    for changed in (bytes(content), bytes(content[: found.offset + 5]), b""):
        other.write_bytes(changed)
        with pytest.raises(DataError, match=r"bytes \d+ to \d+ are not those that were cut .*start them where"):
            list(found.frames("a"))
