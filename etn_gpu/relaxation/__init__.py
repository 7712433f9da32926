"""Relaxation of thousands of structures at once: positions and cells, one ragged batch, status of each."""

from __future__ import annotations

from etn_gpu.relaxation.engine import Relaxation, relax
from etn_gpu.relaxation.limits import Limits
from etn_gpu.relaxation.relaxed import Relaxed

__all__ = ["Limits", "Relaxation", "Relaxed", "relax"]
