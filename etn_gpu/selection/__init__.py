"""Selection: which structures of a pool tell a potential most that its training data do not, before they are labelled.

:func:`select` is the whole job on structures in memory; :class:`Selection` is the same job on streams, with its state
open to the caller.

===================  =================================================================================
:mod:`.information`  what labels of a structure would add to what the training data know
:mod:`.greedy`       the choice among structures in memory, and what is kept of a stream
:mod:`.admission`    structures become candidates, or a reason why they do not
:mod:`.runner`       the pass over the pool
:mod:`.writing`      the file of chosen structures
===================  =================================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import Choice, Selection, SelectionReport, select

__all__ = ["Choice", "Selection", "SelectionReport", "select"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.runner"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
