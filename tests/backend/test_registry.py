"""Choosing a backend, and every request that cannot be met."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend import NAMES, Geometry, available, check_dtype, registry, resolve, run
from etn_gpu.errors import BackendError
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.operations import Constant, EdgeSum, EdgeSumBlock, Mix, MixBlock

GEOMETRY = Geometry(np.array([0, 1, 3]), np.zeros(2, np.int32), np.zeros(3, np.int32))


@pytest.fixture(scope="module")
def program() -> Program:
    """z = w x, with an edge input that nothing reads."""
    builder = ProgramBuilder()
    builder.input("w", "param", 1)
    builder.input("x", "atom", 1)
    builder.input("edges", "edge", 2)
    mix = Mix((1, 1, 1), (MixBlock(0, 1, 1, 1, 1, 0, 0),))
    z = builder.step("z", "atom", (Term(mix, 2, ("w", "x")),))
    return builder.build({"z": z.name}, keep_inputs=["edges"])


@pytest.fixture
def inputs() -> dict[str, Any]:
    """What the Program needs."""
    return {"w": np.array([2.0]), "x": np.array([[3.0], [4.0]]), "edges": np.zeros((3, 2))}


def test_numba_is_preferred_and_a_gpu_is_never_used_unasked() -> None:
    assert list(available()) == list(NAMES) == ["numba", "numpy", "cuda"]
    assert available()["numpy"] is None
    assert resolve() == next(name for name, reason in available().items() if reason is None)


def test_the_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETN_GPU_BACKEND", "numpy")
    assert resolve() == resolve(None) == "numpy"
    assert resolve("numba") == "numba"
    monkeypatch.setenv("ETN_GPU_BACKEND", "")
    assert resolve() == NAMES[0]


def test_unknown_backend() -> None:
    with pytest.raises(BackendError, match=r"^backend='gpu' is not a backend; those that can run here: .*numpy"):
        resolve("gpu")


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "unavailable", lambda: "no driver: install one")
    expected = r"^backend='cuda' cannot run here: no driver: install one\. Backends that can: numba, numpy$"
    with pytest.raises(BackendError, match=expected):
        resolve("cuda")
    assert resolve() == "numba"


def test_unknown_backend_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETN_GPU_BACKEND", "Numba")
    with pytest.raises(BackendError, match=r"^ETN_GPU_BACKEND='Numba' is not a backend; those that can run here: "):
        resolve()


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_backend_that_cannot_run_is_never_replaced(monkeypatch: pytest.MonkeyPatch, by_environment: bool) -> None:
    missing = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(registry, "importlib", missing)
    reason = r"cannot run here: the package numba is not installed \(pip install numba\)\. Backends that can: numpy"
    if by_environment:
        monkeypatch.setenv("ETN_GPU_BACKEND", "numba")
    with pytest.raises(BackendError, match=reason):
        resolve(None if by_environment else "numba")
    monkeypatch.delenv("ETN_GPU_BACKEND", raising=False)
    assert resolve() == "numpy"


@pytest.mark.parametrize("dtype", ["float64", "float32", np.float32, np.dtype("f8")])
def test_dtypes(dtype: Any) -> None:
    assert check_dtype(dtype) == np.dtype(dtype)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float16", r"dtype='float16' is not supported; choose one of \('float64', 'float32'\)"),
        (int, r"dtype='int64' is not supported; choose one of"),
        ("double precision", r"dtype='double precision' is no floating-point type; choose one of"),
    ],
)
def test_bad_dtype(backend: str, program: Program, inputs: dict[str, Any], dtype: Any, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        run(program, inputs, GEOMETRY, backend=backend, dtype=dtype)


def test_results_have_the_dtype_asked_for(backend: str, program: Program, inputs: dict[str, Any]) -> None:
    for dtype in ("float64", "float32"):
        out = run(program, inputs, GEOMETRY, backend=backend, dtype=dtype)["z"]
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, [[6.0], [8.0]])


def test_missing_input(backend: str, program: Program, inputs: dict[str, Any]) -> None:
    del inputs["x"]
    with pytest.raises(BackendError, match=r"needs the input x\[atom 1\], only \['edges', 'w'\] were given"):
        run(program, inputs, GEOMETRY, backend=backend)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("w", (2,), r"\(1,\)"), ("x", (1, 2), r"\(2, 1\)"), ("x", (2,), r"\(2, 1\)"), ("edges", (2, 2), r"\(3, 2\)")],
)
def test_wrong_shape(
    backend: str, program: Program, inputs: dict[str, Any], name: str, shape: tuple[int, ...], expected: str
) -> None:
    inputs[name] = np.zeros(shape)
    with pytest.raises(BackendError, match=rf"the input {name}\[.*\] has shape .*, expected {expected}"):
        run(program, inputs, GEOMETRY, backend=backend)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(backend: str, program: Program, inputs: dict[str, Any], threads: int) -> None:
    with pytest.raises(BackendError, match=f"threads={threads} was asked for, expected at least 1"):
        run(program, inputs, GEOMETRY, backend=backend, threads=threads)


@pytest.mark.parametrize("samples", [[0, 1], [1, 2], [0, 2, 1, 2], [], [[0, 2]]], ids=str)
def test_bad_samples(backend: str, program: Program, inputs: dict[str, Any], samples: Any) -> None:
    with pytest.raises(BackendError, match=r"samples must cut the atoms at 0 <= \.\.\. <= 2, both ends included"):
        run(program, inputs, GEOMETRY, backend=backend, samples=np.array(samples, np.int64))


@pytest.mark.parametrize("by_edge", [True, False])
def test_species_without_a_table(backend: str, by_edge: bool) -> None:
    one = Term(Constant(2, 0, 2, 1.0), 0, ())
    builder = ProgramBuilder()
    if by_edge:
        edge = builder.step("edge", "edge", (one,))
        term = Term(EdgeSum((2, 2, 2), (EdgeSumBlock(0, 1, 0, 1, 0),), 2), 2, (edge.name, edge.name))
    else:
        builder.input("w", "param", 4)
        builder.step("one", "atom", (one,))
        term = Term(Mix((4, 2, 2), (MixBlock(0, 1, 1, 2, 1, 0, 0),), 2), 2, ("w", "one"))
    program = builder.build({"z": builder.step("z", "atom", (term,)).name})
    assert program.n_species == 2
    geometry = Geometry(np.array([0, 1]), np.full(1, 0 if by_edge else 2), np.full(1, 2 if by_edge else 0))
    with pytest.raises(BackendError, match="has tables for 2 species, got an atom of species 2"):
        run(program, {} if by_edge else {"w": np.zeros(4)}, geometry, backend=backend)


@pytest.mark.parametrize(
    ("offsets", "species", "edges", "message"),
    [
        ([0, 1], [0, 0], [0], r"edge_offsets has 2 entries from \[0\] to \[1\], expected 3 .* from 0 to 1 "),
        ([0, 1], [0], [0, 0], r"expected 2 \(one more than atoms\) from 0 to 2 \(the number of edges\)"),
        ([1, 2], [0], [0, 0], r"edge_offsets has 2 entries from \[1\] to \[2\]"),
        ([0, 2, 1, 2], [0, 0, 0], [0, 0], "edge_offsets must not decrease"),
        ([0, 1], [-1], [0], "species are indices >= 0"),
        ([0, 1], [0], [-2], "species are indices >= 0"),
    ],
)
def test_bad_geometry(offsets: list[int], species: list[int], edges: list[int], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        Geometry(np.array(offsets), np.array(species, np.int32), np.array(edges, np.int32))
