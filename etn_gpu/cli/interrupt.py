"""Ctrl-C that is not lost.

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

__all__ = ["remembered_interrupts"]


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C does what it did before and is remembered; the function given raises it again where it was lost.

    Does nothing where Ctrl-C is not Python's to handle: ignored, deadly, or in another thread than the first.
    """
    previous = signal.getsignal(signal.SIGINT)
    asked = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        assert callable(previous)
        previous(number, frame)

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if not callable(previous) or threading.current_thread() is not threading.main_thread():
        yield check
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, previous)
