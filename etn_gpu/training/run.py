"""One training run: audit, split, minimise, validate, checkpoint, write the model and its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture
from etn_gpu.training.checkpoint import Progress
from etn_gpu.training.config import Event, TrainingConfig
from etn_gpu.training.data import Piece, checksum
from etn_gpu.training.evaluation import collect_errors, score, summary
from etn_gpu.training.objective import in_proportion
from etn_gpu.training.problem import Problem, Problems
from etn_gpu.training.report import TrainingReport, build_model, write_report
from etn_gpu.training.schedule import SWEEP_SHARE, SweepEvent, halved, sweep_due, sweeps_done, sweeps_end
from etn_gpu.training.setup import OnEvent, check_output, loss_weights, read_data
from etn_gpu.training.start import best_start
from etn_gpu.training.sweeps import Budget, SweepOptions, sweep

Array = NDArray[np.float64]

#: Pieces used in the first iterations; doubled whenever they are nearly exhausted.
FIRST_PIECES = 4
#: An iteration that lowers the loss by less than this calls for more data; several in a row with all data end the run.
SLOW = 0.1
CONVERGED = 0.002
PATIENCE = 4
#: A run also ends when no iteration after the best one, on held-out structures, was better: as many as had led to it,
#: and at least so many.
FRUITLESS = 10
#: Random starts that are tried, iterations of each in a round, share of the time limit after which no more are made.
STARTS, START_ITERATIONS, START_SHARE = 4, 3, 0.1
#: Iterations on all structures, the held-out ones included, after the best iteration has been found. On others that no
#: run saw, of Mo, Si and alloys, the second to the fifth lowered energy errors by 4 to 23 %, force errors by 1 to 21 %;
#: a sixth made the alloys worse.
REFITS = 5
#: Share of the time limit that is left to them.
REFIT_SHARE = 0.25


def train(config: TrainingConfig, on_event: OnEvent | None = None) -> TrainingReport:
    """Train a potential and write it to ``config.output``; report (JSON), plots (PNG) and checkpoint go beside it.

    Raises:
        DataError: a file that cannot be read, holds no labels, or one that no calculation gives.
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
        self.problems = Problems(self.weights, self.data.train, backend, config.threads)
        self.options = SweepOptions(Budget.of(self.data.architecture.train))
        self.progress = self._start()

    def _start(self) -> Progress:
        config, data = self.config, self.data
        preset = data.architecture
        identity = config.identity() | {"checksum of the data": checksum([*data.train, *data.valid])}
        if config.resume is not None:
            progress = Progress.load(config.resume, identity, preset.to_dict())
            self.earlier = progress.elapsed
            self.on_event(Event("message", text=f"resuming {config.resume} after iteration {progress.iteration}"))
            return progress
        rng = np.random.default_rng(config.seed)
        problem = self.problems(halved(preset) if config.method == "sweeps" else preset)
        state = best_start(
            problem, data.train[:FIRST_PIECES], config.seed, rng, self.on_event,
            starts=STARTS, iterations=START_ITERATIONS, late=lambda: self._late(START_SHARE), time_left=self._time_left,
        )  # fmt: skip
        architecture = problem.architecture.to_dict()
        return Progress(
            identity, preset.to_dict(), architecture, state.theta, architecture, state.theta.copy(), np.inf,
            state.damping, min(FIRST_PIECES, len(data.train)), 0, 0.0, dict(rng.bit_generator.state),
        )  # fmt: skip

    # -- the loop ------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, those before a resume included."""
        return self.earlier + time.monotonic() - self.started

    def _late(self, share: float) -> bool:
        """Whether this share of the time limit is over."""
        return self.config.time_limit is not None and self.elapsed >= share * self.config.time_limit

    def _time_left(self) -> bool:
        return not self._late(1.0)

    @property
    def _problem(self) -> Problem:
        """The problem of the present architecture."""
        return self.problems(Architecture.from_dict(self.progress.architecture))

    @property
    def _best_problem(self) -> Problem:
        """The problem of the architecture of the best parameters."""
        return self.problems(Architecture.from_dict(self.progress.best_architecture))

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
        most = self.config.max_iterations
        late = self._late(1.0 - REFIT_SHARE * self._refits)
        converged = (self._converged() or self._overfits()) and not self._sweeps
        return late or converged or (most is not None and self.progress.iteration >= most)

    @property
    def _sweeps(self) -> bool:
        """Whether there are sweeps to come."""
        return self.config.method == "sweeps" and not self._late(SWEEP_SHARE) and not sweeps_end(self.progress.history)

    def _iterate(self) -> Event:
        """A sweep if one is due, else a Gauss-Newton iteration."""
        progress = self.progress
        rng = np.random.default_rng()
        rng.bit_generator.state = progress.random_state
        pieces = self.data.train[: progress.active]
        swept: dict[str, Any] = {}
        if self._sweeps and sweep_due(progress.history):
            before, after, swept = self._sweep(pieces, rng)
        else:
            before, state = self._problem.iterate(progress.theta, progress.damping, pieces, rng, self._time_left)
            progress.theta, progress.damping, after = state.theta, state.damping, state.loss
        progress.random_state = dict(rng.bit_generator.state)
        progress.iteration += 1
        progress.elapsed = self.elapsed
        event = self._record(after, before, sum(p.batch.n_structures for p in pieces), swept)
        if not swept and (before - after) < SLOW * before and progress.active < len(self.data.train):
            progress.active = min(2 * progress.active, len(self.data.train))
        return event

    def _sweep(self, pieces: Sequence[Piece], rng: np.random.Generator) -> tuple[float, float, dict[str, Any]]:
        """The loss before and after a sweep, in the direction other than the last one's, and what the history keeps."""
        progress, problem = self.progress, self._problem
        number = sweeps_done(progress.history) + 1
        strength = problem.strength(progress.theta)
        before = problem.at(progress.theta, pieces, strength).loss
        result = sweep(
            self.problems, problem.model(progress.theta), pieces, rng, self.options,
            strength=strength, backwards=number % 2 == 0, time_left=self._time_left,
        )  # fmt: skip
        problem = self.problems(result.model.architecture)
        progress.architecture = problem.architecture.to_dict()
        progress.theta = problem.layout.pack(result.model.parameters)
        weights = {update.bond: update.discarded_weight for update in result.updates}
        bonds = range(1, problem.architecture.train.order)
        entry = {
            "sweep": number,
            "bonds": list(problem.architecture.bonds),
            "discarded_weights": [weights.get(bond, 0.0) for bond in bonds],
        }
        return before, problem.at(progress.theta, pieces, strength).loss, entry

    def _refit(self) -> Array:
        """The best parameters, after some iterations on the held-out structures as well.

        They have done their part when the best iteration is known. How many iterations follow is fixed, for nothing is
        left to choose by.
        """
        theta, damping, problem = self.progress.best_theta, self.progress.damping, self._best_problem
        if not self._refits:
            return theta
        rng = np.random.default_rng([self.config.seed, 1])
        everything = [*self.data.train, *self.data.valid]
        for number in range(REFITS):
            if not self._time_left():
                break
            try:
                _, state = problem.iterate(theta, damping, everything, rng, self._time_left)
            except TrainingError as error:
                self.on_event(Event("message", text=f"refit stopped, the model before it is kept: {error}"))
                break
            theta, damping = state.theta, state.damping
            self.on_event(Event("message", text=f"refit {number + 1} of {REFITS} on all structures"))
        return theta

    def _record(self, loss: float, before: float, n_structures: int, swept: dict[str, Any]) -> Event:
        progress, data, objective = self.progress, self.data, self._problem.objective
        some = data.train[: min(FIRST_PIECES, progress.active)]
        train_errors = collect_errors(objective, progress.theta, some)
        errors = collect_errors(objective, progress.theta, data.valid) if data.valid else train_errors
        current = score(in_proportion(errors, data.valid or some), self.weights)
        if current < progress.best_score:
            progress.best_score, progress.best_theta = current, progress.theta.copy()
            progress.best_architecture = progress.architecture
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
            **swept,
        }
        progress.history.append(entry)
        limit = self.config.time_limit
        shown: dict[str, Any] = {name: entry[name] for name in ("iteration", "loss", "train", "valid", "elapsed")}
        shown["remaining"] = None if limit is None else max(0.0, limit - progress.elapsed)
        if not swept:
            return Event("iteration", **shown)
        shown |= {"sweep": swept["sweep"], "bonds": tuple(swept["bonds"])}
        return SweepEvent("sweep", **shown, discarded_weights=tuple(swept["discarded_weights"]))

    def _converged(self) -> bool:
        recent = self.progress.history[-PATIENCE:]
        return len(recent) == PATIENCE and all(h["complete"] and h["decrease"] < CONVERGED for h in recent)

    def _overfits(self) -> bool:
        """Whether errors on held-out structures have long ceased to fall."""
        done = sum(h["complete"] for h in self.progress.history)
        since = self._since_best()
        return bool(self.data.valid) and since >= max(FRUITLESS, done - since)

    def _since_best(self) -> int:
        """Iterations on all training data since the best of them on held-out structures."""
        scores = [h["score"] for h in self.progress.history if h["complete"]]
        return len(scores) - 1 - int(np.argmin(scores)) if scores else 0

    # -- the end -------------------------------------------------------------------------------------------------

    def _finish(self) -> TrainingReport:
        progress, data, problem = self.progress, self.data, self._best_problem
        # Errors on held-out structures are those of the model that has not seen them.
        valid_errors = collect_errors(problem.objective, progress.best_theta, data.valid)
        theta = self._refit()
        train_errors = collect_errors(problem.objective, theta, data.train)
        for name, errors in (("training", train_errors), ("validation", valid_errors)):
            if not all(np.isfinite(value) for value in summary(errors).values() if value is not None):
                raise TrainingError(
                    f"predictions for {name} structures are not finite, so no model is written; the run is kept "
                    f"in {self.config.checkpoint}. Look for structures with atoms on top of each other."
                )
        report = TrainingReport(
            self.config.identity() | {"output": str(self.config.output), "time_limit": self.config.time_limit},
            problem.architecture.to_dict(),
            problem.architecture.n_parameters,
            progress.iteration,
            self.elapsed,
            summary(train_errors),
            summary(valid_errors) if data.valid else {},
            progress.history,
            data.warnings,
        )
        model = build_model(
            problem.layout.unpack(theta), problem.architecture, data.labels, data.train, report, self.config
        )
        model.save(self.config.output)
        write_report(
            report, self.config.output, {"train": (data.train, train_errors), "valid": (data.valid, valid_errors)}
        )
        self.on_event(Event("done", report=report.to_dict()))
        return report
