"""The operations that are not multilinear: radial functions, solid harmonics, constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.plan import Program, Step, Term, Value
from etn_gpu.plan.operations import Constant, EdgeSum, EdgeSumBlock, Harmonics, Mix, MixBlock, Powers, Radial
from etn_gpu.symmetry import spherical_harmonics

Array = NDArray[np.float64]
CUTOFF, INNER = 5.0, 0.8


def radial(count: int, order: int = 0) -> Radial:
    return Radial(count, CUTOFF, INNER, order)


def evaluate(backend: str, operation: Radial | Powers | Harmonics, x: Array, dtype: str = "float64") -> Array:
    """The operation on edges x [E, size], all of one atom."""
    source = Value("x", "edge", operation.sizes[0])
    out = Value("out", "edge", operation.sizes[1])
    program = Program((source,), (Step(out, (Term(operation, 1, ("x",), 2.0),)),), (("out", "out"),))
    edges = np.zeros(len(x), np.int32)
    geometry = Geometry(np.array([0, len(x)]), np.zeros(1, np.int32), edges)
    return run(program, {"x": x}, geometry, backend=backend, dtype=dtype)["out"].astype(np.float64) / 2.0


def direct(operation: Radial, r: Array) -> Array:
    """T_b(x) (1 - r^2/rc^2)^3, [E, count]."""
    x = 2.0 * (r - INNER) / (CUTOFF - INNER) - 1.0
    rows = [
        chebyshev.chebval(x, np.eye(operation.count)[b]) * (1 - (r / CUTOFF) ** 2) ** 3 * (r < CUTOFF)
        for b in range(operation.count)
    ]
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("count", [1, 2, 7, 12])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 3e-6)])
def test_radial_functions_follow_their_formula(backend: str, count: int, dtype: str, tolerance: float) -> None:
    r = np.append(np.linspace(0.5, 5.5, 90), CUTOFF)
    wanted = direct(radial(count), r)
    got = evaluate(backend, radial(count), r[:, None] ** 2, dtype)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 2e-6)])
def test_inverse_powers_follow_their_formula(backend: str, dtype: str, tolerance: float) -> None:
    r = np.linspace(0.5, 7.5, 90)
    got = evaluate(backend, Powers(5), r[:, None] ** 2, dtype)
    np.testing.assert_allclose(got, r[:, None] ** -np.arange(6), rtol=tolerance)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["radial", "powers"])
def test_derivatives_are_finite_differences(backend: str, kind: str, order: int) -> None:
    def operation(order: int) -> Radial | Powers:
        return radial(5, order) if kind == "radial" else Powers(4, order)

    s, h = np.linspace(1.5, CUTOFF**2 - 0.1, 50)[:, None], 1e-4
    below, above = (evaluate(backend, operation(order - 1), s + sign * h) for sign in (-1, 1))
    slope = evaluate(backend, operation(order), s)
    np.testing.assert_allclose(slope, (above - below) / (2 * h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_radial_functions_vanish_smoothly_at_the_cutoff(backend: str, order: int) -> None:
    limit = CUTOFF**2
    s = np.array([limit, limit + 1e-9, 2 * limit, 1e6])[:, None]
    np.testing.assert_array_equal(evaluate(backend, radial(4, order), s), 0.0)
    # (1 - s/rc^2)^3 leaves the power 3 - order of the distance to the cutoff.
    near, nearer = (np.abs(evaluate(backend, radial(4, order), np.array([[limit * (1 - d)]]))) for d in (1e-3, 1e-4))
    np.testing.assert_allclose(near / nearer, 10.0 ** (3 - order), rtol=0.05)


def test_not_a_number_stays_one(backend: str) -> None:
    x = np.ones((3, 3))
    x[1, 2] = np.nan
    assert np.isnan(evaluate(backend, radial(2), np.full((1, 1), np.nan))).all()
    out = evaluate(backend, Harmonics(2), x)
    assert np.isnan(out[1]).any()
    assert np.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize("lmax", [0, 1, 5, 8])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 3e-6)])
def test_harmonics_are_racah_normalised(backend: str, lmax: int, dtype: str, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.standard_normal((70, 3))
    xyz[:3] = np.diag([1.0, -2.0, 1.5])
    r = np.linalg.norm(xyz, axis=1)
    l = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
    wanted = spherical_harmonics(lmax, xyz) * np.sqrt(4 * np.pi / (2 * l + 1)) * r[:, None] ** l
    got = evaluate(backend, Harmonics(lmax), xyz[:, [1, 2, 0]], dtype)
    # Sums of products of size r^l: relative to that size.
    np.testing.assert_allclose(got / r[:, None] ** l, wanted / r[:, None] ** l, rtol=0, atol=tolerance)


@pytest.mark.parametrize("space", ["edge", "atom", "param"])
def test_constant(backend: str, space: str, geometry: Geometry) -> None:
    terms = (Term(Constant(6, 1, 3, 2.5), 0, (), 2.0), Term(Constant(6, 3, 3, -1.0), 0, ()))
    program = Program((), (Step(Value("c", space, 6), terms),), (("c", "c"),))
    out = run(program, {}, geometry, backend=backend)["c"]
    row = np.array([0.0, 5.0, 5.0, 4.0, -1.0, -1.0])
    lead = () if space == "param" else (geometry.count(space),)
    np.testing.assert_array_equal(out, np.broadcast_to(row, (*lead, 6)))


def test_sums_of_constants_count_edges_and_atoms(backend: str, geometry: Geometry) -> None:
    """Constants must stay out of the unused lanes of a vector register."""
    one = Term(Constant(1, 0, 1, 1.0), 0, ())
    edge_sum = EdgeSum((1, 1, 5), (EdgeSumBlock(0, 1, 0, 1, 0),), 5)
    mix = Mix((5, 1, 1), (MixBlock(0, 1, 1, 1, 1, 0, 0),), 1)
    steps = (
        Step(Value("edge", "edge", 1), (one,)),
        Step(Value("neighbours", "atom", 5), (Term(edge_sum, 2, ("edge", "edge")),)),
        Step(Value("atom", "atom", 1), (one,)),
        Step(Value("atoms", "param", 5), (Term(mix, 0, ("atom", "atom")),)),
    )
    program = Program((), steps, (("neighbours", "neighbours"), ("atoms", "atoms")))
    out = run(program, {}, geometry, backend=backend)
    np.testing.assert_array_equal(out["atoms"], np.bincount(geometry.species, minlength=5))
    assert out["neighbours"].sum() == geometry.n_edges
    for i, (first, last) in enumerate(zip(geometry.edge_offsets[:-1], geometry.edge_offsets[1:], strict=True)):
        np.testing.assert_array_equal(out["neighbours"][i], np.bincount(geometry.edge_species[first:last], minlength=5))


def test_inputs_pass_through(backend: str, ragged: Geometry, inputs_for: Callable[..., dict[str, Array]]) -> None:
    values = tuple(Value(space, space, 3) for space in ("edge", "atom", "param"))
    program = Program(values, (), tuple((f"same {v.name}", v.name) for v in values))
    inputs = inputs_for(program, ragged)
    out = run(program, inputs, ragged, backend=backend)
    for v in values:
        np.testing.assert_array_equal(out[f"same {v.name}"], inputs[v.name])
