"""Gradients with respect to some of the parameters only: a smaller Program, quicker to compile and to run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.plan import Program, prune
from etn_gpu.potential import Architecture
from etn_gpu.potential.kernel import Array, Environments, Execution, Kernel, Parameters
from etn_gpu.potential.programs import programs
from etn_gpu.potential.references import REFERENCES


class PartialKernel(Kernel):
    """A kernel whose gradients are zero for all parameters but those called ``names``."""

    def __init__(
        self,
        architecture: Architecture,
        execution: Execution,
        names: tuple[str, ...],
        before_run: Callable[[Program], None] = lambda program: None,
    ) -> None:
        super().__init__(architecture, execution, before_run)
        self.names = names

    def parameter_gradient(
        self,
        parameters: Parameters,
        environments: Environments,
        energy_bar: NDArray[np.float64],
        dx: NDArray[np.float64] | None,
        samples: NDArray[np.int64] | None = None,
    ) -> dict[str, Array]:
        """As :meth:`Kernel.parameter_gradient`; energies alone go through the same Program."""
        names = tuple(name for name in self.names if name != REFERENCES)
        dx = np.zeros_like(environments.vectors) if dx is None else dx
        e_bar = energy_bar.reshape(environments.geometry.n_atoms, -1)
        extra = {"dx": dx, "e_bar": e_bar, "de_bar": np.ones_like(e_bar)}
        program = _partial_gradient(self._network, names)
        out = self._run(program, parameters, environments, samples, **extra)
        found = {name: out[f"{name}_bar"] for name in names}
        leading = found[names[0]].shape[:-1]
        if REFERENCES in self.names:
            found |= self._references_gradient(environments, e_bar[:, 0], samples)
        for name, shape in self.form.parameter_shapes.items():
            found.setdefault(name, np.broadcast_to(0.0, (*leading, int(np.prod(shape)))))
        return found


@lru_cache(maxsize=32)
def _partial_gradient(architecture: Architecture, names: tuple[str, ...]) -> Program:
    return prune(programs(architecture).parameter_gradient, tuple(f"{name}_bar" for name in names))
