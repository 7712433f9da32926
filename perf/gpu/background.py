"""Commands that run beside this process, a few at a time, and can be told to wait or to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from gpu.section import Row

from etn_gpu.errors import BackendError


class Background:
    """Commands of Python by name, begun in their order; each prints a row as JSON.

    Args:
        commands: arguments of the interpreter; modules are found where this process finds them.
        at_once: how many run at a time.
        environment: variables that they have beside those of this process.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], at_once: int, environment: Mapping[str, str] | None = None
    ) -> None:
        modules = os.pathsep.join(filter(None, sys.path))
        self._environment = {**os.environ, **(environment or {}), "PYTHONPATH": modules}
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._paused = self._stopped = False
        self._threads = ThreadPoolExecutor(max(at_once, 1))
        self._futures: dict[str, Future[Row]] = {
            name: self._threads.submit(self._run, command) for name, command in commands.items()
        }

    def result(self, name: str, seconds: float | None) -> Row:
        """What a command printed; waits without end where ``seconds`` is None.

        Raises:
            TimeoutError: it has not ended within so many seconds, or was ended by :meth:`stop`.
            BackendError: it failed, with what it said; of a traceback, the last line.
        """
        try:
            return self._futures[name].result(None if seconds is None else max(seconds, 0.0))
        except CancelledError:
            raise TimeoutError(f"{name} was not run to its end") from None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No command takes time inside."""
        self._pause(True)
        try:
            yield
        finally:
            self._pause(False)

    def stop(self) -> None:
        """End all commands; none is left when this returns."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()
        self._threads.shutdown(cancel_futures=True)

    def _pause(self, paused: bool) -> None:
        with self._lock:
            self._paused = paused
            for process in self._running:
                process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def _run(self, command: Sequence[str]) -> Row:
        with self._lock:
            if self._stopped:
                raise CancelledError
            process = subprocess.Popen(
                [sys.executable, *command], env=self._environment, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            self._running.add(process)
            if self._paused:
                process.send_signal(signal.SIGSTOP)
        said, complaints = process.communicate()
        with self._lock:
            self._running.remove(process)
            if self._stopped:
                raise CancelledError
        if process.returncode != 0:
            reason = complaints.strip() or f"exit status {process.returncode}"
            raise BackendError(reason.splitlines()[-1] if reason.startswith("Traceback") else reason)
        row: Row = json.loads(said)
        return row
