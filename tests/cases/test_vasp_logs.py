"""Logs of VASP: what it marks as not converged is left out, and it is said which of its energies was taken."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODEL, Evaluate, Labelled
from .vasp_text import HARD_STOP, REACHED, UNCONVERGED, write_outcar, write_vasprun

WORDS = {
    "converged": ([(12, REACHED), (60, REACHED)], 60, []),
    "said not to be": ([(12, REACHED), (60, UNCONVERGED), (5, REACHED), (60, UNCONVERGED)], 60, [1, 3]),
    "stopped by hand": ([(12, REACHED), (7, HARD_STOP)], 60, [1]),
    "an older version": ([(12, REACHED), (40, ""), (39, "")], 40, [1]),
}


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("packed", [False, True])
def test_outcar(name: str, packed: bool, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    steps, nelm, left_out = WORDS[name]
    path = write_outcar(tmp_path / "OUTCAR", alloys[0], steps, nelm)
    if packed:
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_suffix(".gz")
    result = evaluate(path)
    assert result.code == 0, result.err
    assert result.numbers["n_structures"] == len(steps) - len(left_out)
    for quantity in ("energy", "forces", "stress"):
        assert result.error(quantity) == pytest.approx(0.0, abs=1e-7)
    assert ("left out: the electronic loop ended without reaching EDIFF" in result.out) == bool(left_out)
    if left_out:
        assert f"{', '.join(str(k) for k in left_out)})" in result.out


def test_vasprun(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    result = evaluate(write_vasprun(tmp_path / "vasprun.xml", alloys[0], [12, 40, 39, 40], nelm=40))
    assert result.numbers["n_structures"] == 2
    for quantity in ("energy", "forces", "stress"):
        assert result.error(quantity) == pytest.approx(0.0, abs=1e-7)
    assert "2 structures left out: the electronic loop ended without reaching EDIFF (frames 1, 3)" in result.out


def test_one_exact_diagonalisation_converges(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_vasprun(tmp_path / "vasprun.xml", alloys[0], [1], nelm=1, algorithm="Exact")
    assert evaluate(path).numbers["n_structures"] == 1


@pytest.mark.parametrize("kind", ["OUTCAR", "vasprun.xml"])
def test_which_energy(
    kind: str, alloys: list[Labelled], evaluate: Evaluate, run: Callable[..., Any], tmp_path: Path
) -> None:
    item = alloys[0]
    path = tmp_path / kind
    if kind == "OUTCAR":
        write_outcar(path, item, [(12, REACHED)], smearing=0.32)
    else:
        write_vasprun(path, item, [12], smearing=0.32)
    result = evaluate(path)
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)
    assert (
        "calculator energy (extrapolated to zero smearing) was taken as the energy; calculator free_energy (TOTEN, "
        "which VASP's forces belong to) is there as well and differs by up to 0.02 eV/atom"
    ) in result.out
    free = evaluate(path, "--energy-key", "calculator free_energy")
    assert free.error("energy") == pytest.approx(0.02, abs=1e-7)
    assert free.numbers["warnings"] == []
    audit = run("train", path, "-o", tmp_path / "m.etn", "--valid", tmp_path / "none.xyz").out
    assert "calculator energy (extrapolated to zero smearing) (1)" in audit


def test_nothing_converged(alloys: list[Labelled], evaluate: Evaluate, run: Callable[..., Any], tmp_path: Path) -> None:
    path = write_outcar(tmp_path / "OUTCAR", alloys[0], [(60, UNCONVERGED)])
    assert "none of its 1 structures converged" in evaluate(path).err
    finished = run("train", path, "-o", tmp_path / "m.etn")
    assert finished.code == 2
    assert "none of its 1 structures converged" in finished.err


def test_screening_needs_no_convergence(alloys: list[Labelled], run: Callable[..., Any], tmp_path: Path) -> None:
    path = write_outcar(tmp_path / "OUTCAR", alloys[0], [(60, UNCONVERGED), (5, REACHED)])
    assert run("screen", MODEL, path, "-o", tmp_path / "o.csv").code == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 3
