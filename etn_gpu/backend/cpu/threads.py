"""Our own threads for compiled loops: they come with the first loop that is worth it, and anew in a forked child.

Numba's are never started. With GNU OpenMP a child that is forked afterwards is ended at its first loop; numba's own
work queue ends the whole process when two Python threads run loops at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import numba
import numpy as np

from etn_gpu.backend.cores import usable_cores

#: Called with a counter of chunks (see :func:`loops.take`), the number of the worker and arguments.
Loop = Callable[..., object]
_NO_CHUNK_LEFT = np.iinfo(np.int64).max // 2
numba_config: Any = numba.config


def available() -> int:
    """Threads that loops use by default: cores that this process may run on, at most NUMBA_NUM_THREADS."""
    return min(usable_cores(), numba_config.NUMBA_NUM_THREADS)


def workers(threads: int | None, chunks: int) -> int:
    """How many threads share a loop of so many chunks, the caller's among them; ``threads``: at most, None: all."""
    if chunks <= 1 or threads == 1:
        return 1
    return min(chunks, available() if threads is None else min(threads, numba_config.NUMBA_NUM_THREADS))


def share(loop: Loop, number: int, *arguments: Any) -> None:
    """``loop(counter, worker, *arguments)`` in ``number`` threads, the caller's among them; in fewer if they are busy.

    Worker 0 is the caller, who never waits for a thread that has not begun: threads may share loops at the same time.
    What a worker raises is raised here.
    """
    if number == 1:
        loop(np.zeros(1, np.int64), 0, *arguments)
    else:
        _Task(loop, arguments).run(number - 1)


class _Task:
    """A loop that is being run. Helpers may join until the caller finds no chunk left, and then are waited for."""

    def __init__(self, loop: Loop, arguments: Sequence[Any]) -> None:
        self._loop, self._arguments = loop, arguments
        self._counter = np.zeros(1, np.int64)
        self._lock, self._all_left = Lock(), Lock()
        self._all_left.acquire()
        self._open, self._inside = True, 0
        self._error: BaseException | None = None

    def run(self, helpers: int) -> None:
        try:
            _pool.invite(self, helpers)
            self._loop(self._counter, 0, *self._arguments)
        except BaseException:
            self._stop()
            raise
        finally:
            self._close()
        if self._error is not None:
            raise self._error

    def help(self, worker: int) -> None:
        """Take part, unless that comes too late."""
        with self._lock:
            if not self._open:
                return
            self._inside += 1
        try:
            self._loop(self._counter, worker, *self._arguments)
        except BaseException as error:  # for the caller
            self._error = error
            self._stop()
        with self._lock:
            self._inside -= 1
            if not self._open and self._inside == 0:
                self._all_left.release()

    def _stop(self) -> None:
        self._counter[0] = _NO_CHUNK_LEFT

    def _close(self) -> None:
        """Let nobody in any more, and wait for those inside; an interrupt ends their work early, not the waiting."""
        interrupt: BaseException | None = None
        while self._open or self._inside:  # an interrupt may come between any two steps
            try:
                with self._lock:
                    self._open = False
                if self._inside:
                    self._all_left.acquire()
            except BaseException as error:  # helpers still write to arrays of the caller
                self._stop()
                interrupt = error
        self._arguments = ()  # invitations that nobody has read hold no arrays
        if interrupt is not None:
            raise interrupt


class _Pool:
    """Threads that wait for tasks, as many as any loop has asked for at a time."""

    def __init__(self) -> None:
        self._invitations: SimpleQueue[tuple[_Task, int]] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0

    def invite(self, task: _Task, helpers: int) -> None:
        """Ask ``helpers`` threads to take part; they are the workers 1, 2, ..."""
        if self._threads < helpers:
            with self._lock, suppress(RuntimeError):  # no more threads can be started: so be it
                while self._threads < helpers:
                    # They must not keep a process from ending
                    Thread(target=_serve, args=(self._invitations,), name="etn_gpu", daemon=True).start()
                    self._threads += 1
        for worker in range(1, helpers + 1):
            self._invitations.put((task, worker))


def _serve(invitations: SimpleQueue[tuple[_Task, int]]) -> None:
    while True:
        task, worker = invitations.get()
        task.help(worker)
        del task


_pool = _Pool()


def _in_child() -> None:
    """Neither threads nor the state of locks come along."""
    global _pool
    _pool = _Pool()


os.register_at_fork(after_in_child=_in_child)
