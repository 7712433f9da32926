"""What a run of learning shows while it is under way: a bar for what is being done, a line for each round."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from etn_gpu.cli.console import error_console, new_spinner
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from etn_gpu.learning.config import Event

_SECONDS_BETWEEN_LINES = 10.0
_WARNINGS_SHOWN = 10


class LearningDisplay:
    """Shows the events of :func:`etn_gpu.learning.learn`: results on ``console``, progress there if it is a terminal,
    on standard error otherwise."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # A bar and what is printed above it must be of one console, or they write over each other.
        with_bar = next((one for one in (console, error_console()) if one.is_terminal), None)
        self._progress = None if with_bar is None else self._bar(with_bar)
        self._task: Any = None
        self._text, self._total = "", 0
        self._last_line = perf_counter()
        self._warnings = 0
        #: Whether there is a run that could go on.
        self.begun = False

    def __enter__(self) -> LearningDisplay:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if (more := self._warnings - _WARNINGS_SHOWN) > 0:
            self._console.print(f"... and {more} more failed", style="yellow")

    def show(self, event: Event) -> None:
        """Shows one event."""
        self.begun = True
        if event.kind == "phase":
            self._begin(event)
        elif event.kind == "progress":
            self._advance(event)
        elif event.kind == "round":
            self._console.print(_round_line(event.facts), soft_wrap=True)
        elif event.kind == "message":
            self._console.print(escaped(event.text), soft_wrap=True)
        elif event.kind == "warning":
            self._warnings += 1
            if self._warnings <= _WARNINGS_SHOWN:
                self._console.print(f"failed: {escaped(event.text)}", style="yellow", soft_wrap=True)

    def _begin(self, event: Event) -> None:
        self._text, self._total = event.text, event.total
        if self._progress is not None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(event.text, total=event.total or None) if event.text else None

    def _advance(self, event: Event) -> None:
        if self._progress is not None:
            if self._task is not None:
                self._progress.update(self._task, completed=event.done)
            return
        now = perf_counter()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            of_total = f" of {self._total}" if self._total else ""
            error_console().print(f"{escaped(self._text)}: {event.done}{of_total}", soft_wrap=True)

    def _bar(self, console: Console) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = [
            new_spinner(console),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        ]
        return Progress(*columns, console=console, transient=True)


def _round_line(facts: dict[str, Any]) -> str:
    """A round in one line."""
    met = facts.get("met", {})
    parts = [f"round {facts['round']}: {met.get('structures', 0)} structures met"]
    if met.get("trajectories"):
        ended = f"{met['ended_by_grade']} of {met['trajectories']} trajectories ended by their grade"
        parts.append(ended + (f", {met['exploded']} exploded" if met["exploded"] else ""))
    parts.append(f"{facts.get('labelled', 0)} of {facts.get('chosen', 0)} chosen labelled")
    if facts.get("large_forces"):
        parts.append(f"{facts['large_forces']} left out for large forces")
    if before := facts.get("before"):
        parts.append(f"errors on them before training {_errors(before['energy']['mae'], before['forces']['mae'])}")
    errors = facts.get("valid") or facts.get("train") or {}
    if errors.get("energy_mae") is not None:
        name = "held-out" if facts.get("valid") else "training"
        parts.append(f"errors on {name} data after training {_errors(errors['energy_mae'], errors.get('forces_mae'))}")
    return "; ".join(parts)


def _errors(energy: float | None, forces: float | None) -> str:
    texts = [] if energy is None else [f"{1e3 * energy:.2f} meV/atom"]
    return ", ".join(texts + ([] if forces is None else [f"{1e3 * forces:.1f} meV/A"]))
