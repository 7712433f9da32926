"""The LLVM functions that the numba backend is written in, run one by one; and the cache of machine code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import cache
from etn_gpu.backend.cpu import jit
from etn_gpu.backend.cpu.ir import PACK, Function, Module

Array = NDArray[np.floating]
DTYPES: list[np.dtype] = [np.dtype("float64"), np.dtype("float32")]


def run(dtype: np.dtype, build: Callable[[Function], None], source: Array, size: int) -> Array:
    """What a function of the pointers %out and %x writes."""
    module = Module(dtype)
    function = Function(module, "test", ("out", "x"))
    build(function)
    module.export(function)
    library = jit.Library(jit.compile_text(module.text()))
    (address,) = library.addresses(["test"])
    out = np.full(size, np.nan, dtype)
    x = np.ascontiguousarray(source, dtype)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)(out.ctypes.data, x.ctypes.data)
    return out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_transpose(dtype: np.dtype) -> None:
    def build(f: Function) -> None:
        rows = [f.load("%x", k * PACK, PACK) for k in range(PACK)]
        for k, column in enumerate(f.transpose(rows)):
            f.store(column, "%out", k * PACK)

    x = np.arange(PACK * PACK, dtype=dtype)
    np.testing.assert_array_equal(run(dtype, build, x, PACK * PACK), x.reshape(PACK, PACK).T.ravel())


@pytest.mark.parametrize("n", [PACK, 2 * PACK])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_load_transpose(dtype: np.dtype, n: int) -> None:
    pitch = n + 3

    def build(f: Function) -> None:
        for k, column in enumerate(f.load_transpose("%x", 2, pitch, n)):
            f.store(column, "%out", k * n)

    x = np.arange(2 + n * pitch, dtype=dtype)
    wanted = x[2:].reshape(n, pitch)[:, :n].T
    np.testing.assert_array_equal(run(dtype, build, x, n * n), wanted.ravel())


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_of_lanes(dtype: np.dtype, count: int) -> None:
    lanes = Module(dtype).lanes
    x = np.arange(8.0 * lanes, dtype=dtype) ** 2

    def build(f: Function) -> None:
        f.store(f.sums([f.load("%x", k * f.lanes) for k in range(count)]), "%out")

    expected = np.zeros(PACK)
    expected[:count] = x.reshape(8, lanes).sum(axis=1)[:count]
    np.testing.assert_allclose(run(dtype, build, x, PACK), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 8, 9, 15, 29])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_are_taken_apart_and_put_together(dtype: np.dtype, size: int) -> None:
    lanes = Module(dtype).lanes
    x = np.arange(lanes * size, dtype=dtype)

    def apart(f: Function) -> None:
        for k, column in enumerate(f.deinterleave("%x", size, range(size))):
            f.store(column, "%out", k * f.lanes)

    def again(f: Function) -> None:
        f.interleave(f.deinterleave("%x", size, range(size)), "%out")

    np.testing.assert_array_equal(run(dtype, apart, x, lanes * size), x.reshape(lanes, size).T.ravel())
    np.testing.assert_array_equal(run(dtype, again, x, lanes * size), x)


def test_loops_carry_values() -> None:
    def build(f: Function) -> None:
        loop = f.loop(5, [f.constant(1.0)], start=2)
        (total,) = loop.close([f.multiply(loop.values[0], f.load("%x"))])
        f.store(total, "%out")

    np.testing.assert_array_equal(run(DTYPES[0], build, np.full(8, 3.0), 8), 27.0)


@pytest.mark.parametrize(("limit", "runs"), [(1, False), (0, True)])
def test_conditions(limit: int, runs: bool) -> None:
    def build(f: Function) -> None:
        f.store(f.constant(0.0), "%out")
        with f.when_more_than("1", limit):
            f.store(f.constant(7.0), "%out")

    np.testing.assert_array_equal(run(DTYPES[0], build, np.zeros(8), 8), 7.0 if runs else 0.0)


def test_equal_functions_are_written_once() -> None:
    module = Module(DTYPES[0])
    names = [module.function(key, ("a",), lambda f: None) for key in ("one", "two", "one")]
    assert names[0] == names[2] != names[1]
    assert module.text().count("define") == 2


TEXT = "define void @nothing() {\n  ret void\n}\n"


def test_machine_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(tmp_path / "new" / "folder"))
    compiled: list[str] = []
    compile_text = jit.compile_text

    def counted(text: str) -> bytes:
        compiled.append(text)
        return compile_text(text)

    monkeypatch.setattr(jit, "compile_text", counted)
    first = jit.object_code(TEXT)
    assert jit.object_code(TEXT) == first
    assert len(compiled) == 1
    (path,) = cache.folder().iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert jit.object_code(TEXT) == first, "damaged code is compiled anew"
    assert len(compiled) == 2


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(tmp_path / "file" / "folder"))
    assert jit.Library(jit.object_code(TEXT)).addresses(["nothing"])[0] != 0


def test_where_machine_code_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder() == Path("/somewhere/etn_gpu")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "etn_gpu"
