"""What can be screened: paths, structures, lists and generators of them, in any mixture."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write

import etn_gpu
from etn_gpu.errors import DataError
from etn_gpu.screening import BatchLimits, MemorySource, screen
from etn_gpu.screening.sources import as_sources


def written(path: Path) -> list[tuple[str, str, str]]:
    with path.open() as lines:
        return [(row["source"], row["index"], row["status"]) for row in csv.DictReader(lines)]


def test_everything_in_one_list(tmp_path: Path, model: Any, crystal: Callable[..., Atoms]) -> None:
    path = tmp_path / "a.extxyz"
    write(path, [crystal(), crystal()])
    more = (crystal(a=a) for a in (3.1, 3.3))
    given: list[Any] = [
        crystal(),
        crystal(),
        path,
        str(path),
        more,
        MemorySource("mine", [crystal()]),
        crystal(),
        [crystal()],
    ]
    screen(model, given, tmp_path / "o.csv")
    names = ["structures"] * 2 + [str(path)] * 4 + ["structures 2"] * 2 + ["mine", "structures 3", "structures 4"]
    assert written(tmp_path / "o.csv") == [
        (name, str(index), "ok") for name, index in zip(names, [0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0], strict=True)
    ]


def test_one_alone(tmp_path: Path, model: Any, crystal: Callable[..., Atoms]) -> None:
    path = tmp_path / "a.extxyz"
    write(path, [crystal()])
    assert etn_gpu.screen is screen
    for given in (path, str(path), crystal(), [crystal()], iter([crystal()]), (crystal() for _ in range(1))):
        report = screen(model, given, tmp_path / "o.csv", overwrite=True)
        assert report.n_ok == 1


def test_what_is_no_structure_is_a_failed_row(tmp_path: Path, model: Any, crystal: Callable[..., Atoms]) -> None:
    given: list[Any] = [crystal(), "a.xyz", None, crystal()]
    report = screen(model, iter(given), tmp_path / "o.csv")
    assert [status for _, _, status in written(tmp_path / "o.csv")] == ["ok", "failed", "failed", "ok"]
    assert report.failures[0].message == "str is no structure: expected an ase.Atoms"


@pytest.mark.parametrize("given", [None, 5, b"a.xyz", [None], ["a.xyz", 3.0]])
def test_nothing_to_screen(given: object) -> None:
    with pytest.raises(DataError, match=r"is nothing to screen: expected paths, ase\.Atoms"):
        as_sources(given)


@pytest.mark.parametrize("atoms", [1, 4, 5, 100])
def test_a_generator_that_fails_keeps_what_came_before(
    tmp_path: Path, model: Any, crystal: Callable[..., Atoms], atoms: int
) -> None:
    def made() -> Iterator[Atoms]:
        for _ in range(5):
            yield crystal()
        raise ValueError("no more\n of them")

    match = r"structures, structure 5 \(counted from 0\): whatever gives the structures failed \(ValueError: no more of"
    with pytest.raises(DataError, match=match):
        screen(model, made(), tmp_path / "o.csv", limits=BatchLimits.for_atoms(atoms))
    assert len(written(tmp_path / "o.csv.part")) == 5


def test_an_endless_generator_is_a_stream(tmp_path: Path, model: Any, crystal: Callable[..., Atoms]) -> None:
    def made() -> Iterator[Atoms]:
        while True:
            yield crystal()

    steps = iter(etn_gpu.screening.Screening(model, made(), tmp_path / "o.csv", limits=BatchLimits.for_atoms(4)))
    assert [len(next(steps)) for _ in range(3)] == [2, 2, 2]
    steps.close()  # type: ignore[attr-defined]
    assert len(written(tmp_path / "o.csv.part")) == 6
