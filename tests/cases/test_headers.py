"""Headers as GPUMD takes them: the same structures and labels, whatever the case and the spaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Evaluate, Labelled


def text(alloys: list[Labelled], header: str, *, numbers: bool = False) -> str:
    """The structures with a header made from lattice, energy and stress."""
    frames = []
    for item in alloys:
        given = {
            "lattice": " ".join(repr(float(x)) for x in item.atoms.cell.array.ravel()),
            "energy": item.energy,
            "stress": " ".join(repr(float(x)) for x in item.stress),
        }
        first = item.atoms.numbers if numbers else item.atoms.symbols
        rows = [
            " ".join((str(name), *map(repr, map(float, (*position, *force)))))
            for name, position, force in zip(first, item.atoms.positions, item.forces, strict=True)
        ]
        frames.append("\n".join((str(len(item.atoms)), header.format(**given), *rows)))
    return "\n".join(frames) + "\n"


COLUMNS = "species:S:1:pos:R:3:forces:R:3"


@pytest.mark.parametrize(
    "header",
    [
        'energy={energy} lattice="{lattice}" stress="{stress}" properties=' + COLUMNS,
        'energy = {energy} LATTICE = "{lattice}" stress = "{stress}" pbc = "t t t" Properties = ' + COLUMNS,
        "Lattice='{lattice}' energy={energy} stress='{stress}' PBC=TTT PROPERTIES=Species:S:1:Pos:R:3:forces:R:3",
        "lattice=[{lattice}] energy={energy} stress=[{stress}] pbc=[1,1,1] properties=" + COLUMNS,
    ],
)
def test_keys_in_any_case(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path, header: str) -> None:
    (tmp_path / "train.xyz").write_text(text(alloys, header))
    result = evaluate(tmp_path / "train.xyz")
    assert result.code == 0, result.err
    for name in ("energy", "forces", "stress"):
        assert result.error(name) == pytest.approx(0.0, abs=1e-7)


def test_atomic_numbers_for_species(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    header = 'Lattice="{lattice}" energy={energy} Properties=' + COLUMNS
    (tmp_path / "train.xyz").write_text(text(alloys, header, numbers=True))
    result = evaluate(tmp_path / "train.xyz")
    assert result.code == 0, result.err
    assert result.error("forces") == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("key", ["Latice", "cell", "unit_cell", "Lattice_vectors", "box"])
def test_a_key_that_only_looks_like_a_lattice(
    alloys: list[Labelled], evaluate: Evaluate, run: Callable[..., Any], tmp_path: Path, key: str
) -> None:
    path = tmp_path / "train.xyz"
    path.write_text(text(alloys, key + '="{lattice}" energy={energy} Properties=' + COLUMNS))
    result = evaluate(path)
    assert result.code == 2
    assert f"the header has {key}=" in " ".join(result.err.split())
    screened = run("screen", "nbmotaw", path, "-o", tmp_path / "rows.csv")
    assert screened.code == 1
    assert (tmp_path / "rows.csv").read_text().count(f"the header has {key}=") == len(alloys)
    trained = run("train", path, "-o", tmp_path / "model.etn")
    assert trained.code == 2
    assert f"the header has {key}=" in " ".join(trained.err.split())


def test_evaluate_says_why_no_frame_can_be_read(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    header = 'Lattice="{lattice}" energy={energy} Properties=' + COLUMNS
    (tmp_path / "train.xyz").write_text(text(alloys, header).replace("Nb ", "Qq ").replace("Mo ", "Qq "))
    result = evaluate(tmp_path / "train.xyz")
    assert result.code == 2
    message = " ".join(result.err.split())
    assert "frame 0 (line 1): no element is called 'Qq'" in message
    assert "None of its 3 frames can be read" in message
