"""One run at a time, and a killed one is none."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import locks
from etn_gpu.files.locks import locked, take_lock


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("m.etn")
    with locked([tmp_path / "m.etn"], DataError):
        for path in (tmp_path / "m.etn", tmp_path / "link"):
            with (
                pytest.raises(DataError, match=r"another run is writing .*: wait for its end"),
                locked([path], DataError),
            ):
                pytest.fail("two at a time")
        with locked([tmp_path / "other.etn"], DataError):
            pass
    with locked([tmp_path / "m.etn"], DataError):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_nothing_stays_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked([tmp_path / "a", tmp_path / "b"], DataError):
        raise ZeroDivisionError
    with pytest.raises(DataError), locked([tmp_path / "a", tmp_path / "missing" / "b"], DataError):
        pytest.fail("there is no such folder")
    assert list(tmp_path.iterdir()) == []


def test_streams_bear_no_lock() -> None:
    with locked(["/dev/null"], DataError), locked(["/dev/null"], DataError):
        pass
    assert not Path("/dev/.null.lock").exists()


_HOLD = """
import sys, time
from etn_gpu.errors import DataError
from etn_gpu.files import locked
with locked([sys.argv[1]], DataError):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.etn"
    with subprocess.Popen([sys.executable, "-c", _HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="another run is writing"), locked([path], DataError):
            pytest.fail("two at a time")
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    with locked([path], DataError):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_was_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the run that had it ended."""
    taken: list[int] = []

    def take(file: int) -> bool:
        if not taken:
            (tmp_path / ".m.etn.lock").unlink()
        taken.append(file)
        return take_lock(file)

    monkeypatch.setattr(locks, "take_lock", take)
    with locked([tmp_path / "m.etn"], DataError):
        assert len(taken) == 2
        assert (tmp_path / ".m.etn.lock").exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked([tmp_path / "m.etn"], DataError):
        pass
    assert os.listdir(tmp_path) == []
