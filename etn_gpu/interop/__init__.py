"""Potentials of other methods, read from their files and run as Programs."""

from etn_gpu.interop.loading import load
from etn_gpu.interop.saving import save_as

__all__ = ["load", "save_as"]
