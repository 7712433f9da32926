"""The stages of an evaluation, timed apart: the Programs of a potential cut off at the site vector and its gradient.

Nothing in a backend is instrumented. Each cut is a Program of its own that ends earlier, so a stage is the difference
of two times; what a Program stages and stores counts for the stage in which it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from common import Timing, timed

from etn_gpu import ETNPotential, backend
from etn_gpu.plan import Program, ProgramBuilder
from etn_gpu.plan.count import Work, work
from etn_gpu.potential import assembly
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.programs import programs
from etn_gpu.structures import StructureBatch

#: Names of the site vector and of its cotangent in the gradient Program.
SITE_VECTOR, COTANGENT = "v", "v~"
#: Bytes that one edge costs at least: vector and species in; gradient out; gradient, that of the reverse edge, its
#: index and the vector in again for forces and virials. The gradients are of the dtype of the evaluation.
BYTES_PER_EDGE = {"float64": 24 + 4 + 24 + 24 + 24 + 8 + 24, "float32": 24 + 4 + 12 + 12 + 12 + 8 + 24}


@dataclass(frozen=True)
class Stage:
    """Seconds for the whole batch, and the work that was done meanwhile where it was counted."""

    name: str
    seconds: Timing
    work: Work | None = None


def evaluation_stages(
    model: ETNPotential, batch: StructureBatch, dtype: str, threads: int, repeats: int
) -> list[Stage]:
    """Site vectors, contraction (energy and its gradient in the site vectors), edge gradients, forces and stress."""
    gradient = programs(model.architecture).gradient
    site = _cut(gradient, {"v": SITE_VECTOR})
    contraction = _cut(gradient, {"e": gradient.output("e").name, "v_bar": COTANGENT})
    cuts = (("site vectors", site), ("contraction", contraction), ("edge gradients", gradient))
    stages, before, done = [], Timing(0.0, 0.0), Work()
    for name, program in cuts:
        run = _runner(program, model, batch, dtype, threads)
        seconds, all_work = timed(run, repeats), work(program)
        stages.append(Stage(name, _minus(seconds, before), _less(all_work, done)))
        before, done = seconds, all_work
    edge_gradients = _runner(gradient, model, batch, dtype, threads)()["g"]
    forces = partial(assembly.forces_and_virials, batch, edge_gradients, threads)
    stages.append(Stage("forces and virials", timed(forces, repeats)))
    whole = timed(partial(model.evaluate_batch, batch, backend="numba", dtype=dtype, threads=threads), repeats)
    for stage in stages:
        whole = _minus(whole, stage.seconds)
    stages.append(Stage("sums, stress, checks", whole))
    return stages


def _cut(program: Program, outputs: dict[str, str]) -> Program:
    """The steps of ``program`` that some of its values need: output name -> value name."""
    return ProgramBuilder(program).build(outputs)


def _runner(
    program: Program, model: ETNPotential, batch: StructureBatch, dtype: str, threads: int
) -> Callable[[], dict[str, np.ndarray]]:
    environments = Environments.of(batch)
    inputs = {"x": environments.vectors, "e_bar": np.ones((batch.n_atoms, 1))}
    inputs.update((name, np.ravel(values)) for name, values in model.parameters.items())
    needed = {value.name: inputs[value.name] for value in program.inputs}
    return partial(backend.run, program, needed, environments.geometry, backend="numba", dtype=dtype, threads=threads)


def _minus(a: Timing, b: Timing) -> Timing:
    return Timing(a.cpu - b.cpu, a.wall - b.wall)


def _less(a: Work, b: Work) -> Work:
    return Work(a.per_atom - b.per_atom, a.per_edge - b.per_edge)
