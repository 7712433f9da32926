"""How structures are relaxed, checked before anything begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from etn_gpu.checks import is_number, is_whole
from etn_gpu.errors import RelaxationError
from etn_gpu.relaxation.limits import Limits
from etn_gpu.structures.units import GPA

CELLS = ("none", "full", "volume")
OPTIMIZERS = ("lbfgs", "fire")


@dataclass(frozen=True)
class Options:
    """What :class:`~etn_gpu.relaxation.Relaxation` is told.

    Args:
        fmax: a structure has converged when no row of its generalised forces is longer, in eV/A, as in ASE.
        cell: 'none' moves atoms only, 'full' the cell too, 'volume' the cell without changing its shape.
        pressure: external pressure in GPa, for a cell that is relaxed.
        steps: most steps of one structure.
        optimizer: 'lbfgs' or 'fire'.
        limits: bounds beyond which a structure has exploded.

    Raises:
        RelaxationError: an option that means nothing.
    """

    fmax: float = 0.01
    cell: Literal["none", "full", "volume"] = "none"
    pressure: float = 0.0
    steps: int = 500
    optimizer: Literal["lbfgs", "fire"] = "lbfgs"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, known in (("cell", CELLS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise RelaxationError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(known)}")
        if not is_number(self.fmax) or self.fmax <= 0.0:
            raise RelaxationError(f"fmax = {self.fmax!r}: expected a number of eV/A above 0")
        if not is_number(self.pressure):
            raise RelaxationError(f"pressure = {self.pressure!r}: expected a number of GPa")
        if self.pressure != 0.0 and self.cell == "none":
            raise RelaxationError(
                f"pressure = {self.pressure:g} GPa does nothing to a cell that is not relaxed: take cell = 'full' or "
                "'volume'"
            )
        if not is_whole(self.steps, 1):
            raise RelaxationError(f"steps = {self.steps!r}: expected a whole number, 1 or more")
        if not isinstance(self.limits, Limits):
            raise RelaxationError(f"limits = {self.limits!r}: expected etn_gpu.relaxation.Limits")

    @property
    def stress(self) -> float:
        """The external pressure in eV/A^3."""
        return self.pressure * GPA
