"""Compiled loops on disk: where they lie, and that damage or a full disk only costs time."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etn_gpu.backend import cache
from etn_gpu.backend.cpu.loops import compiled

SOURCE = """
def double(x):
    return 2.0 * x
"""
Loop = Callable[[], Any]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ours"
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(path))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "package" / "doubling.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


@pytest.fixture
def loop(source: Path, ours: Path) -> Loop:
    """Compiles the function of a module as a new process would."""

    def make() -> Any:
        spec = importlib.util.spec_from_file_location("doubling", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function = compiled(module.double)
        assert function(1.5) == 3.0
        return function

    return make


def close_package(source: Path) -> None:
    """As where packages are installed for all users: nothing can be written beside the source."""
    for path in (source.parent / "__pycache__").glob("*"):
        path.unlink()
    if (source.parent / "__pycache__").exists():
        (source.parent / "__pycache__").rmdir()
    (source.parent / "__pycache__").write_text("no folder")


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def test_beside_the_source(loop: Loop, source: Path, ours: Path) -> None:
    assert hits(loop()) == 0
    function = loop()
    assert hits(function) == 1
    assert Path(function.stats.cache_path) == source.parent / "__pycache__"
    assert not ours.exists()


def test_else_in_our_own_folder(loop: Loop, source: Path, ours: Path) -> None:
    close_package(source)
    before = os.umask(0)
    try:
        assert hits(loop()) == 0
    finally:
        os.umask(before)
    function = loop()
    assert hits(function) == 1
    folder = Path(function.stats.cache_path)
    assert folder.parent == ours / "numba"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ours, folder.parent, folder)] == [0o700] * 3


def test_never_in_a_folder_that_others_can_write(loop: Loop, source: Path, ours: Path) -> None:
    close_package(source)
    ours.mkdir()
    ours.chmod(0o777)
    assert loop().stats.cache_path is None


def test_no_folder_at_all(loop: Loop, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close_package(source)
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, "/dev/null/folder")
    assert loop().stats.cache_path is None


@pytest.mark.parametrize("name", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_file_that_was_cut(loop: Loop, source: Path, name: str, size: int) -> None:
    loop()
    (path,) = (source.parent / "__pycache__").glob(name)
    os.truncate(path, size)
    assert hits(loop()) == 0
    assert hits(loop()) == 1, "it was written again"


def test_a_full_disk(loop: Loop, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        loop()
    assert not list((source.parent / "__pycache__").glob("*.nb*"))
    assert hits(loop()) == 0
