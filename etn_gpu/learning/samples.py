"""The structures of a round before they are labelled: perturbed copies, snapshots of the student's dynamics, a choice.

Without a student, in the first round, there is nothing to choose by: given structures and perturbed copies of them are
labelled. Later most of what is labelled is chosen by what it would tell the student (:mod:`etn_gpu.selection`), which
favours the unusual; a part is drawn at random from the dynamics, for what is met often has to be right above all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.errors import DataError, StructureError
from etn_gpu.learning.bare import distinct
from etn_gpu.learning.config import LearningConfig
from etn_gpu.learning.dynamics import Trajectory, run_dynamics
from etn_gpu.learning.exchange import EXCHANGED, Exchange
from etn_gpu.learning.perturbations import grown, perturbed
from etn_gpu.screening.sources import MemorySource
from etn_gpu.selection import Selection
from etn_gpu.selection.admission import Skip

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential

GIVEN, PERTURBED, DYNAMICS = "given", "perturbed", "dynamics"
#: Share of the labels of a round for structures drawn at random from the dynamics.
AT_RANDOM = 0.2
#: Perturbed copies in the pool that is chosen from, over the number of labels.
COPIES = 2
#: Structures with larger grades are no longer what the student can learn from.
LARGEST_GRADE = 1000.0


@dataclass(frozen=True, eq=False)
class Sample:
    """A structure to be labelled, and where it comes from: 'given', 'perturbed' or 'dynamics'."""

    origin: str
    atoms: Atoms


@dataclass
class Met:
    """What a round has met: structures looked at, trajectories by how they ended.

    Of the structures some are not chosen because they are ``beyond`` sense (too close atoms, enormous grades), some
    because the student cannot evaluate them (``unusable``), having seen nothing of their elements for instance.
    """

    structures: int = 0
    beyond: int = 0
    unusable: int = 0
    trajectories: int = 0
    ended_by_grade: int = 0
    exploded: int = 0

    def see(self, trajectory: Trajectory) -> None:
        """Counts a trajectory."""
        self.structures += len(trajectory.snapshots)
        self.trajectories += 1
        self.ended_by_grade += trajectory.ended == "grade"
        self.exploded += trajectory.ended == "exploded"


class Sampler:
    """Makes the structures of rounds; the same for the same seed, round and student.

    Args:
        config: the run's options.
        given: structures to begin with, bare. Isolated atoms among them are labelled, but they can neither be perturbed
            nor move.
        advance: called after each trajectory.
    """

    def __init__(self, config: LearningConfig, given: Sequence[Atoms], advance: Callable[[], None]) -> None:
        self.config = config
        self.given = given
        self._advance = advance
        self._movable = [atoms for atoms in given if len(atoms) > 1 or atoms.pbc.any()]
        self._settings = config.dynamics()
        self._exchange = None
        if config.exchange:
            self._exchange = Exchange(config.exchange, given, keep_compositions=config.keep_compositions)

    def first(self, number: int) -> list[Sample]:
        """Given structures, half of the ``number`` or more where all elements need it, and perturbed copies."""
        some = spread(self.given, (number + 1) // 2)
        rng = self._rng(1)
        samples = [Sample(GIVEN, self.given[k]) for k in some]
        return _distinct([*samples, *(Sample(PERTURBED, self._copy(rng)) for _ in range(number - len(samples)))])

    def chosen(self, round_number: int, student: ETNPotential, number: int) -> tuple[list[Sample], Met]:
        """What the student shall learn next; less than ``number``, or nothing, where it knows what it meets."""
        config, rng, met = self.config, self._rng(round_number), Met()
        trajectories = list(self._trajectories(round_number, student, config.trajectories))
        for trajectory in trajectories:
            met.see(trajectory)
        pool = [Sample(DYNAMICS, atoms) for trajectory in trajectories for atoms in trajectory.snapshots]
        pool += [Sample(PERTURBED, self._copy(rng)) for _ in range(COPIES * number)]
        met.structures = len(pool)
        choices = self._choice(student, [sample.atoms for sample in pool], number, met)
        new = [k for k in choices if pool[k].origin == DYNAMICS]
        at_random = round(AT_RANDOM * number) if new else 0
        chosen = choices[: number - at_random]
        met_often = [k for k, sample in enumerate(pool) if sample.origin == DYNAMICS and k not in set(chosen)]
        drawn = rng.permutation(met_often)[:at_random].tolist()
        return _distinct([pool[k] for k in [*chosen, *drawn]]), met

    def test(self, student: ETNPotential, held_out: Sequence[Atoms], number: int) -> tuple[list[Sample], Met]:
        """Structures that nobody chose: held-out ones, perturbed copies, and of each trajectory one at random."""
        rng, met = self._rng(0), Met()
        samples = [Sample(GIVEN, atoms) for atoms in held_out[: number // 3]]
        of_dynamics = (number - len(samples)) // 2
        samples += [Sample(PERTURBED, self._copy(rng)) for _ in range(number - len(samples) - of_dynamics)]
        for trajectory in self._trajectories(0, student, of_dynamics):
            met.see(trajectory)
            if trajectory.snapshots:
                samples.append(Sample(DYNAMICS, trajectory.snapshots[int(rng.integers(len(trajectory.snapshots)))]))
        return _distinct(samples), met

    def _choice(self, student: ETNPotential, pool: list[Atoms], number: int, met: Met) -> list[int]:
        selection = Selection(
            student, [MemorySource("structures", pool)], number, threshold=self.config.threshold,
            largest_grade=LARGEST_GRADE, backend=self.config.backend, threads=self.config.threads,
        )  # fmt: skip
        report = selection.report
        try:
            selection.run()
        except DataError:  # none of them can be evaluated
            report.choices = []
        met.beyond = report.skipped[Skip.CLOSE] + report.skipped[Skip.ABSURD]
        met.unusable = report.n_failed
        return [choice.index for choice in report.choices]

    def _trajectories(self, round_number: int, student: ETNPotential, count: int) -> Iterator[Trajectory]:
        config, rng = self.config, self._rng(round_number, 1)
        for number in range(count):
            start, seed = self._copy(rng, rattle=0.0), [config.seed, round_number, number]
            try:
                trajectory = run_dynamics(
                    student, start, self._settings, seed, backend=config.backend, threads=config.threads
                )
            except StructureError:  # an element of which the teacher has labelled nothing
                trajectory = None
            self._advance()
            if trajectory is not None:
                yield trajectory

    def _copy(self, rng: np.random.Generator, rattle: float | None = None) -> Atoms:
        """A perturbed copy of one of the given structures."""
        atoms = grown(self._movable[int(rng.integers(len(self._movable)))], self.config.least_atoms)
        if self._exchange is not None and rng.uniform() < EXCHANGED:
            atoms = self._exchange.exchanged(atoms, rng)
        rattle = self.config.rattle if rattle is None else rattle
        return perturbed(atoms, rng, rattle=rattle, strain=self.config.strain)

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *numbers])


def spread(structures: Sequence[Atoms], number: int) -> list[int]:
    """Places of up to ``number`` structures, from the whole sequence; more where only then all elements are there."""
    count = min(number, len(structures))
    places = dict.fromkeys(np.linspace(0, len(structures) - 1, count).round().astype(int).tolist())
    known = {symbol for k in places for symbol in structures[k].get_chemical_symbols()}
    for k, atoms in enumerate(structures):
        if new := set(atoms.get_chemical_symbols()) - known:
            places[k] = None
            known |= new
    return list(places)


def _distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Each structure once: without rattle and strain a perturbed copy is its original."""
    return distinct(samples, lambda sample: sample.atoms)
