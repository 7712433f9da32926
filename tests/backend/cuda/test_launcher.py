"""The launcher takes what fits the signature and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn_gpu.backend.cuda.launcher import MOST_BLOCKS, Kernel, Module
from etn_gpu.errors import BackendError
from tests.emulator import EmulatedDevice

TEXT = """
extern "C" __global__ void __launch_bounds__(64) scale(
    const float* __restrict__ x, double* __restrict__ y, long long n, int add, float factor) {
    extern __shared__ double buffer[];
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * factor + add;
}
"""


class RecordingDevice(EmulatedDevice):
    """Arrays of the emulator, and functions that only note what they are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def load(self, text: str, origin: str) -> Any:
        if "does not compile" in text:
            raise BackendError("the compiler says: line 1: error")
        return self

    def get_function(self, name: str) -> Any:
        return self

    def __call__(self, *arguments: Any) -> None:
        self.calls.append(arguments)


@pytest.fixture
def device() -> RecordingDevice:
    return RecordingDevice()


@pytest.fixture
def kernel(device: RecordingDevice) -> Kernel:
    return Module(device, TEXT, "scale.cu")["scale"]


def fitting(device: EmulatedDevice, **others: Any) -> dict[str, Any]:
    arguments = {"x": device.zeros(9, np.float32), "y": device.zeros(9, np.float64), "n": 9, "add": 1, "factor": 2}
    return arguments | others


def test_scalars_get_the_types_of_the_signature(device: RecordingDevice, kernel: Kernel) -> None:
    arguments = fitting(device, n=np.int32(7), add=np.int64(3), factor=0.1)
    kernel.over(70, **dict(reversed(arguments.items())))
    ((grid, block, values, shared),) = device.calls
    assert (grid, block, shared) == ((2,), (64,), 0)
    assert values[0] is arguments["x"]
    assert values[1] is arguments["y"]
    assert [type(v) for v in values[2:]] == [np.int64, np.int32, np.float32]
    assert values[2:] == [7, 3, np.float32(0.1)]
    assert kernel.launches == 1


def test_several_threads_for_an_item(device: RecordingDevice, kernel: Kernel) -> None:
    kernel.over(9, 8, **fitting(device))
    assert device.calls[0][0] == (2,)


def test_nothing_is_started_for_no_items(device: RecordingDevice, kernel: Kernel) -> None:
    kernel.over(0, **fitting(device, n=0))
    assert device.calls == []
    assert kernel.launches == 0


def test_dynamic_shared_memory(device: RecordingDevice, kernel: Kernel) -> None:
    kernel.launch(3, 100_000, **fitting(device))
    assert device.calls[0][0] == (3,)
    assert device.calls[0][-1] == 100_000


BAD: dict[str, tuple[Any, str]] = {
    "x": (
        np.zeros(9, np.float32),
        r"scale.cu, kernel scale, argument x: numpy.ndarray was given, expected an array on",
    ),
    "y": ([0.0], "argument y: builtins.list was given, expected an array on the emulator"),
    "n": (2.5, "argument n: 2.5 was given, which a number of type int64 cannot hold"),
    "add": (2**31, "argument add: 2147483648 was given, which a number of type int32 cannot hold"),
    "factor": ("2", "argument factor: '2' was given, expected a number of type float32"),
}


@pytest.mark.parametrize("name", BAD)
def test_arguments_of_the_wrong_kind(device: RecordingDevice, kernel: Kernel, name: str) -> None:
    value, message = BAD[name]
    with pytest.raises(BackendError, match=message):
        kernel.over(9, **fitting(device, **{name: value}))
    assert device.calls == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n", float("nan"), "nan was given, which a number of type int64 cannot hold"),
        ("n", 2**70, "was given, expected a number of type int64"),
        ("n", np.arange(3), "expected a number of type int64"),
        ("n", None, "None was given, expected a number"),
        ("add", -(2**31) - 1, "which a number of type int32 cannot hold"),
        ("factor", 1e300, r"1e\+300 was given, which a number of type float32 cannot hold"),
        ("factor", 1j, "1j was given, expected a number"),
    ],
)
def test_numbers_that_do_not_fit(device: RecordingDevice, kernel: Kernel, name: str, value: Any, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        kernel.over(9, **fitting(device, **{name: value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1])
def test_numbers_that_do(device: RecordingDevice, kernel: Kernel, value: float) -> None:
    kernel.over(9, **fitting(device, factor=value))
    np.testing.assert_array_equal(device.calls[0][2][-1], np.float32(value))


def test_arrays_of_another_dtype_or_with_strides(device: RecordingDevice, kernel: Kernel) -> None:
    with pytest.raises(BackendError, match="argument x: an array of float64 was given, expected float32"):
        kernel.over(9, **fitting(device, x=device.zeros(9, np.float64)))
    with pytest.raises(BackendError, match=r"argument y: an array of shape \(9,\) with strides \(16,\) was given"):
        kernel.over(9, **fitting(device, y=device.zeros(18, np.float64)[::2]))


def test_an_output_that_is_another_argument_as_well(device: RecordingDevice) -> None:
    text = 'extern "C" __global__ void __launch_bounds__(32) copy(const float* x, float* y, const float* z) {}'
    copy = Module(device, text, "copy.cu")["copy"]
    x, y = device.zeros(9, np.float32), device.zeros(9, np.float32)
    copy.launch(1, x=x, y=y, z=x)
    with pytest.raises(BackendError, match="kernel copy, argument y: the array is written, and given as z as well"):
        copy.launch(1, x=x, y=y, z=y)


def test_arguments_that_are_missing_or_unknown(device: RecordingDevice, kernel: Kernel) -> None:
    arguments = fitting(device, m=1)
    del arguments["n"], arguments["add"]
    with pytest.raises(BackendError, match="the arguments x, y, n, add, factor; missing: n, add; unknown: m"):
        kernel.over(9, **arguments)


def test_launches_that_no_gpu_can_do(device: RecordingDevice, kernel: Kernel) -> None:
    with pytest.raises(
        BackendError, match=f"kernel scale: 2147483648 blocks were asked for, expected 0 to {MOST_BLOCKS}"
    ):
        kernel.launch(2**31, **fitting(device))
    with pytest.raises(
        BackendError, match="300000 bytes of shared memory for a block were asked for, the emulator has"
    ):
        kernel.launch(1, 300_000, **fitting(device))


def test_errors_of_the_compiler_name_the_kernels(device: RecordingDevice) -> None:
    with pytest.raises(BackendError, match=r"line 1: error\n\(kernels of scale.cu: scale\)"):
        Module(device, TEXT + "// does not compile", "scale.cu")


def test_a_kernel_that_is_not_there(device: RecordingDevice) -> None:
    with pytest.raises(BackendError, match=r"sums.cu has no kernel 'sum'; it has edge_sums_float32"):
        Module.of_source(device, "sums.cu")["sum"]


@pytest.mark.emulator
def test_on_the_emulator(emulated: EmulatedDevice) -> None:
    device = emulated
    arguments = fitting(device, x=device.to_device(np.arange(9, dtype=np.float32)))
    Module(device, TEXT, "scale.cu")["scale"].over(9, **arguments)
    np.testing.assert_array_equal(arguments["y"], 2.0 * np.arange(9) + 1)
