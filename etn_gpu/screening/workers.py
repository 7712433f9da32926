"""Screening by many processes, on this machine or on a cluster, with Dask.

Files are cut here into units, as structures are grouped without other processes; plain extended XYZ is read by the
workers, what is packed or of another format here, and structures are sent. What comes of units is taken in their order,
so that the results are the same, byte for byte. Each worker gets the model once. When a worker dies its unit is done
again, by another one, group by group; a group that still kills is cut in halves until it is one structure, which
becomes a row that says so.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

from etn_gpu.errors import DataError
from etn_gpu.screening.batching import BatchLimits, Candidate, groups
from etn_gpu.screening.sources import UnreadCandidate
from etn_gpu.screening.units import Unit, units
from etn_gpu.screening.work import Done, Work

__all__ = ["Workers"]

#: Units that are under way for each worker: one is worked on while the next is there already.
_AHEAD = 2
#: Batches of a unit: what a unit costs beside its work is shared, and relaxations that take long are few among many.
_BATCHES = 4
#: Seconds between two looks at how many workers there are.
_LOOK = 1.0
#: Seconds to wait for a scheduler, and for its first worker.
_PATIENCE = 30
#: How often a single structure may kill a worker.
_TRIES = 3
#: Of a cluster of this machine: a unit whose worker died comes back at once; a worker that takes long to begin again,
#: as on a busy machine, is not given up, for then nobody would be left; nobody looks at profiles.
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.deploy.lost-worker-timeout": "1 day",
    "distributed.worker.profile.enabled": False,
}


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

    def batches(
        self, work: Work, candidates: Iterable[Candidate | UnreadCandidate], limits: BatchLimits
    ) -> Iterator[Done]:
        """What comes of structures, in order; as :meth:`~etn_gpu.screening.work.Work.batches`.

        Raises:
            DataError: no scheduler, or none with a worker, answers; a worker cannot read a file.
        """
        with ExitStack() as opened:
            pool = _Pool(self._client(opened), work, limits, opened)
            under_way: deque[tuple[Unit, Any]] = deque()
            waiting, failure = units(candidates, limits.atoms, _BATCHES), None
            while True:
                try:
                    unit = next(waiting, None)
                except Exception as error:  # of whatever gives the structures; those before it are under way
                    unit, failure = None, error
                if unit is None:
                    break
                under_way.append((unit, pool.submit(unit)))
                # Workers may come and go.
                while len(under_way) > _AHEAD * max(1, pool.threads()):
                    yield from pool.results(*under_way.popleft())
            while under_way:
                yield from pool.results(*under_way.popleft())
            if failure is not None:
                raise failure

    def _client(self, opened: ExitStack) -> Any:
        import dask
        import distributed

        if self._scheduler is None:
            opened.enter_context(dask.config.set(_SETTINGS))
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


class _Pool:
    """The workers of a client, which all have the work."""

    def __init__(self, client: Any, work: Work, limits: BatchLimits, opened: ExitStack) -> None:
        self._client, self._work, self._limits = client, work, limits
        self._sent = _sent(client, work, opened)
        self._threads, self._due = 0, 0.0

    def threads(self) -> int:
        """How many units can be worked on at the same time; asked for now and then."""
        if monotonic() >= self._due:
            self._threads, self._due = sum(self._client.nthreads().values()), monotonic() + _LOOK
        return self._threads

    def submit(self, unit: Unit) -> Any:
        """Gives a unit to some worker."""
        return self._client.submit(_work_on, self._sent, unit, self._limits, pure=False)

    def results(self, unit: Unit, future: Any) -> Iterator[Done]:
        """What came of a unit; done again, group by group, where it killed workers.

        Raises:
            DataError: a worker cannot read a file.
        """
        from distributed.scheduler import KilledWorker

        try:
            found = future.result()
        except KilledWorker:
            for group in groups(unit.candidates(), self._limits.atoms):
                yield self._work.joined([*self._again(group)])
        else:
            yield from found

    def _again(self, group: list[Candidate], tries: int = 1) -> Iterator[Done]:
        """What comes of structures that were with a worker that died, perhaps not of them."""
        from distributed.scheduler import KilledWorker

        try:
            found = self.submit(Unit((group,), len(group))).result()
        except KilledWorker:
            if len(group) > 1:
                half = len(group) // 2
                yield from self._again(group[:half])
                yield from self._again(group[half:])
            elif tries < _TRIES:
                yield from self._again(group, tries + 1)
            else:
                yield self._work.refused(group[0], f"each process that worked on it died, {tries} times")
        else:
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


def _work_on(sent: str, unit: Unit, limits: BatchLimits) -> list[Done]:
    """In a worker."""
    from distributed import get_worker

    carrier: Any = get_worker().plugins[sent]
    work: Work = carrier.work
    return list(work.batches(unit.candidates(), limits))
