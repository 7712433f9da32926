"""One calculator a thread, one model for all; a calculator that two threads use says what to do."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu import ETNCalculator
from etn_gpu.errors import ConcurrentUseError
from etn_gpu.potential import ETNPotential

SECONDS = 20.0
MESSAGE = r"two threads use this calculator .* make one for each thread; .*ETNCalculator\(calculator\.model\)"


def crystal(spacing: float) -> Atoms:
    return bulk("Al", cubic=True, a=spacing)


def energy(spacing: float, calculator: ETNCalculator) -> float:
    atoms = crystal(spacing)
    atoms.calc = calculator
    return float(atoms.get_potential_energy())


@pytest.fixture
def shared(potential: ETNPotential) -> ETNCalculator:
    return ETNCalculator(potential, backend="numpy")


@pytest.fixture
def busy(shared: ETNCalculator, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Future[float], threading.Event]]:
    """A thread is in the middle of an evaluation with spacing 4.0 A, until the event is set."""
    begun, go_on = threading.Event(), threading.Event()
    evaluate = ETNPotential.evaluate_batch

    def wait(self: ETNPotential, batch: Any, **options: Any) -> Any:
        result = evaluate(self, batch, **options)
        begun.set()
        assert go_on.wait(SECONDS)
        return result

    with ThreadPoolExecutor(1) as other, monkeypatch.context() as patch:
        patch.setattr(ETNPotential, "evaluate_batch", wait)
        future = other.submit(energy, 4.0, shared)
        assert begun.wait(SECONDS)
        patch.undo()
        yield future, go_on
        go_on.set()


def test_a_calculator_for_each_thread(potential: ETNPotential, backend: str) -> None:
    spacings = np.linspace(3.8, 4.2, 8)
    expected = [energy(a, ETNCalculator(potential, backend=backend)) for a in spacings]

    def several(first: int) -> list[float]:
        calculator = ETNCalculator(potential, backend=backend)
        return [energy(a, calculator) for a in np.roll(spacings, -first)]

    with ThreadPoolExecutor(4) as threads:
        for first, found in enumerate(threads.map(several, range(4))):
            assert found == list(np.roll(expected, -first))


def test_two_threads_at_the_same_time(shared: ETNCalculator, busy: tuple[Future[float], threading.Event]) -> None:
    future, go_on = busy
    with pytest.raises(ConcurrentUseError, match=MESSAGE):
        energy(4.1, shared)
    with pytest.raises(ConcurrentUseError, match=MESSAGE):
        shared.calculate(crystal(4.1))
    go_on.set()
    alone = ETNCalculator(shared.model, backend="numpy")
    assert future.result() == energy(4.0, alone), "the other thread's result is its own"
    assert energy(4.1, shared) == energy(4.1, alone), "and then it is free"


def test_copies_are_free(shared: ETNCalculator, busy: tuple[Future[float], threading.Event]) -> None:
    for other in (copy.deepcopy(shared), pickle.loads(pickle.dumps(shared))):
        assert energy(4.1, other) == energy(4.1, ETNCalculator(shared.model, backend="numpy"))


def test_a_forked_child_is_free(
    shared: ETNCalculator, busy: tuple[Future[float], threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert energy(4.1, shared) == energy(4.1, ETNCalculator(shared.model, backend="numpy"))


def test_an_error_leaves_it_free(shared: ETNCalculator) -> None:
    with pytest.raises(ValueError, match="finite"):
        shared.get_potential_energy(Atoms("Al", positions=[[np.nan, 0.0, 0.0]]))
    with ThreadPoolExecutor(1) as other:
        assert other.submit(energy, 4.0, shared).result() == energy(4.0, ETNCalculator(shared.model, backend="numpy"))
