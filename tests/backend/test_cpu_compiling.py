"""Locks of the compiler around forks."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import pytest

from etn_gpu.backend.cpu import compiling


def test_what_the_next_fork_holds_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits to fork has the lock before the one that gave it back has returned."""
    held: list[int] = []
    waiting = [threading.Thread(target=lambda: compiling._before_fork())]

    class Lock:
        def __enter__(self) -> None:
            held.append(threading.get_ident())

        def __exit__(self, *error: Any) -> None:
            held.remove(threading.get_ident())
            if waiting:
                thread = waiting.pop()
                thread.start()
                thread.join()

    monkeypatch.setattr(compiling, "compiling", Lock())
    monkeypatch.setattr(compiling, "_llvm", nullcontext())
    compiling._before_fork()
    compiling._after_fork()
    assert len(held) == 1
    assert held != [threading.get_ident()]
