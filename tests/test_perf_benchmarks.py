"""The benchmarks in perf/: what they share, the stages of an evaluation, one case of the scaling runs."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from etn_gpu import ETNCalculator
from etn_gpu.plan.count import work
from etn_gpu.potential import ETNPotential, preset_architecture
from etn_gpu.potential.programs import programs
from etn_gpu.structures import StructureBatch

PERF = Path(__file__).parents[1] / "perf"


@pytest.fixture
def perf(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script of perf/ by name."""
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module


@pytest.fixture
def model() -> ETNPotential:
    """An untrained small model of two elements."""
    architecture = preset_architecture("small", ("Mo", "W"), 5.0, 1.8)
    rng = np.random.default_rng(0)
    return ETNPotential(architecture, {k: rng.normal(size=v) for k, v in architecture.parameter_shapes.items()})


def test_crystals_have_the_neighbours_that_targets_speak_of(perf: Callable[[str], ModuleType]) -> None:
    crystal = perf("common").bcc_crystal(("Nb", "Mo", "Ta", "W"), 4)
    batch = StructureBatch.build([crystal], ("Nb", "Mo", "Ta", "W"), 5.0)
    neighbours = np.diff(batch.edge_offsets)
    assert (batch.n_atoms, neighbours.mean().round()) == (128, 49)
    assert 43 <= neighbours.min() <= neighbours.max() <= 58
    assert set(crystal.symbols) == {"Nb", "Mo", "Ta", "W"}
    assert len(perf("common").bcc_crystal(("W",), (4, 4, 2))) == 64


def test_times_are_the_least_of_the_repeats(perf: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    common = perf("common")
    cpu, wall, calls = iter([0.0, 5.0, 5.0, 6.0]), iter([0.0, 3.0, 3.0, 10.0]), []
    monkeypatch.setattr(common.time, "process_time", lambda: next(cpu))
    monkeypatch.setattr(common.time, "perf_counter", lambda: next(wall))
    timing = common.timed(lambda: calls.append(1), 2)
    assert len(calls) == 3
    assert timing == (1.0, 3.0)
    assert timing.per(1000) == pytest.approx((1e3, 3e3))


def test_tables_and_files(
    perf: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    common = perf("common")
    common.print_table(("name", "us"), [("a", 1.23456), ("bcd", None), ("e", 12345.6)])
    assert capsys.readouterr().out == "name     us\n----  -----\na     1.235\nbcd       -\ne     12346\n\n"
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    path = common.save("bench", {**common.machine(), "rows": [1.5]})
    assert json.loads(path.read_text())["rows"] == [1.5]
    assert json.loads(path.read_text())["processor"]


def test_stages_add_up_to_the_evaluation(perf: Callable[[str], ModuleType], model: ETNPotential) -> None:
    batch = StructureBatch.build([perf("common").bcc_crystal(model.species, 2)], model.species, model.cutoff)
    stages = perf("stages").evaluation_stages(model, batch, "float64", 1, 1)
    assert [stage.name for stage in stages] == [
        "site vectors",
        "contraction",
        "edge gradients",
        "forces and virials",
        "sums, stress, checks",
    ]
    counted = [stage.work for stage in stages if stage.work is not None]
    total = work(programs(model.architecture).gradient)
    assert sum(part.per_atom for part in counted) == pytest.approx(total.per_atom)
    assert sum(part.per_edge for part in counted) == pytest.approx(total.per_edge)
    assert all(part.total(1, 49) > 0 for part in counted)


def test_one_case_of_the_scaling_runs(perf: Callable[[str], ModuleType]) -> None:
    scaling = perf("bench_scaling")
    row = scaling.measure(scaling.Case(cells=2, species=2, preset="small"))
    assert (row["atoms"], row["species"], row["threads"]) == (16, 2, 1)
    assert row["parameters"] == preset_architecture("small", ("Nb", "Mo"), 5.0, 1.8).n_parameters
    assert min(row["cpu"], row["wall"], row["list"]) > 0
    assert 0.02 < row["peak_gigabytes"] < 100


def test_small_cells_with_any_calculator(perf: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    small = perf("small_cells")
    sizes = {"CALLS": 2, "MD_STEPS": 20, "STRETCHES": 2, "RELAX_STEPS": 2, "BAND_STEPS": 1, "IMAGES": 2}
    for name, value in sizes.items():
        monkeypatch.setattr(small, name, value)
    found = small.measure(small.Nothing, ("Cu",), 2.87, 1)
    assert list(found["calls"]) == ["2", "16", "54", "64", "128"]
    assert min(*found["calls"].values(), found["md"], found["relax"], found["neb"]) > 0


def test_kernels_are_a_part_of_a_call(
    perf: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, model: ETNPotential
) -> None:
    bench, calculator = perf("bench_small"), ETNCalculator(model, threads=1)
    monkeypatch.setattr(bench, "CALLS", 3)
    atoms = perf("common").bcc_crystal(model.species, 2)
    call = perf("small_cells").call(lambda: calculator, atoms.copy(), 1)
    assert 0 < bench.kernels(calculator, atoms) < call
    assert bench.quickest(lambda: model.evaluate(atoms, threads=1), 2) > 0


def test_figures_of_small_cells(perf: Callable[[str], ModuleType]) -> None:
    bench = perf("bench_small")
    assert bench.least(
        [{"a": {"2": 3.0}, "md": 1.0, "version": "x"}, {"a": {"2": 2.0}, "md": 4.0, "version": "x"}]
    ) == {
        "a": {"2": 2.0},
        "md": 1.0,
        "version": "x",
    }
    calls = dict.fromkeys(("2", "16", "54", "64", "128"), 300.0)
    kernels = dict.fromkeys(calls, 100.0) | {"64": 40.0, "128": 0.0}
    ours = {"calls": calls, "kernels": kernels, "evaluate": dict.fromkeys(calls, 310.0)}
    slower = {"calls": {**calls, "16": 600.0}}
    rows = {"etn_gpu": ours, "EMT (ASE)": slower, "etn_gpu, MTP": ours, "motep, MTP": slower}
    assert bench.compared(rows) == {
        "calculator - kernels, 2 to 64 atoms, us": 260.0,
        "model.evaluate - kernels, 2 to 64 atoms, us": 270.0,
        "EMT (ASE) / etn_gpu, 16 atoms": 2.0,
        "motep / etn_gpu, MTP, 16 atoms": 2.0,
    }
