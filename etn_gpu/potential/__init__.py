"""ETN interatomic potentials: architecture, programs, model file, evaluation."""

from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.base import Potential
from etn_gpu.potential.file import load, save, shipped_models
from etn_gpu.potential.model import ETNPotential
from etn_gpu.potential.presets import PRESETS, Preset, preset_architecture
from etn_gpu.potential.report import PlanReport
from etn_gpu.potential.results import BatchResult, Result

__all__ = [
    "PRESETS",
    "Architecture",
    "BatchResult",
    "ETNPotential",
    "PlanReport",
    "Potential",
    "Preset",
    "Result",
    "load",
    "preset_architecture",
    "save",
    "shipped_models",
]
