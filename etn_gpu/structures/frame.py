"""What reading gives for each structure of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.errors import DataError


@dataclass(frozen=True)
class Frame:
    """One structure of a file: `atoms`, or the `error` that kept it from being read; `index` counts from 0.

    `untried` is how many frames behind this one could not even be tried, because the file cannot be followed beyond it:
    0 nearly always, None where the file does not tell how many there are. `size` is the number of
    atoms that a frame in error was to have, 1 where that is not known.
    """

    index: int
    atoms: Atoms | None
    error: DataError | None = None
    untried: int | None = 0
    size: int = 1


#: A frame that is still to be made, so that those that nobody wants cost little.
Pending = Callable[[], Frame]


def made(frames: Iterable[Frame]) -> Iterator[Pending]:
    """Frames of readers that make them at once."""
    return (partial(_itself, frame) for frame in frames)


def _itself(frame: Frame) -> Frame:
    return frame


def reason(error: BaseException) -> str:
    """An exception of another library in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
