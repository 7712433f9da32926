"""What must not be written is refused before anything is opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import check_outputs, check_replaced


@pytest.fixture(autouse=True)
def _work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.xyz").write_text("precious")


def test_what_is_fine() -> None:
    check_outputs(["a.csv", "b.csv"], ["in.xyz", "missing.xyz"], DataError)
    check_outputs(["/dev/null"], ["/dev/null"], DataError)
    check_replaced(["a.csv", "/dev/null", "/dev/stdout"], False, DataError)
    check_replaced(["in.xyz"], True, DataError)


@pytest.mark.parametrize("link", ["hard", "soft", "same"])
def test_inputs_by_any_name(link: str) -> None:
    output = "out.csv"
    if link == "hard":
        Path(output).hardlink_to("in.xyz")
    elif link == "soft":
        Path(output).symlink_to("in.xyz")
    else:
        output = "../" + Path.cwd().name + "/in.xyz"
    with pytest.raises(DataError, match=r"cannot write .*: it is the input file in\.xyz; choose another name"):
        check_outputs([output], ["in.xyz"], DataError)


def test_two_outputs_that_are_one() -> None:
    with pytest.raises(DataError, match=r"cannot write OUT: it is the output out already"):
        check_outputs(["out", "OUT"], [], DataError)


def test_a_pipe_cannot_be_read_and_written() -> None:
    os.mkfifo("pipe")
    with pytest.raises(DataError, match="it is the input file pipe"):
        check_outputs(["pipe"], ["pipe"], DataError)


def test_places_that_cannot_be_written() -> None:
    with pytest.raises(DataError, match="it is a folder; give the name of a file"):
        check_outputs(["."], [], DataError)
    with pytest.raises(DataError, match="the folder missing does not exist; create it first"):
        check_outputs(["missing/out.csv"], [], DataError)
    with pytest.raises(DataError, match=r"the folder in\.xyz does not exist"):
        check_outputs(["in.xyz/out.csv"], [], DataError)
    with pytest.raises(DataError, match="File name too long"):
        check_outputs([300 * "x"], [], DataError)
    Path("loop").symlink_to("loop")
    with pytest.raises(DataError, match="cannot write loop: Too many levels"):
        check_outputs(["loop"], [], DataError)


def test_a_socket() -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("here")
        with pytest.raises(DataError, match="it is a device or a socket"):
            check_outputs(["here"], [], DataError)


@contextmanager
def redirected(path: str) -> Iterator[None]:
    """Standard output goes to this file."""
    kept = os.dup(1)
    with open(path, "w") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_where_the_text_goes_no_rows_go() -> None:
    with redirected("log"):
        with pytest.raises(DataError, match="what is printed goes there as well"):
            check_outputs(["log"], [], DataError)
        check_outputs(["/dev/stdout"], [], DataError)
    check_outputs(["log"], [], DataError)


def test_files_that_exist_are_all_named() -> None:
    Path("out.csv").touch()
    with pytest.raises(
        DataError,
        match=r"^in\.xyz, out\.csv exist already: .* them with --overwrite \(overwrite=True in Python\); or wait$",
    ):
        check_replaced(["in.xyz", "new", "out.csv"], False, DataError, "or wait")
    with pytest.raises(DataError, match=r"^out\.csv exists already: .*replace it with --overwrite"):
        check_replaced(["out.csv"], False, DataError)
