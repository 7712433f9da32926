"""The model in forked, spawned and threaded workers after it was used: the same numbers, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COUNT = 4


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What processes.py found, by the kind of worker."""
    script = Path(__file__).with_name("processes.py")
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": str(script.parents[2])}
    finished = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=500, env=environment, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


@pytest.mark.parametrize(
    "kind", ["fork", "forkserver", "spawn", "executor", "threads", "forked after threads", "beside", "first use beside"]
)
def test_workers_give_what_one_process_gives(answers: dict[str, Any], kind: str) -> None:
    assert answers[kind] == answers["here"]


def test_children_of_children(answers: dict[str, Any]) -> None:
    assert answers["grandchildren"] == answers["here"][:2]


@pytest.mark.parametrize("kind", ["first use", "calculator of another thread"])
def test_children_forked_while_another_thread_evaluates(answers: dict[str, Any], kind: str) -> None:
    expected = answers["here"]
    assert answers[kind] == (expected * 2)[: len(answers[kind])]


def test_no_threads_of_numba_are_started(answers: dict[str, Any]) -> None:
    assert answers["threads of numba"] is None
