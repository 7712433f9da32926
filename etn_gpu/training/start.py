"""Where a run begins: the best of some random starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.config import Event
from etn_gpu.training.data import Piece
from etn_gpu.training.initial import initial_parameters, reference_energies
from etn_gpu.training.optimizer import State
from etn_gpu.training.problem import Problem
from etn_gpu.training.setup import OnEvent

Array = NDArray[np.float64]
#: The seeds of the starts are that far apart, so that runs with neighbouring seeds share none.
SEED_STEP = 1_000_003


def best_start(
    problem: Problem,
    pieces: Sequence[Piece],
    seed: int,
    rng: np.random.Generator,
    on_event: OnEvent,
    *,
    starts: int,
    iterations: int,
    late: Callable[[], bool],
    time_left: Callable[[], bool],
) -> State:
    """Of some random starts the one with the lowest loss on ``pieces`` after a few iterations.

    How far a minimisation comes depends on where it starts, and most of the difference shows early. Once it is ``late``
    no further start is tried, and a single start is not iterated.
    """
    references = reference_energies(list(problem.train), problem.architecture.n_species)
    best = State(np.empty(0), np.inf, np.empty(0))
    for start in range(starts):
        parameters = initial_parameters(problem.architecture, problem.scales, references, seed + SEED_STEP * start)
        state = State(problem.layout.pack(parameters), np.inf, np.empty(0))
        if starts == 1 or (start == 0 and late()):
            return state
        if late():
            break
        for _ in range(iterations):
            _, state = problem.iterate(state.theta, state.damping, pieces, rng, time_left)
        on_event(Event("message", text=f"start {start + 1} of {starts}: loss {state.loss:.4g}"))
        if state.loss < best.loss:
            best = state
    return best
