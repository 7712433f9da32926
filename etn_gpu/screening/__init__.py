"""Screening: very many structures through a model, one row each, streamed and ranked.

:func:`screen` is the whole job in one call; :class:`Screening` is the same job with its state open to the caller
(progress, an interrupt). Names are loaded on first use, so that the command line can show its help without loading
ASE.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batching import BatchLimits
    from .demo import demo_structures
    from .evaluation import Outcome, evaluate_each
    from .ranking import RankBy, Ranking
    from .report import ScreeningReport
    from .rows import COLUMNS, Row
    from .runner import Screening, screen
    from .sources import FileSource, MemorySource, Source

__all__ = [
    "COLUMNS",
    "BatchLimits",
    "FileSource",
    "MemorySource",
    "Outcome",
    "RankBy",
    "Ranking",
    "Row",
    "Screening",
    "ScreeningReport",
    "Source",
    "demo_structures",
    "evaluate_each",
    "screen",
]

_MODULES = {
    "batching": ("BatchLimits",),
    "demo": ("demo_structures",),
    "evaluation": ("Outcome", "evaluate_each"),
    "ranking": ("RankBy", "Ranking"),
    "report": ("ScreeningReport",),
    "rows": ("COLUMNS", "Row"),
    "runner": ("Screening", "screen"),
    "sources": ("FileSource", "MemorySource", "Source"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
