"""Every public error of etn_gpu, and its warnings.

Each message says what was given, what was expected and what to do about it. All errors derive from
:class:`EtnGpuError`, so that ``except etn_gpu.errors.EtnGpuError`` catches exactly what the library raises on purpose.
"""

from __future__ import annotations


class EtnGpuError(Exception):
    """Base class of all errors that etn_gpu raises on purpose."""


class IrrepsError(EtnGpuError, ValueError):
    """An irrep or a direct sum of irreps that cannot be parsed, or legs that do not fit together."""


class NetworkError(EtnGpuError, ValueError):
    """A tensor network that cannot be built: ranks without a path to the target irrep, a bad order, a bad leg."""


class PlanError(EtnGpuError, ValueError):
    """A Program that is inconsistent, or a contraction that cannot be planned or differentiated."""


class BackendError(EtnGpuError, RuntimeError):
    """A backend that was asked for and cannot run here. The message lists those that can."""


class CacheError(BackendError):
    """Compiled code on disk that is not run, because others than this user can write it (see ETN_GPU_CACHE)."""


class DeviceMemoryError(BackendError, MemoryError):
    """The memory of a GPU does not hold what was asked for: ``requested`` and ``free`` bytes, None where unknown."""

    def __init__(self, message: str, requested: int | None = None, free: int | None = None) -> None:
        super().__init__(message)
        self.requested = requested
        self.free = free


class StructureError(EtnGpuError, ValueError):
    """A structure that cannot be evaluated: unknown element, NaN, overlapping atoms, singular cell, no atoms."""


class DataError(EtnGpuError, ValueError):
    """A file of structures that cannot be read, or labels that are missing, misshapen or not finite.

    ``reason`` is the message without the ``place``, for those who show the place in another way.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason


class ModelFileError(EtnGpuError, ValueError):
    """A model file that is missing, corrupt, truncated, foreign or written by a newer format version."""


class TensorError(EtnGpuError, ValueError):
    """An operation on equivariant tensors whose legs, sectors, numbers or options do not fit."""


class TrainingError(EtnGpuError, ValueError):
    """Training that cannot start or go on: bad options, a checkpoint of another run, no usable labels."""


class LearningError(EtnGpuError, ValueError):
    """Learning from a teacher that cannot start or go on: bad options, a teacher that fails, another run's folder."""


class RelaxationError(EtnGpuError, ValueError):
    """A relaxation that cannot start: options that mean nothing. Structures that fail never raise it."""


class TimeLimitError(TrainingError):
    """A time limit that was over before anything was trained: there is no model to write."""


class ConcurrentUseError(EtnGpuError, RuntimeError):
    """An object that holds the state of one calculation was used by two threads at the same time."""


class ModelWarning(UserWarning):
    """A model that can be used, and lacks something that models have by now; the message says what to do."""
