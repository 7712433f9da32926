"""What kernels compute on the emulator is what they would compute on a GPU, in whatever order their threads run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from etn_gpu.backend.cuda.launcher import Kernel, Module
from tests.emulator import EmulatedDevice

pytestmark = pytest.mark.emulator

Compile = Callable[[str], Kernel]
LANE = np.arange(32)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_threads_and_blocks_have_their_indices(device: EmulatedDevice, kernel: Compile, order: int) -> None:
    device.order = order
    write = kernel("""
        extern "C" __global__ void __launch_bounds__(64) write(int* out) {
            out[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x * 1000 + threadIdx.x + 100000 * gridDim.x;
        }""")
    out = device.empty((3, 64), np.int32)
    write.launch(3, out=out)
    expected = np.arange(3)[:, None] * 1000 + np.arange(64) + 300000
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_shared_memory_and_barriers(device: EmulatedDevice, kernel: Compile, order: int) -> None:
    device.order = order
    reverse = kernel("""
        extern "C" __global__ void __launch_bounds__(128) reverse(const double* x, double* out) {
            extern __shared__ double all[];
            __shared__ int2 last[2][2];
            const int t = threadIdx.x;
            for (int round = 0; round < 3; round++) {
                all[t] = x[t] + round;
                if (t == 5) last[1][0] = make_int2(round, 7);
                __syncthreads();
                out[128 * round + t] = all[127 - t] * 100 + last[1][0].x * last[1][0].y;
                __syncthreads();
            }
        }""")
    x, out = device.to_device(np.arange(128.0)), device.empty((3, 128), np.float64)
    reverse.launch(1, 128 * 8, x=x, out=out)
    rounds = np.arange(3.0)[:, None]
    np.testing.assert_array_equal(out, (127 - np.arange(128) + rounds) * 100 + 7 * rounds)


SHUFFLES = {
    "__shfl_sync(~0u, v, 3)": np.full(32, 3),
    "__shfl_sync(~0u, v, 1, 8)": LANE // 8 * 8 + 1,
    "__shfl_down_sync(~0u, v, 4)": np.where(LANE + 4 < 32, LANE + 4, LANE),
    "__shfl_up_sync(~0u, v, 2, 16)": np.where(LANE % 16 >= 2, LANE - 2, LANE),
    "__shfl_xor_sync(~0u, v, 5)": LANE ^ 5,
    "(T)__ballot_sync(~0u, threadIdx.x % 3 == 0 && threadIdx.x < 20)": np.full(
        32, sum(1 << k for k in range(0, 20, 3))
    ),
    "(T)__any_sync(~0u, threadIdx.x == 9)": np.ones(32),
    "(T)__all_sync(~0u, threadIdx.x != 9)": np.zeros(32),
    "(T)__syncthreads_count(threadIdx.x > 9)": np.full(32, 22),
    "(T)(__syncthreads_or(threadIdx.x > 40) + 2 * __syncthreads_and(threadIdx.x < 40))": np.full(32, 2),
    "(threadIdx.x & 4 ? __shfl_xor_sync(0xf0f0f0f0u, v, 1) : v)": np.where(LANE & 4, LANE ^ 1, LANE),
}


@pytest.fixture(scope="module")
def shuffles(device: EmulatedDevice) -> Module:
    """A kernel for each expression and type, compiled together."""
    texts = [
        f"""extern "C" __global__ void __launch_bounds__(32) {kind}_{k}({kind}* out) {{
            typedef {kind} T;
            const T v = threadIdx.x;
            out[threadIdx.x] = {expression};
        }}"""
        for k, expression in enumerate(SHUFFLES)
        for kind in ("int", "double")
    ]
    return Module(device, "\n".join(texts), "test.cu")


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("kind", ["int", "double"])
@pytest.mark.parametrize("expression", SHUFFLES)
def test_operations_of_a_warp(device: EmulatedDevice, shuffles: Module, expression: str, kind: str, order: int) -> None:
    device.order = order
    out = device.empty(32, np.int32 if kind == "int" else np.float64)
    shuffles[f"{kind}_{list(SHUFFLES).index(expression)}"].launch(1, out=out)
    np.testing.assert_array_equal(out, SHUFFLES[expression])


def test_atomics(device: EmulatedDevice, kernel: Compile) -> None:
    count = kernel("""
        extern "C" __global__ void __launch_bounds__(64) count(int* counts, double* sum, int* largest, int* claims) {
            atomicAdd(&counts[threadIdx.x % 5], 1);
            atomicSub(&counts[5], 1);
            atomicAdd(sum, 0.5);
            atomicMax(largest, (int)threadIdx.x);
            if (atomicCAS(&claims[0], 0, 1) == 0) atomicAdd(&claims[1], 1);
        }""")
    counts, total = device.zeros(6, np.int32), device.zeros(1, np.float64)
    largest, claims = device.zeros(1, np.int32), device.zeros(2, np.int32)
    count.launch(2, counts=counts, sum=total, largest=largest, claims=claims)
    assert counts.tolist() == [26, 26, 26, 26, 24, -128]
    assert (total.item(), largest.item(), claims.tolist()) == (64.0, 63, [1, 1])


def test_numbers_as_bits_and_intrinsics(device: EmulatedDevice, kernel: Compile) -> None:
    run = kernel("""
        __constant__ double table[2] = {2.5, 4.0};
        extern "C" __global__ void __launch_bounds__(32) run(const float* x, double* out, long long big, bool flag) {
            if (threadIdx.x != 0) return;
            const float4 v = make_float4(__ldg(x), x[1], 3, 4);
            out[0] = v.x + v.w + rsqrtf(4.0f);
            out[1] = __fmaf_rn(2.0f, 3.0f, 4.0f) + __dmul_rn(__dadd_rn(1, 2), 5);
            out[2] = __popc(0xf0u) + __ffs(8) + __clz(1);
            out[3] = __longlong_as_double(0x7ff0000000000000LL);
            out[4] = (double)big + (flag ? table[1] : table[0]);
            out[5] = max(big, 1LL) + min(2, 3);
        }""")
    out = device.empty(6, np.float64)
    run.launch(1, x=device.to_device(np.array([1.5, 2], np.float32)), out=out, big=2**40, flag=True)
    np.testing.assert_array_equal(out, [6.0, 25.0, 4 + 4 + 31, np.inf, 2**40 + 4, 2**40 + 2])
