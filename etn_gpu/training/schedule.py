"""When a run sweeps: what it starts from, when a sweep is due, and what an event says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from etn_gpu.potential import Architecture
from etn_gpu.symmetry import Irreps
from etn_gpu.training.config import Event

#: Gauss-Newton iterations before the first sweep and between two of them.
BETWEEN = 3
#: Sweeps end with two in a row, one in each direction, that lower the loss by less than this share.
WORTHWHILE = 0.1
#: Share of the time limit after which no sweep begins: the iterations that follow make the most of the ranks found.
SWEEP_SHARE = 0.5


@dataclass(frozen=True)
class SweepEvent(Event):
    """An event of kind 'sweep': an iteration that was a sweep.

    Besides the fields of an iteration: the number ``sweep``, from 1; ``bonds``, their irreps afterwards; the
    ``discarded_weights`` of the coefficient tensor, one for each bond.
    """

    sweep: int = 0
    bonds: tuple[str, ...] = ()
    discarded_weights: tuple[float, ...] = ()


def halved(architecture: Architecture) -> Architecture:
    """The architecture with half of the components of each sector of its bonds, rounded up: sweeps let it grow."""
    bonds = (Irreps([((mul + 1) // 2, ir) for mul, ir in Irreps(bond)]) for bond in architecture.bonds)
    return replace(architecture, bonds=tuple(map(str, bonds)))


def sweeps_done(history: Sequence[Mapping[str, Any]]) -> int:
    """Number of sweeps so far."""
    return sum("sweep" in entry for entry in history)


def sweeps_end(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two sweeps in a row have not been worth their time."""
    last = [entry["decrease"] for entry in history if "sweep" in entry][-2:]
    return len(last) == 2 and max(last) < WORTHWHILE


def sweep_due(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the next iteration is a sweep."""
    return len(history) >= BETWEEN and not any("sweep" in entry for entry in history[-BETWEEN:])
