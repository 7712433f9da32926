"""A cache of plans bounded by the memory of their index arrays, the least recently used ones leaving first."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet


class Sized(Protocol):
    """Anything that knows the bytes it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""


P = TypeVar("P", bound=Sized)
_caches: WeakSet[PlanCache[Any]] = WeakSet()


class PlanCache(Generic[P]):
    """``cache(*key)`` is ``make(*key)``, made once as long as the plans kept take less than `limit` bytes.

    The latest plan is kept however large it is. Threads may share a cache, and a process may fork meanwhile.
    """

    def __init__(self, make: Callable[..., P], limit: int) -> None:
        self.limit = limit
        self._make = make
        self._plans: OrderedDict[tuple[Hashable, ...], P] = OrderedDict()
        self._nbytes = 0
        self._lock = Lock()
        _caches.add(self)

    @property
    def nbytes(self) -> int:
        """Bytes of all plans kept."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._plans)

    def __call__(self, *key: Hashable) -> P:
        with self._lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
                return plan
        plan = self._make(*key)
        with self._lock:
            if key not in self._plans:
                self._plans[key] = plan
                self._nbytes += plan.nbytes
            while self._nbytes > self.limit and len(self._plans) > 1:
                self._nbytes -= self._plans.popitem(last=False)[1].nbytes
        return plan

    def clear(self) -> None:
        """Forget all plans."""
        with self._lock:
            self._plans.clear()
            self._nbytes = 0

    @staticmethod
    def _in_child() -> None:
        """After a fork: another thread, which is not there any more, may have held a lock."""
        for cache in list(_caches):
            cache._lock = Lock()
            cache._nbytes = sum(plan.nbytes for plan in cache._plans.values())


os.register_at_fork(after_in_child=PlanCache._in_child)
