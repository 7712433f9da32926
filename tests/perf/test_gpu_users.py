"""The sections of perf/gpu_suite.py that run what users run: each passes, and finds a planted bug."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from etn_gpu import tensor as tn
from etn_gpu.backend.cuda import executor
from etn_gpu.potential import on_device
from tests.emulator import EmulatedDevice, stand_in_for_a_gpu
from tests.tensor.lookalike import DeviceArray, make_lookalike

pytestmark = pytest.mark.emulator

Perf = Callable[[str], ModuleType]


class TestStructures:
    def test_a_bug_in_the_second_queue(self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        structures, fetch = perf("gpu.structures"), on_device._Run._fetch
        row = structures._structures(bench, "float64")
        assert row["passed"]
        assert row["started"] > 3

        def wrong(run: Any, part: Any, queue: int, results: Any) -> Any:
            outcomes = fetch(run, part, queue, results)
            first: Any = outcomes[0]
            if queue == 1:
                first["forces"][0, 0] += 1e-3
            return outcomes

        monkeypatch.setattr(on_device._Run, "_fetch", wrong)
        row = structures._structures(bench, "float64")
        assert (row["passed"], row["same_in_parts"], row["right_errors"]) == (False, False, True)
        assert row["difference"] > row["limit"]

    def test_atoms_at_one_place_that_are_not_noticed(
        self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(on_device, "SAME_PLACE", 0.0)
        row = perf("gpu.structures")._structures(bench, "float32")
        assert (row["passed"], row["right_errors"], row["difference"]) == (False, False, np.inf)

    def test_too_little_memory(self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The pool of a stand-in for CuPy: what is set as a limit is the largest array that there is room for."""
        structures, device, largest = perf("gpu.structures"), bench.device, [0]
        empty, bench.sizes = device.empty, replace(bench.sizes, crowd=8)

        def noted(shape: Any, dtype: Any) -> Any:
            array = empty(shape, dtype)
            largest[0] = max(largest[0], array.nbytes)
            return array

        class Pool:
            def used_bytes(self) -> int:
                return 0

            def total_bytes(self) -> int:
                return 2 * largest[0]

            def get_limit(self) -> int:
                return 0

            def set_limit(self, size: int) -> None:
                device.memory = size or None

        cupy: Any = ModuleType("cupy")
        cupy.get_default_memory_pool = Pool
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(device, "empty", noted)
        monkeypatch.setattr(EmulatedDevice, "free_bytes", lambda self: None)
        row = structures._too_little_memory(bench, "float32")
        assert row["passed"]
        assert row["cut"] > 0
        assert device.memory is None
        monkeypatch.setattr(Pool, "set_limit", lambda self, size: None)
        assert not structures._too_little_memory(bench, "float32")["passed"]

    def test_without_ase(self, perf: Perf, bench: Any, report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not a failure, but not complete either."""
        running, structures = perf("gpu.running"), perf("gpu.structures")
        monkeypatch.setitem(sys.modules, "ase", None)
        running.run_section(structures.SECTION, bench, report)
        (row,) = bench.rows["structures"]
        assert row["not_run"] == "ase is not installed: carry its wheel"
        assert not running.failed(row)
        assert len(running.incomplete(report, set())) == 1


class TestRegistry:
    def test_a_bug_with_samples_only(self, perf: Perf, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        registry, run = perf("gpu.registry"), executor.run
        stand_in_for_a_gpu(bench.device, monkeypatch)
        assert registry._run(bench, "float64")["passed"]

        def wrong(*given: Any, samples: Any = None, **options: Any) -> Any:
            found = run(*given, samples=samples, **options)
            if samples is not None:
                found["A_bar"] = found["A_bar"][::-1]
            return found

        monkeypatch.setattr(executor, "run", wrong)
        row = registry._run(bench, "float64")
        assert row["passed"] is False
        assert row["difference"] > 0.01

    def test_without_a_gpu(self, perf: Perf, bench: Any) -> None:
        assert perf("gpu.registry")._run(bench, "float64").keys() == {"not_run"}


#: The tensor of a result that a planted bug is in.
OPERATIONS = {
    "permute": None, "contract": None, "einsum": None, "pinv": None, "qr": "r", "svd": "v", "truncated_svd": "u",
    "eigh": "vectors",
}  # fmt: skip


class TestTensors:
    @pytest.fixture
    def library(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        module = make_lookalike()
        monkeypatch.setitem(sys.modules, "lookalike", module)
        return module

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_the_same_on_another_library(self, perf: Perf, library: Any, operation: str) -> None:
        tensors, limits = perf("gpu.tensors"), perf("gpu.program_checks").LIMITS
        assert tensors.OPERATIONS.keys() == OPERATIONS.keys()
        for dtype in tensors.DTYPES:
            for xp in (library, np):
                found = tensors.difference(operation, xp, dtype, "3x0e+2x1o", 5)
                assert found <= limits["float32" if dtype == "float32" else "float64"], (dtype, xp)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_planted_bug(self, perf: Perf, library: Any, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
        right, field = getattr(tn, operation), OPERATIONS[operation]

        def wrong(*given: Any, **options: Any) -> Any:
            result = right(*given, **options)
            tensor = result if field is None else getattr(result, field)
            if isinstance(tensor.data, DeviceArray):
                tensor.data.host[-1] *= 1.001
            return result

        monkeypatch.setattr(tn, operation, wrong)
        assert perf("gpu.tensors").difference(operation, library, "float64", "3x0e+2x1o", 5) > 1e-7

    def test_singular_values(self, perf: Perf, library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        right = tn.svd

        def wrong(tensor: Any) -> Any:
            found = right(tensor)
            if isinstance(found.s.data, DeviceArray):
                found.s.data.host[0] *= 1.01
            return found

        monkeypatch.setattr(tn, "svd", wrong)
        assert perf("gpu.tensors").difference("svd", library, "complex128", "3x0e+2x1o", 5) > 1e-4

    def test_without_a_gpu(self, perf: Perf, bench: Any) -> None:
        (case,) = perf("gpu.tensors").cases(bench)
        assert case.run().keys() == {"not_run"}
