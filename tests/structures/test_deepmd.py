"""Folders of DeePMD: systems, sets, types, and what is wrong with one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etn_gpu.structures import Frame, read_structures

TYPES = [1, 0]


def system(folder: Path, n: int = 2, part: str = "set.000", **arrays: np.ndarray) -> Path:
    """A system of two atoms with n frames."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "type.raw").write_text("\n".join(map(str, TYPES)))
    (folder / "type_map.raw").write_text("Nb\nW\n")
    usual = {
        "coord": np.arange(6.0 * n).reshape(n, 6),
        "box": np.tile(np.diag([3.0, 3.0, 4.0]).ravel(), (n, 1)),
        "energy": np.arange(float(n)),
        "force": np.ones((n, 6)),
        "virial": np.tile(36.0 * np.eye(3).ravel(), (n, 1)),
    }
    for name, array in (usual | arrays).items():
        np.save(folder / part / f"{name}.npy", array)
    return folder


def frames(folder: Path, **options: object) -> list[Frame]:
    return list(read_structures(folder, **options))  # type: ignore[arg-type]


def test_systems_and_sets_are_read_in_order(tmp_path: Path) -> None:
    system(system(tmp_path / "b"), part="set.001", n=1)
    system(tmp_path / "a", n=3)
    found = frames(tmp_path)
    assert [frame.index for frame in found] == list(range(6))
    first = found[0].atoms
    assert first is not None
    assert first.get_chemical_symbols() == ["W", "Nb"]
    assert first.pbc.all()
    assert np.allclose(first.get_stress(), [-1, -1, -1, 0, 0, 0], rtol=0, atol=1e-12)
    assert [frame.atoms.get_potential_energy() for frame in found if frame.atoms] == [0, 1, 2, 0, 1, 0]
    assert [frame.index for frame in read_structures(tmp_path, "-2:")] == [4, 5]


def test_clusters(tmp_path: Path) -> None:
    system(tmp_path)
    (tmp_path / "nopbc").touch()
    (frame, _) = frames(tmp_path)
    assert frame.atoms is not None
    assert not frame.atoms.pbc.any()
    assert "stress" not in frame.atoms.calc.results


def test_types_without_names_ask_for_species(tmp_path: Path) -> None:
    system(tmp_path)
    (tmp_path / "type_map.raw").unlink()
    assert "no element names" in str(frames(tmp_path)[0].error)
    atoms = frames(tmp_path, species=["Mo", "Ta"])[0].atoms
    assert atoms is not None
    assert atoms.get_chemical_symbols() == ["Ta", "Mo"]


def test_systems_of_many_compositions(tmp_path: Path) -> None:
    system(tmp_path, real_atom_types=np.array([[0, 0], [1, -1]]))
    found = frames(tmp_path)
    assert [frame.atoms.get_chemical_formula() for frame in found if frame.atoms] == ["Nb2", "W"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"coord": np.zeros((2, 9))}, r"coord.npy has the shape \(2, 9\): expected \(frames, 6\)"),
        ({"energy": np.zeros(3)}, r"energy.npy has the shape \(3,\): expected \(2, 1\)"),
        ({"force": np.array([{}])}, "Python objects"),
    ],
)
def test_a_broken_set_costs_no_other(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    system(tmp_path / "a", **arrays)
    system(tmp_path / "b")
    found = frames(tmp_path)
    assert [frame.atoms is None for frame in found] == [True, False, False]
    assert re.search(message, str(found[0].error))


def test_a_system_without_sets(tmp_path: Path) -> None:
    (tmp_path / "type.raw").write_text("0 0")
    assert "make sets with dpdata" in str(frames(tmp_path)[0].error)
