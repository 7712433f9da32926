"""Streaming readers: every format, one frame at a time, broken frames reported and stepped over."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.structures import read_structures
from etn_gpu.structures.xyz_frames import xyz_frames


def three_structures() -> list[Atoms]:
    """A crystal, a molecule and a slab."""
    slab = bulk("Ni", cubic=True)
    slab.pbc = (True, True, False)
    return [bulk("Al", cubic=True), molecule("H2O"), slab]


def xyz_text(structures: list[Atoms]) -> list[str]:
    """The text of each frame in extended XYZ."""
    texts = []
    for atoms in structures:
        stream = io.StringIO()
        write(stream, atoms, format="extxyz")
        texts.append(stream.getvalue())
    return texts


def assert_same_structure(found: Atoms | None, expected: Atoms) -> None:
    assert found is not None
    assert np.array_equal(found.numbers, expected.numbers)
    assert np.allclose(found.positions, expected.positions, rtol=0, atol=1e-6)
    assert np.allclose(found.cell.array, expected.cell.array, rtol=0, atol=1e-6)
    assert np.array_equal(found.pbc, expected.pbc)


@pytest.mark.parametrize(
    "name", ["a.xyz", "a.extxyz", "a.extxyz.gz", "a.xyz.bz2", "a.xyz.xz", "a.traj", "a.json", "a.db"]
)
def test_formats_with_many_frames(tmp_path: Path, name: str) -> None:
    structures = three_structures()
    path = tmp_path / name
    if path.suffix == ".db":
        for atoms in structures:
            write(path, atoms, append=True)
    else:
        write(path, structures)
    frames = list(read_structures(path))
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame, atoms in zip(frames, structures, strict=True):
        assert frame.error is None
        assert_same_structure(frame.atoms, atoms)


@pytest.mark.parametrize("name", ["POSCAR", "a.cif", "a.vasp"])
def test_formats_with_one_frame(tmp_path: Path, name: str) -> None:
    atoms = bulk("Al", cubic=True)
    write(tmp_path / name, atoms)
    for index in (":", 0, -1, "::2"):
        (frame,) = read_structures(tmp_path / name, index)
        assert frame.index == 0
        assert_same_structure(frame.atoms, atoms)
    with pytest.raises(DataError, match="no structure found at index 1"):
        list(read_structures(tmp_path / name, 1))


def test_xyz_without_a_known_name(tmp_path: Path) -> None:
    path = tmp_path / "structures"
    path.write_text("".join(xyz_text(three_structures())))
    assert len(list(read_structures(path))) == 3


def test_plain_xyz_blank_lines_and_cell_lines(tmp_path: Path) -> None:
    path = tmp_path / "plain.xyz"
    path.write_text(
        "1\n\nAl 0 0 0\n\n\n 2 \na comment\nAl 0 0 0\nAl 0 0 2\n1\n\nAl 0 0 0\nVEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n"
    )
    frames = list(read_structures(path))
    assert [len(frame.atoms or []) for frame in frames] == [1, 2, 1]
    assert frames[2].atoms is not None
    assert frames[2].atoms.cell.lengths().tolist() == [3.0, 3.0, 3.0]


SELECTIONS = {
    ":": range(7),
    "2": [2],
    "-1": [6],
    "-2": [5],
    "2:4": [2, 3],
    "::3": [0, 3, 6],
    "-3:": [4, 5, 6],
    "1:-1:2": [1, 3, 5],
    "100:": [],
}


@pytest.mark.parametrize("suffix", [".xyz", ".traj"])
@pytest.mark.parametrize("index", SELECTIONS)
def test_selected_frames(tmp_path: Path, index: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, [Atoms("Al", positions=[[k, 0, 0]]) for k in range(7)])
    if not SELECTIONS[index]:
        with pytest.raises(DataError, match=f"no structure found at index {index}"):
            list(read_structures(path, index))
        return
    frames = list(read_structures(path, index))
    assert [frame.atoms.positions[0, 0] for frame in frames if frame.atoms] == list(SELECTIONS[index])
    assert [frame.index for frame in frames] == list(SELECTIONS[index])
    if len(frames) == 1:
        assert len(list(read_structures(path, int(index)))) == 1


@pytest.mark.parametrize("index", ["all", "1:2:3:4", "::0", "::-1", "5:1:-1", 1.5, None])
def test_bad_index(tmp_path: Path, index: object) -> None:
    write(tmp_path / "a.xyz", Atoms("Al"))
    with pytest.raises(DataError, match=r"index = .*expected a frame number or a forward slice"):
        read_structures(tmp_path / "a.xyz", index)  # type: ignore[arg-type]


def damaged(text: str, how: str) -> str:
    """A frame of four atoms with one thing wrong."""
    lines = text.splitlines(keepends=True)
    if how == "too few atoms":
        del lines[3]
    elif how == "too many atoms":
        lines.insert(3, lines[3])
    elif how == "no count":
        lines[0] = "four\n"
    elif how == "lost count":
        del lines[0]
    elif how == "a number that is none":
        lines[3] = lines[3].replace("0.0", "0.O", 1)
    elif how == "a column too few":
        lines[3] = lines[3].rsplit(None, 1)[0] + "\n"
    elif how == "an element that is none":
        lines[3] = lines[3].replace("Ni", "Zz")
    elif how == "count of another frame":
        lines[0] = "3\n"
    elif how == "a broken lattice":
        lines[1] = lines[1].replace('Lattice="', 'Lattice="x ')
    elif how == "a blank line inside":
        lines.insert(3, "\n")
    return "".join(lines)


@pytest.mark.parametrize(
    "how",
    [
        "too few atoms",
        "too many atoms",
        "no count",
        "lost count",
        "a number that is none",
        "a column too few",
        "an element that is none",
        "count of another frame",
        "a broken lattice",
        "a blank line inside",
    ],
)
def test_a_broken_frame_is_reported_and_the_rest_is_read(tmp_path: Path, how: str) -> None:
    before, after = bulk("Al", cubic=True), molecule("H2O")
    good = bulk("Ni", cubic=True) * (1, 1, 1)
    first, middle, last = xyz_text([before, good, after])
    path = tmp_path / "broken.extxyz.gz"
    with gzip.open(path, "wt") as stream:
        stream.write(first + damaged(middle, how) + last)
    frames = list(read_structures(path))
    assert_same_structure(frames[0].atoms, before)
    assert_same_structure(frames[-1].atoms, after)
    broken = [frame for frame in frames if frame.atoms is None]
    assert len(frames) - len(broken) == 2, "nothing wrong may be read as a structure"
    assert broken
    for frame in broken:
        assert isinstance(frame.error, DataError)
        assert f"{path}, frame {frame.index} (line" in str(frame.error)


def test_messages_of_broken_frames(tmp_path: Path) -> None:
    path = tmp_path / "broken.xyz"
    frames = [
        "3\n\nAl 0 0 0\n",
        "1\n\nAl 0 0 0\nAl 0 0 2\nAl 0 0 4\nstray\n",
        "1\n\nAl 0 0 0\n",
        "2\n\nAl 0 zero 0\nAl 0 0 0\n",
        "2\n\nAl 0 0 0\n",
    ]
    path.write_text("".join(frames))
    messages = [str(frame.error) for frame in read_structures(path)]
    assert messages == [
        f"{path}, frame 0 (line 1): expected 3 atom lines as its count says, found 1.",
        f"{path}, frame 1 (line 4): expected 1 atom lines as its count says, found 4.",
        "None",
        f"{path}, frame 3 (line 13): not a valid XYZ frame (ValueError: could not convert string to float: 'zero').",
        f"{path}, frame 4 (line 17): expected 2 atom lines as its count says, found 1.",
    ]


def test_a_truncated_archive_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "cut.xyz.gz"
    rng = np.random.default_rng(0)
    structures = [Atoms("Al4", positions=rng.normal(size=(4, 3))) for _ in range(200)]
    data = gzip.compress("".join(xyz_text(structures)).encode())
    path.write_bytes(data[: len(data) // 2])
    frames = list(read_structures(path))
    assert len(frames) > 10
    for frame, atoms in zip(frames[:-1], structures, strict=False):
        assert_same_structure(frame.atoms, atoms)
    assert frames[-1].atoms is None
    assert "cannot be read beyond" in str(frames[-1].error)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_a_corrupt_archive(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.xyz{suffix}"
    path.write_bytes(b"no archive at all")
    with pytest.raises(DataError, match=r"a.xyz.*: cannot be read \("):
        list(read_structures(path))


def test_stray_bytes_cost_one_frame_at_most(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_bytes(b"1\n\xe9tude\nAl 0 0 0\n1\n\n\xff\xfe 0 0 0\n1\n\nAl 0 0 0\n")
    assert [frame.error is None for frame in read_structures(path)] == [True, False, True]
    path.write_bytes(bytes(range(256)))
    assert all(frame.error is not None for frame in read_structures(path))


def test_a_frame_without_atoms_is_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("0\n\n1\n\nAl 0 0 0\n")
    frames = list(read_structures(path))
    assert len(frames) == 2
    assert frames[0].error is not None or len(frames[0].atoms or []) == 0
    assert len(frames[1].atoms or []) == 1


def test_a_broken_file_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text("this is\nno POSCAR\n")
    with pytest.raises(DataError, match=r"POSCAR: not a readable vasp file \("):
        list(read_structures(tmp_path / "POSCAR"))


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.xyz: no such file"):
        read_structures(tmp_path / "nowhere.xyz")

    for name in ("empty.xyz", "empty.cif", "empty"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=r"empty.*: the file is empty; expected at least one structure"):
            read_structures(tmp_path / name)

    (tmp_path / "notes").write_text("It was a dark and stormy night.\n")
    with pytest.raises(DataError, match="notes: not a file of structures in any format ASE reads"):
        list(read_structures(tmp_path / "notes"))
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(DataError, match=r"photo.png: not a "):
        list(read_structures(tmp_path / "photo.png"))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"table.csv: not a file of structures"):
        list(read_structures(tmp_path / "table.csv"))

    (tmp_path / "blank.xyz").write_text("\n  \n\n")
    with pytest.raises(DataError, match=r"blank.xyz: no structure found"):
        list(read_structures(tmp_path / "blank.xyz"))
    with gzip.open(tmp_path / "blank.xyz.gz", "wt"):
        pass
    with pytest.raises(DataError, match=r"blank.xyz.gz: the file is empty"):
        list(read_structures(tmp_path / "blank.xyz.gz"))


def test_text_that_is_no_structure_is_one_broken_frame(tmp_path: Path) -> None:
    path = tmp_path / "notes.xyz"
    path.write_text("It was a dark and stormy night.\nThe rain fell in torrents.\n")
    (frame,) = read_structures(path)
    assert "line 1): expected the number of atoms, found 'It was a dark and stormy night.'" in str(frame.error)


def test_only_as_much_is_read_as_is_asked_for() -> None:
    class Counting(io.StringIO):
        taken = 0

        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            self.taken += 1
            return super().readline(-1 if size is None else size)

    stream = Counting("1\n\nAl 0 0 0\n" * 1000)
    frames = xyz_frames(stream)
    for _ in range(3):
        next(frames)
    assert stream.taken <= 10
