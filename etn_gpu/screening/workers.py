"""Screening by many processes, on this machine or on a cluster, with Dask.

Structures are read here and cut into units, as they are without other processes; units go to workers, and what comes of
them is taken in their order, so that the results are the same, byte for byte. Each worker gets the model once. When a
worker dies its unit is done again, by another one; what still kills is cut in halves until it is one structure, which
becomes a row that says so.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from etn_gpu.errors import DataError
from etn_gpu.screening.batching import BatchLimits, Candidate
from etn_gpu.screening.work import Done, Work

__all__ = ["Workers"]

#: Units that are under way for each worker: one is worked on while the next is there already.
_AHEAD = 2
#: Seconds to wait for a scheduler, and for its first worker.
_PATIENCE = 30
#: How often a single structure may kill a worker.
_TRIES = 3


class Workers:
    """Processes that share the work of a run.

    Args:
        count: how many on this machine.
        scheduler: the address of a scheduler, for its workers instead.

    Raises:
        DataError: Dask is not installed; neither or both are given; a number below 1.
    """

    def __init__(self, count: int | None, scheduler: str | None) -> None:
        if count is not None and scheduler is not None:
            raise DataError("workers and a scheduler were given: expected one of them")
        if count is not None and count < 1:
            raise DataError(f"{count} workers: expected 1 or more")
        if importlib.util.find_spec("distributed") is None:
            raise DataError(
                "other processes need dask.distributed, which is not installed: pip install 'etn_gpu[cluster]'"
            )
        self._count, self._scheduler = count, scheduler

    def batches(self, work: Work, candidates: Iterable[Candidate], limits: BatchLimits) -> Iterator[Done]:
        """What comes of structures, in order; as :meth:`~etn_gpu.screening.work.Work.batches`.

        Raises:
            DataError: no scheduler, or none with a worker, answers.
        """
        with ExitStack() as opened:
            client = self._client(opened)
            sent = _sent(client, work, opened)
            under_way: deque[tuple[list[Candidate], Any]] = deque()
            units, failure = work.means.units(candidates, limits), None
            while True:
                try:
                    unit = next(units, None)
                except Exception as error:  # of whatever gives the structures; those before it are under way
                    unit, failure = None, error
                if unit is None:
                    break
                under_way.append((unit, _submit(client, sent, unit, limits)))
                # Workers may come and go.
                while len(under_way) > _AHEAD * max(1, sum(client.nthreads().values())):
                    yield from self._results(client, sent, work, *under_way.popleft(), limits)
            while under_way:
                yield from self._results(client, sent, work, *under_way.popleft(), limits)
            if failure is not None:
                raise failure

    def _client(self, opened: ExitStack) -> Any:
        import dask
        import distributed

        if self._scheduler is None:
            opened.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            cluster = distributed.LocalCluster(
                n_workers=self._count, threads_per_worker=1, processes=True, dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )  # fmt: skip
            opened.enter_context(cluster)
            return opened.enter_context(distributed.Client(cluster))
        try:
            client = distributed.Client(self._scheduler, timeout=_PATIENCE)
            opened.enter_context(client)
            client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, ValueError, TimeoutError) as error:
            raise DataError(
                f"no scheduler with a worker answers at {self._scheduler} within {_PATIENCE} s "
                f"({type(error).__name__}): start them (dask scheduler, dask worker), or leave out --scheduler"
            ) from error
        return client

    def _results(
        self,
        client: Any,
        sent: str,
        work: Work,
        unit: list[Candidate],
        future: Any,
        limits: BatchLimits,
        tries: int = 1,
    ) -> Iterator[Done]:
        """What came of a unit, done again in parts where it killed workers."""
        from distributed.scheduler import KilledWorker

        try:
            found = future.result()
        except KilledWorker:
            if len(unit) == 1 and tries == _TRIES:
                yield work.refused(unit, f"each process that worked on it died, {tries} times")
                return
            half = max(1, len(unit) // 2)
            parts = [part for part in (unit[:half], unit[half:]) if part]
            tries = tries + 1 if len(unit) == 1 else 1
            futures = [_submit(client, sent, part, limits) for part in parts]
            for part, again in zip(parts, futures, strict=True):
                yield from self._results(client, sent, work, part, again, limits, tries)
            return
        yield from found


def _sent(client: Any, work: Work, opened: ExitStack) -> str:
    """The name by which every worker finds the work, also one that comes later; data that were scattered would be lost
    with those that have them."""
    from distributed.diagnostics.plugin import WorkerPlugin

    class Carrier(WorkerPlugin):
        def __init__(self) -> None:
            self.work = work

    name = f"etn_gpu-{secrets.token_hex(8)}"
    client.register_plugin(Carrier(), name=name)
    opened.callback(client.unregister_worker_plugin, name)
    return name


def _submit(client: Any, sent: str, unit: list[Candidate], limits: BatchLimits) -> Any:
    return client.submit(_work_on, sent, unit, limits, pure=False)


def _work_on(sent: str, unit: list[Candidate], limits: BatchLimits) -> list[Done]:
    """In a worker."""
    from distributed import get_worker

    carrier: Any = get_worker().plugins[sent]
    work: Work = carrier.work
    return list(work.batches(unit, limits))
