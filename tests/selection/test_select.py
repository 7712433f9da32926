"""The choice from a pool: order, copies, memory, what is skipped, and wrong use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell

from etn_gpu.errors import DataError, NetworkError
from etn_gpu.screening import BatchLimits, MemorySource
from etn_gpu.selection import Selection, select
from etn_gpu.selection.admission import Skip
from etn_gpu.selection.information import Information
from tests.selection.conftest import Case, alloy

#: Most of the pool is far outside of the few structures of the training data.
FAR = 1e6


def run(case: Case, pool: list[Atoms], number: int = 50, **options: Any) -> Selection:
    options = {"largest_grade": FAR} | options
    selection = Selection(case.model, [MemorySource("pool", pool)], number, backend="numpy", **options)
    selection.run()
    return selection


def test_gains_fall_and_grades_are_those_of_evaluation(case: Case) -> None:
    choices = select(case.model, case.pool, 10, backend="numpy", largest_grade=FAR)
    assert [choice.rank for choice in choices] == list(range(1, 11))
    gains = [choice.gain for choice in choices]
    assert gains == sorted(gains, reverse=True)
    results = case.model.evaluate([choice.atoms for choice in choices], backend="numpy")
    np.testing.assert_allclose(
        [choice.grade for choice in choices], [result["extrapolation_grade"] for result in results], rtol=1e-9
    )
    assert all(choice.atoms is case.pool[choice.index] for choice in choices)
    assert {choice.index for choice in choices[:3]} <= set(range(15, 30))  # what is unlike the training data


def test_choice_does_not_depend_on_order_or_batches(case: Case) -> None:
    order = np.random.default_rng(0).permutation(len(case.pool))
    straight = [
        (choice.index, choice.gain) for choice in select(case.model, case.pool, 10, backend="numpy", largest_grade=FAR)
    ]
    mixed = run(case, [case.pool[i] for i in order], 10, limits=BatchLimits.for_atoms(9)).report.choices
    assert [(int(order[choice.index]), choice.gain) for choice in mixed] == straight


def turned(atoms: Atoms) -> Atoms:
    """The same structure, its atoms in another order, turned and as a supercell."""
    copy: Atoms = make_supercell(atoms, [[2, 0, 0], [0, 1, 0], [0, 1, 1]])[::-1]
    copy.rotate(40.0, (1, 2, 3), rotate_cell=True)
    return copy


@pytest.mark.parametrize("copy", [Atoms.copy, turned])
def test_copies_are_not_chosen(case: Case, copy: Callable[[Atoms], Atoms]) -> None:
    size, alone = len(case.pool), run(case, case.pool).report.choices
    report = run(case, [*case.pool, *map(copy, case.pool)], 2 * size).report
    assert sorted(choice.index % size for choice in report.choices) == sorted(choice.index for choice in alone)
    assert report.copies == len(alone)


def test_what_is_nearly_alike_is_chosen_once(case: Case) -> None:
    """Of many structures that differ by hundredths of an angstrom from one another, as in molecular dynamics."""
    like = [case.pool[0].copy() for _ in range(40)]
    for seed, atoms in enumerate(like):
        atoms.rattle(0.01, seed=seed)
    chosen = [choice.index for choice in run(case, [*like, *case.pool[1:]], 20).report.choices]
    assert sum(index < len(like) for index in chosen) <= 3


def test_less_than_a_thousandth_of_an_angstrom_makes_no_other_structure(case: Case) -> None:
    moved = [atoms.copy() for atoms in case.pool]
    for atoms in moved:
        atoms.rattle(1e-4, seed=1)
    once, twice = run(case, case.pool).report, run(case, [*case.pool, *moved]).report
    assert twice.copies == len(twice.choices) == len(once.choices)


def test_what_is_known_is_no_candidate(case: Case) -> None:
    """With a million atoms like these in the training data, one more structure of the kind tells nothing."""
    grade = case.model.grade
    assert grade is not None
    much = type(grade)(grade.factors, grade.atoms * 1e6, grade.largest)
    case = case._replace(model=case.model.with_grade(much))
    report = run(case, case.pool).report
    assert report.skipped[Skip.KNOWN] > 0
    assert all(choice.gain > 1e-3 for choice in report.choices)


def test_training_structures_are_not_chosen(case: Case) -> None:
    report = run(case, case.training).report
    assert report.choices == []
    assert report.skipped == {Skip.INSIDE: len(case.training)}


def test_bounded_memory_gives_nearly_the_same(case: Case) -> None:
    """The pool passes by as a stream, of which at most a few structures are held."""
    alive = 0

    def stream() -> Iterator[Atoms]:
        for seed in range(150):
            yield alloy(seed, 0.05 + 0.002 * (seed % 100))

    pool = list(stream())
    at_once = select(case.model, pool, 5, backend="numpy", largest_grade=FAR)
    row = case.model.grade.factors.shape[-1] * 8 if case.model.grade is not None else 0
    options: Any = {"memory": 12 * 4 * row, "backend": "numpy", "largest_grade": FAR}
    selection = Selection(case.model, [MemorySource("pool", stream())], 5, **options)
    for _ in selection:
        alive = max(alive, len(selection._reservoir._members))
    assert alive <= 13
    assert selection.report.skipped.total() + selection._reservoir.dropped > 100

    def volume(chosen: list[int]) -> float:
        return sum(
            choice.gain
            for choice in select(case.model, [pool[i] for i in chosen], 5, backend="numpy", largest_grade=FAR)
        )

    best = sum(choice.gain for choice in at_once)
    assert best == pytest.approx(volume([choice.index for choice in at_once]))
    assert volume([choice.index for choice in selection.report.choices]) > 0.95 * best


def test_memory_that_holds_the_pool_changes_nothing(case: Case) -> None:
    one = select(case.model, case.pool, 7, backend="numpy", largest_grade=FAR)
    other = select(case.model, iter(case.pool), 7, backend="numpy", largest_grade=FAR, memory=30 * 4 * 8 * 200)
    assert [(c.index, c.gain) for c in one] == [(c.index, c.gain) for c in other]


def test_structures_that_no_calculation_is_worth_are_skipped(case: Case) -> None:
    overlapping = alloy(1)
    overlapping.positions[1] = overlapping.positions[0] + [0.3, 0.0, 0.0]
    pool = [overlapping, alloy(2, 0.1, 0.6), Atoms("Xe", cell=[5.0] * 3, pbc=True), *case.pool]
    selection = run(case, pool)
    report = selection.report
    assert report.skipped[Skip.CLOSE] == 1
    assert [failure.index for failure in report.failures] == [2]
    assert "Xe" in report.failures[0].message
    assert not {0, 2} & {choice.index for choice in report.choices}
    strict = run(case, pool, largest_grade=1.5).report
    assert strict.skipped[Skip.ABSURD] >= 1
    assert all(choice.grade <= 1.5 for choice in strict.choices)
    assert strict.n_structures == len(pool)


def test_threshold_keeps_what_is_inside_out(case: Case) -> None:
    report = run(case, [*case.training, *case.pool], threshold=1.2).report
    assert report.choices
    assert all(choice.grade > 1.2 for choice in report.choices)
    assert report.skipped[Skip.INSIDE] >= len(case.training)


def test_terms_that_take_weight_from_the_network_raise_grades(case: Case) -> None:
    """Grades are those of evaluation there too."""
    from etn_gpu.potential.terms import Terms

    none = np.zeros((2, 2, 2))
    density = np.array([[0.0, 0.0, 3.0, 30.0]] * 2)
    embedding, bounds = np.array([[0.0, 1.0, 3.0, 0.0]] * 2), np.array([[-1e6, -1e5, 1e5, 1e6]] * 2)
    model = case.model.with_terms(Terms(none, density, none, embedding, bounds))
    choices = select(model, case.pool, 3, backend="numpy", largest_grade=FAR)
    results = model.evaluate([choice.atoms for choice in choices], backend="numpy")
    found = [choice.grade for choice in choices]
    np.testing.assert_allclose(found, [result["extrapolation_grade"] for result in results], rtol=1e-9)


def test_fewer_than_asked_for(case: Case) -> None:
    assert len(select(case.model, case.pool[15:19], 50, backend="numpy", largest_grade=FAR)) == 4


def test_a_batch_that_fails_is_tried_one_by_one(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    gain = Information.gain

    def failing(self: Information, surroundings: object) -> float:
        value = gain(self, surroundings)  # type: ignore[arg-type]
        if value > limit:
            raise MemoryError("no room")
        return value

    gains = [choice.gain for choice in select(case.model, case.pool, 1, backend="numpy", largest_grade=FAR)]
    limit = gains[0] * 0.999
    monkeypatch.setattr(Information, "gain", failing)
    report = run(case, case.pool).report
    assert report.n_failed == 1
    assert "no room" in report.failures[0].message
    assert len(report.choices) + report.skipped.total() == len(case.pool) - 1


def test_wrong_use(case: Case) -> None:
    with pytest.raises(NetworkError, match=r"nothing to tell an extrapolation grade by; `etn-gpu grade MODEL"):
        select(case.model.with_grade(None), case.pool)
    with pytest.raises(DataError, match="must be 1 or more, got 0"):
        select(case.model, case.pool, 0)
    with pytest.raises(NetworkError, match=r"threshold .* must be 1 or more, got 0.5"):
        select(case.model, case.pool, threshold=0.5)
    with pytest.raises(NetworkError, match=r"largest grade must be above the threshold, got 2 and 3"):
        select(case.model, case.pool, threshold=3.0, largest_grade=2.0)
    with pytest.raises(DataError, match="the pool is empty"):
        select(case.model, [])
    with pytest.raises(DataError, match=r"structures \[0\]: none of the 2 structures of the pool .* Xe"):
        select(case.model, [Atoms("Xe"), Atoms("Xe2", [[0, 0, 0], [0, 0, 3]])], backend="numpy", largest_grade=FAR)
