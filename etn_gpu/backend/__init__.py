"""Executors of Programs."""
from etn_gpu.backend.geometry import Geometry
__all__ = ["Geometry"]
