"""The process in which the teacher works: it may print, hang, run out of memory or die without taking anything with it.

What is said through the connection: first where modules are (a list for ``sys.path``), then the teacher; the answer is
None when there is a calculator, a text with the reason when there is none. From then on structures come, and each is
answered by a Label or a Failure. The end of the connection is the end of the process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from etn_gpu.errors import LearningError
from etn_gpu.learning.calculation import label_of
from etn_gpu.learning.teacher import Teacher

__all__ = ["BEGIN", "serve"]

#: What the process begins with, in Python. Only when it knows where its parent finds modules can it find this one.
BEGIN = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv.pop()))
sys.path[:] = connection.recv()
from etn_gpu.learning.worker import serve
serve(connection)
"""
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 5.0


def serve(connection: Connection) -> None:
    """Answers until the connection ends. The process must lead a group of its own, which is ended with its parent."""
    # Programs that the teacher starts must not keep the connection open.
    os.set_inheritable(connection.fileno(), False)
    threading.Thread(target=_end_with, args=(os.getppid(),), name="etn_gpu parent", daemon=True).start()
    # The end of the parent, in the midst of a sentence perhaps, is nothing to complain of.
    with suppress(EOFError, ConnectionError):
        name, arguments, number = connection.recv()
        try:
            calculator = Teacher(name, arguments).calculator()
        except LearningError as error:
            connection.send(str(error))
            return
        if number is not None:
            _set_apart(calculator, number)
        connection.send(None)
        while True:
            connection.send(label_of(calculator, connection.recv()))


def _set_apart(calculator: Any, number: int) -> None:
    """Calculators that work on files get a folder of this worker: two in one folder would read each other's results."""
    folder = getattr(calculator, "directory", None)
    if isinstance(folder, str | os.PathLike):
        apart = Path(folder) / f"worker-{number}"
        with suppress(AttributeError):
            calculator.directory = str(apart) if isinstance(folder, str) else apart


def _end_with(parent: int) -> None:
    """Ends this process and all that it started when its parent is no more, though it be in a calculation of hours."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os.killpg(0, signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os.killpg(0, signal.SIGKILL)
