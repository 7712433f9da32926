"""A potential of another method as a Program with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.formulation import Formulation


@dataclass(frozen=True)
class Translation:
    """What a reader makes of files: the formulation, flat float64 arrays for its inputs, and reference energies.

    ``references`` [n_species] are the energies E0 of isolated atoms in eV; ``metadata`` is JSON-ready: what the file
    says of itself.
    """

    formulation: Formulation
    parameters: Mapping[str, NDArray[np.float64]]
    references: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)
