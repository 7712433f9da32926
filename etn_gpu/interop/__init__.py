"""Potentials of other methods, read from their files and run as Programs."""

from etn_gpu.interop.loading import load

__all__ = ["load"]
