"""The file of chosen structures: extended XYZ to be labelled, without results that could be taken for labels."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from etn_gpu import files
from etn_gpu.errors import DataError
from etn_gpu.screening.frame_values import info_text
from etn_gpu.screening.frames import FrameWriter
from etn_gpu.screening.text import as_cell

if TYPE_CHECKING:
    from etn_gpu.selection.runner import Choice

__all__ = ["write_choices"]


def write_choices(path: str | os.PathLike[str], choices: Sequence[Choice]) -> Counter[str]:
    """Writes the structures in the order of the choice, in one piece; compressed if named ``.gz``.

    Each has ``select_rank``, ``select_gain`` and ``extrapolation_grade``, its ``source`` and ``source_index``, and what
    else the input carried, but no energies, forces and stresses: those of a pool are as often as not a potential's.

    Returns:
        What was renamed or left out, and in how many structures.

    Raises:
        DataError: the file cannot be written; one that was there is as it was.
    """
    writer = FrameWriter()
    content = "".join(writer.frame(choice.atoms, {}, _entries(choice)) for choice in choices).encode()
    if os.fspath(path).lower().endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    files.write_atomically(path, content, DataError, "the chosen structures")
    return writer.notes


def _entries(choice: Choice) -> list[str]:
    return [
        f"select_rank={choice.rank}",
        f"select_gain={choice.gain!r}",
        f"extrapolation_grade={choice.grade!r}",
        f"source={info_text(as_cell(choice.source, './'))}",
        f"source_index={choice.index}",
    ]
