"""The time limit of a run: asked for between the parts of the work, from the largest down to a few thousand atoms.

What is under way when time is up ends there: :class:`TimeIsUp` leaves the innermost computation, and whoever holds a
result that is whole (an accepted step, the model of the last iteration) catches it and goes on with that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Most of a time limit that is set aside for the end.
MOST_RESERVED = 0.3
#: Seconds that report and plots take.
REPORT_SECONDS = 1.5


class TimeIsUp(Exception):
    """The time limit ends what is being computed; never leaves :func:`etn_gpu.training.train`."""


class Deadline:
    """The clock of a run.

    Args:
        limit: seconds that the whole run may take, None for no limit.

    Attributes:
        earlier: seconds before a resume, which count.
        final_errors: seconds that the errors of the final model on all structures will take, as far as is known.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.earlier = 0.0
        self.final_errors = 0.0
        self._started = time.monotonic()
        self._lifted = False

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, those before a resume included."""
        return self.earlier + time.monotonic() - self._started

    def late(self, share: float = 1.0) -> bool:
        """Whether this share of the time for computing is over; what the end of the run takes is set aside."""
        if self.limit is None:
            return False
        reserved = min(self.final_errors + REPORT_SECONDS, MOST_RESERVED * self.limit)
        return self.elapsed >= share * (self.limit - reserved)

    def time_left(self) -> bool:
        """Whether there is time for more, or the limit is lifted."""
        return self._lifted or not self.late()

    def check(self) -> None:
        """Raises TimeIsUp where there is no time for more."""
        if not self.time_left():
            raise TimeIsUp

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Inside, the limit ends nothing: for what a result needs to be whole."""
        before, self._lifted = self._lifted, True
        try:
            yield
        finally:
            self._lifted = before
