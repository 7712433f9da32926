"""Packages that may be missing, or installed and yet of no use."""

from __future__ import annotations

import importlib


def obstacle(*names: str) -> str | None:
    """Why one of the packages cannot be imported, None where all can.

    Looking for a package is not enough: numba, for one, refuses versions of NumPy that it does not know.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            return f"{name} is not installed: carry its wheel" if error.name == name else f"{name}: {error}"
        except Exception as error:  # whatever an installation that does not fit raises
            return f"{name}: {error}"
    return None
