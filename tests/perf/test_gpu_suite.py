"""perf/gpu_suite.py: the script itself on the emulator, what it compares with, and that planted bugs are found."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend.cuda import nvrtc, sources
from etn_gpu.backend.cuda.lowering import lower
from etn_gpu.errors import BackendError
from etn_gpu.plan.count import work
from etn_gpu.structures.geometry import StructureArrays
from etn_gpu.structures.neighbours import neighbour_list
from tests.emulator import EmulatedDevice, require_compiler

pytestmark = pytest.mark.emulator

Perf = Callable[[str], ModuleType]
PERF = Path(__file__).parents[2] / "perf"


@pytest.fixture
def perf(monkeypatch: pytest.MonkeyPatch) -> Perf:
    """Imports a script of perf/, or a module of its packages, by name."""
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module


@pytest.fixture
def suite(perf: Perf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the script with options on the emulator; its file, with the exit status as 'status'."""
    require_compiler()

    def run(*options: str) -> dict[str, Any]:
        path = tmp_path / "results" / "suite.json"
        command = ["gpu_suite.py", "--emulated", "--seed", "7", "--output", str(path), *options]
        monkeypatch.setattr("sys.argv", command)
        status: object = 0
        try:
            perf("gpu_suite").main()
        except SystemExit as stop:
            status = stop.code
        assert [p.name for p in path.parent.iterdir()] == ["suite.json"]
        return {**json.loads(path.read_text()), "status": status}

    return run


@pytest.fixture
def bench(perf: Perf) -> Any:
    """Tiny sizes on the emulator."""
    require_compiler()
    section = perf("gpu.section")
    return section.Bench(EmulatedDevice(), section.TINY, 3, section.Clock(600.0))


class TestScript:
    def test_all_checks_pass_and_no_timing_is_run(
        self, suite: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = suite()
        assert (report["status"], report["passed"], report["failures"]) == (0, True, [])
        assert report["atoms_per_second"] is None
        sections = report["sections"]
        rows = {name: section["rows"] for name, section in sections.items() if "rows" in section}
        assert list(rows) == ["machine", "kernels", "programs"]
        assert rows["machine"][0]["seed"] == 7
        checked = [row for name in ("kernels", "programs") for row in rows[name]]
        assert len(checked) == 18
        assert all(row["passed"] and row["difference"] <= row["limit"] for row in checked)
        assert {name for name in sections if name not in rows} >= {"crystals", "batches", "kernel_times", "peers"}
        assert all(sections[name]["not_run"] == "checks alone were run" for name in sections if name not in rows)
        assert "Kernels against NumPy" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("good", "bad"),
        [
            ("least = fmin(least, sqrt", "least = fmax(least, sqrt"),
            ("if (threadIdx.x % 8 == 0) margins[i]", "if (threadIdx.x % 8 == 0 && i != 3) margins[i]"),
        ],
        ids=["wrong", "not written"],
    )
    def test_a_planted_bug_is_found(
        self, suite: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, good: str, bad: str
    ) -> None:
        read = sources.read
        assert good in read("margins.cu")
        monkeypatch.setattr(sources, "read", lambda name: read(name).replace(good, bad))
        report = suite("--only", "kernels")
        assert report["passed"] is False
        assert report["failures"] == ["kernels: margins"]
        assert report["status"] == "FAILED\n  kernels: margins"

    def test_a_kernel_that_fails_is_a_failure_of_its_own(
        self, suite: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = sources.read
        monkeypatch.setattr(sources, "read", lambda name: read(name).replace("column_sums", "sums_of_columns"))
        report = suite("--only", "kernels")
        assert report["failures"] == ["kernels: sums of columns"]
        (row,) = [row for row in report["sections"]["kernels"]["rows"] if "error" in row]
        assert row["error"].startswith("BackendError: tiles.cu has no kernel 'column_sums'")
        assert "Traceback" in row["traceback"]

    def test_time_is_up(self, suite: Callable[..., dict[str, Any]]) -> None:
        report = suite("--seconds", "0", "--only", "kernels", "programs")
        assert (report["status"], report["passed"]) == (0, False)
        assert "margins" in report["sections"]["kernels"]["not_run"]
        assert report["sections"]["programs"]["rows"] == []

    def test_without_a_gpu(
        self, perf: Perf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = perf("gpu_suite")

        def no_device() -> None:
            raise BackendError("the cuda backend cannot run here: no GPU")

        monkeypatch.setattr(script, "CupyDevice", no_device)
        monkeypatch.setattr("sys.argv", ["gpu_suite.py"])
        with pytest.raises(SystemExit, match=r"cannot run here: no GPU\n--emulated runs the checks without a GPU"):
            script.main()


class TestOracle:
    @pytest.mark.parametrize("batch", ["ragged", "anything"])
    def test_neighbour_lists_are_those_of_the_cpu(self, perf: Perf, batch: str) -> None:
        crystals, rng = perf("gpu.crystals"), np.random.default_rng(11)
        structures = getattr(crystals, batch)(rng, 3)
        edges = perf("gpu.oracle").neighbour_list(structures, crystals.CUTOFF)
        numbers = np.ones(structures.n_atoms, np.int64)
        geometry = StructureArrays(
            structures.atom_offsets, numbers, structures.positions, structures.cells, structures.pbc
        )
        listed = neighbour_list(geometry, structures.species, crystals.CUTOFF)
        for name in ("offsets", "neighbour", "shifts", "reverse", "vectors"):
            np.testing.assert_array_equal(getattr(edges, name), getattr(listed, name), err_msg=name)
        first_edges = np.sqrt(edges.nearest[edges.offsets[:-1] < edges.offsets[1:]].min())
        assert first_edges == pytest.approx(listed.shortest.min())

    def test_no_atoms_of_a_ragged_batch_are_closer_than_the_model_expects(self, perf: Perf) -> None:
        crystals = perf("gpu.crystals")
        for seed in range(5):
            structures = crystals.ragged(np.random.default_rng(seed), 2)
            nearest = perf("gpu.oracle").neighbour_list(structures, crystals.CUTOFF).nearest
            assert np.sqrt(nearest.min()) > perf("gpu.models").INNER
            assert np.isinf(nearest[-1])

    def test_copies_have_the_results_of_their_original(self, perf: Perf) -> None:
        crystals, oracle = perf("gpu.crystals"), perf("gpu.oracle")
        model = perf("gpu.models").model("tiny", 1)
        block = crystals.bcc(np.random.default_rng(0), (2, 2, 2))
        many = crystals.repeated(block, (2, 1, 3))
        expected, found = (model.expected(s, oracle.neighbour_list(s, crystals.CUTOFF)) for s in (block, many))
        np.testing.assert_allclose(found.forces.reshape(6, 16, 3), np.tile(expected.forces, (6, 1, 1)), atol=1e-9)
        np.testing.assert_allclose(found.energy, 6 * expected.energy)

    def test_forces_are_of_order_one(self, perf: Perf) -> None:
        crystals, oracle = perf("gpu.crystals"), perf("gpu.oracle")
        for seed in range(3):
            structures = crystals.bcc(np.random.default_rng(seed), (2, 2, 2))
            edges = oracle.neighbour_list(structures, crystals.CUTOFF)
            forces = perf("gpu.models").model("small", seed).expected(structures, edges).forces
            assert 0.02 < np.sqrt(np.mean(forces**2)) < 50.0
            np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)

    def test_nan_never_passes(self, perf: Perf) -> None:
        section = perf("gpu.section")
        one = np.ones(3)
        cases = {
            "the same": (one, one, 0.0),
            "infinite at the same place": (np.array([1.0, np.inf]), np.array([1.0, np.inf]), 0.0),
            "off": (np.array([2.0, 1.5]), np.array([2.0, 1.0]), 0.25),
            "nan": (np.array([1.0, np.nan]), one[:2], np.inf),
            "nan expected": (one[:2], np.array([1.0, np.nan]), np.inf),
            "infinite": (np.array([1.0, np.inf]), one[:2], np.inf),
            "not zero": (one, 0 * one, np.inf),
            "shape": (one, one[:2], np.inf),
        }
        for name, (found, expected, difference) in cases.items():
            assert section.relative(found, expected) == difference, name
        assert section.compared(float("nan"), 1.0)["passed"] is False
        assert section.bitwise(iter([(one.astype(np.float32), one)]))["passed"] is False


class TestMeasurements:
    """The sections that mean nothing here run all the same."""

    def test_all_sections(self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        timing, script = perf("gpu.timing"), perf("gpu_suite")
        for module in (perf("bench_tensor"), perf("gpu.peers")):
            for name, irreps in {"LEFT": "3x0e+2x1o", "RIGHT": "2x0e+1x1o", "OUT": "2x0e+3x1o"}.items():
                monkeypatch.setattr(module, name, irreps)
        monkeypatch.setattr(timing, "FEWEST", 1)
        monkeypatch.setattr(timing, "MOST", 1)
        report = perf("gpu.report").Report(tmp_path / "suite.json")
        report.content["sections"] = {}
        for section in script.SECTIONS:
            if section.measures and section.name != "compilation":
                script.run_section(section, bench, report)
        errors = [row["traceback"] for rows in bench.rows.values() for row in rows if "error" in row]
        assert not errors, errors[0]
        crystals = bench.rows["crystals"]
        assert [row["atoms"] for row in crystals] == [32, 32, 16, 16]
        assert all(row["passed"] and row["atoms_per_second"] > 0 for row in [*crystals, *bench.rows["batches"]])
        written = json.loads(report.path.read_text())
        assert written["atoms_per_second"] == crystals[0]["atoms_per_second"]
        assert written["sections"]["crystals"]["rows"][0]["bytes_per_atom"] == "nan"  # the emulator does not know
        kernels = {row["case"]: row for row in bench.rows["kernel_times"]}
        assert kernels["all, float32"]["flops"] > kernels["atoms1, float32"]["flops"] > 0
        assert kernels["all, float32"]["of_floor"] > 0
        assert bench.rows["one_core"][0]["gpu_over_core"] > 0
        expected = perf("gpu.expected").rows(bench)
        assert all(row["found"] is not None for row in expected)

    def test_wrong_results_make_no_rate(self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        throughput, script = perf("gpu.throughput"), perf("gpu_suite")
        monkeypatch.setattr(perf("gpu.timing"), "MOST", 1)
        monkeypatch.setattr(throughput, "LIMITS", {"float32": 1e-12, "float64": 1e-10})
        report = perf("gpu.report").Report(Path(bench.device.name))
        monkeypatch.setattr(report, "write", lambda: None)
        report.content["sections"] = {}
        script.run_section(throughput.CRYSTALS, bench, report)
        assert [row["passed"] for row in bench.rows["crystals"]] == [False, True, False, True]
        assert report.content["atoms_per_second"] is None

    def test_nothing_expected_is_met_by_nothing(self, perf: Perf, bench: Any) -> None:
        for row in perf("gpu.expected").rows(bench):
            assert (row["found"], row["met"]) == (None, None)

    @pytest.mark.parametrize("program", ["energy", "gradient"])
    def test_stages_have_the_operations_of_the_program(self, perf: Perf, program: str) -> None:
        chosen = getattr(perf("gpu.models").model("tiny", 0).programs, program)
        stages = perf("gpu.kernel_times").stage_work(chosen)
        lowered = lower(chosen, np.dtype("float32"))
        assert {stage.name for stage in lowered.stages} <= set(stages)
        total = work(chosen)
        assert sum(w.per_atom for w in stages.values()) == pytest.approx(total.per_atom)
        assert sum(w.per_edge for w in stages.values()) == pytest.approx(total.per_edge)

    def test_ceilings_do_what_is_counted(self, perf: Perf, bench: Any) -> None:
        ceilings = perf("gpu.ceilings")
        values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
        np.testing.assert_array_equal(ceilings.copy(bench.device, values), values)
        a, b = ceilings.FACTORS
        for dtype in ("float32", "float64"):
            chains = np.arange(512.0)[:, None] + np.arange(ceilings.CHAINS)
            for _ in range(5):
                chains = a * chains + b
            found = ceilings.multiply_add(bench.device, 512, 5, dtype)
            np.testing.assert_allclose(found, chains.sum(axis=1), rtol=1e-6)

    @pytest.mark.nvrtc
    def test_compilation(self, perf: Perf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        try:
            nvrtc.compiler(13)
        except BackendError as error:
            pytest.skip(str(error))
        monkeypatch.setenv("ETN_GPU_CACHE", str(tmp_path))
        row = perf("gpu.prepare").compile_program("tiny", 0, "energy", "float32", 13, 90)
        assert row["stages"] == 2
        assert len(list(tmp_path.glob("*.cubin"))) == 3  # and tiles.cu
