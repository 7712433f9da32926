"""Ctrl-C that is not lost, and the request to end of a queueing system (SIGTERM), which is the same to a run.

Python raises KeyboardInterrupt in whatever runs at that moment. If that is a function which compiled code calls, such
as ``__len__`` in a conversion to an array, the exception can end there: C code that takes any error for "has no
length" clears it, and the run goes on as if nobody had asked it to stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["remembered_interrupts"]


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C does what it did before and is remembered; the function given raises it again where it was lost.
    SIGTERM does the same where it would end the process.

    A signal that is not Python's to handle stays what it is: Ctrl-C that is ignored or deadly, SIGTERM that is ignored
    or somebody's; and all in another thread than the first.
    """
    asked = False
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        if not callable(before[signal.SIGINT]):
            del before[signal.SIGINT]
        if before[signal.SIGTERM] is not signal.SIG_DFL:
            del before[signal.SIGTERM]

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, remember)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
