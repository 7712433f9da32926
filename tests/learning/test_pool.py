"""Worker processes: nothing that a teacher does takes another structure with it, and nothing is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from etn_gpu.errors import ConcurrentUseError, LearningError
from etn_gpu.learning.calculation import label_of
from etn_gpu.learning.labels import Failure, Label
from etn_gpu.learning.pool import TeacherPool
from etn_gpu.learning.teacher import Teacher

Chain = Callable[[int], Atoms]


def is_gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process ends soon; one whose parent does not look after it stays as a zombie."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_teacher_with_all_vices(
    teachers: str, chain: Chain, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher = Teacher(f"{teachers}:chaos", {"folder": str(tmp_path)})
    structures = [chain(n) for n in range(1, 9)]
    structures[7].set_constraint(FixAtoms(range(8)))
    log = tmp_path / "teacher.log"
    with TeacherPool(teacher, 2, timeout=2.0, log=log) as pool:
        found = dict(pool.label(structures))
        made = (tmp_path / "made").read_text().split()
        again = list(pool.label([chain(7)]))
        assert (tmp_path / "made").read_text().split() == made
    assert sorted(found) == list(range(8))
    for n in (1, 7, 8):
        outcome, direct = found[n - 1], label_of(EMT(), chain(n))
        assert isinstance(outcome, Label)
        assert isinstance(direct, Label)
        assert outcome.energy == direct.energy
        assert np.array_equal(outcome.forces, direct.forces)
        assert outcome.stress is None
    ((place, outcome),) = again
    assert place == 0
    assert isinstance(outcome, Label)
    messages = {n: outcome.message for n in range(2, 7) if isinstance(outcome := found[n - 1], Failure)}
    assert messages == {
        2: "ValueError: two atoms are too few",
        3: "the worker process ended with exit status 7",
        4: "the worker process was killed by signal 9, Killed (out of memory?)",
        5: "took longer than 2 s",
        6: "SystemExit: no more licences",
    }
    assert found[4].seconds >= 2.0
    assert 2 <= len(made) <= 5
    assert is_gone(int((tmp_path / "child").read_text()))
    assert "loud loud" in log.read_text()
    assert "louder louder" in log.read_text()
    assert "ValueError: two atoms are too few" in log.read_text()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [("breaks", "RuntimeError: no licence; what it printed is in .*log$"), ("dies", "ended with exit status 3; what")],
)
def test_a_calculator_that_cannot_be_made(name: str, message: str, teachers: str, chain: Chain, tmp_path: Path) -> None:
    drawn = []

    def structures() -> Iterator[Atoms]:
        for n in range(1, 100):
            drawn.append(n)
            yield chain(n)

    with (
        TeacherPool(Teacher(f"{teachers}:{name}"), log=tmp_path / "log") as pool,
        pytest.raises(LearningError, match=message),
    ):
        list(pool.label(structures()))
    assert drawn == [1]


def test_structures_are_taken_when_there_is_a_worker(chain: Chain) -> None:
    drawn: list[int] = []

    def structures(last: int) -> Iterator[Atoms]:
        for n in range(1, last):
            drawn.append(n)
            yield chain(n)
        raise RuntimeError("no more of them")

    with TeacherPool(Teacher("ase.calculators.emt:EMT")) as pool:
        assert list(pool.label([])) == []
        iteration = pool.label(structures(9))
        for n in range(3):
            assert next(iteration)[0] == n
            assert len(drawn) == n + 1
        with pytest.raises(ConcurrentUseError, match="labelling other structures"):
            next(pool.label([chain(1)]))
        assert next(iteration)[0] == 3
        iteration.close()  # type: ignore[attr-defined]
        assert len(drawn) == 4
        with pytest.raises(RuntimeError, match="no more of them"):
            list(pool.label(structures(3)))
        (worker,) = pool._workers.values()
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        # one that died while it had nothing to do costs nothing
        assert [type(outcome) for _, outcome in pool.label([chain(2), chain(1)])] == [Label, Label]
    assert worker.ended


def test_where_a_worker_is(teachers: str, chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    with TeacherPool(Teacher(f"{teachers}:Where", {"folder": str(tmp_path)}), 2, threads=3) as pool:
        assert len(list(pool.label([chain(1), chain(2)]))) == 2
    for number in range(2):
        assert (tmp_path / f"where-{number}").read_text() == f"calc/worker-{number} 3 5 3"


SCRIPT = """
import signal
# whoever started the tests in the background may have had Ctrl-C ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
from ase import Atoms
from etn_gpu.learning.pool import TeacherPool
from etn_gpu.learning.teacher import Teacher
with TeacherPool(Teacher({name!r}, {{"folder": {folder!r}}})) as pool:
    print(list(pool.label([Atoms("Cu")])))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(number: signal.Signals, teachers: str, tmp_path: Path) -> None:
    """Killed, the parent can do nothing any more; Ctrl-C goes to all processes of a terminal, its group."""
    root = Path(sys.modules["etn_gpu"].__path__[0]).parent
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(name=f"{teachers}:hangs", folder=str(tmp_path))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    until = time.monotonic() + 60.0
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    assert not is_gone(pid, 0.1)
    os.killpg(parent.pid, number)
    out, err = parent.communicate(timeout=60.0)
    assert is_gone(pid)
    assert out == ""
    assert err.count("Traceback") == (1 if number == signal.SIGINT else 0)
    assert parent.returncode == -number


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"workers": 1.5}, r"workers must .* got 1\.5"),
        ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
        ({"timeout": 0}, "timeout must be a positive number, got 0"),
        ({"timeout": float("nan")}, "timeout must .* got nan"),
        ({"timeout": "1"}, "timeout must .* got '1'"),
    ],
)
def test_bad_numbers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        TeacherPool(Teacher("a:b"), **options)


def test_a_log_that_cannot_be_written(chain: Chain, tmp_path: Path) -> None:
    with (
        TeacherPool(Teacher("a:b"), log=tmp_path / "nowhere" / "log") as pool,
        pytest.raises(LearningError, match=r"cannot start a worker process: .*nowhere"),
    ):
        list(pool.label([chain(1)]))
