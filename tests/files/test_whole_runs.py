"""A run that is whole: what tells that there is nothing to do, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import unfinished as module
from etn_gpu.files.atomic import write_atomically

from .test_unfinished import NAMES, check, names, outputs, work


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"repeatable": True}])
def test_resume_of_what_is_whole_and_not_known(tmp_path: Path, options: dict[str, Any]) -> None:
    work(tmp_path, **options)
    check(tmp_path)  # no note: it would not say all, or nobody asked
    with pytest.raises(DataError, match=r"rows\.csv.* exist already"):
        work(tmp_path, resume=True, repeatable=True)


def test_resume_of_what_is_whole_does_nothing(tmp_path: Path) -> None:
    options: dict[str, Any] = {"resume": True, "repeatable": True}
    work(tmp_path, **options)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    assert sorted(before) == sorted([*NAMES, "rows.csv.run"])
    assert outputs(tmp_path, **options).check()
    with outputs(tmp_path, **options) as opened:
        assert opened.whole
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    with pytest.raises(DataError, match='is of another run: model was "a", is "b"'):
        work(tmp_path, identity={"model": "b"}, **options)
    with pytest.raises(DataError, match=r"rows\.csv.* exist already"):
        work(tmp_path)
    with (tmp_path / NAMES[1]).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"frames\.xyz\.gz had \d+ bytes, and has \d+: choose another"):
        work(tmp_path, **options)
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(DataError, match=r"frames\.xyz\.gz is not there: choose another name"):
        work(tmp_path, **options)
    (tmp_path / NAMES[0]).unlink()
    work(tmp_path)  # nothing of the old run was left but its note
    check(tmp_path)


def test_a_note_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Any, content: bytes, *rest: Any, **options: Any) -> None:
        if b'"in place": true' in content:
            raise DataError("No space left on device")
        write_atomically(path, content, *rest, **options)

    monkeypatch.setattr(module, "write_atomically", full)
    work(tmp_path, resume=True, repeatable=True)
    check(tmp_path)
