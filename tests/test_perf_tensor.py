"""perf/bench_tensor.py: its product is the product of tensors, its contraction runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etn_gpu import tensor as tn
from etn_gpu.backend import Geometry, run


def test_the_program_is_a_contraction_of_tensors(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "perf"))
    import bench_tensor

    monkeypatch.setattr(bench_tensor, "LEFT", "3x0e+2x1o+1x2e")
    monkeypatch.setattr(bench_tensor, "RIGHT", "2x0e+1x1o+2x2e")
    monkeypatch.setattr(bench_tensor, "OUT", "2x0e+3x1o+2x2e")
    forward, both = bench_tensor.product_programs()
    core = tn.random([bench_tensor.OUT], [bench_tensor.LEFT, bench_tensor.RIGHT], rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    x, y, z_bar = (rng.standard_normal((4, core.legs[i].dim)) for i in (1, 2, 0))
    geometry = Geometry(np.zeros(5, np.int64), np.zeros(4, np.int32), np.zeros(0, np.int32))
    inputs = {"x": x, "y": y, "weights": core.data, "z_bar": z_bar}
    dense = tn.to_dense(core)
    z = run(forward, inputs, geometry, backend=backend)["z"]
    np.testing.assert_allclose(z, np.einsum("zab,na,nb->nz", dense, x, y), atol=1e-12)
    gradients = run(both, inputs, geometry, backend=backend)
    np.testing.assert_allclose(gradients["x_bar"], np.einsum("zab,nz,nb->na", dense, z_bar, y), atol=1e-12)
    np.testing.assert_allclose(gradients["y_bar"], np.einsum("zab,nz,na->nb", dense, z_bar, x), atol=1e-12)
    change = tn.random([core.legs[0]], core.legs[1:], rng=rng)
    expected = np.einsum("zab,nz,na,nb->", tn.to_dense(change), z_bar, x, y, optimize=True)
    assert gradients["weights_bar"] @ change.data == pytest.approx(expected)


def test_contractions_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "perf"))
    import bench_tensor

    for legs in (1, 2):
        case = {"legs": legs, "dtype": "float32", "multiplicity": 2, "lmax": 1}
        assert 0.0 < bench_tensor.contraction(case, 1) < 1.0
