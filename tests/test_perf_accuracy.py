"""Accuracy, ablation and rank efficiency in perf/: what is trained, averaged, merged, counted and drawn."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread, write

from etn_gpu.errors import DataError
from etn_gpu.potential import PRESETS, ETNPotential, Preset, preset_architecture
from etn_gpu.structures import collect_labels
from etn_gpu.training import TrainingConfig
from etn_gpu.training.deadline import Deadline

PERF = Path(__file__).parents[1] / "perf"
FOUR = ("Nb", "Mo", "Ta", "W")
TINY = Preset(4, (2, 2), ("2x0e+1x1o",) * 2, 2, 1)

Perf = Callable[[str], ModuleType]


@pytest.fixture
def perf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Perf:
    """Imports a script of perf/ by name; results go into the test's folder."""
    monkeypatch.syspath_prepend(str(PERF))
    monkeypatch.setattr(importlib.import_module("common"), "RESULTS", tmp_path / "results")
    return importlib.import_module


def labelled(count: int, groups: tuple[str, ...] = ("a", "b")) -> list[Atoms]:
    """Crystals with labels, zero throughout."""
    rng = np.random.default_rng(0)
    frames = []
    for i in range(count):
        atoms = Atoms("MoW", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[3.1, 3.1, 3.1], pbc=True)
        atoms.rattle(0.05, rng=rng)
        atoms.info |= {"REF_energy": 0.0, "REF_stress": np.zeros(6), "config_type": groups[i % len(groups)]}
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
        frames.append(atoms)
    return frames


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small data set in place of nbmotaw."""
    folder = tmp_path / "data" / "nbmotaw"
    folder.mkdir(parents=True)
    write(folder / "train.extxyz.gz", labelled(20))
    write(folder / "test.extxyz.gz", labelled(3, ("MoW_Test", "MoW_Test", "Multinary_Test")))
    monkeypatch.setenv("ETN_GPU_DATA", str(folder.parent))
    monkeypatch.setattr("etn_gpu.training.report._plot", lambda *arguments: None)
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 1)
    return folder


def constant_model(energy: float) -> ETNPotential:
    """Every atom has this energy and no force."""
    architecture = preset_architecture(TINY, ("Mo", "W"), 3.5, 1.0)
    parameters = {name: np.zeros(shape) for name, shape in architecture.parameter_shapes.items()}
    parameters["E0"][:] = energy
    return ETNPotential(architecture, parameters)


class TestErrors:
    def test_units(self, perf: Perf) -> None:
        frames = labelled(3)
        frames[0].arrays["REF_forces"][:] = 0.5
        for atoms in frames:
            atoms.info["REF_stress"] = np.full(6, 0.01)
        errors = perf("trained").mean_errors(constant_model(0.002), collect_labels(frames), [0, 1])
        assert errors["structures"] == 2
        assert errors["energy_mae"] == pytest.approx(2.0)
        assert errors["forces_mae"] == pytest.approx(0.25)
        assert errors["forces_rmse"] == pytest.approx(0.5 / np.sqrt(2))
        assert errors["stress_mae"] == pytest.approx(1.602, rel=1e-3)

    def test_of_no_structure(self, perf: Perf) -> None:
        errors = perf("trained").mean_errors(constant_model(0.0), collect_labels(labelled(1)), [])
        assert errors["structures"] == 0
        assert {value for name, value in errors.items() if name != "structures"} == {None}


class TestTrained:
    def run(self, perf: Perf, folder: Path, calls: list[TrainingConfig], force: bool = False) -> ETNPotential:
        def trainer(config: TrainingConfig, on_event: Any) -> None:
            calls.append(config)
            constant_model(1.0).save(config.output)

        config = TrainingConfig(Path("train.xyz"), folder / "models" / "m.etn", metadata={"name": "m"})
        model: ETNPotential = perf("trained").trained(config, force, trainer)
        return model

    def test_once_unless_forced(self, perf: Perf, tmp_path: Path) -> None:
        calls: list[TrainingConfig] = []
        self.run(perf, tmp_path, calls)
        assert self.run(perf, tmp_path, calls).species == ("Mo", "W")
        assert len(calls) == 1
        assert calls[0].metadata["name"] == "m"
        assert calls[0].metadata["trained"]["commit"]
        self.run(perf, tmp_path, calls, force=True)
        assert len(calls) == 2

    def test_an_interrupted_run_goes_on(self, perf: Perf, tmp_path: Path) -> None:
        checkpoint = tmp_path / "models" / "m.ckpt.npz"
        checkpoint.parent.mkdir()
        checkpoint.touch()
        calls: list[TrainingConfig] = []
        self.run(perf, tmp_path, calls)
        self.run(perf, tmp_path, calls, force=True)
        assert [config.resume for config in calls] == [checkpoint, None]


class TestHeldOut:
    def test_parts(self, perf: Perf, data: Path, tmp_path: Path) -> None:
        held_out = perf("held_out")
        everything, few = (
            [list(iread(path)) for path in held_out.split_file(data / "train.extxyz.gz", tmp_path / name, structures)]
            for name, structures in (("all", None), ("few", 8))
        )
        positions = [{tuple(a.positions.round(6).ravel()) for a in frames} for frames in (*everything, *few)]
        assert [len(part) for part in positions] == [16, 4, 8, 4]
        assert not positions[0] & positions[1]
        assert positions[1] == positions[3]
        assert positions[2] < positions[0]
        assert sorted(atoms.info["config_type"] for atoms in everything[1]) == ["a", "a", "b", "b"]
        assert few[0][0].info["REF_energy"] == 0.0


class TestSizes:
    def test_equal_ranks(self, perf: Perf) -> None:
        wide = Preset(4, (3, 2, 2, 1), ("2x0e+1x1o",) * 3, 2, 1)
        preset = perf("sizes").with_equal_ranks(wide, 5)
        # the site vector has 4x0e (the constant is one of them) and 2x1o
        assert preset.bonds == ("4x0e+2x1o", "5x0e+5x1o", "4x0e+2x1o")
        assert perf("sizes").with_equal_ranks(wide, 1).bonds == ("1x0e+1x1o",) * 3
        assert (preset.channels, preset.n_radial) == (wide.channels, wide.n_radial)

    def test_without_embedding_but_as_many_parameters(self, perf: Perf) -> None:
        sizes, preset = perf("sizes"), PRESETS["standard"]
        fewer = sizes.without_embedding(preset, FOUR)
        assert (fewer.neighbour_rank, fewer.centre_rank) == (4, 4)
        assert sizes.n_parameters(fewer, FOUR) == pytest.approx(sizes.n_parameters(preset, FOUR), rel=0.03)
        assert all(0 < n <= most for n, most in zip(fewer.channels, preset.channels, strict=True))

    def test_one_species_needs_no_embedding(self, perf: Perf) -> None:
        sizes, preset = perf("sizes"), PRESETS["standard"]
        fewer = sizes.without_embedding(preset, ("Mo",))
        assert (fewer.channels, fewer.bonds) == (preset.channels, preset.bonds)


class TestMomentTensorPotentials:
    def test_published_number_of_parameters(self, perf: Perf) -> None:
        mtp_parameters = perf("rank_efficiency").mtp_parameters
        assert mtp_parameters(20, 1) == 329
        assert mtp_parameters(16, 2) - mtp_parameters(16, 1) == 3 * 4 * 8 + 1

    def test_counts_are_those_of_the_published_tables(self, perf: Perf) -> None:
        folder = os.environ.get("ETN_GPU_POTENTIALS")
        if not folder:
            pytest.skip("ETN_GPU_POTENTIALS is not set: point it to the folder of the published potentials")
        text = perf("peers.published").find("mlearn2020/Mo/mtp/fitted.mtp").read_text()

        def numbers(key: str, columns: int) -> Any:
            [row] = re.findall(rf"^{key} = (.*)$", text, re.MULTILINE)
            values = np.array([int(value) for value in re.findall(r"\d+", row)], np.int32)
            return values.reshape(-1, columns) if columns > 1 else values

        keys = {"alpha_index_basic": 4, "alpha_index_times": 4, "alpha_moment_mapping": 1}
        tables = perf("peers.mtp_levels").MomentTables(*(numbers(key, columns) for key, columns in keys.items()))
        for level, counts in perf("rank_efficiency").MTP_LEVELS.items():
            cut = tables.up_to(level)
            assert (cut.n_radial, len(cut.scalars)) == counts


class TestScripts:
    """Whole runs with a time limit that ends training after one iteration."""

    @pytest.fixture(autouse=True)
    def tiny(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PRESETS, "tiny", TINY)
        monkeypatch.setattr("etn_gpu.training.run.STARTS", 1)
        # Time is up as soon as the first iteration has been recorded, whatever the limit.
        monkeypatch.setattr(Deadline, "late", lambda deadline, share=1.0: deadline.final_errors > 0.0)

    def options(self, folder: Path, **others: Any) -> argparse.Namespace:
        common = {"models": folder / "models", "time_limit": "0.01s", "structures": 12}
        return argparse.Namespace(**common, **others)

    @pytest.mark.slow
    def test_accuracy(self, perf: Perf, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        accuracy = perf("accuracy")
        options = self.options(tmp_path, sets=["nbmotaw"], preset=["tiny"], force=False, repeats=1)
        accuracy.run(options)
        report = json.loads((tmp_path / "results" / "accuracy.json").read_text())
        entry = report["sets"]["nbmotaw"]["tiny"]
        counts = {part: errors["structures"] for part, errors in entry["errors"].items()}
        assert counts == {"elements and binary alloys": 2, "quaternary alloys": 1}
        assert entry["cost"]["cpu"] > 0
        assert (entry["iterations"], entry["options"]["time_limit"]) == (1, 0.01)
        assert entry["trained"]["commit"] == entry["evaluated"]["commit"]
        lines = capsys.readouterr().out.splitlines()
        own = [line for line in lines if "| ETN tiny | 2 × 2x0e+1x1o |" in line]
        assert own[0].startswith("| nbmotaw, elements and binary alloys (2) |")
        assert own[1].startswith("| nbmotaw, quaternary alloys (1) |")

    def test_results_of_others_stay(self, perf: Perf, tmp_path: Path) -> None:
        accuracy = perf("accuracy")
        for name, preset in (("acac", "small"), ("nbmotaw", "small"), ("nbmotaw", "large"), ("acac", "small")):
            report = accuracy.merge(name, preset, {"parameters": 5})
        assert {name: list(entries) for name, entries in report["sets"].items()} == {
            "acac": ["small"],
            "nbmotaw": ["small", "large"],
        }
        assert json.loads((tmp_path / "results" / "accuracy.json").read_text()) == report

    @pytest.mark.slow
    def test_ablation(self, perf: Perf, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ablation = perf("ablation")
        ablation.run("nbmotaw", self.options(tmp_path, preset="tiny", seeds=2))
        report = json.loads((tmp_path / "results" / "ablation.json").read_text())["nbmotaw"]
        arms = [run["arm"] for run in report["runs"] if run["seed"] == 1]
        assert arms[:2] == ["sweeps", "gradient"]
        assert arms[-2:] == ["L-BFGS alone", "gradient, no embedding"]
        assert report["structures"] == {"trained on": 12, "held out": 4}
        assert all(run["errors"]["forces_mae"] >= 0 for run in report["runs"])
        out = capsys.readouterr().out
        assert "parameters with species embedding" in out
        assert re.search(r"^\| gradient \| 2 × 2x0e\+1x1o \| \d+ \| \d+ ± \d+ \|", out, re.MULTILINE)

    @pytest.mark.slow
    def test_rank_efficiency(self, perf: Perf, data: Path, tmp_path: Path) -> None:
        options = self.options(tmp_path, set="nbmotaw", preset="tiny", ranks=[1, 2])
        perf("rank_efficiency").run(options)
        report = json.loads((tmp_path / "results" / "rank_efficiency.json").read_text())
        assert [run["architecture"]["bonds"][0] for run in report["ranks"]] == ["1x0e+1x1o", "2x0e+2x1o"]
        assert report["ranks"][0]["parameters"] < report["ranks"][1]["parameters"]
        assert len(report["species"]["ETN tiny"]) == len(report["species"]["MTP level 20"]) == 16
        assert (tmp_path / "results" / "rank_efficiency.png").read_bytes()[:4] == b"\x89PNG"

    @pytest.mark.parametrize("script", ["accuracy", "ablation", "rank_efficiency"])
    def test_without_data(
        self, perf: Perf, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("ETN_GPU_DATA", raising=False)
        monkeypatch.setattr("sys.argv", [script])
        assert perf(script).main() == 2
        assert "set ETN_GPU_DATA to the folder that holds zuo2020_Mo/train.extxyz.gz" in capsys.readouterr().err

    @pytest.mark.parametrize("script", ["accuracy", "ablation"])
    def test_unknown_set(
        self, perf: Perf, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", [script, "zuo2020_Xx"])
        with pytest.raises(SystemExit):
            perf(script).main()
        assert "unknown sets zuo2020_Xx: choose from zuo2020_Mo" in capsys.readouterr().err

    def test_missing_file(self, perf: Perf, data: Path) -> None:
        with pytest.raises(DataError, match=r"ETN_GPU_DATA has no file nbmotaw/test_300K\.extxyz\.gz"):
            perf("data_sets").DATA_SETS["nbmotaw"].path("test_300K.extxyz.gz")
