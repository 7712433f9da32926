"""Equivariant tensor networks: trains of cores over a feature leg."""

from etn_gpu.network.train import Train

__all__ = ["Train"]
