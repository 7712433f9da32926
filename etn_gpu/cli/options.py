"""Options that several commands share, declared once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "AllowLarge",
    "Backend",
    "BatchAtoms",
    "Dtype",
    "DtypeName",
    "EnergyKey",
    "ForcesKey",
    "Format",
    "Overwrite",
    "Species",
    "StressKey",
    "TargetKey",
    "Threads",
    "VirialKey",
]


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
AllowLarge = Annotated[
    bool,
    typer.Option(
        "--allow-large", help="Accept a model that may take minutes and gigabytes to compile; refused otherwise."
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the backend. Default: all cores.")]
BatchAtoms = Annotated[
    int,
    typer.Option(
        min=1,
        help="Atoms evaluated at once. More is a little faster and takes more memory; pairs are bounded in proportion.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace output files that exist.")]
EnergyKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of the energies, such as free_energy. Default: the usual names.", show_default=False
    ),
]
ForcesKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Key of the forces. Default: the usual names.", show_default=False)
]
StressKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of the stress (tension positive). Default: the usual names.", show_default=False
    ),
]
VirialKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Key of a virial, minus stress times volume. Default: the usual names.", show_default=False
    ),
]
TargetKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key of what --target trains on. Default: the usual names of a dipole, the name of a quantity of atoms.",
        show_default=False,
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
        help="Elements in the order of the types, for files without element names (LAMMPS, MLIP, VASP 4; potentials of "
        "MLIP); Z if their numbers are atomic numbers.",
        show_default=False,
    ),
]
