"""Equivariant tensor network interatomic potentials: train, evaluate, screen.

>>> import etn_gpu
>>> model = etn_gpu.load("nbmotaw")
>>> results = model.evaluate(structures, forces=True, stress=True)
>>> relaxed = etn_gpu.relax(model, structures, cell="full")
>>> atoms.calc = etn_gpu.ETNCalculator(model)

``import etn_gpu`` loads nothing heavy: public names and subpackages are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etn_gpu.calculator import ETNCalculator
    from etn_gpu.interop import load
    from etn_gpu.potential import ETNPotential, Potential
    from etn_gpu.relaxation import relax
    from etn_gpu.screening import screen
    from etn_gpu.selection import select
    from etn_gpu.symmetry import Irreps

__version__ = "0.1.0"

__all__ = ["ETNCalculator", "ETNPotential", "Irreps", "Potential", "__version__", "load", "relax", "screen", "select"]

_HOME_OF_NAME = {
    "ETNCalculator": "etn_gpu.calculator",
    "ETNPotential": "etn_gpu.potential",
    "Irreps": "etn_gpu.symmetry",
    "Potential": "etn_gpu.potential",
    "load": "etn_gpu.interop",
    "relax": "etn_gpu.relaxation",
    "screen": "etn_gpu.screening",
    "select": "etn_gpu.selection",
}

_SUBMODULES = (
    "backend",
    "calculator",
    "checks",
    "errors",
    "files",
    "interop",
    "learning",
    "network",
    "plan",
    "potential",
    "relaxation",
    "screening",
    "selection",
    "structures",
    "symmetry",
    "tensor",
    "training",
)


def __getattr__(name: str) -> Any:
    """Import a public name or a subpackage on first use."""
    if name in _HOME_OF_NAME:
        value = getattr(import_module(_HOME_OF_NAME[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__dir__())}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
