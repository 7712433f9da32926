"""Seconds on the device: the median of repeats after a warm-up, and how far they spread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gpu.section import Row

from etn_gpu.backend.cuda.device import CupyDevice, Device

#: Seconds of work before anything is timed: an idle GPU raises its clocks only after some of it.
WARM_UP = 0.3
#: Fewest and most repeats, and seconds that they should take together.
FEWEST, MOST, SECONDS = 5, 50, 1.0


@dataclass(frozen=True)
class Seconds:
    """Seconds of each repeat."""

    repeats: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of them."""
        return float(np.median(self.repeats))

    def row(self) -> Row:
        """The figures for a report."""
        return {
            "milliseconds": 1e3 * self.median,
            "least": 1e3 * min(self.repeats),
            "most": 1e3 * max(self.repeats),
            "repeats": len(self.repeats),
        }


class Moment:
    """When the device gets to what is started after this: an event on a GPU, else the time of the host."""

    def __init__(self, device: Device) -> None:
        self._event: Any = None
        if isinstance(device, CupyDevice):
            import cupy

            self._event = cupy.cuda.Event()
            self._event.record()
        else:
            device.synchronize()
            self._seconds = time.perf_counter()

    def since(self, earlier: Moment) -> float:
        """Seconds from an earlier one on; waits for this one."""
        if self._event is None:
            return self._seconds - earlier._seconds
        import cupy

        self._event.synchronize()
        return 1e-3 * float(cupy.cuda.get_elapsed_time(earlier._event, self._event))


def timed(device: Device, function: Callable[[], object], seconds: float = SECONDS, warm_up: int = 1) -> Seconds:
    """Time a function that starts work on the default stream of ``device``; as many repeats as ``seconds`` allow.

    What comes before is not counted, see :func:`warmed_up`.
    """
    warmed_up(device, function, warm_up)
    repeats = min(max(int(seconds / max(_once(device, function), 1e-6)), FEWEST), MOST)
    return Seconds(tuple(_once(device, function) for _ in range(repeats)))


def warmed_up(device: Device, function: Callable[[], object], calls: int = 1) -> None:
    """Call a function at least so many times, which loads code and takes memory from the driver, then until the device
    has worked for :data:`WARM_UP` seconds."""
    for _ in range(calls):
        function()
    device.synchronize()
    end = time.perf_counter() + WARM_UP
    while time.perf_counter() < end:
        function()
        device.synchronize()


def _once(device: Device, function: Callable[[], object]) -> float:
    begin = Moment(device)
    function()
    return Moment(device).since(begin)
