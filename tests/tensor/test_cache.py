"""The cache of plans: bounded by memory, least recently used first, safe between threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from etn_gpu import tensor as tn
from etn_gpu.tensor.cache import PlanCache
from etn_gpu.tensor.permute import plan_permutation


@dataclass
class Plan:
    nbytes: int


def test_least_recently_used_plans_leave() -> None:
    made: list[int] = []

    def make(nbytes: int) -> Plan:
        made.append(nbytes)
        return Plan(nbytes)

    cache = PlanCache(make, limit=100)
    cache(40)
    cache(50)
    assert cache(40).nbytes == 40
    assert made == [40, 50]
    cache(30)
    assert (len(cache), cache.nbytes) == (2, 70)
    cache(40)
    assert made == [40, 50, 30]
    cache(50)
    assert made == [40, 50, 30, 50]
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_the_latest_plan_is_kept_however_large() -> None:
    cache = PlanCache(Plan, limit=10)
    assert cache(100) is cache(100)
    assert cache.nbytes == 100


def test_threads_share_a_cache() -> None:
    cache = PlanCache(Plan, limit=10_000)
    with ThreadPoolExecutor(4) as threads:
        plans = list(threads.map(cache, [i % 7 for i in range(400)]))
    assert [plan.nbytes for plan in plans] == [i % 7 for i in range(400)]
    assert (len(cache), cache.nbytes) == (7, sum(range(7)))


def test_plans_of_permutations_are_shared_by_equal_structures() -> None:
    tensor = tn.zeros(["2x0e"], ["1x0e+1x1o", "2x0e+1x1o"])
    other = tn.zeros(["2x0e"], ["1x0e+1x1o", "2x0e+1x1o"])
    plan = plan_permutation(tensor.structure, (1,), (0, 2), True)
    assert plan is plan_permutation(other.structure, (1,), (0, 2), True)
    assert plan.nbytes >= tensor.structure.size * np.dtype(np.intp).itemsize
