"""Every reason why kernels cannot run here has a message with its remedy. CuPy is played by fakes."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend.cuda import cubins, device, nvrtc
from etn_gpu.backend.cuda.availability import unavailable
from etn_gpu.backend.cuda.device import CupyDevice
from etn_gpu.errors import BackendError, DeviceMemoryError


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class FakeRuntime:
    """What is asked of cupy.cuda.runtime, on a machine with an H200 unless told otherwise."""

    CUDARuntimeError = CUDARuntimeError

    def __init__(self, **others: Any) -> None:
        self.answers: dict[str, Any] = {
            "built": 13020,
            "driver": 13000,
            "devices": 1,
            "architecture": (9, 0),
            "is_hip": False,
        } | others
        self.is_hip = self.answers["is_hip"]

    def runtimeGetVersion(self) -> int:
        return int(self.answers["built"])

    def driverGetVersion(self) -> int:
        return int(self.answers["driver"])

    def getDeviceCount(self) -> int:
        if self.answers["devices"] is None:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return int(self.answers["devices"])

    def getDeviceProperties(self, number: int) -> dict[str, Any]:
        major, minor = self.answers["architecture"]
        return {"name": b"NVIDIA H200", "major": major, "minor": minor}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a fake CuPy in place, and an NVRTC of every version."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(nvrtc, "compiler", lambda major: SimpleNamespace(version=(major, 0)))

    def install_one(**others: Any) -> ModuleType:
        cupy: Any = ModuleType("cupy")
        cupy.__spec__ = importlib.util.spec_from_loader("cupy", None)
        cupy.__version__ = others.pop("version", "14.1.0")
        cupy.cuda = SimpleNamespace(runtime=FakeRuntime(**others))
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return cupy

    return install_one


def test_a_machine_with_everything(install: Any) -> None:
    install()
    assert unavailable() is None
    install(built=12090, driver=13010)
    assert unavailable() is None


REASONS: list[tuple[dict[str, Any], str]] = [
    ({"is_hip": True}, r"this CuPy is built for AMD GPUs: replace it by pip install 'etn_gpu\[cuda13\]'"),
    ({"built": 11080}, r"this CuPy is built for CUDA 11.8: replace it by pip install 'etn_gpu\[cuda13\]'.*\[cuda12\]"),
    ({"driver": 0}, r"no NVIDIA driver is installed \(libcuda.so was not found\): install one"),
    (
        {"driver": 12040},
        r"the NVIDIA driver supports CUDA 12.4 and CuPy is built for CUDA 13: update the driver to 580 or newer, or "
        r"pip install 'etn_gpu\[cuda12\]' after pip uninstall cupy-cuda13x",
    ),
    ({"driver": 11040, "built": 12090}, r"supports CUDA 11.4 and CuPy .* CUDA 12: update the driver to 525 or newer$"),
    ({"devices": None}, r"the driver finds no GPU \(cudaErrorNoDevice.*\); nvidia-smi lists those there are"),
    ({"devices": 0}, "the driver finds no GPU; nvidia-smi lists"),
    ({"architecture": (6, 1)}, r"NVIDIA H200 is sm_61; sm_70 \(Volta, 2017\) or newer is needed"),
]


@pytest.mark.parametrize(("others", "message"), REASONS, ids=lambda value: str(value)[:30])
def test_reasons(install: Any, others: dict[str, Any], message: str) -> None:
    install(**others)
    with pytest.raises(BackendError, match=f"the cuda backend cannot run here: .*{message}"):
        CupyDevice()


def test_hidden_gpus(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(devices=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "the environment variable CUDA_VISIBLE_DEVICES='' decides which can be seen" in str(unavailable())


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert str(unavailable()).startswith("CuPy is not installed: pip install 'etn_gpu[cuda13]'")


def test_a_broken_cupy(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install()

    def fail(name: str) -> None:
        raise ImportError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", fail)
    assert "CuPy is installed but cannot be imported (libcudart.so.13: cannot open" in str(unavailable())


def test_without_nvrtc(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install()

    def missing(major: int) -> None:
        raise BackendError(f"NVRTC, the run-time compiler of CUDA {major}, is missing")

    monkeypatch.setattr(nvrtc, "compiler", missing)
    assert unavailable() == "NVRTC, the run-time compiler of CUDA 13, is missing"


@pytest.mark.parametrize("version", ["13.6.0", "14.0.1", "14.0.0rc1"])
def test_cupy_that_sorts_wrongly_when_memory_runs_out(install: Any, version: str) -> None:
    install(version=version)
    assert re.match(
        rf"CuPy {re.escape(version)} is installed, 14\.1 or newer is needed: pip install", unavailable() or ""
    )
    for newer in ("14.1.0", "14.2.0a1", "15.0"):
        install(version=newer)
        assert unavailable() is None


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class FakeDevice:
    """As cupy.cuda.Device."""

    def __init__(self, number: int) -> None:
        self.attributes = {"MaxSharedMemoryPerBlockOptin": 232448}
        self.compute_capability = "90"
        self.mem_info = (3 * 2**30, 141 * 2**30)

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FakeModule:
    """As cupy.RawModule, with every kernel the same: it notes its calls."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.calls: list[tuple[Any, ...]] = []
        self.max_dynamic_shared_size_bytes = 0

    def get_function(self, name: str) -> FakeModule:
        return self

    def __call__(self, *arguments: Any, shared_mem: int) -> None:
        self.calls.append((*arguments, shared_mem, self.max_dynamic_shared_size_bytes))


@pytest.fixture
def gpu(install: Any) -> CupyDevice:
    def empty(shape: int, dtype: Any) -> Any:
        if shape > 10**9:
            raise OutOfMemoryError("Out of memory allocating 8,589,934,592 bytes (allocated so far: 512 bytes).")
        return np.empty(shape, dtype)

    cupy = install()
    cupy.cuda.Device = FakeDevice
    cupy.cuda.memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 2**30)
    cupy.RawModule = FakeModule
    cupy.empty, cupy.zeros, cupy.argsort, cupy.ndarray = empty, np.zeros, np.argsort, np.ndarray
    cupy.asarray, cupy.asnumpy, cupy.cumsum = np.asarray, np.asarray, np.cumsum
    return CupyDevice()


def test_the_device_of_cupy(gpu: CupyDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (gpu.name, gpu.architecture, gpu.max_shared_bytes) == ("NVIDIA H200 (sm_90)", 90, 232448)
    assert gpu.cumulative(np.array([2, 0, 3], np.int32)).tolist() == [0, 2, 2, 5]
    assert gpu.stable_order(np.array([1, 0, 1, 0])).tolist() == [1, 3, 0, 2]
    assert gpu.to_device(np.arange(6).reshape(2, 3).T).flags.c_contiguous
    assert not gpu.holds([1.0])
    monkeypatch.setattr(cubins, "compiled", lambda compiler, text, origin, sm: f"{origin}-{sm}-{text}.cubin")
    binary: Any = gpu.load("text", "k.cu")
    assert binary.module.path == "k.cu-90-text.cubin"
    function = binary.get_function("k")
    for shared_bytes in (0, 50_000, 100_000, 60_000):
        function((2,), (64,), [1], shared_bytes)
    shape = (2,), (64,), (1,)
    more = [(0, 0), (50_000, 50_000), (100_000, 100_000), (60_000, 100_000)]
    assert binary.module.calls == [(*shape, *pair) for pair in more]
    # the same function by another wrapper: what was asked for before still holds
    binary.get_function("k")((2,), (64,), [1], 70_000)
    assert binary.module.calls[-1] == (*shape, 70_000, 100_000)


def test_memory_that_runs_out(gpu: CupyDevice) -> None:
    expected = (
        r"out of memory on NVIDIA H200 \(sm_90\): 8.00 GiB were asked for, 4.00 of 141.00 GiB are free. Take fewer"
    )
    with pytest.raises(DeviceMemoryError, match=expected) as caught:
        gpu.empty(2**30, np.float64)
    assert (caught.value.requested, caught.value.free) == (2**33, 2**32)
    assert isinstance(caught.value, BackendError)
    assert isinstance(caught.value, MemoryError)


def test_memory_that_runs_out_while_sorting(gpu: CupyDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def sort(*_: Any, **__: Any) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(sys.modules["cupy"], "argsort", sort)
    with pytest.raises(DeviceMemoryError, match=r"more was asked for, 4\.00 of 141\.00 GiB are free"):
        gpu.stable_order(np.arange(3))


def test_memory_that_runs_out_without_numbers() -> None:
    error = device.out_of_memory("cudaErrorMemoryAllocation", "a GPU", 2**30, 2**31)
    assert error.requested is None
    assert "more was asked for, 1.00 of 2.00 GiB are free" in str(error)
