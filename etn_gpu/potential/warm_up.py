"""What the first evaluation does that later ones need not: compilation, so that it can be told apart."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etn_gpu.potential.base import Potential

#: Edge of the cell over the cutoff: a few dozen neighbours, as in a metal.
_EDGE = 0.6


def warm_up(model: Potential, **options: Any) -> float:
    """Evaluate a crystal of two atoms; the seconds that the first time takes beyond the second, which compilation is.

    Args:
        model: the potential.
        options: `backend`, `dtype` and `threads`, as for `model.evaluate_each`.
    """
    from ase import Atoms

    edge = _EDGE * model.cutoff
    crystal = Atoms([model.species[0]] * 2, [[0.0] * 3, [0.5 * edge] * 3], cell=[edge] * 3, pbc=True)
    times = []
    for _ in range(2):
        start = perf_counter()
        model.evaluate_each([crystal], **options)
        times.append(perf_counter() - start)
    return max(0.0, times[0] - times[1])
