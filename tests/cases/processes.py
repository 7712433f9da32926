"""What test_processes.py runs: the shipped model in processes and threads of every kind, after it was used here.

Prints the results of each kind as JSON: an energy and a hash of the forces for each structure.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu import ETNCalculator

SECONDS, COUNT = 150.0, 4
Answer = tuple[float, str]
model = etn_gpu.load("nbmotaw")
calculator = ETNCalculator(model, threads=2)


def structure(number: int) -> Atoms:
    """432 atoms: enough for two threads in every loop."""
    atoms = bulk("W", "bcc", a=3.1 + 0.02 * number, cubic=True) * (6, 6, 6)
    atoms.positions += 0.05 * np.random.default_rng(number).normal(size=(len(atoms), 3))
    return atoms


def answer(number: int, calculator: ETNCalculator = calculator) -> Answer:
    """Energy and forces of a structure."""
    atoms = structure(number)
    atoms.calc = calculator
    return atoms.get_potential_energy(), hashlib.sha256(atoms.get_forces().tobytes()).hexdigest()


def own_answer(number: int) -> Answer:
    """By a calculator of its own; the model is the same."""
    return answer(number, ETNCalculator(model, threads=2))


def by_pool(method: str) -> list[Answer]:
    with multiprocessing.get_context(method).Pool(2 if method == "fork" else 1) as pool:
        return pool.map_async(answer, range(COUNT)).get(SECONDS)


def by_executor() -> list[Answer]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(answer, range(COUNT), timeout=SECONDS))


def in_child(function: Callable[[], object]) -> object:
    """What ``function`` gives in a forked child; one that hangs is killed, and gives None."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        status = 1
        try:
            os.write(write, json.dumps(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    watchdog = threading.Timer(SECONDS, os.kill, (child, signal.SIGKILL))
    watchdog.start()
    with open(read, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    watchdog.cancel()
    return json.loads(content) if content else None


def by_grandchildren() -> list[object]:
    return [in_child(partial(in_child, partial(answer, number))) for number in range(2)]


def while_another_thread(evaluates: Callable[[int], object], forks: int) -> tuple[list[object], list[object]]:
    """Answers of children that are forked while a thread works, and what the thread gets."""
    over = threading.Event()

    def work() -> list[object]:
        found: list[object] = []
        while not over.is_set() or len(found) < COUNT:
            found.append(evaluates(len(found) % COUNT))
        return found[:COUNT]

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(work)
        children = []
        for number in range(forks):
            time.sleep(0.013 * number)
            children.append(in_child(partial(own_answer, number % COUNT)))
        over.set()
        return children, future.result()


def by_threads() -> list[Answer]:
    """Calculators of their own, one model; every structure four times at the same time."""
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(own_answer, [*range(COUNT)] * 4))
    return found[:COUNT] if found == found[:COUNT] * 4 else found


def main() -> None:
    found: dict[str, object] = {}
    # The first evaluation of all derives and compiles, and so do the children that are forked meanwhile
    from etn_gpu.backend.cpu import executor  # noqa: F401 - a fork while a module is imported is lost in any case

    found["first use"], found["first use beside"] = while_another_thread(own_answer, 4)
    found["here"] = [answer(number) for number in range(COUNT)]
    found["calculator of another thread"], found["beside"] = while_another_thread(answer, COUNT)
    for method in ("fork", "forkserver", "spawn"):
        found[method] = by_pool(method)
    found["executor"] = by_executor()
    found["grandchildren"] = by_grandchildren()
    found["threads"] = by_threads()
    found["forked after threads"] = in_child(lambda: [answer(number) for number in range(COUNT)])
    from numba.np.ufunc.parallel import threading_layer

    try:
        found["threads of numba"] = threading_layer()
    except ValueError:
        found["threads of numba"] = None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
