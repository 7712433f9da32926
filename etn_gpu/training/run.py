"""One training run: audit, split, minimise, validate, checkpoint, write the model and its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import TimeLimitError, TrainingError
from etn_gpu.potential import Architecture
from etn_gpu.potential.calibration import Calibration
from etn_gpu.training.checkpoint import Progress
from etn_gpu.training.config import ZBL, Event, OnEvent, TrainingConfig
from etn_gpu.training.data import Piece
from etn_gpu.training.deadline import Deadline, TimeIsUp
from etn_gpu.training.evaluation import collect_errors, score, summary
from etn_gpu.training.groups import group_errors
from etn_gpu.training.initial_model import warm_parameters
from etn_gpu.training.objective import Residuals, in_proportion
from etn_gpu.training.optimizer import State
from etn_gpu.training.outputs import claimed_outputs
from etn_gpu.training.problem import Problem, Problems
from etn_gpu.training.report import Ended, TrainingReport, build_model, write_report
from etn_gpu.training.schedule import SWEEP_SHARE, SweepEvent, halved, sweep_due, sweeps_done, sweeps_end
from etn_gpu.training.setup import loss_weights, read_data
from etn_gpu.training.start import best_start
from etn_gpu.training.sweeps import Budget, SweepOptions, sweep
from etn_gpu.training.terms import calibrated, objective_with, told, with_grade, with_repulsion

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
#: At the end errors, terms and grades take so many passes over all structures.
FINAL_PASSES = 5.0
#: Share of the time limit that is left to them.
REFIT_SHARE = 0.25


def train(config: TrainingConfig, on_event: OnEvent | None = None) -> TrainingReport:
    """Train a potential and write it to ``config.output``; report (JSON), plots (PNG) and checkpoint go beside it.

    Raises:
        DataError: a file that cannot be read, holds no labels, or one that no calculation gives.
        StructureError: a structure that cannot be evaluated, named by its place in the file.
        TrainingError: nothing to train on, files that cannot be written or that exist and are not to be replaced, or a
            checkpoint of another run.
        TimeLimitError: the time limit was over before anything was trained.
    """
    with claimed_outputs(config):
        return _Run(config, on_event or (lambda event: None)).run()


class _Run:
    def __init__(self, config: TrainingConfig, on_event: OnEvent) -> None:
        self.config = config
        self.on_event = on_event
        self.deadline = Deadline(config.time_limit)
        backend = backends.resolve(config.backend)
        # A run that goes on has a model to write, whatever the time.
        check = self.deadline.check if config.resume is None else lambda: None
        try:
            self.data = read_data(config, loss_weights(config), on_event, check)
        except TimeIsUp:
            raise self._nothing_trained() from None
        self.weights = self.data.weights
        self.problems = Problems(self.weights, self.data.train, backend, config.threads, self.deadline, self.data.fixed)
        self.options = SweepOptions(Budget.of(self.data.architecture.train))
        self.checkpoint_fault = ""
        self.progress = self._start()

    def _start(self) -> Progress:
        config, data = self.config, self.data
        preset = data.architecture
        identity = config.identity() | data.identity(grouped=bool(config.group_weights))
        if config.resume is not None:
            progress = Progress.load(config.resume, identity, preset.to_dict())
            self.deadline.earlier = progress.elapsed
            self.trained = True
            self.on_event(Event("message", text=f"resuming {config.resume} after iteration {progress.iteration}"))
            return progress
        rng = np.random.default_rng(config.seed)
        warm = data.initial is not None
        problem = self.problems(halved(preset) if config.method == "sweeps" and not warm else preset)
        try:
            problem.compile()
            if data.initial is not None:
                state = State(warm_parameters(data.initial, problem), np.inf, np.empty(0))
            else:
                state = best_start(
                    problem, data.train[:FIRST_PIECES], config.seed, rng, self.on_event,
                    starts=STARTS, iterations=START_ITERATIONS, late=lambda: self.deadline.late(START_SHARE),
                )  # fmt: skip
            # Nothing is gained by an iteration on a part of the data from where a model is good on all of them.
            active = len(data.train) if warm else min(FIRST_PIECES, len(data.train))
            best_score = self._score_of(problem, state.theta) if warm else np.inf
        except TimeIsUp:
            raise self._nothing_trained() from None
        self.trained = bool(np.isfinite(state.loss))
        architecture = problem.architecture.to_dict()
        return Progress(
            identity, preset.to_dict(), architecture, state.theta, architecture, state.theta.copy(), best_score,
            state.damping, active, 0, 0.0, dict(rng.bit_generator.state),
        )  # fmt: skip

    def _score_of(self, problem: Problem, theta: Array) -> float:
        """What the iterations of a warm start have to better; infinite where predictions are not finite."""
        pieces = self.data.valid or self.data.train[:FIRST_PIECES]
        errors = collect_errors(problem.objective, theta, pieces)
        return score(in_proportion(errors, pieces), self.weights)

    # -- the loop ------------------------------------------------------------------------------------------------

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
        while (ended := self._ended()) is None:
            try:
                event = self._iterate()
            except TimeIsUp:
                ended = Ended.time_limit
                break
            # Whoever is told of an iteration, and stops the run there, finds it in the checkpoint.
            self._save_progress()
            self.on_event(event)
        if not self.trained:
            raise self._nothing_trained()
        return self._finish(ended)

    def _ended(self) -> Ended | None:
        """Why there shall be no further iteration, None where there shall be one."""
        most, iteration = self.config.max_iterations, self.progress.iteration
        if most is not None and iteration >= most:
            return Ended.max_iterations
        if iteration and not self._sweeps and (self._converged() or self._overfits()):
            return Ended.converged if self._converged() else Ended.held_out
        # Those who have trained nothing yet need no time to train on what was held out.
        return Ended.time_limit if self.deadline.late(1.0 - REFIT_SHARE * (self._refits and iteration > 0)) else None

    def _nothing_trained(self) -> TimeLimitError:
        return TimeLimitError(
            f"the time limit of {self.config.time_limit:g} s was over after {self.deadline.elapsed:.1f} s, before "
            "anything was trained, so no model is written. Give more time; what has been compiled is kept."
        )

    def _save_progress(self) -> None:
        """Write the checkpoint; a run that cannot write it goes on, and says so once."""
        try:
            self.progress.save(self.config.checkpoint)
            self.checkpoint_fault = ""
        except TrainingError as error:
            if not self.checkpoint_fault:
                self.on_event(Event("message", text=f"warning: {error}; the run goes on without"))
            self.checkpoint_fault = str(error)

    @property
    def _sweeps(self) -> bool:
        """Whether there are sweeps to come."""
        late = self.deadline.late(SWEEP_SHARE)
        return self.config.method == "sweeps" and not late and not sweeps_end(self.progress.history)

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
            before, state = self._problem.iterate(progress.theta, progress.damping, pieces, rng)
            progress.theta, progress.damping, after = state.theta, state.damping, state.loss
        progress.random_state = dict(rng.bit_generator.state)
        progress.iteration += 1
        progress.elapsed = self.deadline.elapsed
        self.trained = True
        with self.deadline.lifted():
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
            strength=strength, backwards=number % 2 == 0, time_left=self.deadline.time_left,
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

    def _refit(self) -> tuple[Array, int, bool]:
        """The best parameters after some iterations on the held-out structures as well, how many, and if time was up.

        They have done their part when the best iteration is known. How many iterations follow is fixed, for nothing is
        left to choose by.
        """
        theta, damping, problem = self.progress.best_theta, self.progress.damping, self._best_problem
        if not self._refits:
            return theta, 0, False
        rng = np.random.default_rng([self.config.seed, 1])
        everything = [*self.data.train, *self.data.valid]
        for number in range(REFITS):
            try:
                _, state = problem.iterate(theta, damping, everything, rng)
            except TimeIsUp:
                return theta, number, True
            except TrainingError as error:
                self.on_event(Event("message", text=f"refit stopped, the model before it is kept: {error}"))
                return theta, number, False
            theta, damping = state.theta, state.damping
            self.on_event(Event("message", text=f"refit {number + 1} of {REFITS} on all structures"))
        return theta, REFITS, False

    def _record(self, loss: float, before: float, n_structures: int, swept: dict[str, Any]) -> Event:
        progress, data, objective = self.progress, self.data, self._problem.objective
        some = data.train[: min(FIRST_PIECES, progress.active)]
        share = _n_atoms([*data.train, *data.valid]) / _n_atoms([*some, *data.valid])
        begin = time.monotonic()
        train_errors = collect_errors(objective, progress.theta, some)
        errors = collect_errors(objective, progress.theta, data.valid) if data.valid else train_errors
        self.deadline.final_errors = (time.monotonic() - begin) * share * FINAL_PASSES
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
        shown: dict[str, Any] = {name: entry[name] for name in ("iteration", "loss", "train", "valid", "elapsed")}
        limit = self.config.time_limit
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

    def _finish(self, ended: Ended) -> TrainingReport:
        progress, data, problem = self.progress, self.data, self._best_problem
        with self.deadline.lifted():
            # Errors on held-out structures are those of the model that has not seen them.
            calibration = self._calibration(problem, progress.best_theta, data.train)
            valid_errors = self._errors(problem, calibration, progress.best_theta, data.valid)
        if data.initial is not None and progress.best_score < min((h["score"] for h in progress.history), default=0.0):
            text = "no iteration made errors smaller than those of the initial model, from which the rest goes on"
            self.on_event(Event("message", text=text))
        theta, refits, cut_short = self._refit()
        with self.deadline.lifted():
            if refits:
                calibration = self._calibration(problem, theta, [*data.train, *data.valid])
            train_errors = self._errors(problem, calibration, theta, data.train)
            left_out = self._errors(problem, calibration, theta, data.left_out)
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
            self.deadline.elapsed,
            summary(train_errors),
            summary(valid_errors) if data.valid else {},
            progress.history,
            Ended.time_limit if cut_short else ended,
            refits,
            data.warnings,
            self._groups(train_errors, valid_errors, left_out),
            None if data.quantity is None else data.quantity.to_dict(),
        )
        model = build_model(
            problem.layout.unpack(theta), problem.architecture, data.labels, data.train, report, self.config,
            data.initial, calibration,
        )  # fmt: skip
        model = with_grade(model, [*data.train, *data.valid] if refits else data.train, problem.exact)
        model.save(self.config.output)
        if calibration is not None:
            self.on_event(Event("message", text=told(calibration)))
        parity = {"train": (self._whole(data.train), train_errors), "valid": (self._whole(data.valid), valid_errors)}
        for fault in write_report(report, self.config.output, parity):
            self.on_event(Event("unwritten", text=fault))
        self.on_event(Event("done", report=report.to_dict()))
        return report

    def _calibration(self, problem: Problem, theta: Array, pieces: Sequence[Piece]) -> Calibration | None:
        """The terms beside a network that was trained on these pieces, None where it shall have none."""
        return calibrated(problem, theta, pieces, self.data) if self.config.repulsion == ZBL else None

    def _errors(self, problem: Problem, calibration: Calibration | None, theta: Array, pieces: list[Piece]) -> Any:
        """Errors of the network with its terms."""
        return collect_errors(objective_with(problem, calibration), theta, self._whole(pieces))

    def _whole(self, pieces: Sequence[Piece]) -> list[Piece]:
        return with_repulsion(pieces, self.data.repulsion)

    def _groups(self, train: Residuals, valid: Residuals, left_out: Residuals) -> dict[str, dict[str, Any]]:
        """Errors by group, those of what was left out of training and validation included."""
        data = self.data
        sets = {"train": (data.train, train), "valid": (data.valid, valid), "left_out": (data.left_out, left_out)}
        return {name: found for name, (pieces, errors) in sets.items() if (found := group_errors(pieces, errors))}


def _n_atoms(pieces: Sequence[Piece]) -> int:
    return sum(piece.batch.n_atoms for piece in pieces)
