"""One training run: audit, split, minimise, validate, checkpoint, write the model and its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import TrainingError
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.training.checkpoint import Progress
from etn_gpu.training.config import Event, TrainingConfig
from etn_gpu.training.curvature import gauss_newton_matrix
from etn_gpu.training.data import Piece, checksum
from etn_gpu.training.evaluation import collect_errors, score, summary
from etn_gpu.training.initial import initial_parameters, parameter_scales, reference_energies
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import Objective
from etn_gpu.training.optimizer import Preconditioner, State, descend, trust_step
from etn_gpu.training.prior import Prior
from etn_gpu.training.report import TrainingReport, build_model, write_report
from etn_gpu.training.setup import OnEvent, check_output, loss_weights, read_data

Array = NDArray[np.float64]

#: Pieces used in the first iterations; doubled whenever they are nearly exhausted.
FIRST_PIECES = 4
STEPS_PER_MATRIX = 15
#: An iteration that lowers the loss by less than this calls for more data; several in a row with all data end the run.
SLOW = 0.1
#: A new matrix is worth more than further steps that are this short, or that lower the loss by less than this share.
SHORT, STALLED = 0.1, 1e-3
CONVERGED = 0.002
#: With residuals in units of sigma and parameters in units of their natural size the strength is about 1 for
#: independent residuals. They are not independent (a model's error is alike in alike atoms), which is as if there were
#: fewer of them, hence more.
PRIOR_STRENGTH = 10.0
PATIENCE = 4
#: Random starts that are tried, iterations of each, share of the time limit after which no further one begins; their
#: seeds are that far apart, so that runs with neighbouring seeds share none.
STARTS, START_ITERATIONS, START_SHARE, SEED_STEP = 4, 6, 0.1, 1_000_003
#: Iterations on all structures, the held-out ones included, after the best iteration has been found.
REFITS = 6
#: Share of the time limit that is left to them.
REFIT_SHARE = 0.15


def train(config: TrainingConfig, on_event: OnEvent | None = None) -> TrainingReport:
    """Train a potential and write it to ``config.output``; report (JSON), plots (PNG) and checkpoint go beside it.

    Raises:
        DataError: a file that cannot be read or holds no labels.
        StructureError: a structure that cannot be evaluated, named by its place in the file.
        TrainingError: nothing to train on, files that cannot be written, or a checkpoint of another run.
    """
    return _Run(config, on_event or (lambda event: None)).run()


class _Run:
    def __init__(self, config: TrainingConfig, on_event: OnEvent) -> None:
        self.config = config
        self.on_event = on_event
        self.started = time.monotonic()
        self.earlier = 0.0
        backend = backends.resolve(config.backend)
        check_output(config)
        self.weights = loss_weights(config)
        self.data = read_data(config, self.weights, on_event)
        kernel = Kernel(self.data.architecture, Execution(backend, "float64", config.threads))
        fast = Kernel(self.data.architecture, Execution(backend, "float32", config.threads))
        self.objective = Objective(kernel, self.weights)
        self.rows = JacobianRows(fast)
        self.scales = parameter_scales(self.data.architecture, self.data.train[0], backend)
        self.prior = Prior.from_scales(self.objective.layout, self.scales, PRIOR_STRENGTH)
        self.progress = self._start()

    def _start(self) -> Progress:
        config, data = self.config, self.data
        identity = config.identity() | {"checksum of the data": checksum([*data.train, *data.valid])}
        if config.resume is not None:
            progress = Progress.load(config.resume, identity, data.architecture.to_dict())
            self.earlier = progress.elapsed
            self.on_event(Event("message", text=f"resuming {config.resume} after iteration {progress.iteration}"))
            return progress
        rng = np.random.default_rng(config.seed)
        state = self._best_start(rng)
        return Progress(
            identity, data.architecture.to_dict(), state.theta, state.theta.copy(), np.inf, state.damping,
            min(FIRST_PIECES, len(data.train)), 0, 0.0, dict(rng.bit_generator.state),
        )  # fmt: skip

    def _best_start(self, rng: np.random.Generator) -> State:
        """Of some random starts the one with the lowest loss on the first pieces after a few iterations.

        How far a minimisation comes depends on where it starts, and most of the difference shows early.
        """
        data, seed = self.data, self.config.seed
        references = reference_energies(data.train, data.architecture.n_species)
        pieces = data.train[:FIRST_PIECES]
        best = State(np.empty(0), np.inf, np.empty(0))
        for start in range(STARTS):
            parameters = initial_parameters(data.architecture, self.scales, references, seed + SEED_STEP * start)
            state = State(self.objective.layout.pack(parameters), np.inf, np.empty(0))
            late = self.config.time_limit is not None and self.elapsed > START_SHARE * self.config.time_limit
            if STARTS == 1 or (start == 0 and late):
                return state
            if late:
                break
            for _ in range(START_ITERATIONS):
                _, state = self._minimise(state.theta, state.damping, pieces, rng)
            self.on_event(Event("message", text=f"start {start + 1} of {STARTS}: loss {state.loss:.4g}"))
            if state.loss < best.loss:
                best = state
        return best

    # -- the loop ------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, those before a resume included."""
        return self.earlier + time.monotonic() - self.started

    def _time_left(self) -> bool:
        return self.config.time_limit is None or self.elapsed < self.config.time_limit

    @property
    def _refits(self) -> bool:
        """Whether structures of the training file were held out."""
        return self.config.valid_file is None and bool(self.data.valid)

    def run(self) -> TrainingReport:
        """Iterate until the end and write the results."""
        while self.progress.iteration == 0 or not self._ended():
            event = self._iterate()
            # Whoever is told of an iteration, and stops the run there, finds it in the checkpoint.
            self.progress.save(self.config.checkpoint)
            self.on_event(event)
        return self._finish()

    def _ended(self) -> bool:
        most, limit = self.config.max_iterations, self.config.time_limit
        late = limit is not None and self.elapsed >= limit * (1.0 - REFIT_SHARE * self._refits)
        return late or self._converged() or (most is not None and self.progress.iteration >= most)

    def _iterate(self) -> Event:
        progress = self.progress
        rng = np.random.default_rng()
        rng.bit_generator.state = progress.random_state
        pieces = self.data.train[: progress.active]
        before, state = self._minimise(progress.theta, progress.damping, pieces, rng)
        progress.theta, progress.damping = state.theta, state.damping
        progress.random_state = dict(rng.bit_generator.state)
        progress.iteration += 1
        progress.elapsed = self.elapsed
        event = self._record(state.loss, before, sum(p.batch.n_structures for p in pieces))
        if (before - state.loss) < SLOW * before and progress.active < len(self.data.train):
            progress.active = min(2 * progress.active, len(self.data.train))
        return event

    def _minimise(
        self, theta: Array, damping: float, pieces: Sequence[Piece], rng: np.random.Generator
    ) -> tuple[float, State]:
        """A Gauss-Newton matrix at ``theta`` and the steps that it is good for; the loss before, and where they end."""
        size = self.objective.layout.size
        matrix = gauss_newton_matrix(self.rows, self.weights, theta, pieces, rng, force_rows=3 * size, stress_rows=size)
        share = sum(p.batch.n_atoms for p in pieces) / sum(p.batch.n_atoms for p in self.data.train)
        prior = self.prior.scaled(share)
        matrix[np.diag_indices_from(matrix)] += prior.precision

        def function(theta: Array) -> tuple[float, Array]:
            loss, gradient = self.objective.loss_and_gradient(theta, pieces)
            return loss + prior.value(theta), gradient + prior.gradient(theta)

        loss, gradient = function(theta)
        if not np.isfinite(loss):
            raise TrainingError(
                "the loss is not finite: a label or a structure is far outside of what the model can represent"
            )
        state = State(theta, loss, gradient, damping)
        preconditioner = Preconditioner(matrix, state.damping)
        length = trust_step(state, function, preconditioner)
        for _ in range(STEPS_PER_MATRIX):
            last = state.loss
            if length < SHORT or not self._time_left():
                break
            length = descend(state, function, preconditioner)
            if last - state.loss < STALLED * last:
                break
        return loss, state

    def _refit(self) -> Array:
        """The best parameters, after some iterations on the held-out structures as well.

        They have done their part when the best iteration is known. How many iterations follow is fixed: nothing is left
        to choose by.
        """
        theta, damping = self.progress.best_theta, self.progress.damping
        if not self._refits:
            return theta
        rng = np.random.default_rng([self.config.seed, 1])
        everything = [*self.data.train, *self.data.valid]
        for number in range(REFITS):
            if not self._time_left():
                break
            _, state = self._minimise(theta, damping, everything, rng)
            theta, damping = state.theta, state.damping
            self.on_event(Event("message", text=f"refit {number + 1} of {REFITS} on all structures"))
        return theta

    def _record(self, loss: float, before: float, n_structures: int) -> Event:
        progress, data = self.progress, self.data
        train_errors = collect_errors(self.objective, progress.theta, data.train[: min(FIRST_PIECES, progress.active)])
        errors = collect_errors(self.objective, progress.theta, data.valid) if data.valid else train_errors
        current = score(errors, self.weights)
        if current < progress.best_score:
            progress.best_score, progress.best_theta = current, progress.theta.copy()
        entry: dict[str, Any] = {
            "iteration": progress.iteration,
            "elapsed": progress.elapsed,
            "loss": loss / n_structures,
            "decrease": (before - loss) / before if before > 0 else 0.0,
            "structures": n_structures,
            "complete": progress.active >= len(data.train),
            "score": current,
            "train": summary(train_errors),
            "valid": summary(errors) if data.valid else {},
        }
        progress.history.append(entry)
        limit = self.config.time_limit
        return Event(
            "iteration",
            iteration=progress.iteration,
            loss=entry["loss"],
            train=entry["train"],
            valid=entry["valid"],
            elapsed=progress.elapsed,
            remaining=None if limit is None else max(0.0, limit - progress.elapsed),
        )

    def _converged(self) -> bool:
        recent = self.progress.history[-PATIENCE:]
        return len(recent) == PATIENCE and all(h["complete"] and h["decrease"] < CONVERGED for h in recent)

    # -- the end -------------------------------------------------------------------------------------------------

    def _finish(self) -> TrainingReport:
        progress, data = self.progress, self.data
        # Errors on held-out structures are those of the model that has not seen them.
        valid_errors = collect_errors(self.objective, progress.best_theta, data.valid)
        theta = self._refit()
        train_errors = collect_errors(self.objective, theta, data.train)
        report = TrainingReport(
            self.config.identity() | {"output": str(self.config.output), "time_limit": self.config.time_limit},
            data.architecture.to_dict(),
            data.architecture.n_parameters,
            progress.iteration,
            self.elapsed,
            summary(train_errors),
            summary(valid_errors) if data.valid else {},
            progress.history,
        )
        model = build_model(
            self.objective.layout.unpack(theta), data.architecture, data.labels, data.train, report, self.config
        )
        model.save(self.config.output)
        write_report(
            report, self.config.output, {"train": (data.train, train_errors), "valid": (data.valid, valid_errors)}
        )
        self.on_event(Event("done", report=report.to_dict()))
        return report
