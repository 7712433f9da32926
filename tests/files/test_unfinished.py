"""Outputs that appear when they are whole, whatever happens to the run that writes them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import Growing, UnfinishedOutputs
from etn_gpu.files import unfinished as module
from tests.full_disk import at_most

NAMES = ("rows.csv", "frames.xyz.gz")


@pytest.fixture(autouse=True)
def _note_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.0)
    monkeypatch.setattr(module, "_SHARE", 0.0)


def outputs(folder: Path, identity: Mapping[str, Any] | None = None, **options: Any) -> UnfinishedOutputs:
    growing = [Growing(folder / NAMES[0], "rows", "heading\n"), Growing(folder / NAMES[1], "frames")]
    options = {"resume": False, "overwrite": False} | options
    return UnfinishedOutputs(growing, lambda: identity or {"model": "a"}, error=DataError, **options)


def work(folder: Path, last: int = 6, stop: int | None = None, **options: Any) -> None:
    """Appends numbers from where it was; stops in the middle of number `stop`, one file being ahead."""
    with outputs(folder, **options) as opened:
        if opened.whole:
            return
        for number in range((opened.progress or {"done": 0})["done"], last):
            opened.files[1].append([f"frame {number}\n"])
            if number == stop:
                raise KeyboardInterrupt
            opened.files[0].append([f"row {number}\n"])
            opened.note({"done": number + 1})
        opened.finish({"done": last})


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def check(folder: Path, last: int = 6) -> None:
    assert names(folder) == sorted(NAMES)
    assert (folder / NAMES[0]).read_text() == "heading\n" + "".join(f"row {k}\n" for k in range(last))
    assert gzip.decompress((folder / NAMES[1]).read_bytes()) == b"".join(b"frame %d\n" % k for k in range(last))


def test_outputs_appear_whole(tmp_path: Path) -> None:
    with outputs(tmp_path) as opened:
        opened.files[0].append(["row 0\n"])
        assert names(tmp_path) == sorted(
            [*(f"{name}.part" for name in NAMES), *(f".{name}.lock" for name in NAMES), "rows.csv.run"]
        )
        assert (tmp_path / "rows.csv.part").read_text() == "heading\nrow 0\n"
        opened.finish({})
        assert opened.whole
    assert names(tmp_path) == sorted(NAMES)


@pytest.mark.parametrize("stop", range(1, 6))
def test_stopped_run_goes_on(tmp_path: Path, stop: int) -> None:
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "stopped"
    undisturbed.mkdir()
    folder.mkdir()
    work(undisturbed)
    with pytest.raises(KeyboardInterrupt):
        work(folder, stop=stop)
    assert (folder / "rows.csv.part").read_text().count("row ") == stop
    with pytest.raises(DataError, match=rf"is of a run that was stopped, with {stop} rows: go on with it by --resume"):
        work(folder)
    work(folder, resume=True)
    check(folder)
    for name in NAMES:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()


def test_nothing_is_left_of_a_run_without_records(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.part").write_text("of a run that was killed before its first record")
    parts = [{"name": name, "length": 0, "records": 0} for name in NAMES]
    state = {"format": 1, "identity": {}, "parts": parts, "progress": {}, "whole": False}
    (tmp_path / "rows.csv.run").write_text(json.dumps(state))
    with pytest.raises(KeyboardInterrupt), outputs(tmp_path):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_resume_begins_where_there_is_nothing(tmp_path: Path) -> None:
    work(tmp_path, resume=True)
    check(tmp_path)


def test_overwrite_replaces_only_when_whole(tmp_path: Path) -> None:
    work(tmp_path, last=3)
    with pytest.raises(DataError, match="exist already"):
        work(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, stop=4, overwrite=True)
    assert (tmp_path / "rows.csv").read_text().count("row") == 3
    with pytest.raises(DataError, match="exist already"):  # at the beginning, not after hours
        work(tmp_path, resume=True)
    work(tmp_path, resume=True, overwrite=True)
    check(tmp_path)


def test_overwrite_forgets_a_stopped_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, stop=5)
    work(tmp_path, last=2, overwrite=True)
    check(tmp_path, last=2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity": {"model": "b"}}, r'model was "a", is "b"\. Go on with the same options'),
        ({"identity": {"model": "a", "fmax": 0.1}}, r"fmax was null, is 0\.1"),
    ],
)
def test_another_run_does_not_go_on(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, stop=3)
    before = (tmp_path / "rows.csv.part").read_bytes()
    with pytest.raises(DataError, match=message):
        work(tmp_path, resume=True, **changed)
    assert (tmp_path / "rows.csv.part").read_bytes() == before
    work(tmp_path, resume=True)
    check(tmp_path)


def test_of_much_the_part_that_differs_is_told(tmp_path: Path) -> None:
    inputs = [{"path": f"a long name of a file {number}.extxyz", "checksum": "1" * 200} for number in range(9)]
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, stop=3, identity={"inputs": inputs})
    for changed, message in (
        (
            [*inputs[:7], inputs[7] | {"checksum": "2"}, inputs[8]],
            r'inputs, number 8, checksum was "1+\.\.\., is "2"\.',
        ),
        (inputs[:8], r"inputs, number 9 was .* is null\."),
    ):
        with pytest.raises(DataError, match=message):
            work(tmp_path, resume=True, identity={"inputs": changed})


def test_other_outputs_are_another_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, stop=3)
    one = UnfinishedOutputs(
        [Growing(tmp_path / NAMES[0], "rows")], lambda: {"model": "a"}, resume=True, overwrite=False, error=DataError
    )
    with pytest.raises(DataError, match=r"outputs was \[.*\], is \[\"rows\.csv\"\]"), one:
        pytest.fail("it is another run")


def test_parts_that_were_changed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, stop=3)
    part = tmp_path / "rows.csv.part"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"has 25 bytes, the run that was stopped had written 26; it was changed"):
        work(tmp_path, resume=True)
    part.unlink()
    with pytest.raises(DataError, match=r"cannot go on: .*No such file or directory; begin anew"):
        work(tmp_path, resume=True)
    work(tmp_path, overwrite=True)
    check(tmp_path)


_NONE = '{"format": 1, "identity": %s, "progress": {}, "whole": true, "parts": %s}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "should say how far .* remove it"),
        ("[]", "should say how far"),
        ('{"format": 1}', "should say how far"),
        ("\ufffd", "should say how far"),
        (_NONE % ("{}", "[]"), "should say how far"),
        (_NONE % (1, '[{"name": "rows.csv", "length": 1, "records": 1}]'), "should say how far"),
        (_NONE % ("{}", '[{"records": 1}]'), "should say how far"),
        ('{"format": 99, "identity": 1}', r"is of a newer version of etn_gpu \(format 99\): go on with that version"),
    ],
)
def test_notes_that_are_none_of_ours(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rows.csv.run").write_text(text)
    for option in ("resume", "overwrite"):
        with pytest.raises(DataError, match=rf"rows\.csv\.run {message}"):
            work(tmp_path, **{option: True})
    assert names(tmp_path) == ["rows.csv.run"]


def test_parts_that_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.part").write_text("somebody's")
    with pytest.raises(DataError, match=r"rows\.csv\.part exists already"):
        work(tmp_path)
    assert (tmp_path / "rows.csv.part").read_text() == "somebody's"


def test_two_runs_on_one_output(tmp_path: Path) -> None:
    with outputs(tmp_path) as first:
        first.files[0].append(["row 0\n"])
        for options in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(DataError, match=r"another run is writing .*rows\.csv: wait for its end"):
                work(tmp_path, **options)
        first.finish({})
    assert (tmp_path / "rows.csv").read_text() == "heading\nrow 0\n"


@pytest.mark.parametrize("renamed", [0, 1])
def test_stopped_while_outputs_are_put_in_place(tmp_path: Path, renamed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = 0

    def replace(source: Any, target: Any) -> None:
        nonlocal moves
        if ".part" in str(source):
            moves += 1
            if moves > renamed:
                raise KeyboardInterrupt
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            work(tmp_path)
    assert json.loads((tmp_path / "rows.csv.run").read_text())["whole"]
    assert not (tmp_path / "rows.csv").exists()
    work(tmp_path, resume=True)
    check(tmp_path)


def upper(part: str, whole: str) -> None:
    Path(whole).write_text(Path(part).read_text().upper())


def test_output_that_is_made_of_its_part(tmp_path: Path) -> None:
    with outputs(tmp_path) as opened:
        opened.files[0].append(["row 0\n"])
        opened.finish({}, {0: upper})
    assert names(tmp_path) == sorted(NAMES)
    assert (tmp_path / "rows.csv").read_text() == "HEADING\nROW 0\n"


@pytest.mark.parametrize("moves", [0, 1, 2])
@pytest.mark.parametrize("place", ["make", "unlink", "replace"])
def test_stopped_while_an_output_is_made(
    tmp_path: Path, place: str, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is stopped, the output is made of the part in the end, and nothing else is left."""

    def run(**options: Any) -> None:
        with outputs(tmp_path, **options) as opened:
            if not opened.whole:
                if opened.progress is None:
                    opened.files[0].append(["row 0\n"])
                opened.finish({}, {0: make})

    def make(part: str, whole: str) -> None:
        upper(part, whole)
        stop("make", whole)

    left = moves

    def stop(where: str, path: str) -> None:
        nonlocal left
        if where == place and path.endswith((".part", ".whole")):
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

    def guarded(name: str, function: Any) -> Any:
        def call(path: Any, *more: Any, **options: Any) -> Any:
            stop(name, str(path))
            return function(path, *more, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", guarded("unlink", os.unlink))
        patch.setattr(os, "replace", guarded("replace", os.replace))
        with suppress(KeyboardInterrupt):
            run()
    if not (tmp_path / "rows.csv").exists():
        left = 100
        run(resume=True)
    assert names(tmp_path) == sorted(NAMES)
    assert (tmp_path / "rows.csv").read_text() == "HEADING\nROW 0\n"


def test_streams_cannot_go_on(tmp_path: Path) -> None:
    growing = [Growing("/dev/null", "rows"), Growing(tmp_path / "frames", "frames")]
    with pytest.raises(DataError, match="a pipe or a device as an output cannot go on"):
        UnfinishedOutputs(growing, dict, resume=True, overwrite=False, error=DataError).__enter__()
    with UnfinishedOutputs(growing, dict, resume=False, overwrite=False, error=DataError) as opened:
        opened.files[0].append(["x\n"])
        opened.files[1].append(["y\n"])
        opened.note({})
        opened.finish({})
    assert names(tmp_path) == ["frames"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir()
    (real / "rows").write_text("before")
    (real / "rows").chmod(0o640)
    (tmp_path / "rows.csv").symlink_to(real / "rows")
    work(tmp_path, overwrite=True)
    assert (tmp_path / "rows.csv").is_symlink()
    assert (real / "rows").stat().st_mode & 0o777 == 0o640
    assert (real / "rows").read_text().startswith("heading")
    assert names(real) == ["rows"]


def test_full_disk_keeps_what_was_noted(tmp_path: Path) -> None:
    def write_much() -> None:
        with outputs(tmp_path) as opened, at_most(20_000):
            for number in range(1000):
                opened.files[0].append([f"row {number} {'x' * 1000}\n"])
                opened.note({"done": number + 1})

    with pytest.raises(DataError, match=r"cannot write .*rows\.csv\.part: File too large"):
        write_much()
    state = json.loads((tmp_path / "rows.csv.run").read_text())
    assert state["parts"][0]["records"] == state["progress"]["done"] == 19
    with outputs(tmp_path, resume=True) as again:
        assert again.progress == {"done": 19}
        assert again.files[0].count == 19


KILLED = """
import os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tests.files.test_unfinished as t
t.module._INTERVAL = t.module._SHARE = 0.0
threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
t.work(Path(sys.argv[2]), last=100_000, resume=True)
"""


@pytest.mark.parametrize("after", [0.02, 0.1, 0.3])
def test_killed_run_goes_on(tmp_path: Path, after: float) -> None:
    root = str(Path(__file__).parents[2])
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", KILLED, root, str(tmp_path), str(after)], check=False)
        assert killed.returncode == -9
    with outputs(tmp_path, resume=True) as opened:
        done = (opened.progress or {"done": 0})["done"]
    work(tmp_path, last=done + 5, resume=True)
    check(tmp_path, last=done + 5)
