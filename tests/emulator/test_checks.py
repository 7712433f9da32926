"""Every check of the emulator fails on a kernel with the bug that it is there for, and passes without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from etn_gpu.backend.cuda.launcher import Kernel, Module
from tests.emulator import EmulatedDevice, EmulatorError

pytestmark = pytest.mark.emulator

Planted = Callable[..., Kernel]
KERNEL = """#line 1 "test.cu"
extern "C" __global__ void __launch_bounds__(64) kernel_{k}(const double* x, double* y, int n) {{
    const int t = threadIdx.x;
    __shared__ double s[64];
    {body}
}}
"""

ZERO = "s[t] = 0; __syncthreads(); "
RACE = r"test.cu:4: race: (read|write) of byte \d+ of s and the (read|write) in test.cu:4 by thread"
#: name -> (body of a kernel with a bug, its message)
BUGS = {
    "read past the end": ("y[t] = x[t + n - 63];", r"test.cu:4: out of bounds: read of 8 bytes at byte 512 of x"),
    "read before the beginning": ("y[t] = x[t - 1];", r"out of bounds: read of 8 bytes at byte -8 of x"),
    "write past the end": (
        "y[t + (t == 63)] = 1;",
        r"out of bounds: write of 8 bytes at byte 512 of y.* thread \(63,0,0\)",
    ),
    "past the end of shared memory": (
        "double* p = s; p[t + n - 60] = 1;",
        r"write of 8 bytes at byte \d+ of s, which has 512",
    ),
    "index outside of a declared array": ("s[t + n - 60] = 1;", r"test.cu:4: undefined behaviour: index outside"),
    "stack array": (
        "double own[3]; for (int k = 0; k <= n % 62 + 1; k++) own[k] = x[k]; y[t] = own[t % 3];",
        "index out",
    ),
    "null": ("const double* p = n > 0 ? nullptr : x; y[t] = p[t];", "null or misaligned|out of bounds"),
    "missing barrier": (ZERO + "s[t] = x[t]; y[t] = s[63 - t];", RACE),
    "missing barrier before writing again": (
        "s[t] = x[t]; __syncthreads(); y[t] = s[63 - t];\ns[t] = 0;",
        r"test.cu:5: race: write .* the read in test.cu:4|test.cu:4: race: read .* the write in test.cu:5",
    ),
    "one barrier for warps of a block": (
        ZERO + "s[t] = x[t]; __syncwarp(); y[t] = s[63 - t];",
        RACE,
    ),
    "race on global memory": ("y[0] = x[t];", r"race: write of byte 0 of y and the write in test.cu:4 by thread \d+"),
    "race of a read and an atomic": (
        "atomicAdd(&y[0], 1.0); y[t + 0 * n] = y[0];",
        r"race: (read|write) of byte 0 of y",
    ),
    "shuffle is no barrier": (
        ZERO + "s[t] = x[t]; double a = __shfl_sync(~0u, x[t], 0); y[t] = s[t ^ 1] + a;",
        RACE,
    ),
    "barrier of half a warp": (
        ZERO + "s[t] = x[t]; __syncwarp(t & 16 ? 0xffff0000u : 0xffffu); y[t] = s[t ^ 16];",
        RACE,
    ),
    "uninitialised shared memory": (
        "if (t != 7) s[t] = 1; __syncthreads(); y[t] = s[t];",
        r"uninitialised: byte 56 of s",
    ),
    "barrier in a branch": (
        "if (t < n - 24) __syncthreads(); y[t] = 1;",
        r"divergent barrier: .* 40 threads wait .* 24",
    ),
    "two barriers in two branches": (
        "if (t < 40) {\n__syncthreads();\n} else {\n__syncthreads();\n} y[t] = 1;",
        r"divergent barrier: .* lines 7 and 5|divergent barrier: .* lines 5 and 7",
    ),
    "barrier after some have left": (
        "if (t == n - 1) return; __syncthreads(); y[t] = 1;",
        r"63 threads wait .* 1 have",
    ),
    "shuffle from an inactive lane": (
        "y[t] = __shfl_sync(0xffffu << (t & 16), x[t], 20);",
        "from lane 20, which is not",
    ),
    "not in the own mask": ("y[t] = __shfl_sync(0xffffu, x[t], 0);", r"lane \d+ is not in its own mask 0000ffff"),
    "a lane of the mask has left": ("if (t % 32 == 3) return; __syncwarp(); y[t] = 1;", "lane 3|divergent barrier"),
    "masks that differ": (
        "unsigned m = t & 1 ? 0xffffffffu : 0x7fffffffu; y[t] = __ballot_sync(m | 1u << t % 32, 1);",
        "lanes of a warp wait for one another in different places",
    ),
    "int overflow": ("y[t] = (n + 2147483583) * 2;", r"test.cu:4: undefined behaviour: signed overflow in"),
    "index computed in int": ("long long k = n * 40000000; y[t] = k;", "signed overflow in a multiplication"),
    "shift too far": ("y[t] = 1 << (n - t);", "undefined behaviour: shift"),
    "cast of a large number": ("y[t] = (int)(x[t] * 1e300);", "floating-point number that the integer cannot hold"),
    "division by zero": ("y[t] = n / (t - 5);", "division by zero"),
    "misaligned vector": ("const double2 v = *(const double2*)(x + 1); y[t] = v.x;", "misaligned pointer"),
    "stack of another thread": (
        "__shared__ double* where[1]; double own[2] = {x[t], 1.0}; if (t == 0) where[0] = own;\n"
        "__syncthreads(); y[t] = where[0][n % 2] + own[n % 2];",
        "test.cu:5: out of bounds: read",
    ),
}

SOUND = {
    "race fixed": "s[t] = x[t]; __syncthreads(); y[t] = s[63 - t]; __syncthreads(); s[t] = 0;",
    "exchange inside a warp": "s[t] = x[t]; __syncwarp(); y[t] = s[t ^ 1];",
    "exchange inside half a warp": "s[t] = x[t]; __syncwarp(t & 16 ? 0xffff0000u : 0xffffu); y[t] = s[t ^ 8];",
    "atomics": "atomicAdd(&y[n % 3], x[t]);",
    "all read one place": "if (t == 9) s[5] = x[t]; __syncthreads(); y[t] = s[5];",
    "early return of a warp": "if (t >= 32) return; s[t] = x[t]; __syncwarp(); y[t] = s[31 - t];",
    "array on the stack": "double own[3]; for (int k = 0; k < 3; k++) own[k] = x[k]; y[t] = own[n % 3];",
}


@pytest.fixture(scope="module")
def planted(device: EmulatedDevice) -> Planted:
    """The kernel with a body of that name, run in an order of threads; all are compiled together, which is faster."""
    bodies = {name: body for name, (body, _) in BUGS.items()} | SOUND | {"plain": "y[t] = x[t] + n;"}
    module = Module(device, "".join(KERNEL.format(k=k, body=b) for k, b in enumerate(bodies.values())), "test.cu")

    def select(name: str, order: int = 0) -> Kernel:
        device.order = order
        return module[f"kernel_{list(bodies).index(name)}"]

    return select


def launch(device: EmulatedDevice, kernel: Kernel, blocks: int = 1, n: int = 64) -> float:
    x, y = device.to_device(np.arange(64.0) + 1), device.zeros(64, np.float64)
    kernel.launch(blocks, x=x, y=y, n=n)
    return float(y.sum())


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found_in_any_order_of_threads(
    device: EmulatedDevice, planted: Planted, bug: str, order: int
) -> None:
    with pytest.raises(EmulatorError, match=BUGS[bug][1]):
        launch(device, planted(bug, order))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("name", SOUND)
def test_sound_kernels_pass(device: EmulatedDevice, planted: Planted, name: str, order: int) -> None:
    assert launch(device, planted(name, order)) > 0


def test_a_race_of_two_blocks(device: EmulatedDevice, planted: Planted) -> None:
    with pytest.raises(EmulatorError, match=r"race: write of byte 0 of y .* by thread 0 of block 0"):
        launch(device, planted("plain"), blocks=2)


def test_a_launch_after_one_that_failed_is_sound(device: EmulatedDevice, planted: Planted) -> None:
    with pytest.raises(EmulatorError, match="divergent barrier"):
        launch(device, planted("barrier in a branch"))
    assert launch(device, planted("barrier in a branch"), n=100) == 64


def test_what_an_array_holds_before_it_is_written_shows(device: EmulatedDevice) -> None:
    assert np.isnan(device.empty(3, np.float32)).all()
    assert device.empty((2, 2), np.int64).tolist() == [[-1, -1], [-1, -1]]
