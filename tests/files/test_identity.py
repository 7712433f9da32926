"""Paths that mean one file are seen to, however they are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etn_gpu.files.identity import descriptor, identity, is_stream


@pytest.fixture(autouse=True)
def _work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("a.xyz").write_text("a")
    Path("b.xyz").write_text("a")


def test_a_file_by_all_its_names(tmp_path: Path) -> None:
    Path("hard.csv").hardlink_to("a.xyz")
    Path("soft.csv").symlink_to("a.xyz")
    Path("folder/up").symlink_to(tmp_path)
    names: list[str | Path] = ["hard.csv", "soft.csv", "./folder/../a.xyz", "folder/up/a.xyz", tmp_path / "a.xyz"]
    assert {identity(name) for name in names} == {identity("a.xyz")}
    assert identity("b.xyz") != identity("a.xyz")


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    Path("link").symlink_to(tmp_path / "folder")
    Path("dangling").symlink_to("folder/new.csv")
    names = ["link/new.csv", "dangling", "folder/../folder/new.csv", "folder/NEW.csv"]
    assert {identity(name) for name in names} == {identity("folder/new.csv")}
    assert identity("new.csv") != identity("folder/new.csv")
    assert identity("nowhere/new.csv") == identity(tmp_path / "nowhere" / "new.csv")


def test_a_letter_composed_in_two_ways() -> None:
    assert identity("d\u00fcnn.csv") == identity("du\u0308nn.csv")


@pytest.mark.parametrize(
    ("path", "number"),
    [("/dev/stdout", 1), ("/dev/fd/3", 3), ("/proc/self/fd/12", 12), ("/dev/../dev/stderr", 2), ("stdout", None)],
)
def test_names_of_open_files(path: str, number: int | None) -> None:
    assert descriptor(path) == number


def test_streams_are_no_files() -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("/dev/null")
    assert all(is_stream(path) for path in ("/dev/null", "link", "pipe", "/dev/stdout"))
    assert not any(is_stream(path) for path in ("a.xyz", "missing", "folder", "a.xyz/below"))
