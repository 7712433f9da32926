"""A worker process as its parent sees it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu.errors import LearningError
from etn_gpu.learning.teacher import Teacher
from etn_gpu.learning.worker import BEGIN

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["NUMBER", "WorkerProcess"]

#: The environment variable that tells a factory in which worker, counted from 0, it is.
NUMBER = "ETN_GPU_WORKER"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
#: Seconds that a process has to end by itself, and after it was asked to.
_GRACE = 2.0


class WorkerProcess:
    """A process that begins to make the teacher's calculator.

    It leads a session of its own: Ctrl-C in a terminal reaches the parent alone, and what the teacher starts ends with
    it.

    Attributes:
        number: which worker it is.
        connection: what it says; see :mod:`etn_gpu.learning.worker`.
        job: index and structure that it works on, or will as soon as it is ready.
        ready: whether it has a calculator.
        since: when it began to do what it does, by the monotonic clock.

    Raises:
        LearningError: no process can be started, or the log cannot be written.
    """

    def __init__(self, teacher: Teacher, number: int, *, apart: bool, threads: int, log: Path | None) -> None:
        self.number = number
        self.job: tuple[int, Atoms] | None = None
        self.ready = False
        self.since = time.monotonic()
        self.connection, child = multiprocessing.Pipe()
        environment = {**dict.fromkeys(_THREADS, str(threads)), **os.environ, NUMBER: str(number)}
        try:
            with open(os.devnull if log is None else log, "ab") as output:
                self._process = subprocess.Popen(
                    # -P: nothing in the present folder takes the place of the standard library
                    [sys.executable, "-P", "-c", BEGIN, str(child.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[child.fileno()],
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            self.connection.close()
            raise LearningError(f"cannot start a worker process: {error}") from error
        finally:
            child.close()
        here = os.getcwd()
        self.say([path or here for path in sys.path])
        self.say((teacher.name, teacher.arguments, number if apart else None))

    def say(self, message: Any) -> None:
        """Sends a message; that nobody is there to hear it shows when the answer is waited for."""
        with suppress(OSError):
            self.connection.send(message)

    def begin(self) -> None:
        """Sends the structure of the job."""
        assert self.job is not None
        self.since = time.monotonic()
        self.say(self.job[1])

    @property
    def ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def obituary(self) -> str:
        """How the process ended, once it has ended or closed its connection."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        code = self._process.returncode
        if code is None:
            return "the worker process lost its connection"
        if code >= 0:
            return f"the worker process ended with exit status {code}"
        cause = " (out of memory?)" if code == -signal.SIGKILL else ""
        name = signal.strsignal(-code) or "unknown"
        return f"the worker process was killed by signal {-code}, {name}{cause}"

    def end(self, *, gently: bool) -> None:
        """Ends the process and all that it started; `gently`: it is idle, and ends when its connection does."""
        self.connection.close()
        try:
            if gently:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE)
                    return
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
