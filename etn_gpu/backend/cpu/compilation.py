"""Machine code of several Programs at once, each made by a process of its own.

Compilation takes seconds, uses one core and cannot be stopped from inside. Processes use all cores, and end when there
is no time left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import etn_gpu.backend
from etn_gpu.backend.cpu import jit
from etn_gpu.backend.cpu.executor import is_loaded, lowered
from etn_gpu.backend.cpu.threads import workers
from etn_gpu.plan.program import Program

_POLL = 0.01
#: Characters of a module that take as long to compile as a process takes to begin, about a second.
WORTHWHILE = 1_000_000
_CHILD = (
    "import sys; from etn_gpu.backend.cpu.jit import compile_text;"
    "sys.stdout.buffer.write(compile_text(sys.stdin.read()))"
)


def prepare(programs: Sequence[tuple[Program, str]], threads: int | None, time_left: Callable[[], bool] | None) -> bool:
    """Make machine code for Programs, each with its dtype, where it is not there yet; False where time ran out.

    Small Programs are left to their first execution, and without a limit (None) so is a single one: a process would
    only take longer. What a process cannot compile is left to that as well, which has the better error.
    """
    wanted = [pair for pair in dict.fromkeys(programs) if not is_loaded(*pair)]
    if not wanted or (time_left is None and len(wanted) < 2):
        return True
    go_on = time_left or (lambda: True)
    texts: list[str] = []
    for pair in wanted:
        if not go_on():
            return False
        text = lowered(*pair).text
        if len(text) >= WORTHWHILE and not jit.is_stored(text):
            texts.append(text)
    if time_left is None and len(texts) < 2:
        return True
    return _compile(texts, workers(threads, len(texts)), go_on)


@dataclass
class _Job:
    text: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]


def _compile(texts: list[str], processes: int, go_on: Callable[[], bool]) -> bool:
    waiting, running = list(texts), list[_Job]()
    with ExitStack() as files:
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    try:
                        running.append(_start(waiting.pop(0), files))
                    except OSError:  # no process or no temporary file to be had: left to the first execution
                        return go_on()
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    if job.process.returncode == 0:
                        job.output.seek(0)
                        jit.keep(job.text, job.output.read())
                if not go_on():
                    return False
                time.sleep(_POLL)
        finally:
            for job in running:
                job.process.kill()
                job.process.wait()
    return True


def _start(text: str, files: ExitStack) -> _Job:
    given = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed by the stack
    output = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    given.write(text.encode())
    given.seek(0)
    # The package that is running, whether it is installed or not; -P keeps the present folder out of its way.
    root = str(Path(etn_gpu.backend.__file__).parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD],
        stdin=given,
        stdout=output,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
    )
    return _Job(text, process, output)
