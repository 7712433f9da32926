"""A damaged frame costs no other where the format has an index; elsewhere it says how many were never tried."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from etn_gpu.structures import read_structures

N = 6


def structures() -> list[Atoms]:
    found = []
    for k in range(N):
        atoms = bulk("Al", cubic=True)
        atoms.positions[0, 0] = k / 100
        found.append(atoms)
    return found


def test_a_trajectory_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.traj"
    write(path, structures())
    data = path.read_bytes()
    # the description of one frame, far behind the header
    places = [k for k in range(len(data)) if data.startswith(b'"positions.', k)]
    assert len(places) == N
    path.write_bytes(data[: places[2]] + b"#" * 11 + data[places[2] + 11 :])
    found = list(read_structures(path))
    assert [frame.index for frame in found] == list(range(N))
    assert [frame.index for frame in found if frame.atoms is None] == [2]
    assert "a.traj, frame 2: not a readable traj frame" in str(found[2].error)
    assert [frame.atoms.positions[0, 0] for frame in found if frame.atoms] == [0, 0.01, 0.03, 0.04, 0.05]
    assert all(frame.untried == 0 for frame in found)


def test_a_database_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for atoms in structures():
        write(path, atoms, append=True)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE systems SET positions = ? WHERE id = 3", (b"123",))
    connection.close()
    found = list(read_structures(path))
    assert [frame.index for frame in found if frame.atoms is None] == [2]
    assert len(found) == N


@pytest.mark.parametrize("varies", [False, True])
def test_xdatcar_goes_on(tmp_path: Path, varies: bool) -> None:
    many = structures()
    if varies:
        for k, atoms in enumerate(many):
            atoms.set_cell(atoms.cell * (1 + k / 100), scale_atoms=True)
    path = tmp_path / "XDATCAR"
    write(path, many, format="vasp-xdatcar")
    for atoms, frame in zip(many, read_structures(path), strict=True):
        assert frame.atoms is not None
        assert np.allclose(frame.atoms.positions, atoms.positions, rtol=0, atol=1e-6)
        assert np.allclose(frame.atoms.cell, atoms.cell, rtol=0, atol=1e-6)
    lines = path.read_text().splitlines(keepends=True)
    start = [k for k, line in enumerate(lines) if "Direct configuration" in line][2]
    path.write_text("".join([*lines[: start + 1], "0.0 what 0.0\n", *lines[start + 2 :]]))
    found = list(read_structures(path))
    assert [frame.index for frame in found if frame.atoms is None] == [2]
    assert len(found) == N
    path.write_text("".join([*lines[: start + 1], *lines[start + 2 :]]))
    found = list(read_structures(path))
    assert found[2].atoms is None
    assert found[4].atoms is not None
    assert len(found) == N


def test_what_comes_after_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_text("<modeling>\n" + "<calculation>\n" * N)

    def two(*arguments: object, **options: object) -> Iterator[Atoms]:
        yield from structures()[:2]
        raise ValueError("damaged")

    monkeypatch.setattr("ase.io.iread", two)
    found = list(read_structures(path))
    assert len(found) == 3
    assert found[2].untried == N - 3
    assert "frame 2: not a readable vasp-xml frame (ValueError: damaged); 3 after it were not read." in str(
        found[2].error
    )


def test_a_cut_archive_does_not_tell_how_many_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz.gz"
    rng = np.random.default_rng(0)
    many = [Atoms("Al4", positions=rng.normal(size=(4, 3))) for _ in range(200)]
    write(path, many, format="extxyz")
    path.write_bytes(path.read_bytes()[:-2000])
    assert list(read_structures(path))[-1].untried is None
