"""How many cores a process may use."""

from __future__ import annotations

import os

import pytest

from etn_gpu.backend.cores import usable_cores


def test_cores_that_a_process_may_run_on_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert usable_cores() == 2


@pytest.mark.parametrize(("told", "expected"), [(6, 6), (None, 1)])
def test_systems_that_bind_no_process_to_cores(
    monkeypatch: pytest.MonkeyPatch, told: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert usable_cores() == expected
