"""Threads that share compiled loops: who takes part, errors, interrupts, loops at the same time, compilation."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend.cpu import executor, threads
from etn_gpu.backend.cpu.edge_sums import CHUNK, spread_to_edges, sum_edges
from etn_gpu.backend.cpu.threads import share, workers
from etn_gpu.plan import Program, Value

SECONDS = 20.0


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool without threads."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.numba_config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)


@pytest.mark.parametrize(
    ("asked", "chunks", "number"),
    [(None, 9, 2), (None, 1, 1), (None, 0, 1), (1, 9, 1), (3, 9, 3), (3, 2, 2), (99, 9, 4)],
)
def test_how_many_take_part(two_cores: None, asked: int | None, chunks: int, number: int) -> None:
    assert workers(asked, chunks) == number


def test_each_worker_is_a_thread_and_the_first_is_the_caller() -> None:
    together, seen = threading.Barrier(3, timeout=SECONDS), {}

    def loop(counter: Any, worker: int, argument: str) -> None:
        together.wait()
        seen[worker] = threading.get_ident(), argument

    for _ in range(3):
        share(loop, 3, "given")
        assert seen[0] == (threading.get_ident(), "given")
        assert len({thread for thread, _ in seen.values()}) == len(seen) == 3


def test_one_worker_needs_no_thread() -> None:
    before = threading.active_count()
    share(lambda counter, worker: None, 1)
    assert threading.active_count() == before


@pytest.mark.parametrize("guilty", [0, 1])
def test_an_error_reaches_the_caller_and_ends_the_work_of_the_others(guilty: int) -> None:
    together, left = threading.Barrier(2, timeout=SECONDS), []

    def loop(counter: Any, worker: int) -> None:
        together.wait()
        if worker == guilty:
            raise ValueError(f"worker {worker} failed")
        wait_until(lambda: counter[0] > 10**9)
        left.append(worker)

    with pytest.raises(ValueError, match=f"worker {guilty} failed"):
        share(loop, 2)
    assert left == [1 - guilty], "nobody is left behind"
    together.reset()
    share(lambda counter, worker: together.wait(), 2)


def test_an_interrupt_waits_for_those_who_write_to_the_callers_arrays() -> None:
    together, left, main = threading.Barrier(2, timeout=SECONDS), [], threading.main_thread()

    def loop(counter: Any, worker: int) -> None:
        together.wait()
        if worker == 1:
            time.sleep(0.05)  # the caller waits by now
            signal.pthread_kill(main.ident or 0, signal.SIGINT)
            wait_until(lambda: counter[0] > 10**9)
            left.append(worker)

    # Whoever runs the tests may have set another handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            share(loop, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert left == [1]


def test_a_caller_does_not_wait_for_threads_that_are_busy() -> None:
    begun, over = threading.Event(), threading.Event()
    together = threading.Barrier(2, timeout=SECONDS)

    def long_loop(counter: Any, worker: int) -> None:
        together.wait()
        begun.set()
        over.wait(SECONDS)

    seen: list[int] = []
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(share, long_loop, 2)
        assert begun.wait(SECONDS)
        share(lambda counter, worker: seen.append(worker), 2)
        assert seen == [0]
        assert not over.is_set()
        over.set()
        waiting.result()
    share(lambda counter, worker: together.wait(), 2)
    assert seen == [0], "an invitation that was read too late is no work"


def test_threads_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    seen: list[int] = []
    share(lambda counter, worker: seen.append(worker), 2)
    assert seen == [0]


def test_every_chunk_is_done_once_and_the_same_whatever_the_threads() -> None:
    rng, n = np.random.default_rng(2), 5 * CHUNK + 3
    offsets = np.arange(n + 1) * 2
    gradient, vectors = rng.normal(size=(2, 2 * n, 3))
    neighbour, reverse = rng.integers(n, size=2 * n), rng.integers(2 * n, size=2 * n)
    strains, structure_of_atom = rng.normal(size=(3, 3, 3)), rng.integers(3, size=n)
    found = []
    for number in (1, 2, 3):
        forces, virials, dx = np.full((n, 3), np.nan), np.full((n, 6), np.nan), np.full((2 * n, 3), np.nan)
        sum_edges(gradient, vectors, reverse, offsets, forces, virials, number)
        spread_to_edges(forces, strains, structure_of_atom, vectors, neighbour, offsets, dx, number)
        found.append((forces, virials, dx))
    own = gradient - gradient[reverse]
    np.testing.assert_allclose(found[0][0], own[::2] + own[1::2], rtol=1e-12)
    for others in found[1:]:
        for array, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(array, other)
            assert np.isfinite(array).all()


def test_threads_that_ask_at_once_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Program] = []

    def compile_slowly(program: Program, dtype: str) -> Any:
        compiled.append(program)
        time.sleep(0.05)
        return object()

    monkeypatch.setattr(executor, "_compile", compile_slowly)
    executor._slot.cache_clear()
    together = threading.Barrier(4, timeout=SECONDS)

    def ask(number: int) -> Any:
        program = Program((Value("x", "atom", 1 + number % 2),), (), (("y", "x"),))
        together.wait()
        return executor._compiled(program, "float64")

    try:
        with ThreadPoolExecutor(4) as asking:
            first, second, third, fourth = asking.map(ask, range(4))
    finally:
        executor._slot.cache_clear()
    assert first is third
    assert second is fourth
    assert first is not second
    assert len(compiled) == 2


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)
