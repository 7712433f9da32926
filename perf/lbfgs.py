"""L-BFGS alone, for comparison: the objective that ``etn-gpu train`` minimises, without its second-order method."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from etn_gpu import backend as backends
from etn_gpu.training import Event, TrainingConfig, TrainingReport
from etn_gpu.training.evaluation import collect_errors, summary
from etn_gpu.training.initial import initial_parameters, reference_energies
from etn_gpu.training.problem import Problem
from etn_gpu.training.report import Ended, build_model
from etn_gpu.training.setup import loss_weights, read_data

Array = NDArray[np.float64]
#: Iterations between reports.
EVERY = 10


def train_lbfgs(config: TrainingConfig, on_event: Callable[[Event], None]) -> TrainingReport:
    """Train on all structures of the file, with the default prior, until the end of the time limit or convergence.

    Parameters are measured in units of their natural sizes, without which L-BFGS gets nowhere. Nothing is held out,
    because there is nothing to decide by it: the best loss is the last one.
    """
    begin = time.monotonic()
    weights = loss_weights(config)
    data = read_data(replace(config, valid_fraction=0.0), weights, on_event)
    backend = backends.resolve(config.backend)
    problem = Problem(data.architecture, weights, data.train, backend, config.threads)
    layout, scales = problem.layout, problem.scales
    references = reference_energies(data.train, data.architecture.n_species)
    unit = layout.pack(scales)
    unit[np.isinf(unit)] = 1.0
    start = layout.pack(initial_parameters(data.architecture, scales, references, config.seed))
    strength = problem.strength(start)

    def function(x: Array) -> tuple[float, Array]:
        point = problem.at(unit * x, data.train, strength)
        return point.loss, unit * point.gradient()

    iterations = 0

    def callback(intermediate_result: object) -> None:
        nonlocal iterations
        iterations += 1
        elapsed = time.monotonic() - begin
        if iterations % EVERY == 0:
            loss = getattr(intermediate_result, "fun", np.nan)
            on_event(Event("message", text=f"{iterations:4d} {elapsed:7.0f} s  loss {loss:.6g}"))
        if config.time_limit is not None and elapsed > config.time_limit:
            raise StopIteration
        if iterations == config.max_iterations:
            raise StopIteration

    options = {"maxiter": 10**6, "maxfun": 10**7, "maxcor": 30, "ftol": 1e-9}
    end = unit * minimize(function, start / unit, jac=True, method="L-BFGS-B", callback=callback, options=options).x
    errors = summary(collect_errors(problem.objective, end, data.train))
    report = TrainingReport(
        config.identity() | {"output": str(config.output), "time_limit": config.time_limit},
        data.architecture.to_dict(),
        data.architecture.n_parameters,
        iterations,
        time.monotonic() - begin,
        errors,
        {},
        [],
        Ended.max_iterations if iterations == config.max_iterations else Ended.converged,
        0,
    )
    build_model(layout.unpack(end), data.architecture, data.labels, data.train, report, config).save(config.output)
    return report
