"""Files that appear in one piece or not at all."""

from __future__ import annotations

import os
import resource
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import is_system_failure, write_atomically


def test_new_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"first", b"second, which is longer", b""):
        write_atomically(path, content, DataError)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "a", b"a", DataError)
        (tmp_path / "b").write_bytes(b"b")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(0o640)
    write_atomically(path, b"a", DataError)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("kept")
    path.chmod(0o444)
    with pytest.raises(DataError, match="Permission denied"):
        write_atomically(path, b"a", DataError)
    assert path.read_text() == "kept"


def test_links(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "hard").hardlink_to(tmp_path / "old")
    (tmp_path / "soft").symlink_to("old")
    write_atomically(tmp_path / "soft", b"new", DataError)
    assert (tmp_path / "soft").is_symlink()
    assert (tmp_path / "old").read_text() == "new"
    assert (tmp_path / "hard").read_text() == "old"


def test_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    write_atomically(tmp_path / (255 * "x"), b"a", DataError)


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_leaves_the_earlier_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    (tmp_path / "a").write_text("earlier")

    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(os, where, fail)
    expected = DataError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as raised:
        write_atomically(tmp_path / "a", b"new", DataError, "the report")
    if expected is DataError:
        assert str(raised.value) == f"cannot write the report {tmp_path / 'a'}: No space left on device"
    assert (tmp_path / "a").read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        write_atomically(tmp_path / "folder", b"a", DataError)
    assert len(list(tmp_path.iterdir())) == 1


def test_streams_are_written_to_and_stay(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_atomically("/dev/null", b"a", DataError)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    write_atomically("/dev/stdout", b"printed\n", DataError)
    assert capfd.readouterr().out == "printed\n"
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomically(tmp_path / "pipe", 100_000 * b"a", DataError)
    reader.join(timeout=60)
    assert read == [100_000 * b"a"]
    with pytest.raises(DataError, match="No space left on device"):
        write_atomically("/dev/full", b"a", DataError)


def test_a_size_limit_in_the_middle_of_writing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError, match="File too large") as raised:
            write_atomically(tmp_path / "a", 100_000 * b"a", DataError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_system_failure(raised.value)
    assert (tmp_path / "a").read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1
