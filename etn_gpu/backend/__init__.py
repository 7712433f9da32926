"""Executors of Programs: ``numpy`` is the oracle, ``numba`` the fast path on CPUs; :func:`run` calls either."""

from etn_gpu.backend.geometry import Geometry
from etn_gpu.backend.registry import NAMES, available, check_dtype, prepare, resolve, run

__all__ = ["NAMES", "Geometry", "available", "check_dtype", "prepare", "resolve", "run"]
