"""perf/cross_validate.py: folds, means and their errors, the options of a way, and a whole comparison."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread, write

from etn_gpu.potential import ETNPotential, Preset, preset_architecture
from etn_gpu.training import TrainingConfig

TINY = Preset(4, (2, 2), ("2x0e+1x1o",) * 2, 2, 1)
Perf = Callable[[str], ModuleType]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A train split of 21 structures in place of that of nbmotaw; one alone has tantalum, one has no forces."""
    rng, frames = np.random.default_rng(0), []
    for k in range(21):
        symbols = "Ta" if k == 20 else ("Mo", "W", "MoW")[k % 3]
        atoms = Atoms(symbols, cell=[9.0] * 3, pbc=True)
        atoms.positions += 2.5 * np.arange(len(atoms))[:, None] + rng.uniform(size=(len(atoms), 3))
        atoms.info |= {"REF_energy": 0.001 * k * len(atoms), "config_type": "ab"[k % 2]}
        if k != 3:
            atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 0.1)
        frames.append(atoms)
    folder = tmp_path / "data" / "nbmotaw"
    folder.mkdir(parents=True)
    write(folder / "train.extxyz.gz", frames)
    monkeypatch.setenv("ETN_GPU_DATA", str(folder.parent))
    return folder / "train.extxyz.gz"


def places(path: Path) -> list[tuple[float, ...]]:
    return [tuple(atoms.positions.round(6).ravel()) for atoms in iread(path)]


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_structure_is_in_one_fold_unless_it_alone_has_an_element(
    perf: Perf, data: Path, tmp_path: Path, folds: int
) -> None:
    everything = places(data)
    pairs = perf("held_out").fold_files(data, tmp_path / "files", folds)
    held = [places(fold) for _, fold in pairs]
    assert sorted(place for part in held for place in part) == sorted(everything[:20])
    assert max(map(len, held)) - min(map(len, held)) <= 3
    for (fit, _), part in zip(pairs, held, strict=True):
        assert sorted([*places(fit), *part]) == sorted(everything)
    again = perf("held_out").fold_files(data, tmp_path / "others", folds)
    assert [places(fold) for _, fold in again] == held


def test_some_of_the_structures(perf: Perf, data: Path, tmp_path: Path) -> None:
    pairs = perf("held_out").fold_files(data, tmp_path, 2, structures=10)
    assert 7 <= sum(len(places(fold)) for _, fold in pairs) <= 10


def test_means_and_their_errors(perf: Perf) -> None:
    mean = perf("cross_validate").mean
    rng = np.random.default_rng(1)
    values = rng.normal(size=50)
    centre, error = mean(values, np.ones(50))
    assert centre == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    # a structure that counts twice, and one that is not known
    assert mean(np.array([1.0, 4.0, np.nan]), np.array([2.0, 1.0, 5.0]))[0] == pytest.approx(2.0)
    assert mean(np.array([3.0]), np.ones(1)) == (3.0, pytest.approx(np.nan, nan_ok=True))
    assert np.isnan(mean(np.array([np.nan]), np.ones(1))).all()
    # what scatters alike in both ways cancels in the difference
    assert mean(values + 0.3 - values, np.ones(50)) == (pytest.approx(0.3), pytest.approx(0.0, abs=1e-15))


def test_error_of_a_weighted_mean_is_that_of_repeated_samples(perf: Perf) -> None:
    rng = np.random.default_rng(2)
    samples = [(rng.normal(size=40), rng.integers(1, 60, 40).astype(float)) for _ in range(2000)]
    found = [perf("cross_validate").mean(*sample) for sample in samples]
    centres, errors = np.array(found).T
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(centres.std(), rel=0.1)


def test_options_of_a_way(perf: Perf) -> None:
    parse = perf("cross_validate").parse
    assert parse("default") == {}
    assert parse("preset=small,cutoff=5.5,seed=3") == {"preset": "small", "cutoff": 5.5, "seed": 3}
    with pytest.raises(ValueError, match=r"'colour=red' was given, expected NAME=VALUE with one of the names preset"):
        parse("cutoff=5,colour=red")
    with pytest.raises(ValueError, match=r"'cutoff' was given, expected NAME=VALUE"):
        parse("cutoff")
    with pytest.raises(ValueError, match=r"'cutoff=wide' was given, expected a number"):
        parse("cutoff=wide")


def test_a_whole_comparison(
    perf: Perf, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = perf("cross_validate")
    monkeypatch.setattr(perf("common"), "RESULTS", tmp_path / "results")
    calls: list[TrainingConfig] = []

    def constant(config: TrainingConfig) -> ETNPotential:
        """Every atom has an energy that is the cutoff in units of 100 A, and no force."""
        calls.append(config)
        assert config.cutoff is not None
        architecture = preset_architecture(TINY, ("Mo", "Ta", "W"), config.cutoff, 1.0)
        parameters = {name: np.zeros(shape) for name, shape in architecture.parameter_shapes.items()}
        parameters["E0"][:] = 0.01 * config.cutoff
        return ETNPotential(architecture, parameters)

    monkeypatch.setattr(script, "trained", constant)
    command = ["cross_validate.py", "nbmotaw", "cutoff=3", "cutoff=4", "--folds", "3", "--models", str(tmp_path / "m")]
    monkeypatch.setattr(sys, "argv", command)
    assert script.main() == 0
    assert [config.time_limit for config in calls] == [240.0] * 6
    assert len({config.output for config in calls}) == 6
    # a fold is never trained on
    assert all(
        not {*places(c.train_files[0])} & {*places(Path(str(c.train_files[0]).replace("fit", "fold")))} for c in calls
    )
    entry = json.loads((tmp_path / "results" / "cross_validation.json").read_text())["nbmotaw"]
    assert sum(entry["folds"]) == 20
    ways = entry["ways"]
    # 30 and 40 meV against labels of 0 to 19 meV for each atom
    assert ways["cutoff=3"]["errors"]["energy"][0] == pytest.approx(30 - 9.5)
    assert ways["cutoff=4"]["errors"]["energy"][0] == pytest.approx(40 - 9.5)
    assert ways["cutoff=4"]["differences"]["energy"] == pytest.approx([10.0, 0.0], abs=1e-6)
    assert ways["cutoff=3"]["errors"]["forces"] == pytest.approx([0.1, 0.0], abs=1e-9)
    out = capsys.readouterr().out
    assert "| cutoff=4 | 30.50 ± " in out
    assert "| +10.00 ± 0.00 | 0.1000 ± 0.0000 | +0.0000 ± 0.0000 |" in out


def test_wrong_use(perf: Perf, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = perf("cross_validate")
    for arguments, message in (
        (["nbmotaw", "colour=red"], "expected NAME=VALUE"),
        (["nbmotaw", "--folds", "1"], "--folds must be at least 2"),
        (["zuo2020_Xx"], "invalid choice"),
    ):
        monkeypatch.setattr(sys, "argv", ["cross_validate.py", *arguments])
        with pytest.raises(SystemExit):
            script.main()
        assert message in capsys.readouterr().err
    monkeypatch.delenv("ETN_GPU_DATA")
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", "nbmotaw"])
    assert script.main() == 2
    assert "set ETN_GPU_DATA to the folder that holds nbmotaw" in capsys.readouterr().err
