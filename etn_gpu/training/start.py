"""Where a run begins: the best of some random starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.config import Event, OnEvent
from etn_gpu.training.data import Piece
from etn_gpu.training.deadline import TimeIsUp
from etn_gpu.training.initial import initial_parameters
from etn_gpu.training.optimizer import State
from etn_gpu.training.problem import Problem

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
) -> State:
    """The most promising of some random starts: the half with the lower loss on ``pieces`` goes on to the next round.

    How far a minimisation comes depends on where it starts. After a few ``iterations`` most of the difference shows,
    but not all of it, hence several rounds (successive halving: Jamieson, Talwalkar, arXiv:1502.07943). Once it is
    ``late`` no further start is tried and no further round begun; a single start is not iterated.

    Raises:
        TimeIsUp: before any start had been iterated.
    """
    states: list[State] = []
    for start in range(starts):
        parameters = initial_parameters(
            problem.architecture,
            problem.scales,
            problem.references,
            seed + SEED_STEP * start,
            problem.constant,
            problem.size,
        )
        state = State(problem.layout.pack(parameters), np.inf, np.empty(0))
        if starts == 1 or (start == 0 and late()):
            return state
        if late():
            break
        further = _further(problem, state, pieces, rng, iterations)
        if further is state:
            break
        states.append(further)
        on_event(Event("message", text=f"start {start + 1} of {starts}: loss {states[-1].loss:.4g}"))
    while len(states) > 2 and not late():
        states = sorted(states, key=_loss)[: len(states) // 2]
        states = [_further(problem, state, pieces, rng, iterations) for state in states]
        losses = ", ".join(f"{state.loss:.4g}" for state in states)
        on_event(Event("message", text=f"the best {len(states)} of them: loss {losses}"))
    if not states:
        raise TimeIsUp
    return min(states, key=_loss)


def _further(
    problem: Problem, state: State, pieces: Sequence[Piece], rng: np.random.Generator, iterations: int
) -> State:
    """The state after some iterations, or after as many as there was time for."""
    with suppress(TimeIsUp):
        for _ in range(iterations):
            _, state = problem.iterate(state.theta, state.damping, pieces, rng)
    return state


def _loss(state: State) -> float:
    return state.loss
