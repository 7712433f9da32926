"""Nothing that exists is lost: inputs under any name, and what an earlier or another run wrote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.io import write

import etn_gpu
from etn_gpu.cli.main import main
from etn_gpu.potential.file import shipped_models
from etn_gpu.training import TrainingConfig
from etn_gpu.training.outputs import claimed_outputs

from .conftest import MODEL, Labelled

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _files(alloys: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the current folder, in.extxyz with labels and the model m.etn."""
    monkeypatch.chdir(tmp_path)
    frames = []
    for item in alloys:
        item.atoms.info["REF_energy"] = item.energy
        frames.append(item.atoms)
    write("in.extxyz", frames)
    shutil.copy(shipped_models()[MODEL], "m.etn")


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("link", ["itself", "hard", "soft", "roundabout"])
@pytest.mark.parametrize("victim", ["m.etn", "in.extxyz"])
@pytest.mark.parametrize("command", ["screen -o", "screen --structures", "evaluate --json", "grade -o"])
def test_inputs_are_never_overwritten(run: Run, command: str, victim: str, link: str, overwrite: list[str]) -> None:
    if command.startswith("grade") and overwrite and victim == "m.etn":
        pytest.skip("the new model may take the place of the old one: tests/cli/test_grade.py")
    output = f"out{Path(victim).suffix}" if command.endswith("structures") else "out"
    if link == "hard":
        Path(output).hardlink_to(victim)
    elif link == "soft":
        Path(output).symlink_to(victim)
    else:
        output = victim if link == "itself" else f"../{Path.cwd().name}/{victim}"
    before = contents()
    name, option = command.split()
    finished = run(name, "m.etn", "in.extxyz", option, output, *overwrite)
    assert finished.code == 2
    assert f"it is the input file {victim}" in finished.err
    assert contents() == before


@pytest.mark.parametrize("command", [("screen", "-o"), ("evaluate", "--json")])
def test_a_shipped_model_is_an_input_too(run: Run, tmp_path: Path, command: tuple[str, str]) -> None:
    output = tmp_path / "out"
    output.symlink_to(shipped_models()[MODEL])
    finished = run(command[0], MODEL, "in.extxyz", command[1], output, "--overwrite")
    assert finished.code == 2
    assert "it is the input file" in finished.err
    assert etn_gpu.load(MODEL).n_parameters > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["screen", "m.etn", "in.extxyz"],
        ["screen", "m.etn", "in.extxyz", "-o", "new.csv", "--structures", "results.extxyz"],
        ["evaluate", "m.etn", "in.extxyz", "--json", "results.json"],
    ],
    ids=" ".join,
)
def test_earlier_results_need_overwrite(run: Run, arguments: list[str]) -> None:
    names = ("results.csv", "results.extxyz", "results.json")
    for name in names:
        Path(name).write_text("precious")
    before = contents()
    finished = run(*arguments)
    assert finished.code == 2
    assert len(finished.err.splitlines()) == 1
    assert "exists already: choose another name, or replace it with --overwrite" in finished.err
    assert contents() == before
    assert run(*arguments, "--overwrite").code in (0, 1)
    after = contents()
    assert sum(after[name] != b"precious" for name in names) == 1
    assert not [name for name in after if name.startswith(".")]


def test_a_mistyped_input_costs_no_earlier_results(run: Run) -> None:
    Path("results.csv").write_text("precious")
    before = contents()
    finished = run("screen", "m.etn", "mistyped.extxyz", "--overwrite")
    assert finished.code == 2
    assert "no such file or folder: mistyped.extxyz" in finished.err
    assert contents() == before


def test_a_run_that_cannot_open_all_leaves_none(run: Run) -> None:
    """The second output is refused only when it is opened; the first must not be in the way of the next try."""
    Path("out.extxyz").symlink_to("missing/out.extxyz")
    finished = run("screen", "m.etn", "in.extxyz", "--structures", "out.extxyz")
    assert finished.code == 2
    assert "cannot write out.extxyz: No such file" in finished.err
    assert not Path("results.csv").exists()


@pytest.mark.parametrize("references", [{"W": "low"}, ["W"], {"W": None}, {"W": float("inf")}])
def test_what_can_fail_fails_before_anything_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch, references: Any
) -> None:
    model = etn_gpu.load(MODEL)
    monkeypatch.setitem(model.metadata, "formation_references", references)
    monkeypatch.setattr(etn_gpu, "load", lambda name, **options: model, raising=False)
    Path("results.csv").write_text("precious")
    finished = run("screen", MODEL, "in.extxyz", "--overwrite")
    assert finished.code == 2
    assert "expected an energy in eV/atom for each element" in finished.err
    assert Path("results.csv").read_text() == "precious"


def test_names_of_other_formats(run: Run) -> None:
    for arguments, what in (
        (["screen", "m.etn", "in.extxyz", "-o", "x.feather"], "rows are written as CSV"),
        (["evaluate", "m.etn", "in.extxyz", "--json", "x.xlsx"], "errors are written as JSON"),
        (["train", "in.extxyz", "-o", "x.extxyz"], "a model file is written"),
        (["grade", "m.etn", "in.extxyz", "-o", "x.csv"], "a model file is written"),
    ):
        before = contents()
        finished = run(*arguments)
        assert finished.code == 2
        assert what in finished.err
        assert contents() == before


def test_a_device_is_no_earlier_result(run: Run) -> None:
    assert run("screen", "m.etn", "in.extxyz", "-o", "/dev/null").code == 0
    assert run("evaluate", "m.etn", "in.extxyz", "--json", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()


def test_rows_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["screen", "m.etn", "in.extxyz", "-o", "/dev/stdout", "--top", "0"])
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("source,index,formula")
    assert sum(line.startswith("in.extxyz,") for line in lines) == 3


@pytest.mark.parametrize("suffix", [".etn", ".json", ".png", ".ckpt.npz"])
def test_an_earlier_training_is_kept(run: Run, suffix: str) -> None:
    Path(f"new{suffix}").write_text("precious")
    before = contents()
    finished = run("train", "in.extxyz", "-o", "new.etn")
    assert finished.code == 2
    assert f"new{suffix} exists already" in finished.err
    assert ("--resume new.ckpt.npz goes on" in finished.err) == (suffix == ".ckpt.npz")
    assert contents() == before


def test_training_data_by_other_names(run: Run) -> None:
    Path("new.etn").hardlink_to("in.extxyz")
    Path("other.ckpt.npz").write_text("precious")
    Path("model.json").symlink_to("other.ckpt.npz")
    before = contents()
    for options in (
        ["-o", "new.etn"],
        ["-o", "fresh.etn", "--valid", "fresh.json"],
        ["-o", "model.etn", "--resume", "other.ckpt.npz"],
    ):
        finished = run("train", "in.extxyz", *options, "--overwrite")
        assert finished.code == 2
        assert "it is the input file" in finished.err
    assert contents() == before


def claimed(**options: Any) -> None:
    with claimed_outputs(TrainingConfig(Path("in.extxyz"), Path("new.etn"), **options)):
        pass


def test_a_resumed_run_goes_on_in_its_own_files_only() -> None:
    for name in ("new.etn", "new.json", "new.png", "new.ckpt.npz", "copy.ckpt.npz"):
        Path(name).write_text("precious")
    Path("link.ckpt.npz").symlink_to("new.ckpt.npz")
    claimed(resume=Path("new.ckpt.npz"))
    claimed(resume=Path("link.ckpt.npz"))
    claimed(overwrite=True)
    with pytest.raises(
        etn_gpu.errors.TrainingError, match=r"new\.etn, new\.json, new\.png, new\.ckpt\.npz exist already"
    ):
        claimed(resume=Path("copy.ckpt.npz"))


@pytest.mark.parametrize("name", ["new.etn", "new"])
def test_two_trainings_of_one_model(run: Run, name: str) -> None:
    """Also when only the checkpoint is the same."""
    with claimed_outputs(TrainingConfig(Path("in.extxyz"), Path("new.etn"))):
        before = contents()
        finished = run("train", "in.extxyz", "-o", name, "--overwrite")
        assert finished.code == 2
        assert "another run is writing" in finished.err
        assert contents() == before
    assert sorted(os.listdir()) == ["in.extxyz", "m.etn"]
