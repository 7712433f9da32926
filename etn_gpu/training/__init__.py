"""Training of ETN potentials: data, objective, Gauss-Newton preconditioned minimisation, checkpoints, reports."""

from etn_gpu.training.config import Event, TrainingConfig
from etn_gpu.training.report import TrainingReport
from etn_gpu.training.run import train

__all__ = ["Event", "TrainingConfig", "TrainingReport", "train"]
