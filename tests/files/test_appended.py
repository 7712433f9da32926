"""Files that hold whole records, whatever goes wrong between."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import AppendedFile, is_system_failure
from tests.full_disk import at_most

Opened = Callable[..., AppendedFile]


@pytest.fixture
def opened() -> Opened:
    def open_file(path: Path | str, overwrite: bool = False) -> AppendedFile:
        return AppendedFile(path, "rows", overwrite=overwrite, error=DataError)

    return open_file


def test_records_are_there_at_once(tmp_path: Path, opened: Opened) -> None:
    file = opened(tmp_path / "a")
    file.start()
    for count in range(3):
        file.append(["row\n"])
        assert (tmp_path / "a").read_text() == (count + 1) * "row\n"
    file.close(complete=True)


def test_a_file_that_exists_is_kept(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "a").write_text("earlier, and longer than what comes\n")
    with pytest.raises(DataError, match="exists already"):
        opened(tmp_path / "a")
    file = opened(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a").read_text().startswith("earlier")
    file.start()
    file.append(["new\n"])
    file.close(complete=True)
    assert (tmp_path / "a").read_text() == "new\n"


def test_two_writers_of_one_file(tmp_path: Path, opened: Opened) -> None:
    file = opened(tmp_path / "a")
    file.start()
    file.append(["first\n"])
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    (tmp_path / "soft").symlink_to("a")
    for name in ("a", "hard", "soft"):
        with pytest.raises(DataError, match=f"another run is writing .*{name}: wait for its end"):
            opened(tmp_path / name, overwrite=True)
    file.append(["second\n"])
    file.close(complete=True)
    assert (tmp_path / "a").read_text() == "first\nsecond\n"
    opened(tmp_path / "a", overwrite=True).close(complete=False)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_size_limit_leaves_whole_records(tmp_path: Path, opened: Opened, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    file = opened(path)
    file.start()
    file.append(["a row of some length\n"])
    whole = path.stat().st_size
    with (
        at_most(whole + 7),
        pytest.raises(DataError, match=r"cannot write .*: File too large; whole rows in it: 1$") as e,
    ):
        file.append(["another row of some length\n"] * 10)
    assert is_system_failure(e.value)
    file.close(complete=False)
    opener = gzip.open if suffix else open
    with opener(path, "rt") as text:
        assert text.read() == "a row of some length\n"


@pytest.mark.parametrize("written", [0, 5, 100])
def test_an_interrupt_leaves_whole_records(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Ctrl-C arrives after some of the bytes, or all, are in the file."""
    file = opened(tmp_path / "a")
    file.start()
    file.append(["one\n"])
    write = os.write

    def interrupted(number: int, content: Any) -> int:
        write(number, content[:written])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.append(["two and more\n"])
    file.append(["three\n"])
    file.close(complete=True)
    assert (tmp_path / "a").read_text() == "one\nthree\n"


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("room", [0, 3, 12, 13, 40])
def test_what_fits_is_kept(tmp_path: Path, opened: Opened, room: int, suffix: str) -> None:
    """Records of 6 bytes, every third of them empty; compressed, they take more."""
    path = tmp_path / f"a{suffix}"
    rows = ["" if k % 3 == 2 else f"row {k % 10}\n" for k in range(30)]
    file = opened(path)
    file.start("heading\n")
    file.append(["first\n"])
    with at_most(path.stat().st_size + room), pytest.raises(DataError) as raised:
        file.append(rows)
    file.close(complete=True)
    opener = gzip.open if suffix else open
    with opener(path, "rt") as text:
        kept = text.read().removeprefix("heading\nfirst\n")
    assert kept == "".join(rows[: file.appended])
    assert str(raised.value).endswith(f"whole rows in it: {1 + kept.count('row')}")
    if not suffix:
        assert kept.count("row") == room // 6


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_taken_back(tmp_path: Path, opened: Opened, count: int) -> None:
    batch = ["one\n", "", "th\u00fcree\n", "four\n"]
    for suffix in ("", ".gz"):
        file = opened(tmp_path / f"a{suffix}")
        file.start()
        file.append(["zero\n"])
        file.append(batch)
        file.keep(count)
        file.append(["last\n"])
        file.close(complete=True)
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == "zero\n" + "".join(batch[:count]) + "last\n"
    # a compressed batch goes as a whole or stays
    expected = text if count == 0 else "zero\n" + "".join(batch) + "last\n"
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode() == expected


def test_every_batch_is_a_member(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "a.gz"
    file = opened(path)
    file.start()
    for count in range(1, 4):
        file.append([f"row {count}\n"])
        with gzip.open(path, "rt") as text:
            assert len(text.readlines()) == count
    file.close(complete=True)


def test_members_cost_little(tmp_path: Path, opened: Opened) -> None:
    rows = [f"in.extxyz,{k},Mo3W5,8,{-80 - k / 7},{-10 - k / 56},ok,\n" for k in range(2000)]
    file = opened(tmp_path / "a.gz")
    file.start()
    for k in range(0, 2000, 100):
        file.append(rows[k : k + 100])
    file.close(complete=True)
    whole = len(gzip.compress("".join(rows).encode()))
    assert (tmp_path / "a.gz").stat().st_size < 1.15 * whole


def test_text_that_is_no_unicode_costs_no_record(tmp_path: Path, opened: Opened) -> None:
    file = opened(tmp_path / "a")
    file.start()
    file.append(["\udcff,1\n"])
    file.close(complete=True)
    assert (tmp_path / "a").read_text() == "\\udcff,1\n"


def test_streams(opened: Opened, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/dev/null", "/dev/stdout"):
        first, second = opened(path), opened(path)
        for file in (first, second):
            file.start()
            file.append(["row\n"])
        for file in (first, second):
            file.close(complete=True)
    assert capfd.readouterr().out == "row\nrow\n"


def test_a_device_that_is_always_full(opened: Opened) -> None:
    file = opened("/dev/full")
    file.start()
    with pytest.raises(DataError, match=r"cannot write /dev/full: No space left on device; whole rows in it: 0"):
        file.append(["row\n"])
    file.close(complete=False)


def test_standard_output_in_a_file_is_shared_with_what_is_printed(tmp_path: Path, opened: Opened) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    try:
        os.write(log, b"printed before\n")
        file = opened(f"/dev/fd/{log}")
        file.start()
        file.append(["row\n"])
        with at_most(22), pytest.raises(DataError, match="File too large; whole rows in it: 1"):
            file.append(["too long a row\n"])
        file.close(complete=True)
        os.write(log, b"printed after\n")
    finally:
        os.close(log)
    assert (tmp_path / "log").read_text() == "printed before\nrow\nprinted after\n"


def test_a_disk_that_fails_at_the_end(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems tell only then."""

    def fsync(number: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    file = opened(tmp_path / "a")
    file.start()
    file.append(["row\n"])
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DataError, match="Disk quota exceeded"):
        file.close(complete=True)


def test_discarded_files_were_never_there(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        opened(tmp_path / name, overwrite=True).discard()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_going_on_behind_what_is_whole(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "a"
    path.write_text("one\ntwo\nthr")
    file = opened(path, overwrite=True)
    file.go_on(len("one\ntwo\n"), 2)
    file.append(["three\n"])
    file.sync()
    assert path.read_text() == "one\ntwo\nthree\n"
    with at_most(path.stat().st_size), pytest.raises(DataError, match=r"whole rows in it: 3$"):
        file.append(["four\n"])
    file.close(complete=True)
    assert path.read_text() == "one\ntwo\nthree\n"
