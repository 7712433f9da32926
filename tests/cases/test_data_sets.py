"""Data sets of other programs, written from the structures: read right, the errors are zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import write

from etn_gpu.structures import KBAR
from etn_gpu.training import TrainingConfig
from etn_gpu.training.setup import loss_weights, read_data

from .conftest import Evaluate, Evaluation, Labelled

SPECIES = ("Nb", "Mo", "Ta", "W")


def types(item: Labelled, first: int) -> list[int]:
    return [SPECIES.index(symbol) + first for symbol in item.atoms.symbols]


def digits(values: Any) -> str:
    return " ".join(repr(float(x)) for x in np.ravel(values))


def write_cfg(path: Path, alloys: list[Labelled]) -> Path:
    blocks = []
    for item in alloys:
        xx, yy, zz, yz, xz, xy = -item.stress * item.atoms.get_volume()
        rows = [
            f"{k} {kind} {digits(position)} {digits(force)}"
            for k, (kind, position, force) in enumerate(
                zip(types(item, 0), item.atoms.positions, item.forces, strict=True), start=1
            )
        ]
        blocks += [
            "BEGIN_CFG", " Size", f"    {len(item.atoms)}", " Supercell", *map(digits, item.atoms.cell.array),
            " AtomData:  id type cartes_x cartes_y cartes_z fx fy fz", *rows, " Energy", f"   {item.energy!r}",
            " PlusStress:  xx yy zz yz xz xy", digits([xx, yy, zz, yz, xz, xy]), " Feature   EFS_by  VASP", "END_CFG",
            "",
        ]  # fmt: skip
    path.write_text("\n".join(blocks))
    return path


def write_ml_ab(path: Path, alloys: list[Labelled]) -> Path:
    """Stresses in kbar, positive under compression; species by runs of equal atoms."""
    star, bar, rule = "*" * 50, "=" * 50, "---"
    parts = [" 1.0 Version", star, "     The number of configurations", rule, f"   {len(alloys)}", star,
             "     The maximum number of atom type", rule, "   4"]  # fmt: skip
    for number, item in enumerate(alloys, start=1):
        order = np.argsort([SPECIES.index(symbol) for symbol in item.atoms.symbols], kind="stable")
        atoms, forces = item.atoms[order], item.forces[order]
        counts = [f"     {s} {list(atoms.symbols).count(s)}" for s in SPECIES if s in atoms.symbols]
        xx, yy, zz, yz, xz, xy = -item.stress / KBAR
        parts += [star, f"     Configuration num.  {number}"]
        for heading, rows in {
            "System name": ["alloy of four"], "The number of atom types": [str(len(counts))],
            "The number of atoms": [str(len(atoms))], "Atom types and atom numbers": counts,
            "CTIFOR": ["   2.0E-002"], "Primitive lattice vectors (ang.)": [digits(v) for v in atoms.cell.array],
            "Atomic positions (ang.)": [digits(v) for v in atoms.positions], "Total energy (eV)": [repr(item.energy)],
            "Forces (eV ang.^-1)": [digits(v) for v in forces], "Stress (kbar)": [],
        }.items():  # fmt: skip
            parts += [bar, f"     {heading}", rule, *rows]
        parts += ["     XX YY ZZ", rule, digits([xx, yy, zz]), rule, "     XY YZ ZX", rule, digits([xy, yz, xz])]
    path.write_text("\n".join(parts) + "\n")
    return path


def write_deepmd(folder: Path, alloys: list[Labelled]) -> Path:
    for k, item in enumerate(alloys):
        part = folder / f"system{k}" / "set.000"
        part.mkdir(parents=True)
        (part.parent / "type.raw").write_text("\n".join(map(str, types(item, 0))))
        (part.parent / "type_map.raw").write_text("\n".join(SPECIES))
        arrays = {
            "coord": item.atoms.positions, "box": item.atoms.cell.array, "force": item.forces, "virial": item.virial,
        }  # fmt: skip
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array.reshape(1, -1))
        np.save(part / "energy.npy", np.array([item.energy]))
    return folder


def write_dump(path: Path, alloys: list[Labelled]) -> Path:
    """A dump in a general triclinic box, as LAMMPS writes it since 2024."""
    blocks = []
    for k, item in enumerate(alloys):
        rows = [
            f"{n} {kind} {digits(position)} {digits(force)}"
            for n, (kind, position, force) in enumerate(
                zip(types(item, 1), item.atoms.positions, item.forces, strict=True), start=1
            )
        ]
        blocks += [
            "ITEM: TIMESTEP", str(k), "ITEM: NUMBER OF ATOMS", str(len(item.atoms)),
            "ITEM: BOX BOUNDS abc origin pp pp pp", *(f"{digits(vector)} 0.0" for vector in item.atoms.cell.array),
            "ITEM: ATOMS id type x y z fx fy fz", *rows,
        ]  # fmt: skip
    path.write_text("\n".join(blocks) + "\n")
    return path


def assert_zero(result: Evaluation, *names: str) -> None:
    assert result.code == 0, result.err
    for name in names:
        assert result.error(name) == pytest.approx(0.0, abs=1e-7)


def test_mlip_cfg(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_cfg(tmp_path / "train.cfg", alloys)
    assert_zero(evaluate(path, "--species", "Nb,Mo,Ta,W"), "energy", "forces", "stress")
    refused = evaluate(path)
    assert refused.code == 2
    assert "no element names. Name the elements in the order of the types with --species" in " ".join(
        refused.err.split()
    )


@pytest.mark.parametrize("name", ["ML_AB", "ML_ABN.old"])
def test_ml_ab(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path, name: str) -> None:
    path = write_ml_ab(tmp_path / name, alloys)
    assert_zero(evaluate(path), "energy", "forces", "stress")
    assert_zero(evaluate(path, "--format", "ml-ab"), "energy", "forces", "stress")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Total energy (eV)", "Total", "the configuration has no section 'Total energy (eV)': is the file cut off?"),
        ("XX YY ZZ", "XX YY", "no section 'XX YY ZZ'"),
        ("Primitive lattice vectors (ang.)\n---\n", "Primitive lattice vectors (ang.)\n---\n 1.0 2.0\n", "has 4 rows"),
    ],
)
def test_a_damaged_ml_ab(
    alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = write_ml_ab(tmp_path / "ML_AB", alloys)
    path.write_text(path.read_text().replace(old, new, 1))
    result = evaluate(path)
    assert result.code == 1
    assert result.numbers["n_structures"] == len(alloys) - 1
    (failure,) = result.numbers["failures"]
    assert failure["index"] == 0
    assert message in failure["message"]


def test_deepmd(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    folder = write_deepmd(tmp_path / "data", alloys)
    assert_zero(evaluate(folder), "energy", "forces", "stress")
    assert_zero(evaluate(folder, "--format", "deepmd"), "energy", "forces", "stress")
    assert evaluate(folder / "system1").numbers["n_structures"] == 1


def test_lammps_dump(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dump(tmp_path / "dump.lammpstrj", alloys)
    result = evaluate(path, "--species", "Nb,Mo,Ta,W")
    assert_zero(result, "forces")
    assert result.numbers["energy"]["count"] == 0, "a dump holds none"
    assert evaluate(path).code == 2


def test_screen_and_train_take_the_same_files(
    alloys: list[Labelled], run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_cfg(tmp_path / "train.cfg", alloys)
    screened = run("screen", "nbmotaw", path, "--species", "Nb,Mo,Ta,W", "-o", tmp_path / "rows.csv")
    assert screened.code == 0
    assert run("screen", "nbmotaw", path, "-o", tmp_path / "rows2.csv").code == 1
    refused = run("train", path, "-o", tmp_path / "model.etn")
    assert refused.code == 2
    assert "--species" in refused.err
    configs: list[TrainingConfig] = []
    monkeypatch.setattr("etn_gpu.training.train", lambda config, on_event: configs.append(config))
    assert run("train", path, "-o", tmp_path / "model.etn", "--species", "Nb,Mo,Ta,W").code == 0
    data = read_data(configs[0], loss_weights(configs[0]), lambda event: None)
    assert data.labels.energy.tolist() == [item.energy for item in alloys]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "vaps"), "no format 'vaps' of structures; did you mean vasp"),
        (("--species", "Nb,Qq"), "'Qq' is none"),
    ],
)
def test_options_that_are_none(evaluate: Evaluate, tmp_path: Path, options: tuple[str, str], message: str) -> None:
    result = evaluate(tmp_path / "a.xyz", *options)
    assert result.code == 2
    assert message in " ".join(result.err.split())


def test_screen_says_what_was_never_tried(alloys: list[Labelled], run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "cut.xyz.gz"
    frames = []
    for k in range(60):
        atoms = alloys[k % 3].atoms.copy()
        atoms.rattle(0.02, seed=k)
        frames.append(atoms)
    write(path, frames, format="extxyz")
    path.write_bytes(path.read_bytes()[:-10000])
    result = run("screen", "nbmotaw", path, "-o", tmp_path / "rows.csv", "--top", "0")
    assert result.code == 1
    assert "cut.xyz.gz: what comes after its last failed frame" in result.out
