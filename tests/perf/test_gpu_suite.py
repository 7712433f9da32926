"""perf/gpu_suite.py: the script itself on the emulator, what it compares with, and that planted bugs are found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.lowering import lower
from etn_gpu.errors import BackendError
from etn_gpu.plan.count import work
from etn_gpu.structures.geometry import StructureArrays
from etn_gpu.structures.neighbours import neighbour_list
from tests.emulator import EmulatedDevice

pytestmark = pytest.mark.emulator

Perf = Callable[[str], ModuleType]
Suite = Callable[..., dict[str, Any]]


class TestScript:
    def test_all_checks_pass_and_no_timing_is_run(self, suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
        report = suite()
        assert (report["status"], report["passed"], report["failures"]) == (0, True, [])
        assert report["atoms_per_second"] is None
        sections = report["sections"]
        rows = {name: section["rows"] for name, section in sections.items() if "rows" in section}
        users = ["structures", "registry", "tensors"]
        compiled = ["compilation", "programs", "other_compilation", "other_programs"]
        assert list(rows) == ["machine", "kernels", *compiled, *users]
        assert rows["machine"][0]["seed"] == 7
        checked = [row for of_section in rows.values() for row in of_section if "passed" in row]
        assert len(checked) == 23
        assert report["incomplete"] == []
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
    def test_a_planted_bug_is_found(self, suite: Suite, monkeypatch: pytest.MonkeyPatch, good: str, bad: str) -> None:
        read = sources.read
        assert good in read("margins.cu")
        monkeypatch.setattr(sources, "read", lambda name: read(name).replace(good, bad))
        report = suite("--only", "kernels")
        assert report["passed"] is False
        assert report["failures"] == ["kernels: margins"]
        assert report["status"] == "FAILED\n  kernels: margins"

    def test_a_kernel_that_fails_is_a_failure_of_its_own(self, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
        read = sources.read
        monkeypatch.setattr(sources, "read", lambda name: read(name).replace("column_sums", "sums_of_columns"))
        report = suite("--only", "kernels")
        assert report["failures"] == ["kernels: sums of columns"]
        (row,) = [row for row in report["sections"]["kernels"]["rows"] if "error" in row]
        assert row["error"].startswith("BackendError: tiles.cu has no kernel 'column_sums'")
        assert "Traceback" in row["traceback"]

    def test_time_is_up(self, suite: Suite) -> None:
        report = suite("--seconds", "0", "--only", "kernels", "programs")
        assert (report["status"], report["passed"]) == (0, False)
        assert "kernels: margins: no time" in report["incomplete"]
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

    @pytest.mark.parametrize("raised", [True, False])
    def test_a_device_that_is_lost_ends_the_run(
        self, perf: Perf, suite: Suite, monkeypatch: pytest.MonkeyPatch, raised: bool
    ) -> None:
        """As CUDA after an illegal access: the case may or may not notice, every later call fails."""
        checks, lost = perf("gpu.kernel_checks"), list[str]()

        def bad_access(*_: object) -> Any:
            lost.append("an illegal memory access was encountered")
            if raised:
                raise RuntimeError(lost[0])
            return checks.compared(0.0, 0.0)

        def synchronize(_: EmulatedDevice) -> None:
            if lost:
                raise RuntimeError(lost[0])

        monkeypatch.setattr(checks, "_edge_sums", bad_access)
        monkeypatch.setattr(EmulatedDevice, "synchronize", synchronize)
        report = suite("--only", "kernels", "programs")
        assert report["status"].startswith("STOPPED: the device failed in kernels: forces and virials, float32, and")
        assert report["failures"] == ["kernels: forces and virials, float32"]
        assert (report["passed"], report["running"]) == (False, None)
        assert "an illegal memory access" in report["device_lost"]
        assert list(report["sections"]) == ["kernels"]
        assert "error" in report["sections"]["kernels"]["rows"][-1]

    def test_an_error_of_one_case_ends_nothing(self, perf: Perf, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> Any:
            raise RuntimeError("no room")

        monkeypatch.setattr(perf("gpu.kernel_checks"), "_edge_sums", refused)
        report = suite("--only", "kernels")
        assert len(report["failures"]) == 2
        assert report["device_lost"] is None
        assert report["sections"]["kernels"]["rows"][-1]["case"] == "margins"

    def test_without_git(self, perf: Perf, monkeypatch: pytest.MonkeyPatch) -> None:
        common, asked = perf("common"), list[object]()

        def no_git(command: object, **_: object) -> None:
            asked.append(command)
            raise FileNotFoundError("[Errno 2] No such file or directory: 'git'")

        monkeypatch.setattr(common.subprocess, "run", no_git)
        assert common.machine()["commit"] == "unknown"
        assert len(asked) == 1
        assert common.machine("1234567")["commit"] == "1234567"
        assert len(asked) == 1

    def test_a_numba_that_refuses_this_numpy(
        self, perf: Perf, bench: Any, report: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running, packages = perf("gpu.running"), perf("gpu.packages")
        reason = "Numba needs NumPy 2.3 or less. Got NumPy 2.4."

        def refused(name: str) -> None:
            raise ImportError(reason)

        monkeypatch.setattr(packages.importlib, "import_module", refused)
        running.run_section(perf("gpu.one_core").SECTION, bench, report)
        rows = [*bench.rows["one_core"], perf("gpu.kernel_checks")._large_list(bench)]
        assert [row["not_run"] for row in rows] == [f"numba: {reason}"] * 3
        assert not any(running.failed(row) for row in rows)
        assert running.incomplete(report, set()) == []


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

    @pytest.mark.parametrize("name", ["small", "message-small"])
    def test_forces_are_of_order_one(self, perf: Perf, name: str) -> None:
        crystals, oracle = perf("gpu.crystals"), perf("gpu.oracle")
        for seed in range(3):
            structures = crystals.bcc(np.random.default_rng(seed), (2, 2, 2))
            edges = oracle.neighbour_list(structures, crystals.CUTOFF)
            forces = perf("gpu.models").model(name, seed).expected(structures, edges).forces
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

    def test_all_sections(self, perf: Perf, bench: Any, report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        timing, script = perf("gpu.timing"), perf("gpu_suite")
        for module in (perf("bench_tensor"), perf("gpu.peers")):
            for name, irreps in {"LEFT": "3x0e+2x1o", "RIGHT": "2x0e+1x1o", "OUT": "2x0e+3x1o"}.items():
                monkeypatch.setattr(module, name, irreps)
        monkeypatch.setattr(timing, "WARM_UP", 0.0)
        monkeypatch.setattr(timing, "FEWEST", 1)
        monkeypatch.setattr(timing, "MOST", 1)
        for section in script.SECTIONS:
            if section.measures:
                script.run_section(section, bench, report)
        errors = [row["traceback"] for rows in bench.rows.values() for row in rows if "error" in row]
        assert not errors, errors[0]
        crystals = bench.rows["crystals"]
        assert [row["atoms"] for row in crystals] == [32, 32, 16, 16]
        assert all(row["passed"] and row["atoms_per_second"] > 0 for row in [*crystals, *bench.rows["batches"]])
        written = json.loads(report.path.read_text())
        assert written["atoms_per_second"] == crystals[0]["atoms_per_second"]
        assert written["sections"]["crystals"]["rows"][0]["bytes_per_atom"] is None  # the emulator does not know
        kernels = {row["case"]: row for row in bench.rows["kernel_times"]}
        assert kernels["all, float32"]["flops"] > kernels["atoms1, float32"]["flops"] > 0
        assert kernels["all, float32"]["of_floor"] > 0
        assert bench.rows["one_core"][0]["gpu_over_core"] > 0
        expected = perf("gpu.expected").rows(bench)
        assert all(row["found"] is not None for row in expected)

    def test_wrong_results_make_no_rate(
        self, perf: Perf, bench: Any, report: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        throughput, running = perf("gpu.throughput"), perf("gpu.running")
        monkeypatch.setattr(perf("gpu.timing"), "WARM_UP", 0.0)
        monkeypatch.setattr(perf("gpu.timing"), "MOST", 1)
        monkeypatch.setattr(throughput, "LIMITS", {"float32": 1e-12, "float64": 1e-10})
        running.run_section(throughput.CRYSTALS, bench, report)
        assert [row["passed"] for row in bench.rows["crystals"]] == [False, True, False, True]
        assert report.content["atoms_per_second"] is None

    def test_warm_up(self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """So many calls at least, and for so long: an idle GPU is slow."""
        timing, calls = perf("gpu.timing"), list[float]()

        def work() -> None:
            time.sleep(0.01)
            calls.append(time.monotonic())

        for seconds, fewest in ((0.1, 5), (0.0, 4)):
            calls.clear()
            monkeypatch.setattr(timing, "WARM_UP", seconds)
            timing.warmed_up(bench.device, work, 4)
            assert len(calls) >= fewest
            assert calls[-1] - calls[3] >= 0.9 * seconds

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
