"""Options that several commands share, declared once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["Backend", "BatchAtoms", "Dtype", "DtypeName", "Format", "Species", "Threads"]


class DtypeName(StrEnum):
    """Floating point types that a model can be evaluated in."""

    float64 = "float64"
    float32 = "float32"


Backend = Annotated[
    str | None,
    typer.Option(
        help="numba, numpy or cuda (see doctor). Default: ETN_GPU_BACKEND if set, else the best one for CPUs."
    ),
]
Dtype = Annotated[
    DtypeName | None,
    typer.Option(help="Floating point type of the evaluation. Default: the model's; float32 on the backend cuda."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the backend. Default: all cores.")]
BatchAtoms = Annotated[
    int,
    typer.Option(
        min=1,
        help="Atoms evaluated at once. More is a little faster and takes more memory; pairs are bounded in proportion.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Format of the files: one of ASE's (ase info --formats), mlip-cfg or deepmd. Default: found by content "
        "and name.",
        show_default=False,
    ),
]
Species = Annotated[
    str | None,
    typer.Option(
        metavar="Nb,Mo,..",
        help="Elements in the order of the types, for files without element names (LAMMPS, MLIP, VASP 4); Z if their "
        "numbers are atomic numbers.",
        show_default=False,
    ),
]
