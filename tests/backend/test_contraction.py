"""Products of small arrays over named indices give what einsum gives, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.backend.contraction import contract

SIZES = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


@st.composite
def equations(draw: st.DrawFn) -> tuple[list[str], str]:
    """One to four arrays of up to three axes, and some of their letters as the result."""
    axes = st.lists(st.sampled_from("abcde"), unique=True, max_size=3)
    names = ["".join(draw(axes)) for _ in range(draw(st.integers(1, 4)))]
    letters = sorted(set("".join(names)))
    return names, "".join(draw(st.permutations([letter for letter in letters if draw(st.booleans())])))


@given(equations(), st.data())
def test_any_product(equation: tuple[list[str], str], data: st.DataObject) -> None:
    names, result = equation
    rng = np.random.default_rng(0)
    sampled = [data.draw(st.booleans()) for _ in names]
    leads = [(3,) if more else () for more in sampled]
    factors = [rng.normal(size=(*lead, *(SIZES[k] for k in own))) for lead, own in zip(leads, names, strict=True)]
    with_samples = [("s" if more else "") + own for more, own in zip(sampled, names, strict=True)]
    expected = np.einsum(f"{','.join(with_samples)}->{'s' * any(sampled)}{result}", *factors)
    found = contract(names, result, factors)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))
    if any(sampled):  # the others do not matter to a sample
        alone = contract(names, result, [f[1:2] if more else f for f, more in zip(factors, sampled, strict=True)])
        assert alone.tobytes() == found[1:2].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_and_strides(dtype: str) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(6, 8)).astype(dtype)[::2, ::2] for _ in range(2))
    found = contract(["bd", "ed"], "eb", [a, b])
    assert found.dtype == dtype
    np.testing.assert_allclose(found, b @ a.T, rtol=1e-5)
