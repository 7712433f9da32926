"""Slow potentials for perf/learning.py, as users of `etn-gpu learn` write them: functions that make calculators."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any


def mtp(file: str, species: Sequence[str]) -> Any:
    """A moment tensor potential of a file of MLIP, computed by motep."""
    from ase.data import atomic_numbers
    from motep.calculator import MTP
    from motep.io.mlip.mtp import read_mtp

    data = read_mtp(file)
    data.species = [atomic_numbers[symbol] for symbol in species]
    return MTP(data)


def chgnet() -> Any:
    """The universal graph network potential CHGNet (Deng et al. 2023), whose parameters come with its package."""
    warnings.filterwarnings("ignore")
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu", check_cuda_mem=False)
