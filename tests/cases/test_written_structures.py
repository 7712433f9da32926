"""What `--structures` writes is what was evaluated: read again, its labels have errors of zero."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import write

from etn_gpu.screening import FileSource, MemorySource
from etn_gpu.structures import read_structures

from .conftest import MODEL, Evaluate, Labelled

RNG = np.random.default_rng(5)
N = 16
ODD_ARRAYS: dict[str, Any] = {
    "symbols": np.array(["Mo"] * N),
    "species": np.array(["Nb"] * N),
    "Z": np.full(N, 42),
    "z": np.full(N, 42),
    "pos": RNG.normal(size=(N, 3)),
    "Positions": RNG.normal(size=(N, 3)),
    "pos0": RNG.normal(size=N),
    "forces2": RNG.normal(size=N),
    "force": RNG.normal(size=(N, 3)),
    "forces": RNG.normal(size=(N, 3)),
    "charge": RNG.normal(size=N),
    "move_mask": np.zeros(N, dtype=bool),
    "initial_charges": RNG.normal(size=(N, 2)),
    "initial_magmoms": RNG.normal(size=(N, 3)),
    "tags": np.arange(N),
    "a b": RNG.normal(size=N),
    "a:R:3": RNG.normal(size=N),
    "line\nbreak": RNG.normal(size=N),
    "lone\udcff": RNG.normal(size=N),
    "": RNG.normal(size=N),
    "words": np.array(["a b", ""] * (N // 2)),
    "huge": np.full(N, 2**60),
    "wide": np.full(N, 2**40),
    "nan": np.full((N, 2), np.nan),
    "complex": np.full(N, 1j),
    "cube": np.zeros((N, 2, 2)),
}
ODD_INFO: dict[Any, Any] = {
    "Lattice": "1 0 0 0 1 0 0 0 1",
    "lattice": np.eye(3),
    "Properties": "species:S:1",
    "pbc": "F F F",
    "energy": 1.0,
    "Energy": 2.0,
    "free_energy": 3.0,
    "virial": np.eye(3),
    "virials": np.eye(3).ravel(),
    "stress": np.ones(6),
    "symbols": "Mo16",
    "source": "elsewhere",
    "source_index": -1,
    "status": "fine",
    "uid": "0123",
    "a=b": "c",
    'say "x"': 'energy="5"',
    "new\nline": "16\nLattice=",
    "lone\udcff": "\ud800",
    "brackets": "[{(',",
    "": 1,
    5: 6,
    "nested": {"Lattice": [1, {"pbc": None}], "x": "stress='1 2 3 4 5 6'"},
    "object": object(),
    "huge": 10**40,
    "number": "1e5",
    "flag": "T",
}


def zero_errors(evaluate: Evaluate, path: Path, n_structures: int) -> None:
    result = evaluate(path)
    assert result.code == 0, result.err
    assert result.numbers["failures"] == []
    for name in ("energy", "forces", "stress"):
        # To the last bits: what is read back is the structure that was evaluated.
        assert result.error(name) == pytest.approx(0.0, abs=1e-13)
    assert result.numbers["energy"]["count"] == n_structures


@pytest.fixture
def screened(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Atoms]], str]:
    """Screens structures from memory, since no file format holds all entries, and gives what was printed."""

    def call(structures: list[Atoms]) -> str:
        memory = MemorySource("in.traj", structures)
        monkeypatch.chdir(tmp_path)
        Path("in.traj").touch()
        with monkeypatch.context() as patch:
            patch.setattr(FileSource, "candidates", lambda self, first=0: memory.candidates())
            finished = run("screen", MODEL, "in.traj", "-o", "rows.csv", "--structures", "out.extxyz", "--top", 0)
        assert finished.code == 0, finished.err
        return str(finished.out)

    return call


def odd(item: Labelled, info: dict[Any, Any] | None = None, arrays: dict[str, Any] | None = None) -> Atoms:
    atoms = item.atoms.copy()
    atoms.info.update(info or {})
    atoms.arrays.update(arrays or {})
    return atoms


def test_plain_structures(screened: Any, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    assert "note:" not in screened([item.atoms for item in alloys])
    zero_errors(evaluate, tmp_path / "out.extxyz", len(alloys))


def test_one_odd_entry_each(screened: Any, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    structures = [odd(alloys[0], info={name: value}) for name, value in ODD_INFO.items()]
    structures += [odd(alloys[1], arrays={name: value}) for name, value in ODD_ARRAYS.items()]
    screened(structures)
    zero_errors(evaluate, tmp_path / "out.extxyz", len(structures))


def test_entries_that_state_units_of_lengths(
    screened: Any, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path
) -> None:
    """In memory positions are in A, whatever such an entry says; in an XYZ file it would be believed."""
    stated: list[dict[str, Any]] = [
        {"length_unit": "bohr"}, {"units": "eV, nm"}, {"lattice_unit": 1.0}, {"position-units": "furlong"},
    ]  # fmt: skip
    out = screened([odd(alloys[0], info=info) for info in stated])
    assert "entry 'length_unit' left out: another unit than those of the results" in out
    zero_errors(evaluate, tmp_path / "out.extxyz", len(stated))


def test_all_at_once_with_notes(screened: Any, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    out = screened([odd(item, ODD_INFO, ODD_ARRAYS) for item in alloys])
    assert out.count("note: ") == 10
    assert "(3 structures)" in out
    assert "more notes" in out
    zero_errors(evaluate, tmp_path / "out.extxyz", len(alloys))
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        energies = [float(row["energy"]) for row in csv.DictReader(file)]
    found = [frame.atoms for frame in read_structures(tmp_path / "out.extxyz")]
    for atoms, item, energy in zip(found, alloys, energies, strict=True):
        assert isinstance(atoms, Atoms)
        assert atoms.calc.results["energy"] == energy
        for name in ("numbers", "positions"):
            np.testing.assert_array_equal(atoms.arrays[name], item.atoms.arrays[name])
        np.testing.assert_array_equal(atoms.arrays["wide"], ODD_ARRAYS["wide"])
        assert atoms.info["nested"] == ODD_INFO["nested"]
        assert atoms.info["huge"] == 10**40
        assert (atoms.info["number"], atoms.info["flag"]) == ("1e5", "T")


def test_constraints_of_a_file(run: Any, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    atoms = alloys[0].atoms.copy()
    atoms.set_constraint(FixAtoms([0, 3]))
    write(tmp_path / "in.traj", atoms)
    out = tmp_path / "out.extxyz"
    assert run("screen", MODEL, tmp_path / "in.traj", "-o", tmp_path / "r.csv", "--structures", out).code == 0
    zero_errors(evaluate, out, 1)
