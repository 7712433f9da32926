"""Several worker processes that label structures for one consumer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from etn_gpu.backend.cores import usable_cores
from etn_gpu.errors import ConcurrentUseError, LearningError
from etn_gpu.learning.bare import bare
from etn_gpu.learning.checks import check_positive, check_whole
from etn_gpu.learning.labels import Failure, Label
from etn_gpu.learning.process import WorkerProcess
from etn_gpu.learning.teacher import Teacher

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["TeacherPool"]

#: Seconds until the calculator must be there where calculations have a limit; a large model has to be read.
LONGEST_START = 600.0
#: Seconds between looks at processes whose end does not close their connection, because a child of theirs has it too.
_BETWEEN_LOOKS = 0.5


class TeacherPool:
    """Worker processes, each with a calculator of the teacher, which they make once; a context manager.

    They start when there is something to do, and stay until the context is left, whatever the reason. A worker that
    dies, or takes too long, costs the structure it was at, and is replaced. Calculators that work on files get a folder
    ``worker-0``, ... of their own below theirs where there are several workers; factories find the number of their
    worker in the environment variable ETN_GPU_WORKER.

    Args:
        teacher: what gives the labels.
        workers: how many processes.
        timeout: the longest that a calculation may take, in seconds; the first of a worker may include compilation.
        threads: threads of each worker, where the environment does not say it (default: the cores shared evenly).
        log: a file to which what teachers print is appended (default: nowhere).

    Raises:
        LearningError: a bad number.
    """

    def __init__(
        self,
        teacher: Teacher,
        workers: int = 1,
        *,
        timeout: float | None = None,
        threads: int | None = None,
        log: Path | None = None,
    ) -> None:
        check_whole("workers", workers, 1)
        if threads is not None:
            check_whole("threads", threads, 1)
        if timeout is not None:
            check_positive("timeout", timeout)
        self._teacher, self._count, self._timeout, self._log = teacher, workers, timeout, log
        self._threads = threads or max(1, usable_cores() // workers)
        self._workers: dict[int, WorkerProcess] = {}
        self._labelling = False

    def __enter__(self) -> TeacherPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for worker in self._workers.values():
                worker.connection.close()  # all at once begin to end
            while self._workers:
                worker = next(iter(self._workers.values()))
                self._drop(worker, gently=worker.job is None)
        finally:
            while self._workers:  # an interrupt came
                self._drop(next(iter(self._workers.values())), gently=False)

    def label(self, structures: Iterable[Atoms]) -> Iterator[tuple[int, Label | Failure]]:
        """Labels structures, which are taken one by one when a worker is free.

        Structures stay as they are, and are calculated as :func:`~etn_gpu.learning.bare.bare` gives them. When the
        iteration is not gone through to its end, what is being calculated is given up.

        Yields:
            The place of a structure and its label, or why there is none, in the order in which they are done.

        Raises:
            LearningError: the calculator cannot be made, which would be so for all structures.
            ConcurrentUseError: the pool is labelling other structures.
        """
        if self._labelling:
            raise ConcurrentUseError("this pool is labelling other structures: make another one, or wait for its end")
        self._labelling = True
        coming = enumerate(structures)
        more = True
        try:
            while True:
                while more and len(self._busy()) < self._count:
                    job = next(coming, None)
                    if job is None:
                        more = False
                    else:
                        self._give(job[0], bare(job[1]))
                if not self._busy():
                    return
                yield from self._answers()
        finally:
            self._labelling = False
            for worker in self._busy():
                self._drop(worker, gently=False)

    def _busy(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers.values() if worker.job is not None]

    def _give(self, index: int, atoms: Atoms) -> None:
        """Gives a structure to an idle worker that lives, or to a new one."""
        for worker in list(self._workers.values()):
            if worker.job is None and worker.ended:
                self._drop(worker)
        worker = next((worker for worker in self._workers.values() if worker.job is None), None) or self._new()
        worker.job = index, atoms
        if worker.ready:
            worker.begin()

    def _new(self) -> WorkerProcess:
        number = next(number for number in range(self._count) if number not in self._workers)
        worker = WorkerProcess(self._teacher, number, apart=self._count > 1, threads=self._threads, log=self._log)
        self._workers[number] = worker
        return worker

    def _drop(self, worker: WorkerProcess, *, gently: bool = True) -> None:
        worker.end(gently=gently)
        del self._workers[worker.number]

    def _answers(self) -> Iterator[tuple[int, Label | Failure]]:
        """What has been done meanwhile; waits for a moment if it is nothing."""
        busy = self._busy()
        left = [limit - self._elapsed(worker) for worker in busy if (limit := self._limit(worker)) is not None]
        wait([worker.connection for worker in busy], max(0.0, min([*left, _BETWEEN_LOOKS])))
        for worker in busy:
            assert worker.job is not None
            index = worker.job[0]
            outcome = self._answer(worker)
            if outcome is not None:
                yield index, outcome

    def _answer(self, worker: WorkerProcess) -> Label | Failure | None:
        """What a worker has to say, or what has to be said of it; None if it is still at work."""
        ended = worker.ended
        seconds = self._elapsed(worker)
        if worker.connection.poll():  # before anything else: it may be the last words
            try:
                message = worker.connection.recv()
            except Exception:  # its end, or half a sentence
                return self._lost(worker, worker.obituary(), seconds)
            return self._heard(worker, message)
        if ended:
            return self._lost(worker, worker.obituary(), seconds)
        limit = self._limit(worker)
        if limit is not None and seconds > limit:
            return self._lost(worker, f"took longer than {limit:g} s", seconds)
        return None

    def _heard(self, worker: WorkerProcess, message: object) -> Label | Failure | None:
        if isinstance(message, Label | Failure):
            worker.job = None
            return message
        if message is not None:
            raise LearningError(f"{message}{self._where()}")
        worker.ready = True
        worker.begin()
        return None

    def _lost(self, worker: WorkerProcess, how: str, seconds: float) -> Failure:
        ready = worker.ready
        self._drop(worker, gently=False)
        if not ready:
            raise LearningError(
                f"no calculator of the teacher {self._teacher.name} could be made: {how}{self._where()}"
            )
        return Failure(how, seconds)

    def _limit(self, worker: WorkerProcess) -> float | None:
        if self._timeout is None or worker.ready:
            return self._timeout
        return max(self._timeout, LONGEST_START)

    def _elapsed(self, worker: WorkerProcess) -> float:
        return time.monotonic() - worker.since

    def _where(self) -> str:
        return "" if self._log is None else f"; what it printed is in {self._log}"
