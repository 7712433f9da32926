"""Straight-line code for a device: literals without rounding, and every operation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.scalars import Scalar, Scalars, literal
from etn_gpu.errors import BackendError


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_literals_of_single_precision_are_exact(value: float) -> None:
    text = literal(value, np.dtype("float32"))
    assert text.endswith("f")
    assert set(text) & set(".e")  # 1f would not be a number
    assert np.float32(text[:-1]) == np.float32(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_literals_of_double_precision_are_exact(value: float) -> None:
    text = literal(value, np.dtype("float64"))
    assert set(text) & set(".e")
    assert float(text) == value


@pytest.mark.parametrize(("value", "dtype"), [(1e39, "float32"), (np.inf, "float64"), (np.nan, "float32")])
def test_what_no_literal_can_hold(value: float, dtype: str) -> None:
    with pytest.raises(BackendError, match=f"the constant .* is not finite in {dtype}; a kernel cannot hold it"):
        literal(value, np.dtype(dtype))


TEXT = """
extern "C" __global__ void __launch_bounds__(32) all(const {real}* numbers, {real}* results) {{
    using Real = {real};
    const Real a = numbers[3 * threadIdx.x], b = numbers[3 * threadIdx.x + 1], c = numbers[3 * threadIdx.x + 2];
    {body}
}}
"""


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_operation(device: Device, dtype: str) -> None:
    f = Scalars(np.dtype(dtype))
    a, b, c, one, minus = Scalar("a"), Scalar("b"), Scalar("c"), f.constant(1.0), f.constant(-0.1)
    written = [
        f.add(a, b), f.subtract(a, b), f.multiply(a, b), f.divide(a, b), f.negate(minus), f.fma(a, b, c),
        f.fma(a, b, None), f.sqrt(a), f.below(a, b, a, c), f.scaled(a, -0.1), f.multiply(one, b), f.fma(a, one, c),
    ]  # fmt: skip
    body = [*f.lines, *(f"results[{len(written)} * threadIdx.x + {k}] = {v.name};" for k, v in enumerate(written))]
    real = "float" if dtype == "float32" else "double"
    module = Module(device, TEXT.format(real=real, body="\n    ".join(body)), "all.cu")
    numbers = np.random.default_rng(0).normal(size=(32, 3)).astype(dtype)
    numbers[0] = np.nan, 1.0, 2.0
    results = device.empty((32, len(written)), dtype)
    module["all"].launch(1, numbers=device.to_device(numbers), results=results)
    x, y, z = numbers.T
    tenth = np.dtype(dtype).type(-0.1)
    with np.errstate(invalid="ignore"):
        expected = [
            x + y, x - y, x * y, x / y, np.full_like(x, -tenth), x * y + z, x * y, np.sqrt(x), np.where(x >= y, z, x),
            tenth * x, y, x + z,
        ]  # fmt: skip
    rtol = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(device.to_host(results), np.stack(expected, axis=1), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packs_load_sixteen_bytes_and_then_the_rest(dtype: str) -> None:
    f = Scalars(np.dtype(dtype))
    values = f.packs("row", 8, 5)
    assert len({v.name for v in values}) == 5
    loads = [line.split(" = ")[1] for line in f.lines]
    wide = ["pack(row + 8);"] if dtype == "float32" else ["pack(row + 8);", "pack(row + 10);"]
    assert loads == [*wide, "row[12];"]
