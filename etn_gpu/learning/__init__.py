"""Learning: a potential of this library learns from a slow one, any ASE calculator, which labels what it has to know.

:func:`learn` is the whole job.

=====================  ==============================================================================
:mod:`.config`         options and events of a run
:mod:`.given`          the structures to begin with, and those held out for the comparison
:mod:`.perturbations`  supercells, strained and rattled copies
:mod:`.exchange`       elements that stand for each other: other compositions and arrangements
:mod:`.dynamics`       molecular dynamics by the student until its grade says stop
:mod:`.samples`        the structures of a round: what is met, and the choice of what is labelled
:mod:`.teacher`        a calculator by the name of its factory, or a model
:mod:`.worker`         the process in which a teacher computes
:mod:`.pool`           several of them, with time limits, replaced when they die
:mod:`.labels`         what the teacher said, on disk
:mod:`.folder`         what a run leaves behind on the way, to go on from
:mod:`.runner`         the rounds
:mod:`.comparison`     student against teacher: errors, speed
:mod:`.report`         what a run amounts to
=====================  ==============================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import LearningConfig
    from .report import LearningReport
    from .runner import learn
    from .teacher import Teacher

__all__ = ["LearningConfig", "LearningReport", "Teacher", "learn"]

_HOME = {"LearningConfig": "config", "LearningReport": "report", "Teacher": "teacher", "learn": "runner"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
